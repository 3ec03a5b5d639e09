import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { tempDir } from '../support/gateway.ts'
import { startTailnet, TAILNET_NAME, type Tailnet } from '../support/tailscaled.ts'

t.setTimeout(60_000)

/** A server that keeps the last request it got, and echoes what a WebSocket sends. */
async function startBackend(t: Test, where: { path: string } | { port: number; host: string }) {
  const seen: IncomingMessage[] = []
  const server: Server = createServer((request, response) => {
    seen.push(request)
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => response.writeHead(201, { 'x-backend': 'yes', 'set-cookie': ['a=1', 'b=2'] }).end(body))
  })
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    seen.push(request)
    if (request.url === '/no') return socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
    sockets.handleUpgrade(request, socket, head, (ws) => ws.on('message', (data) => ws.send(`echo ${data}`)))
  })
  server.listen(where)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { seen, last: () => seen.at(-1)!.headers, port: () => (server.address() as AddressInfo).port }
}

const unixBackend = async (t: Test, tailnet: Tailnet) => {
  const path = join(tempDir(t), 'backend.sock')
  const backend = await startBackend(t, { path })
  tailnet.serve(`unix:${path}`)
  return backend
}

function tailscale(tailnet: Tailnet, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile('tailscale', args, { env: tailnet.env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    )
  })
}

t.test('the proxy says who a peer is, and lets no peer say it', async (t) => {
  const tailnet = await startTailnet(t)
  const backend = await unixBackend(t, tailnet)
  const forged = {
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'http',
    forwarded: 'for=127.0.0.1',
    'tailscale-user-login': 'root@example.com',
    'tailscale-user-name': 'Root',
    'tailscale-user-profile-pic': 'x',
    'tailscale-funnel-request': '?0',
    'tailscale-headers-info': 'x',
    tailscale_user_login: 'root@example.com',
    'x-real-ip': '127.0.0.1',
    'x-hop': 'gone',
    connection: 'x-hop'
  }
  const common = {
    host: 'localhost',
    'x-forwarded-host': TAILNET_NAME,
    'x-forwarded-proto': 'https',
    forwarded: undefined,
    'x-hop': undefined,
    tailscale_user_login: 'root@example.com',
    'x-real-ip': '127.0.0.1'
  }
  const nobody = {
    'tailscale-user-login': undefined,
    'tailscale-user-name': undefined,
    'tailscale-user-profile-pic': undefined,
    'tailscale-headers-info': undefined
  }
  const cases = [
    {
      peer: 'alice',
      want: {
        'x-forwarded-for': '100.64.0.1',
        'tailscale-user-login': 'alice@example.com',
        'tailscale-user-name': 'Alice',
        'tailscale-user-profile-pic': 'https://example.com/a.png',
        'tailscale-headers-info': 'https://tailscale.com/s/serve-headers',
        'tailscale-funnel-request': undefined
      }
    },
    {
      peer: 'bob',
      want: {
        'x-forwarded-for': '100.64.0.2',
        'tailscale-user-login': 'bob@example.com',
        'tailscale-user-name': '=?utf-8?q?J=C3=BCrgen_B=C3=B6b?=',
        'tailscale-funnel-request': undefined
      }
    },
    { peer: 'runner', want: { ...nobody, 'x-forwarded-for': '100.64.0.3', 'tailscale-funnel-request': undefined } }
  ]
  for (const { peer, want } of cases) {
    const answer = await tailnet.request(peer, '/x?y=1', { headers: forged })
    t.equal(answer.status, 201, `${peer} gets an answer`)
    const got = backend.last()
    for (const [name, value] of Object.entries({ ...common, ...want })) t.equal(got[name], value, `${peer}: ${name}`)
  }
  await t.rejects(tailnet.request('public', '/'), 'a visitor from the internet reaches no Serve route')
  tailnet.set({ route: { ...(await tailnet.route())!, mode: 'funnel' } })
  await tailnet.request('public', '/', { headers: forged })
  const got = backend.last()
  const want = { ...common, ...nobody, 'x-forwarded-for': '203.0.113.9', 'tailscale-funnel-request': '?1' }
  for (const [name, value] of Object.entries(want)) t.equal(got[name], value, `public: ${name}`)
})

