import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { pageProblem, plaintextWarning } from '../../src/cli/dashboard-page.ts'
import { describeCertificate } from '../../src/client/certificate.ts'
import { runCli, spawnCli, startCli } from '../support/cli.ts'
import { freePort, startApp, TOKEN, tempDir } from '../support/gateway.ts'
import { insideOwnSshFolder, noSshd, sshFile, startSshd, withOwnSshFolder } from '../support/sshd.ts'
import { fingerprintOf, makePair } from '../support/tls.ts'
import { tlsFront } from '../support/tls-front.ts'

t.setTimeout(110_000)

/** A host whose commands go to a gateway elsewhere. */
function client(t: Test, remote: Record<string, unknown>): NodeJS.ProcessEnv {
  const home = tempDir(t)
  mkdirSync(join(home, '.openclaw'), { mode: 0o700 })
  const config = { gateway: { mode: 'remote', remote: { token: TOKEN, ...remote } } }
  writeFileSync(join(home, '.openclaw/openclaw.json'), JSON.stringify(config), { mode: 0o600 })
  return { PATH: process.env.PATH, HOME: home }
}

async function listening(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as { port: number }).port
}

if (!insideOwnSshFolder) direct()
if (noSshd !== false) t.test('the dashboard of a gateway behind ssh', { skip: noSshd }, async () => {})
else withOwnSshFolder(t, import.meta.filename, ssh)

function direct(): void {
  t.test('a link into a gateway behind TLS has its origin', async (t) => {
    const { port } = await startApp(t)
    const pair = await makePair()
    const front = await tlsFront(t, pair, port)
    const env = client(t, { transport: 'direct', url: front.wss, tlsFingerprint: fingerprintOf(pair.cert) })
    const link = JSON.parse((await runCli(env, ['dashboard', '--json'])).out)
    t.match(link, { ok: true, httpUrl: `https://127.0.0.1:${front.port}/`, wsUrl: front.wss, port: front.port })
    t.ok(link.browserUrl.startsWith(`${link.httpUrl}#bootstrapToken=`))
    t.same(link.warnings, [])
  })

  t.test('a browser is opened, whether its opener stays or ends', { skip: process.platform !== 'linux' }, async (t) => {
    const { port } = await startApp(t)
    const bin = tempDir(t)
    const path = `${bin}:${process.env.PATH}`
    const env = { ...client(t, { transport: 'direct', url: `ws://127.0.0.1:${port}` }), PATH: path, DISPLAY: ':0' }
    const rows: [opener: string, said: RegExp][] = [
      ['exec sleep 2', /^Opened the Control UI in your browser: /],
      ['sleep 0.3', /^Opened the Control UI in your browser: /],
      ['sleep 0.3; exit 3', /^Open this link /]
    ]
    for (const [opener, said] of rows) {
      writeFileSync(join(bin, 'xdg-open'), `#!/bin/sh\n${opener}\n`, { mode: 0o755 })
      t.match(await spawnCli(['dashboard'], env), { code: 0, stdout: said, stderr: '' }, opener)
    }
  })

  t.test('a gateway that makes no launch links has a page all the same', async (t) => {
    const gateway = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    await once(gateway, 'listening')
    t.teardown(() => {
      for (const socket of gateway.clients) socket.terminate()
      gateway.close()
    })
    gateway.on('connection', (socket) => {
      socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n' } }))
      socket.on('message', (data) => {
        const { id, method } = JSON.parse(String(data))
        const hello = { type: 'hello-ok', policy: { tickIntervalMs: 30_000 }, server: {}, auth: {} }
        const answer =
          method === 'device.pair.launchLink'
            ? { ok: false, error: { code: 'INVALID_REQUEST', message: `unknown method: ${method}` } }
            : { ok: true, payload: method === 'connect' ? hello : {} }
        socket.send(JSON.stringify({ type: 'res', id, ...answer }))
      })
    })
    const { port } = gateway.address() as { port: number }
    const env = client(t, { transport: 'direct', url: `ws://127.0.0.1:${port}` })
    const httpUrl = `http://127.0.0.1:${port}/`
    const { out, code } = await runCli(env, ['dashboard', '--json'])
    t.equal(code, 0, out)
    t.match(JSON.parse(out), { ok: true, httpUrl, browserUrl: httpUrl })
    t.match((await runCli(env, ['dashboard', '--no-open'])).out, /makes no links that sign in/)
    t.notMatch(out, TOKEN)
  })

  t.test('what a browser would be refused is said before', async (t) => {
    const answer = (status: string) => `HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`
    const rows: { status: string; want: RegExp | undefined }[] = [
      { status: '200 OK', want: undefined },
      { status: '302 Found', want: undefined },
      {
        status: '403 Forbidden',
        want: /takes no page of .*config set gateway\.publicOrigin https?:\/\/127\.0\.0\.1:\d+$/
      },
      { status: '404 Not Found', want: /serves no Control UI/ }
    ]
    const pair = await makePair()
    const certificate = describeCertificate(new X509Certificate(pair.cert))
    for (const { status, want } of rows) {
      const port = await listening(
        t,
        createServer((socket) => void socket.on('error', () => {}).once('data', () => socket.end(answer(status))))
      )
      const front = await tlsFront(t, pair, answer(status))
      for (const said of [
        await pageProblem(`http://127.0.0.1:${port}/`, undefined),
        await pageProblem(`https://127.0.0.1:${front.port}/`, { certificate, by: 'a pin' })
      ]) {
        if (want === undefined) t.equal(said, undefined, status)
        else t.match(said, want, status)
      }
    }
    t.equal(await pageProblem(`http://127.0.0.1:${await freePort()}/`, undefined), undefined, 'nobody there')
    const other = await tlsFront(t, await makePair(), answer('403 Forbidden'))
    t.equal(await pageProblem(`https://127.0.0.1:${other.port}/`, { certificate, by: 'a pin' }), undefined)
    t.equal(other.taken(), '', 'another certificate than before is asked nothing')
    t.equal(plaintextWarning('http://127.0.0.1:1/', true), undefined)
    t.equal(plaintextWarning('https://192.168.1.5/', false), undefined)
    t.match(plaintextWarning('http://192.168.1.5/', false), /setup --remote ssh:\/\/user@192\.168\.1\.5/)
  })
}

