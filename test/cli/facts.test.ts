import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import type { Fact } from '../../src/cli/facts.ts'
import { runCli } from '../support/cli.ts'
import { freePort, startApp, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { fingerprintOf, makePair } from '../support/tls.ts'
import { tlsFront } from '../support/tls-front.ts'

/** A host whose configuration names a gateway. */
function hostWith(t: Test, gateway: Record<string, unknown>) {
  const stateDir = tempDir(t)
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway }), { mode: 0o600 })
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
  return { stateDir, run: (...words: string[]) => runCli(env, words) }
}

const remoteHost = (t: Test, url: string, more = {}) =>
  hostWith(t, { mode: 'remote', remote: { transport: 'direct', url, token: TOKEN, ...more } })

const words = (facts: Record<string, Fact>) => Object.values(facts).map(({ state }) => state)

t.test('status tells process, port, TLS, auth, scope and RPC apart', async (t) => {
  const { ws, port, stateDir } = await startApp(t, { local: true })
  const pair = await makePair()
  const front = await tlsFront(t, pair, port)
  // A gateway answers the second wrong guess later than the first.
  const guessed = await startApp(t)
  const guessedTls = await tlsFront(t, pair, guessed.port)
  const login = await tlsFront(t, pair, 'HTTP/1.1 302 Found\r\nLocation: https://login.invalid/\r\n\r\n')
  const mute = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
  await once(mute, 'listening')
  t.teardown(() => mute.close())
  const starting = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(starting, 'listening')
  t.teardown(() => {
    for (const socket of starting.clients) socket.terminate()
    starting.close()
  })
  starting.on('connection', (socket) => {
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n' } }))
    socket.on('message', (data) => {
      const error = { code: 'UNAVAILABLE', message: 'gateway starting', retryable: true }
      socket.send(JSON.stringify({ type: 'res', id: JSON.parse(String(data)).id, ok: false, error }))
    })
  })
  const closed = await freePort()
  const pin = { tlsFingerprint: fingerprintOf(pair.cert) }
  const rows: {
    name: string
    url: string
    remote?: Record<string, unknown>
    reachable: boolean
    /** process, port, tls, auth, scope, rpc */
    want: Fact['state'][]
    code?: string
    timeout?: string
  }[] = [
    { name: 'all well, plaintext', url: ws, reachable: true, want: ['yes', 'yes', 'no', 'yes', 'yes', 'yes'] },
    { name: 'all well, TLS', url: front.wss, remote: pin, reachable: true, want: Array(6).fill('yes') },
    {
      name: 'a wrong token',
      url: ws,
      remote: { token: 'canary-wrong' },
      reachable: true,
      want: ['yes', 'yes', 'no', 'no', 'unknown', 'unknown'],
      code: 'AUTH_TOKEN_MISMATCH'
    },
    {
      name: 'a wrong token over TLS',
      url: guessedTls.wss,
      remote: { ...pin, token: 'canary-wrong' },
      reachable: true,
      want: ['yes', 'yes', 'yes', 'no', 'unknown', 'unknown'],
      code: 'AUTH_TOKEN_MISMATCH'
    },
    {
      name: 'a certificate that nobody vouches for',
      url: front.wss,
      reachable: false,
      want: ['unknown', 'yes', 'no', 'unknown', 'unknown', 'unknown'],
      code: 'TLS_UNTRUSTED'
    },
    {
      name: 'a login page before it',
      url: login.wss,
      remote: { tlsFingerprint: fingerprintOf(pair.cert) },
      reachable: false,
      want: ['unknown', 'yes', 'yes', 'no', 'unknown', 'unknown'],
      code: 'EDGE_LOGIN_REQUIRED'
    },
    {
      name: 'one that is starting',
      url: `ws://127.0.0.1:${(starting.address() as AddressInfo).port}`,
      reachable: true,
      want: ['yes', 'yes', 'no', 'unknown', 'unknown', 'unknown'],
      code: 'UNAVAILABLE',
      timeout: '400'
    },
    {
      name: 'nobody there',
      url: `ws://127.0.0.1:${closed}`,
      reachable: false,
      want: ['unknown', 'no', 'no', 'unknown', 'unknown', 'unknown'],
      code: 'GATEWAY_UNREACHABLE'
    },
    {
      name: 'somebody who says nothing',
      url: `ws://127.0.0.1:${(mute.address() as AddressInfo).port}`,
      reachable: false,
      want: ['unknown', 'unknown', 'no', 'unknown', 'unknown', 'unknown'],
      code: 'GATEWAY_TIMEOUT',
      timeout: '400'
    }
  ]
  for (const { name, url, remote, reachable, want, code, timeout = '10000' } of rows) {
    const { run } = remoteHost(t, url, remote)
    const { out, code: exit } = await run('status', '--json', '--timeout', timeout)
    t.equal(exit, 0, `${name}: a status is an answer`)
    const { gateway } = JSON.parse(out)
    t.same(words(gateway.facts), want, name)
    t.equal(gateway.reachable, reachable, `${name}: reachable`)
    t.equal(gateway.errorCode, code, `${name}: ${code ?? 'no error'}`)
    for (const { evidence } of Object.values<Fact>(gateway.facts)) t.ok(evidence, `${name}: says how it is known`)
    const required = await run('gateway', 'status', '--require-rpc', '--timeout', timeout)
    t.equal(required.code, want.at(-1) === 'yes' ? 0 : 1, `${name}: --require-rpc`)
    t.notMatch(out + required.out, /canary/)
  }
  const own = await runCli({ HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }, ['status', '--deep'])
  t.match(
    own.out,
    /^process +yes: version .*^port +yes: connected.*^tls +no: a Unix socket.*^rpc +yes: status answered/ms
  )
})

