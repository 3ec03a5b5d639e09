import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request as plainRequest } from 'node:http'
import { Agent, type RequestOptions, request } from 'node:https'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls'
import t, { type Test } from 'tap'
import { RawClient } from '../support/client.ts'
import { startApp, startProcess, type TestProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { fingerprintOf, makePair, placesIn, putPair } from '../support/tls.ts'

t.jobs = 3
t.setTimeout(110_000)

const pair = await makePair()
const ca = pair.cert

/** The `gateway.tls` section of a pair that lies in a folder of its own. */
function tlsIn(t: Test): Record<string, unknown> {
  const dir = tempDir(t)
  putPair(dir, pair)
  return { enabled: true, ...placesIn(dir) }
}

const config = (tls: unknown, more = {}) =>
  JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN }, tls, ...more } })

interface Answer {
  status: number
  headers: Record<string, unknown>
  body: string
  trusted: boolean
  /** The caller's own port: the same for requests of one connection. */
  from: number | undefined
}

function ask(port: number, path: string, more: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, ca, agent: false as const, ...more }
    const req = request(options, async (res) => {
      const { authorized: trusted, localPort: from } = res.socket as TLSSocket
      let body = ''
      for await (const chunk of res.setEncoding('utf8')) body += chunk
      resolve({ status: res.statusCode ?? 0, headers: res.headers, body, trusted, from })
    })
    req.on('error', reject)
    req.end()
  })
}

const bearer = { headers: { authorization: `Bearer ${TOKEN}` } }

function onLocal(socketPath: string, path: string): Promise<{ status: number; hsts: unknown }> {
  return new Promise((resolve, reject) => {
    plainRequest({ socketPath, path, agent: false }, (res) => {
      res.resume()
      resolve({ status: res.statusCode ?? 0, hsts: res.headers['strict-transport-security'] })
    })
      .on('error', reject)
      .end()
  })
}

/** Sends bytes as they are, and resolves with all that comes back until the gateway hangs up. */
async function raw(port: number, bytes: string | Buffer, after?: (socket: Socket) => void): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1')
  })
  await once(socket, 'connect')
  socket.write(bytes)
  after?.(socket)
  await once(socket, 'close')
  return answer
}

/** The code of a handshake's failure, or what was agreed on. */
function handshake(port: number, options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = tlsConnect({ host: '127.0.0.1', port, ca, ...options })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? ''))
    // A refusal of TLS 1.3 may come after the client believes that all is well.
    socket.once('secureConnect', () => socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'))
    socket.once('data', () => {
      resolve(`${socket.getProtocol()} ${socket.alpnProtocol}`)
      socket.destroy()
    })
  })
}

async function connections(server: import('node:http').Server): Promise<number> {
  return new Promise((resolve, reject) => server.getConnections((error, n) => (error ? reject(error) : resolve(n))))
}

/** The first bytes of a real handshake. */
async function clientHello(): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = tlsConnect({ host: '127.0.0.1', port: (server.address() as { port: number }).port })
  client.on('error', () => {})
  const [socket] = (await once(server, 'connection')) as [Socket]
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  server.close()
  return bytes
}