t.test('a long name goes out in words of at most 75 characters', async (t) => {
  const tailnet = await startTailnet(t, {
    peers: { alice: { ip: '100.64.0.1', login: 'a@example.com', displayName: 'é'.repeat(30) } }
  })
  const backend = await unixBackend(t, tailnet)
  await tailnet.request('alice', '/')
  const words = String(backend.last()['tailscale-user-name']).split(' ')
  t.equal(words.length, 3)
  t.ok(words.every((word) => word.length <= 75 && /^=\?utf-8\?q\?(=C3=A9)+\?=$/.test(word)))
})

t.test('bodies, cookies and WebSockets pass', async (t) => {
  const tailnet = await startTailnet(t)
  const backend = await unixBackend(t, tailnet)
  const answer = await tailnet.request('alice', '/', { method: 'POST', body: 'x'.repeat(100_000) })
  t.equal(answer.body.length, 100_000)
  t.same(answer.headers['set-cookie'], ['a=1', 'b=2'])
  const socket = new WebSocket(...tailnet.webSocket('alice', '/ws'))
  await once(socket, 'open')
  socket.send('hi')
  const [message] = await once(socket, 'message')
  t.equal(String(message), 'echo hi')
  t.equal(backend.last()['tailscale-user-login'], 'alice@example.com')
  t.equal(backend.last()['x-forwarded-host'], TAILNET_NAME)
  socket.close()
  await once(socket, 'close')
  const refused = new WebSocket(...tailnet.webSocket('alice', '/no'))
  const [error] = await once(refused, 'error')
  t.match(String(error), /403/, 'so does a refusal of one')
})

t.test('a TCP backend sees the Host that the peer sent, and a dead one is a 502', async (t) => {
  const tailnet = await startTailnet(t, { tls: false })
  const backend = await startBackend(t, { host: '127.0.0.1', port: 0 })
  tailnet.serve(String(backend.port()))
  await tailnet.request('alice', '/')
  t.match(backend.last(), { host: TAILNET_NAME, 'x-forwarded-host': TAILNET_NAME, 'x-forwarded-proto': 'https' })
  tailnet.serve('unix:/nowhere/at.sock')
  t.equal((await tailnet.request('alice', '/')).status, 502)
})

t.test('the command holds its route, and neither outlives the other', async (t) => {
  const tailnet = await startTailnet(t)
  const hold = () => {
    const child = execFile('tailscale', ['serve', '--yes', '--bg=false', '8080'], { env: tailnet.env })
    return { child, gone: once(child, 'exit'), ready: once(child.stdout!, 'data') }
  }
  const first = hold()
  await first.ready
  t.match(await tailnet.route(), { mode: 'serve', target: '8080', by: 'foreground' })
  const second = await tailscale(tailnet, 'serve', '--yes', '--bg=false', '9090')
  t.match(second, { code: 1, stderr: /already exists/ }, 'the port has one owner')
  first.child.kill('SIGKILL')
  await first.gone
  const third = hold()
  await third.ready
  await tailnet.kill()
  t.same(await third.gone, [1, null], 'the command ends with tailscaled')
  t.match(await tailscale(tailnet, 'status', '--json'), { code: 1, stderr: /doesn't appear to be running/ })
  await tailnet.start()
  t.equal(await tailnet.route(), undefined)
  t.same(tailnet.calls().at(-1), ['status', '--json'])
})

t.test('the command answers as the socket does', async (t) => {
  const tailnet = await startTailnet(t, { tagged: true })
  const status = JSON.parse((await tailscale(tailnet, 'status', '--json')).stdout)
  t.match(status, { BackendState: 'Running', Self: { DNSName: `${TAILNET_NAME}.`, Tags: ['tag:fake'] } })
  const whois = JSON.parse((await tailscale(tailnet, 'whois', '--json', '100.64.0.2')).stdout)
  t.match(whois, { UserProfile: { LoginName: 'bob@example.com' } })
  t.match(await tailscale(tailnet, 'whois', '--json', '192.0.2.1'), { code: 1, stderr: /peer not found/ })
  t.match(await tailscale(tailnet, '--socket', '/elsewhere', 'status', '--json'), { code: 1 })
  t.match((await tailscale(tailnet, 'version')).stdout, /^1\.94\.1\n/)
  const started = performance.now()
  await tailscale(tailnet, 'version')
  t.comment(`the fake command takes ${Math.round(performance.now() - started)} ms`)
})
