import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import { lockState } from '../../src/store/lock.ts'
import { runCli } from '../support/cli.ts'
import { fakeSystemd } from '../support/fake-systemd.ts'
import { freePort, startApp, TOKEN, tempDir } from '../support/gateway.ts'
import { noTerminal, typedCli } from '../support/pty.ts'

t.setTimeout(60_000)

type Json = Record<string, unknown>

const starting = {
  code: 'UNAVAILABLE',
  message: 'gateway starting; retry shortly',
  retryable: true,
  retryAfterMs: 50,
  details: { reason: 'startup-sidecars' }
}
const wrong = {
  code: 'INVALID_REQUEST',
  message: 'unauthorized: gateway token mismatch',
  details: { code: 'AUTH_TOKEN_MISMATCH' }
}
const hello = {
  type: 'hello-ok',
  protocol: 4,
  server: { version: '1', connId: 'c' },
  features: { methods: [], events: [] },
  snapshot: { uptimeMs: 1 },
  auth: { method: 'token', role: 'operator', scopes: ['operator.read'] },
  policy: { tickIntervalMs: 30_000 }
}

/** A gateway that answers each connect as it is told to, and counts them. */
async function scripted(t: Test, answer: (n: number) => Json | undefined) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  let connects = 0
  server.on('connection', (socket) => {
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n' } }))
    socket.on('message', (data) => {
      const { id, method } = JSON.parse(String(data))
      const error = method === 'connect' ? answer(connects++) : undefined
      const payload = method === 'connect' ? hello : { ok: true }
      socket.send(
        JSON.stringify({ type: 'res', id, ...(error === undefined ? { ok: true, payload } : { ok: false, error }) })
      )
    })
  })
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, connects: () => connects }
}

/** A host whose configuration names a port of its own. */
function hostWith(t: Test, gateway: Json) {
  const stateDir = tempDir(t)
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway }), { mode: 0o600 })
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
  return { stateDir, run: (...words: string[]) => runCli(env, words) }
}

const remote = (t: Test, url: string) =>
  hostWith(t, { mode: 'remote', remote: { transport: 'direct', url, token: TOKEN } })

t.test('a gateway that says that it is starting is waited for', async (t) => {
  const commands = [
    ['health'],
    ['status'],
    ['gateway', 'health'],
    ['gateway', 'call', 'health'],
    ['gateway', 'status', '--require-rpc']
  ]
  for (const words of commands) {
    const gateway = await scripted(t, (n) => (n < 2 ? starting : undefined))
    const { code, out } = await remote(t, gateway.url).run(...words, '--json')
    t.equal(code, 0, words.join(' '))
    t.equal(JSON.parse(out).error, undefined)
    t.equal(gateway.connects(), 3, 'until it lets the command in')
  }
})

t.test('what only looks does not wait', async (t) => {
  for (const words of [
    ['gateway', 'status'],
    ['gateway', 'probe']
  ]) {
    const gateway = await scripted(t, () => starting)
    const { out } = await remote(t, gateway.url).run(...words, '--json', '--timeout', '2000')
    t.match(out, /gateway starting; retry shortly/, words.join(' '))
    t.equal(gateway.connects(), 1)
  }
})

t.test('one that is not done in time is said to be starting', async (t) => {
  const gateway = await scripted(t, () => starting)
  const { run } = remote(t, gateway.url)
  const health = await run('health', '--json', '--timeout', '400')
  t.equal(health.code, 1)
  t.match(JSON.parse(health.out), {
    ok: false,
    status: 'starting',
    error: { code: 'GATEWAY_STARTING', message: /is still starting: gateway starting; retry shortly/ }
  })
  t.ok(gateway.connects() > 1)
  const status = await run('status', '--json', '--timeout', '400')
  t.equal(status.code, 0, 'a status is an answer')
  t.match(JSON.parse(status.out).gateway, { reachable: true, readiness: 'still-starting' })
})