t.test('a gateway of this host that does not answer may run all the same', async (t) => {
  const gateway = await startProcess(t, {
    config: JSON.stringify({ gateway: { mode: 'local', auth: { token: TOKEN } } })
  })
  const env = { HOME: gateway.stateDir, OPENCLAW_STATE_DIR: gateway.stateDir }
  const closed = String(await freePort())
  const look = async () =>
    JSON.parse((await runCli(env, ['gateway', 'status', '--json', '--port', closed])).out).gateway.facts
  const { process, port } = await look()
  t.match(process, { state: 'yes', evidence: `pid ${gateway.child.pid} holds the state folder` })
  t.match(port, { state: 'no' })
  gateway.child.kill('SIGKILL')
  await gateway.exited
  t.match((await look()).process, { state: 'no' })
})

t.test('gateway probe', async (t) => {
  const one = await startApp(t)
  const two = await startApp(t)
  const probe = async (run: ReturnType<typeof hostWith>['run'], ...flags: string[]) => {
    const { out, code } = await run('gateway', 'probe', '--json', ...flags)
    const { ok, degraded, capability, primaryTargetId, warnings, targets } = JSON.parse(out)
    const codes = warnings.map((warning: { code: string }) => warning.code)
    return { code, ok, degraded, capability, primaryTargetId, codes, ids: targets.map(({ id }: { id: string }) => id) }
  }
  const both = hostWith(t, {
    mode: 'local',
    port: one.port,
    auth: { token: TOKEN },
    remote: { url: two.ws, token: TOKEN }
  })
  t.match(await probe(both.run), {
    code: 0,
    degraded: false,
    primaryTargetId: 'configRemote',
    codes: ['multiple_gateways'],
    ids: ['configRemote', 'localLoopback']
  })
  const same = hostWith(t, {
    mode: 'local',
    port: one.port,
    auth: { token: TOKEN },
    remote: { url: one.ws, token: TOKEN }
  })
  t.match((await probe(same.run)).codes, [], 'one gateway by two ways is one')
  t.strictSame(
    (await probe(hostWith(t, { port: one.port }).run, '--url', one.ws, '--token', TOKEN)).codes,
    ['probe_detail_failed'],
    'so it is where only one of the two is let in'
  )
  t.match(await probe(hostWith(t, { port: await freePort() }).run, '--url', one.ws, '--token', 'wrong'), {
    code: 0,
    ok: true,
    degraded: true,
    capability: 'unknown',
    primaryTargetId: 'explicit',
    codes: ['probe_detail_failed']
  })
  t.match(await probe(hostWith(t, { port: await freePort() }).run), {
    code: 1,
    ok: false,
    primaryTargetId: null,
    codes: ['no_gateway_reachable']
  })
  const unresolved = hostWith(t, {
    port: one.port,
    auth: { token: TOKEN },
    remote: { url: two.ws, token: { source: 'env', provider: 'default', id: 'NOT_SET_HERE' } }
  })
  const noPair = hostWith(t, { port: one.port, auth: { token: TOKEN }, tls: { enabled: true, certPath: '/nowhere' } })
  t.match((await probe(noPair.run)).codes, ['local_tls_runtime_unavailable', 'no_gateway_reachable'])
  t.match(await probe(unresolved.run), { code: 0, codes: ['auth_secretref_unresolved'], ids: ['localLoopback'] })
})