function ssh(): void {
  t.test('through ssh the command holds a tunnel of its own, at a port that is free', async (t) => {
    const sshd = await startSshd(t)
    const app = await startApp(t)
    writeFileSync(sshFile('known_hosts'), `${sshd.hostLine}\n`, { mode: 0o600 })
    const remote = { sshTarget: sshd.target, sshIdentity: sshd.identity, remotePort: app.port }
    const taken = await listening(t, createServer())
    const free = await freePort()
    for (const { name, port } of [
      { name: 'the configured one', port: free },
      { name: 'another, where somebody listens', port: taken }
    ]) {
      const env = client(t, { ...remote, url: `ws://127.0.0.1:${port}` })
      const child = startCli(['dashboard', '--json'], env)
      t.teardown(() => child.kill())
      const exited = once(child, 'exit')
      let out = ''
      let err = ''
      child.stderr.setEncoding('utf8').on('data', (text) => {
        err += text
      })
      child.stdout.setEncoding('utf8').on('data', (text) => {
        out += text
      })
      while (!out.trimEnd().endsWith('}')) await Promise.race([once(child.stdout, 'data'), exited])
      const link = JSON.parse(out)
      t.equal(link.port === port, port === free, name)
      t.match(link, { ok: true, httpUrl: `http://127.0.0.1:${link.port}/`, warnings: [] })
      t.match(err, `Up: 127.0.0.1:${link.port} leads to port ${app.port} of ${sshd.target}`)
      const page = new WebSocket(link.wsUrl, { origin: new URL(link.httpUrl).origin })
      const [first] = await once(page, 'message')
      t.match(JSON.parse(String(first)), { event: 'connect.challenge' }, 'a page from there reaches the gateway')
      page.close()
      child.kill('SIGINT')
      t.same(await exited, [0, null])
      if (port === free) await t.rejects(fetch(link.httpUrl), 'and with the command it is gone')
    }
  })
}