t.test('a wrong credential is never tried again', async (t) => {
  for (const words of [['health'], ['status'], ['gateway', 'call', 'health'], ['gateway', 'status', '--require-rpc']]) {
    const gateway = await scripted(t, () => wrong)
    const { out } = await remote(t, gateway.url).run(...words, '--json')
    t.match(out, /AUTH_TOKEN_MISMATCH/, words.join(' '))
    t.equal(gateway.connects(), 1)
  }
})

t.test('an address with nobody behind it yet is waited for', async (t) => {
  const app = await startApp(t)
  let refusals = 0
  const proxy = createServer((socket) => {
    socket.on('error', () => {})
    if (refusals++ < 2) return socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n')
    const inner = connect(app.port, '127.0.0.1').on('error', () => {})
    socket.pipe(inner).pipe(socket)
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
  const { code } = await remote(t, `ws://127.0.0.1:${(proxy.address() as AddressInfo).port}`).run('health')
  t.equal(code, 0)
  t.equal(refusals, 3)
})

t.test('a gateway of this host that holds its state and does not listen yet is waited for', async (t) => {
  const port = await freePort()
  const { stateDir, run } = hostWith(t, { mode: 'local', port, auth: { mode: 'token', token: TOKEN } })
  const none = await run('health', '--json', '--timeout', '5000')
  t.equal(JSON.parse(none.out).error.code, 'GATEWAY_UNREACHABLE', 'where none runs, nobody waits')

  const lock = lockState(stateDir, process.pid)
  if ('heldBy' in lock) throw new Error('nobody else has it')
  t.teardown(() => lock.release())
  const early = await run('health', '--json', '--timeout', '400')
  t.match(JSON.parse(early.out).error, {
    code: 'GATEWAY_STARTING',
    message: `pid ${process.pid} holds the state folder, and does not listen yet`
  })
  t.match(JSON.parse((await run('status', '--json', '--timeout', '400')).out).gateway, {
    reachable: false,
    readiness: 'still-starting',
    facts: { process: { state: 'yes' }, port: { state: 'no' } }
  })

  const app = await startApp(t)
  const health = run('health', '--timeout', '20000')
  const door = createServer((socket) => {
    const inner = connect(app.port, '127.0.0.1').on('error', () => {})
    socket
      .on('error', () => {})
      .pipe(inner)
      .pipe(socket)
  })
  t.teardown(() => door.close())
  setTimeout(() => door.listen(port, '127.0.0.1'), 300)
  t.match(await health, { code: 0, out: /Gateway is healthy/ })
})

const linux = process.platform === 'linux' ? false : 'systemd is a part of Linux'
t.test('a service that has just begun is waited for', { skip: linux }, async (t) => {
  const systemd = fakeSystemd(t)
  const unit = systemd.unitPath('openclaw-gateway.service')
  mkdirSync(dirname(unit), { recursive: true })
  mkdirSync(join(systemd.home, '.openclaw'), { mode: 0o700 })
  const gateway = { mode: 'local', port: await freePort() }
  writeFileSync(join(systemd.home, '.openclaw/openclaw.json'), JSON.stringify({ gateway }), { mode: 0o600 })
  writeFileSync(unit, '[Service]\nExecStart="sleep" "60"\n')
  const health = async () => JSON.parse((await runCli(systemd.env, ['health', '--json', '--timeout', '400'])).out).error
  t.match(await health(), { code: 'GATEWAY_UNREACHABLE' }, 'not while it is stopped')
  spawnSync('systemctl', ['--user', 'start', 'openclaw-gateway.service'], { env: systemd.env })
  t.match(await health(), {
    code: 'GATEWAY_STARTING',
    message: /openclaw-gateway\.service runs, and does not listen yet/
  })
})

t.test('a terminal shows what is waited for', { skip: noTerminal }, async (t) => {
  const gateway = await scripted(t, () => starting)
  const stateDir = tempDir(t)
  const remote = { transport: 'direct', url: gateway.url, token: TOKEN }
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway: { mode: 'remote', remote } }))
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, PATH: process.env.PATH }
  const terminal = typedCli(t, ['health', '--timeout', '2500'], env)
  await terminal.shows('The gateway is starting … 1s')
  await terminal.shows('is still starting')
  t.equal(await terminal.exited, 1)
})