t.test('R28: a probe tells nobody at this host’s port what belongs to the gateway elsewhere', async (t) => {
  const { ws } = await startApp(t)
  const stranger = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(stranger, 'listening')
  t.teardown(() => {
    for (const socket of stranger.clients) socket.terminate()
    stranger.close()
  })
  let heard = ''
  stranger.on('connection', (socket) => {
    heard += 'came '
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n' } }))
    socket.on('message', (data) => {
      heard += data
      socket.close()
    })
  })
  const { port } = stranger.address() as AddressInfo
  const looks = async (remote: Record<string, unknown>) => {
    heard = ''
    const { run } = hostWith(t, { mode: 'remote', port, remote: { token: TOKEN, ...remote } })
    const { targets } = JSON.parse((await run('gateway', 'probe', '--json')).out)
    return targets.map(({ id }: { id: string }) => id)
  }
  const tunnelled = await looks({ url: `ws://127.0.0.1:${port}`, sshTarget: 'me@127.0.0.1:1' })
  t.notOk(tunnelled.includes('localLoopback'), 'where the tunnel ought to be is no gateway of this host')
  t.equal(heard, '')
  t.same(await looks({ url: ws, transport: 'direct' }), ['configRemote', 'localLoopback'])
  t.match(heard, /"method":"connect"/)
  t.notMatch(heard, TOKEN)
  t.same(await looks({ url: `ws://localhost:${port}` }), ['configRemote'], 'one place is looked at once')
})

t.test('a configuration with which no gateway can be tried is a fact as well', async (t) => {
  const unset = { source: 'env', provider: 'default', id: 'NOT_SET_HERE' }
  const rows: { name: string; gateway: Record<string, unknown>; code: string; valid: boolean; authWarning?: RegExp }[] =
    [
      { name: 'a wrong value', gateway: { port: 'x' }, code: 'CONFIG_INVALID', valid: false },
      { name: 'no URL', gateway: { mode: 'remote' }, code: 'TARGET_INVALID', valid: true },
      {
        name: 'plaintext to anywhere',
        gateway: { mode: 'remote', remote: { transport: 'direct', url: 'ws://gateway.example' } },
        code: 'URL_INSECURE',
        valid: true
      },
      {
        name: 'a token that does not resolve',
        gateway: { mode: 'remote', remote: { transport: 'direct', url: 'ws://127.0.0.1:1', token: unset } },
        code: 'CONFIG_SECRET_UNRESOLVED',
        valid: true,
        authWarning: /NOT_SET_HERE/
      }
    ]
  for (const { name, gateway, code, valid, authWarning } of rows) {
    const { run } = hostWith(t, gateway)
    const status = await run('status', '--json')
    t.equal(status.code, 0, `${name}: a status is an answer`)
    t.match(JSON.parse(status.out), {
      gateway: { reachable: false, misconfigured: true, errorCode: code, authWarning: authWarning ?? null },
      config: { valid }
    })
    const detailed = await run('gateway', 'status', '--json')
    t.equal(detailed.code, 0, name)
    const { rpc, config } = JSON.parse(detailed.out)
    t.match(rpc, { ok: false, gatewayReached: false, errorCode: code, error: /./, ...(authWarning && { authWarning }) })
    t.equal(config.cli.valid, valid)
    t.equal((await run('gateway', 'status', '--require-rpc')).code, 1)
    t.match((await run('status')).out, /^Problem: /m)
    const health = await run('health')
    t.not(health.code, 0, 'a command that has to reach it fails')
    t.notMatch(health.err, /on the gateway host/, 'and what mends it is on this host')
  }
  const { run } = hostWith(t, {})
  t.equal((await run('gateway', 'status', '--url', 'ws://127.0.0.1:1')).code, 1)
  t.match((await run('gateway', 'status', '--url', 'ws://127.0.0.1:1')).err, /missing credentials/, 'R37')
})