t.test('the main listener speaks TLS 1.3 and nothing else', async (t) => {
  const gateway = await startApp(t, { gateway: { tls: tlsIn(t) }, local: true })
  const { port } = gateway
  const answer = await ask(port, '/healthz')
  t.match(answer, { status: 200, trusted: true, body: '{"ok":true,"status":"live"}' })

  t.equal(await handshake(port, { ALPNProtocols: ['http/1.1'] }), 'TLSv1.3 http/1.1')
  t.equal(await handshake(port, { ALPNProtocols: ['h2', 'http/1.1'] }), 'TLSv1.3 http/1.1')
  t.match(await handshake(port, { ALPNProtocols: ['h2'] }), /^(EPROTO|ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL)$/)
  t.match(await handshake(port, { maxVersion: 'TLSv1.2' }), /^(EPROTO|ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION)$/)

  const hello = await clientHello()
  const rows: { name: string; bytes: string | Buffer; after?: (socket: Socket) => void }[] = [
    { name: 'plain HTTP', bytes: 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n' },
    {
      name: 'a plain WebSocket',
      bytes:
        'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'
    },
    { name: 'one letter, and the end', bytes: 'G', after: (socket) => socket.end() },
    { name: 'nothing, and the end', bytes: '', after: (socket) => socket.end() },
    { name: 'bytes of no protocol', bytes: Buffer.from('00ff'.repeat(50), 'hex') },
    { name: 'a record that is too long', bytes: Buffer.from(`160301ffff${'00'.repeat(600)}`, 'hex') },
    { name: 'half a hello, and the end', bytes: hello.subarray(0, 100), after: (socket) => socket.end() },
    { name: 'a hello, and the end', bytes: hello, after: (socket) => socket.end() },
    {
      name: 'a hello, and plain HTTP',
      bytes: Buffer.concat([hello, Buffer.from('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')])
    },
    { name: 'half a hello, and a reset', bytes: hello.subarray(0, 100), after: (socket) => socket.resetAndDestroy() },
    { name: 'a hello, and a reset', bytes: hello, after: (socket) => socket.resetAndDestroy() }
  ]
  for (const { name, bytes, after } of rows) t.notMatch(await raw(port, bytes, after), /HTTP|live/, name)
  for (let i = 0; i < 200; i++)
    connect(port, '127.0.0.1', function (this: Socket) {
      this.write(hello.subarray(0, i * 3))
      this.resetAndDestroy()
    }).on('error', () => {})
  t.equal((await ask(port, '/healthz')).status, 200, 'and it is as it was')
  while ((await connections(gateway.app.server)) > 0) await delay(10)
  t.pass('nothing is left of them')

  t.equal((await onLocal(gateway.localSocket, '/metrics')).status, 200, 'the owner’s socket stays plain')
  const owner = await RawClient.open(`ws+unix:${gateway.localSocket}:/`)
  t.ok((await owner.connect()).ok)
  await owner.close()
  const wrong = tlsConnect({ path: gateway.localSocket, rejectUnauthorized: false })
  t.match(await once(wrong, 'secureConnect').catch(({ code }) => code), /EPROTO|ERR_SSL|ECONNRESET/, 'and is no TLS')
})

t.test('what is known of a caller is the same over TLS', async (t) => {
  const { port, stateDir } = await startApp(t, { gateway: { tls: tlsIn(t) } })
  t.match(JSON.parse((await ask(port, '/readyz')).body), { uptimeMs: Number }, 'a caller of this host is local')
  const proxied = await ask(port, '/readyz', { headers: { 'x-forwarded-for': '203.0.113.5' } })
  t.equal(proxied.status, 403, 'and is not when a front end has written into the request')
  t.equal((await ask(port, '/healthz', { servername: 'localhost', headers: { host: 'evil.example' } })).status, 421)
  t.equal((await ask(port, '/metrics')).status, 401)
  t.equal((await ask(port, '/metrics', bearer)).status, 200)

  const page = await RawClient.open(`wss://127.0.0.1:${port}`, { ca, origin: `https://127.0.0.1:${port}` })
  t.ok((await page.connect({ auth: { token: TOKEN } })).ok, 'a page of the gateway’s own origin')
  await page.close()
  const client = await RawClient.open(`wss://127.0.0.1:${port}`, { ca })
  t.ok((await client.connect({ auth: { token: TOKEN } })).ok)
  const { payload } = await client.call('status')
  t.match(payload, {
    gateway: { port, tls: { enabled: true, fingerprint: fingerprintOf(pair.cert), notAfter: /^\d{4}-.*Z$/ } }
  })
  t.notMatch(payload, { gateway: { tls: { problem: String } } })
  const big = 'x'.repeat(4_000)
  for (let i = 0; i < 200; i++)
    client.send({ type: 'req', id: `big${i}`, method: 'system-event', params: { text: big } })
  t.ok((await client.response('big199')).ok, 'frames larger than a record')
  await client.close()
  t.notMatch(readFileSync(join(stateDir, 'openclaw.json'), 'utf8'), 'PRIVATE KEY')

  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const first = await ask(port, '/healthz', { agent })
  const second = await ask(port, '/metrics', { agent, ...bearer })
  t.equal(first.from, second.from, 'a connection is kept')
  agent.destroy()
})

t.test('every listener of an embedder is TLS too', async (t) => {
  const { app, stateDir } = await startApp(t, { gateway: { tls: tlsIn(t) } })
  t.match(app.listeningOrigin, /^https:\/\/127\.0\.0\.1:\d+$/)
  const { port } = app.server.address() as { port: number }
  await app.close()
  t.rejects(ask(port, '/healthz'), { code: 'ECONNREFUSED' })

  const other = await startApp(t, { gateway: { tls: tlsIn(t) } })
  await other.app.server.close()
  const path = join(stateDir, 'x.sock')
  other.app.server.listen(path)
  await once(other.app.server, 'listening')
  await t.rejects(onLocal(path, '/healthz'), { code: 'ECONNRESET' })
  const socket = tlsConnect({ path, ca, servername: 'localhost' })
  await once(socket, 'secureConnect')
  t.pass('a Unix socket of theirs speaks TLS')
  socket.destroy()
})

t.test('a socket whose TLS breaks ends at once, as HTTP and as WebSocket', async (t) => {
  const { port } = await startApp(t, { gateway: { tls: tlsIn(t) } })
  for (const upgraded of [false, true]) {
    // Between the two ends, so that the client cannot be the one that hangs up.
    const relay = createServer().listen(0, '127.0.0.1')
    await once(relay, 'listening')
    t.teardown(() => relay.close())
    const at = (relay.address() as { port: number }).port
    const both = once(relay, 'connection').then(([down]: Socket[]) => {
      const up = connect(port, '127.0.0.1').on('error', () => {})
      down!.on('error', () => {}).on('data', (chunk) => up.write(chunk))
      up.on('data', (chunk) => down!.write(chunk))
      return { up, down: down! }
    })
    let client: RawClient | TLSSocket
    if (upgraded) {
      client = await RawClient.open(`wss://127.0.0.1:${at}`, { ca })
      t.ok((await client.connect({ auth: { token: TOKEN } })).ok)
    } else {
      client = tlsConnect({ host: '127.0.0.1', port: at, ca })
      client.on('error', () => {})
      await once(client, 'secureConnect')
    }
    const { up, down } = await both
    down.removeAllListeners('data')
    const ended = once(up, 'end')
    const started = performance.now()
    up.write(Buffer.from(`1703030020${'07'.repeat(32)}`, 'hex'))
    await ended
    t.ok(performance.now() - started < 2_000, upgraded ? 'as WebSocket' : 'as HTTP')
    up.destroy()
    down.destroy()
  }
  t.equal((await ask(port, '/healthz')).status, 200)
})

t.test('Strict-Transport-Security goes out where this gateway ends TLS, on pages and APIs alone', async (t) => {
  const http = { securityHeaders: { strictTransportSecurity: 'max-age=31536000' } }
  const hsts = async (port: number, path: string) =>
    (await ask(port, path, bearer)).headers['strict-transport-security']
  const on = await startApp(t, { gateway: { tls: tlsIn(t), http }, local: true })
  for (const path of ['/', '/metrics', '/nowhere.txt', '/control-ui-config.json'])
    t.equal(await hsts(on.port, path), 'max-age=31536000', path)
  for (const path of ['/healthz', '/readyz']) t.equal(await hsts(on.port, path), undefined, path)
  t.same(await onLocal(on.localSocket, '/metrics'), { status: 200, hsts: undefined })
  for (const value of [false, ' ', undefined]) {
    const securityHeaders = value === undefined ? {} : { strictTransportSecurity: value }
    const off = await startApp(t, { gateway: { tls: tlsIn(t), http: { securityHeaders } } })
    t.equal(await hsts(off.port, '/'), undefined, `${value}`)
  }
  const plain = await startApp(t, { gateway: { http }, local: true })
  t.same(await onLocal(plain.localSocket, '/metrics'), { status: 200, hsts: undefined })
  t.match(plain.app.config.warnings, [/strictTransportSecurity: not sent, because TLS ends elsewhere/])
})

t.test('SIGTERM ends handshakes, requests and sockets alike', async (t) => {
  const run = await startProcess(t, { config: config(tlsIn(t)) })
  const hello = await clientHello()
  for (const bytes of [Buffer.alloc(0), hello.subarray(0, 50), hello]) {
    const socket = connect(run.port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    socket.write(bytes)
  }
  const half = tlsConnect({ host: '127.0.0.1', port: run.port, ca })
  half.on('error', () => {})
  await once(half, 'secureConnect')
  half.write('GET / HTTP')
  const client = await RawClient.open(`wss://127.0.0.1:${run.port}`, { ca })
  await client.connect({ auth: { token: TOKEN } })
  run.child.kill('SIGTERM')
  t.match(await client.closed, { code: 1012, reason: 'service restart' })
  t.equal(await run.exited, 0)
  t.notMatch(run.output(), /"level":"(error|fatal)"|\n\s+at /)
})

t.test('S18: handshakes that never end are few and short, and keep nobody out', async (t) => {
  const gateway = await startProcess(t, { config: config(tlsIn(t)) })
  const { port } = gateway
  const client = await RawClient.open(`wss://127.0.0.1:${port}`, { ca })
  t.ok((await client.connect({ auth: { token: TOKEN } })).ok)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const known = await ask(port, '/metrics', { agent, ...bearer })
  const before = rss(gateway)
  const hello = await clientHello()
  const starts = [Buffer.alloc(0), hello.subarray(0, 5), hello.subarray(0, 200), hello]
  const sockets: Socket[] = []
  let alive = 0
  for (let i = 0; i < 1_600; i++) {
    const socket = connect(port, i % 2 === 0 ? '127.0.0.1' : '::1')
    sockets.push(socket)
    alive++
    socket.on('error', () => {}).once('close', () => alive--)
    socket.resume()
    socket.write(starts[i % starts.length]!)
    if (i % 100 !== 99) continue
    await once(socket, 'connect').catch(() => {})
    const started = performance.now()
    t.ok((await client.call('health')).ok)
    const took = performance.now() - started
    if (took > 500) t.fail(`an authenticated call took ${took | 0} ms with ${i + 1} handshakes`)
  }
  const started = performance.now()
  const answer = await ask(port, '/metrics', { agent, ...bearer })
  t.equal(answer.status, 200)
  t.equal(answer.from, known.from, 'on the connection it had')
  t.equal((await ask(port, '/metrics', bearer)).status, 200, 'a new caller gets in')
  const fresh = await RawClient.open(`wss://127.0.0.1:${port}`, { ca })
  t.ok((await fresh.connect({ auth: { token: TOKEN } })).ok)
  t.ok(performance.now() - started < 2_000, 'in time')
  t.equal((await onLocal(`${gateway.stateDir}/gateway.sock`, '/metrics')).status, 200, 'so does the owner')
  t.ok(alive <= 1_100, `${alive} of 1,600 are kept`)
  const grown = rss(gateway) - before
  t.ok(grown < 150, `memory grows by ${grown | 0} MB`)
  const last = sockets.at(-1)!
  if (!last.closed) await once(last, 'close')
  t.ok(performance.now() - started < 15_000, 'a handshake has ten seconds')
  t.ok((await client.call('health')).ok)
  for (const each of [client, fresh]) await each.close()
  agent.destroy()
  t.notMatch(gateway.output(), /"level":"(error|fatal)"|\n\s+at /)
})

function rss({ child }: TestProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
}