t.test('--deep and --all tell more, each its own', async (t) => {
  const { port, stateDir } = await startApp(t, { local: true })
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
  const run = (...words: string[]) => runCli(env, words)
  const parts = async (...words: string[]) => Object.keys(JSON.parse((await run(...words, '--json')).out))
  const plain = await parts('status')
  t.same(
    (await parts('status', '--deep')).filter((part) => !plain.includes(part)),
    ['health', 'securityAudit']
  )
  const all = (await run('status', '--all')).out
  t.match(all, /^System .*^Config .*^Socket .*^Service .*\d+ critical, /ms, 'everything, to paste')
  t.notMatch(all, TOKEN)
  t.match((await run('status', '--deep')).out, /^Health +ok.*^rpc +yes: .*^Security +\d+ critical/ms)
  const service = await parts('gateway', 'status')
  t.same(
    (await parts('gateway', 'status', '--deep')).filter((part) => !service.includes(part)),
    ['health', 'extraServices']
  )
  const offline = JSON.parse((await run('gateway', 'status', '--no-probe', '--json')).out)
  t.match(offline, { gateway: { port, bindMode: 'loopback' }, port: { port, status: 'busy' }, rpc: undefined })
  const verbose = (await run('health', '--verbose')).out
  t.match(verbose, /^Found by +local socket.*^Signed in +owner.*^As +operator: .*^Config +/ms)
})

t.test('--expect-url refuses a target that has moved, before it is connected to', async (t) => {
  const { ws } = await startApp(t)
  const { run } = remoteHost(t, ws)
  t.equal((await run('gateway', 'call', 'health', '--expect-url', ws)).code, 0)
  const moved = await run('gateway', 'call', 'health', '--expect-url', 'ws://127.0.0.1:1', '--json')
  t.equal(moved.code, 1)
  t.match(JSON.parse(moved.out).error, { code: 'TARGET_CHANGED', message: new RegExp(`would be ${ws}`) })
})

t.test('S25: what a gateway refuses with writes nothing to the terminal, as text or as JSON', async (t) => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  const evil = '\u001b]0;owned\u0007\u009b2J'
  server.on('connection', (socket) => {
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n-1' } }))
    socket.on('message', (data) => {
      const { id } = JSON.parse(String(data)) as { id: string }
      const details = { code: evil, fix: { command: `run ${evil}`, where: 'gateway host' } }
      const error = { code: 'INVALID_REQUEST', message: `no ${evil}`, details }
      socket.send(JSON.stringify({ type: 'res', id, ok: false, error }))
    })
  })
  const { run } = remoteHost(t, `ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  for (const line of ['status', 'status --all', 'gateway status', 'gateway probe', 'health', 'logs']) {
    for (const more of [[], ['--json']]) {
      const { out, err } = await run(...line.split(' '), ...more)
      t.match(out + err, /owned/, [line, ...more].join(' '))
      t.notMatch(out + err, /[^\P{Cc}\n\t]/u, 'no control character')
    }
  }
})
