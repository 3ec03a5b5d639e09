import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { localSocketPath, resolvePaths } from '../../src/config/paths.ts'
import { openDatabase } from '../../src/store/database.ts'
import { RawClient } from '../support/client.ts'
import { freePort, printed, startProcess, TOKEN, tempDir } from '../support/gateway.ts'

t.jobs = 2
t.setTimeout(110_000)

const cli = new URL('../../src/cli/main.ts', import.meta.url).pathname
const auth = { mode: 'token', token: TOKEN }
const local = (gateway: Record<string, unknown>) => JSON.stringify({ gateway: { mode: 'local', ...gateway } })

function listens(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port })
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}

function mode(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}

function get(socketPath: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, agent: false }, (res) => resolve(res.resume().statusCode ?? 0))
      .on('error', reject)
      .end()
  })
}

interface Refusal {
  name: string
  gateway?: Record<string, unknown>
  config?: string
  args?: string[]
  env?: Record<string, string>
  exit?: number
  want: RegExp
}

const proxy = { userHeader: 'x-forwarded-user' }
const refusals: Refusal[] = [
  { name: 'no gateway.mode', config: '{ gateway: {} }', want: /existing config is missing gateway\.mode/ },
  {
    name: 'mode remote',
    config: '{ gateway: { mode: "remote" } }',
    want: /set gateway\.mode=local \(current: remote\)/
  },
  { name: 'D8: unparsable file', config: '{ gateway: {\n  mode: "local",,\n} }', want: /openclaw\.json:2/ },
  { name: 'unknown key', gateway: { bogusKey: 1 }, want: /openclaw\.json:1 — gateway.*"?bogusKey"?/ },
  {
    name: 'auth.mode "wat"',
    gateway: { auth: { mode: 'wat' } },
    want: /gateway\.auth\.mode: .*"none".*"token".*"password".*"trusted-proxy".*"wat"/
  },
  { name: 'port "abc"', gateway: { port: 'abc' }, want: /gateway\.port: .*number/ },
  {
    name: 'trusted-proxy and a token',
    gateway: { auth: { ...auth, mode: 'trusted-proxy', trustedProxy: proxy }, trustedProxies: ['10.0.0.1'] },
    want: /trusted-proxy, but a shared token is also configured/
  },
  {
    name: 'trusted-proxy and a token in the environment',
    gateway: { auth: { mode: 'trusted-proxy', trustedProxy: proxy }, trustedProxies: ['10.0.0.1'] },
    env: { OPENCLAW_GATEWAY_TOKEN: TOKEN },
    want: /OPENCLAW_GATEWAY_TOKEN/
  },
  {
    name: 'trusted-proxy without trustedProxies',
    gateway: { auth: { mode: 'trusted-proxy', trustedProxy: proxy } },
    want: /requires gateway\.trustedProxies/
  },
  {
    name: 'trusted-proxy without its block',
    gateway: { auth: { mode: 'trusted-proxy' }, trustedProxies: ['10.0.0.1'] },
    want: /no trustedProxy config was provided \(set gateway\.auth\.trustedProxy\)/
  },
  {
    name: 'trustedProxy without userHeader',
    gateway: { auth: { mode: 'trusted-proxy', trustedProxy: {} }, trustedProxies: ['10.0.0.1'] },
    want: /gateway\.auth\.trustedProxy.*userHeader/
  },
  {
    name: 'blank userHeader',
    gateway: { auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: ' ' } }, trustedProxies: ['10.0.0.1'] },
    want: /userHeader is empty|userHeader/
  },
  {
    name: 'trustedProxies that trust everyone',
    gateway: { auth, trustedProxies: ['0.0.0.0/0'] },
    want: /gateway\.trustedProxies: "0\.0\.0\.0\/0"/
  },
  {
    name: 'R3: bind lan, auth none',
    gateway: { auth: { mode: 'none' } },
    args: ['--bind', 'lan'],
    want: /Refusing to bind gateway to lan without auth/
  },
  {
    name: 'R3: bind lan in the file, no secret',
    gateway: { bind: 'lan' },
    want: /Refusing to bind gateway to lan without auth/
  },
  {
    name: 'R3: bind lan by flag, no secret',
    gateway: {},
    args: ['--bind', 'lan'],
    want: /Refusing to bind gateway to lan without auth/
  },
  {
    name: 'R3: bind lan unconfigured',
    args: ['--bind', 'lan', '--allow-unconfigured'],
    want: /Refusing to bind gateway to lan without auth/
  },
  {
    name: 'R3: bind tailnet, auth none',
    gateway: { bind: 'tailnet', auth: { mode: 'none' } },
    want: /Refusing to bind gateway to tailnet without auth/
  },
  {
    name: 'R3: bind custom everywhere, auth none',
    gateway: { bind: 'custom', customBindHost: '0.0.0.0', auth: { mode: 'none' } },
    want: /Refusing to bind gateway to custom without auth/
  },
  {
    name: 'R5: a remote token is no server secret',
    gateway: { bind: 'lan', remote: { token: TOKEN } },
    want: /Refusing to bind gateway to lan without auth/
  },
  {
    name: 'R6: a SecretRef that does not resolve',
    gateway: { auth: { mode: 'token', token: { source: 'env', provider: 'default', id: 'NOT_SET_ANYWHERE' } } },
    want: /gateway\.auth\.token/
  },
  { name: 'token mode without a token', gateway: { auth: { mode: 'token' } }, want: /no token is configured/ },
  {
    name: 'funnel with a token',
    gateway: { auth, tailscale: { mode: 'funnel' } },
    want: /tailscale funnel requires gateway auth mode=password/
  },
  {
    name: 'serve with bind lan',
    gateway: { auth, tailscale: { mode: 'serve' }, bind: 'lan' },
    want: /requires gateway bind=loopback/
  },
  {
    name: 'serve with auth none',
    gateway: { auth: { mode: 'none' }, tailscale: { mode: 'serve' } },
    want: /gateway\.auth\.mode=none cannot be used with gateway\.tailscale\.mode=serve/
  },
  {
    name: 'password mode without a password',
    gateway: { auth: { mode: 'password' } },
    want: /no password is configured\. Set gateway\.auth\.password/
  },
  {
    name: 'token and password, mode unset',
    gateway: { auth: { token: TOKEN, password: 'p' } },
    want: /both configured, but gateway\.auth\.mode is unset/
  },
  {
    name: 'bind custom without a host',
    gateway: { auth, bind: 'custom' },
    want: /gateway\.bind=custom requires gateway\.customBindHost/
  },
  {
    name: 'bind custom to a name',
    gateway: { auth, bind: 'custom', customBindHost: 'my.host' },
    want: /customBindHost.*my\.host/
  },
  {
    name: 'unknown scope of an identity',
    gateway: { auth: { ...auth, identityScopes: { 'a@b.c': ['operator.bogus'] } } },
    want: /identityScopes.*operator\.bogus/
  },
  {
    name: 'a bad port in the environment',
    gateway: { auth },
    env: { OPENCLAW_GATEWAY_PORT: 'x' },
    want: /OPENCLAW_GATEWAY_PORT/
  },
  {
    name: '--bind nowhere',
    gateway: { auth },
    args: ['--bind', 'nowhere'],
    exit: 1,
    want: /Invalid --bind\. Use "loopback", "lan", "tailnet", "auto", or "custom"\./
  },
  {
    name: '--auth wat',
    gateway: { auth },
    args: ['--auth', 'wat'],
    exit: 1,
    want: /Invalid --auth\. Use "none", "token", "password", or "trusted-proxy"\./
  },
  {
    name: '--port 99999',
    gateway: { auth },
    args: ['--port', '99999'],
    exit: 1,
    want: /Invalid --port\. Use a port number from 1 to 65535/
  },
  { name: '--token without text', gateway: {}, args: ['--token', ' '], exit: 1, want: /--token is empty/ },
  {
    name: '--password-file that is not there',
    gateway: {},
    args: ['--password-file', '/nonexistent'],
    exit: 1,
    want: /--password-file/
  }
]

t.test('what does not start', { jobs: 2 }, async (t) => {
  for (const { name, gateway, config, args, env, exit = 78, want } of refusals) {
    t.test(name, async (t) => {
      const text = config ?? (gateway === undefined ? undefined : local(gateway))
      const run = await startProcess(t, {
        ...(text === undefined ? {} : { config: text }),
        ...(args === undefined ? {} : { args }),
        ...(env === undefined ? {} : { env: { OPENCLAW_GATEWAY_PORT: '1', ...env } }),
        expectExit: true
      })
      t.equal(await run.exited, exit, run.output())
      t.match(run.output(), want)
      t.notMatch(run.output(), /\n\s+at |\[object/, 'words, not a stack')
      t.notMatch(run.output(), TOKEN, 'S22: the secret is not in it')
      t.notOk(await listens('127.0.0.1', run.port), 'nothing listens')
      t.notOk(existsSync(localSocketPath(run.stateDir)), 'the owner socket neither')
      if (text !== undefined)
        t.equal(readFileSync(join(run.stateDir, 'openclaw.json'), 'utf8'), text, 'the file is left alone')
      // R3: one clear sentence that names the setting.
      if (name.startsWith('R3'))
        t.match(run.output().trim().split('\n'), [/^Gateway failed to start: .*gateway\.auth\.token.*\.$/])
    })
  }
})

t.test('starting', { jobs: 2 }, async (t) => {
  t.test(
    'D9 S24: the first start writes a configuration with a token of its own, and says how to open the UI',
    async (t) => {
      const run = await startProcess(t)
      const file = join(run.stateDir, 'openclaw.json')
      const { default: json5 } = await import('json5')
      const { gateway } = json5.parse(readFileSync(file, 'utf8'))
      t.equal(gateway.mode, 'local')
      t.equal(Buffer.from(gateway.auth.token, 'base64url').length, 32)
      t.equal(mode(file), '600')
      t.equal(mode(run.stateDir), '700')
      for (const each of [
        'gateway.sqlite',
        'gateway.sqlite-wal',
        'gateway.sqlite-shm',
        'gateway.lock',
        'gateway.pid',
        'gateway.sock',
        'logs/gateway.log'
      ])
        t.equal(mode(join(run.stateDir, each)), '600', each)
      t.equal(mode(join(run.stateDir, 'logs')), '700')
      await printed(run, 'bootstrapToken')
      t.match(run.output(), new RegExp(`http://127\\.0\\.0\\.1:${run.port}/#bootstrapToken=`))
      t.notMatch(run.output(), gateway.auth.token, 'S13: the link holds no durable secret')
      t.ok(await listens('127.0.0.1', run.port))
      t.ok(await listens('::1', run.port), 'R2: ::1 beside 127.0.0.1')
      t.notOk(await listens('127.0.0.2', run.port), 'D10: and nothing else')
      const client = await RawClient.open(run.ws)
      t.ok((await client.connect({ auth: { token: gateway.auth.token } })).ok)
      await client.close()

      run.child.kill('SIGTERM')
      t.equal(await run.exited, 0)
      const again = await startProcess(t, { stateDir: run.stateDir })
      t.notMatch(again.output(), 'bootstrapToken', 'once')
      t.equal(json5.parse(readFileSync(file, 'utf8')).gateway.auth.token, gateway.auth.token)
    }
  )

  t.test('S24: loose modes are closed at the start', async (t) => {
    const stateDir = tempDir(t)
    writeFileSync(join(stateDir, 'openclaw.json'), local({ auth }), { mode: 0o644 })
    writeFileSync(join(stateDir, 'gateway.sqlite'), '', { mode: 0o666 })
    spawnSync('chmod', ['755', stateDir])
    const run = await startProcess(t, { stateDir })
    for (const each of ['openclaw.json', 'gateway.sqlite']) t.equal(mode(join(run.stateDir, each)), '600', each)
    t.equal(mode(stateDir), '700')
  })

  t.test('R1: --port, then OPENCLAW_GATEWAY_PORT, then gateway.port', async (t) => {
    const [flag, env, file] = [await freePort(), await freePort(), await freePort()]
    const stateDir = tempDir(t)
    writeFileSync(join(stateDir, 'openclaw.json'), local({ auth, port: file }), { mode: 0o600 })
    const run = async (args: string[], more: Record<string, string>) => {
      const child = spawn(process.execPath, [cli, 'gateway', 'run', ...args], {
        env: { PATH: process.env.PATH, HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, ...more },
        stdio: ['ignore', 'pipe', 'inherit']
      })
      let text = ''
      for await (const chunk of child.stdout.setEncoding('utf8')) {
        text += chunk
        const port = /ready on http:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1]
        if (port === undefined) continue
        await stop(child)
        return Number(port)
      }
      throw new Error(text)
    }
    t.equal(await run(['--port', `${flag}`], { OPENCLAW_GATEWAY_PORT: `${env}` }), flag)
    t.equal(await run([], { OPENCLAW_GATEWAY_PORT: `${env}` }), env)
    t.equal(await run([], {}), file)
  })

  t.test('R12: a second gateway on the same state is refused, and kill -9 frees it', async (t) => {
    const first = await startProcess(t, { config: local({ auth }) })
    const { stateDir, child } = first
    const second = await startProcess(t, { stateDir, expectExit: true })
    t.equal(await second.exited, 78)
    t.match(second.output(), new RegExp(`another gateway \\(pid ${child.pid}\\) already owns ${stateDir}`))
    t.notOk(await listens('127.0.0.1', second.port))
    t.ok(await listens('127.0.0.1', first.port), 'the first lives on')
    t.equal(await get(localSocketPath(stateDir), '/readyz'), 200, 'its owner socket too')
    child.kill('SIGKILL')
    await first.exited
    t.ok(existsSync(localSocketPath(stateDir)), 'a stale socket file is left')
    const third = await startProcess(t, { stateDir })
    t.equal(await get(localSocketPath(stateDir), '/metrics'), 200, 'and replaced')
    await stop(third.child)
    t.notOk(existsSync(localSocketPath(stateDir)), 'a clean stop leaves none')
  })

  t.test('a taken port names who has it, and leaves nothing half-open', async (t) => {
    const first = await startProcess(t, { config: local({ auth }) })
    const second = await startProcess(t, { config: local({ auth }), port: first.port, expectExit: true })
    t.equal(await second.exited, 1)
    t.match(
      second.output(),
      new RegExp(`Port ${first.port} is already in use by pid ${first.child.pid} \\(openclaw-gateway\\)`)
    )
    t.notOk(existsSync(localSocketPath(second.stateDir)))

    const port = await freePort()
    const squatter = createServer().listen(port, '::1')
    await once(squatter, 'listening')
    t.teardown(() => squatter.close())
    const third = await startProcess(t, { config: local({ auth }), port, expectExit: true })
    t.equal(await third.exited, 1, 'R2: somebody else on ::1 would answer for us there')
    t.match(third.output(), new RegExp(`already in use by pid ${process.pid} `))
    t.notOk(await listens('127.0.0.1', port), 'not even 127.0.0.1 stays')
  })

  t.test('SIGTERM: exit 0, also when it comes during the start', async (t) => {
    const run = await startProcess(t, { config: local({ auth }) })
    const client = await RawClient.open(run.ws)
    await client.connect({ auth: { token: TOKEN } })
    run.child.kill('SIGTERM')
    t.match((await client.event('shutdown')).payload, { reason: 'gateway stopping' })
    t.match(await client.closed, { code: 1012, reason: 'service restart' })
    t.equal(await run.exited, 0)

    const stateDir = tempDir(t)
    writeFileSync(join(stateDir, 'openclaw.json'), local({ auth }), { mode: 0o600 })
    const early = spawn(process.execPath, [cli, 'gateway', 'run', '--port', `${await freePort()}`], {
      env: { PATH: process.env.PATH, HOME: stateDir, OPENCLAW_STATE_DIR: stateDir },
      stdio: 'ignore'
    })
    // The lock is the first thing that a starting gateway takes.
    while (!existsSync(join(stateDir, 'gateway.pid'))) await new Promise((resolve) => setTimeout(resolve, 1))
    early.kill('SIGTERM')
    const [code] = await once(early, 'exit')
    t.equal(code, 0)
  })

  t.test('SIGTERM: a peer that says nothing, or half of a request, keeps nobody waiting', async (t) => {
    const run = await startProcess(t, { config: local({ auth }) })
    for (const start of ['', 'GET / HT']) {
      const socket = connect(run.port, '127.0.0.1').on('error', () => {})
      await once(socket, 'connect')
      socket.write(start)
      t.teardown(() => socket.destroy())
    }
    run.child.kill('SIGTERM')
    t.equal(await run.exited, 0)
  })

  t.test('a state folder whose path is too long for a socket still has one', async (t) => {
    const stateDir = join(tempDir(t), 'd'.repeat(60), 'e'.repeat(60))
    mkdirSync(stateDir, { recursive: true })
    const run = await startProcess(t, { stateDir, config: local({ auth }) })
    const socket = localSocketPath(stateDir)
    t.notMatch(socket, stateDir)
    t.equal(mode(socket), '600')
    t.equal(mode(join(socket, '..')), '700')
    t.equal(await get(socket, '/metrics'), 200)
    const client = await RawClient.open(`ws+unix:${socket}:/`)
    t.has(await client.connect({ scopes: ['operator.admin', 'operator.pairing'] }), {
      ok: true,
      payload: { auth: { scopes: ['operator.admin', 'operator.pairing'] } }
    })
    await client.close()
    await stop(run.child)
  })

  t.test('state of a newer version is refused, and left as it is', async (t) => {
    const stateDir = tempDir(t)
    const db = new DatabaseSync(join(stateDir, 'gateway.sqlite'))
    db.exec('PRAGMA user_version = 99')
    db.close()
    const run = await startProcess(t, { stateDir, config: local({ auth }), expectExit: true })
    t.equal(await run.exited, 78)
    t.match(run.output(), /written by a newer version \(schema 99, this build knows \d+\); update openclaw-gateway/)
    t.throws(() => openDatabase(join(stateDir, 'gateway.sqlite')), /newer version/)
  })

  const isolated = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']).status === 0
  t.test(
    'R2 R3: beyond loopback, with auth, in a network of its own',
    { skip: isolated ? false : 'needs unshare --net and ip (root on Linux)' },
    async (t) => {
      // Addresses that nobody outside of this namespace can reach.
      const script = [
        'ip link set lo up',
        'ip addr add 192.168.77.5/32 dev lo && ip addr add 100.64.7.7/32 dev lo',
        `exec "${process.execPath}" "${new URL('../support/listeners-of.ts', import.meta.url).pathname}" "${cli}"`
      ].join(' && ')
      const found = spawnSync('unshare', ['--net', 'sh', '-c', script], { encoding: 'utf8', timeout: 40_000 })
      if (!t.equal(found.status, 0, found.stderr)) return
      const answers = JSON.parse(found.stdout)
      t.same(answers.lan, ['0.0.0.0'])
      t.same(answers.tailnet, ['100.64.7.7', '127.0.0.1', '::1'])
      t.same(answers.custom, ['127.0.0.1', '192.168.77.5', '::1'])
      t.same(answers.loopback, ['127.0.0.1', '::1'])
      t.same(answers.lanLocalHost, 200, 'a local caller on a wide bind is local')
      t.same(answers.lanOtherHost, 401, 'by the address of the network it is not')
    }
  )
})

t.test('R3: an embedder cannot listen beyond loopback without auth', async (t) => {
  for (const gateway of [{ auth: { mode: 'none' } }, { auth: { mode: 'token' } }, { auth: { mode: 'password' } }]) {
    const stateDir = tempDir(t)
    writeFileSync(join(stateDir, 'openclaw.json'), local(gateway))
    const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
    const config = await loadConfig({ env, paths: resolvePaths(env) })
    const fresh = () => buildApp(config, { db: openDatabase(':memory:'), logFile: '/dev/null' })
    const port = await freePort()
    for (const options of [
      { host: '0.0.0.0', port },
      { host: '::', port },
      { host: '', port },
      { port, host: '192.168.1.5' },
      { port, host: 'my.host' },
      { port, host: '0.0.0.0', path: '/tmp/x' },
      { port, host: '::ffff:0.0.0.0' }
    ]) {
      const app = await fresh()
      await t.rejects(app.listen(options), { code: 'LISTEN_REFUSED' }, `listen(${JSON.stringify(options)})`)
      t.notOk(app.server.listening)
      await app.close()
    }
    const app = await fresh()
    await app.ready()
    for (const args of [
      [port],
      [`${port}`],
      [port, '0.0.0.0'],
      [{ port }],
      [],
      [{ fd: 0 }],
      [{ fd: 0, port, host: '127.0.0.1' }],
      [null],
      [port, ''],
      [{ port, host: null }],
      [{ port, path: '/tmp/x' }]
    ]) {
      t.throws(
        () => app.server.listen(...(args as [number])),
        { code: 'LISTEN_REFUSED' },
        `server.listen(${JSON.stringify(args)})`
      )
      t.notOk(app.server.listening)
    }
    t.notOk(await listens('127.0.0.1', port), 'nothing listens')
    await app.listen({ host: '127.0.0.1', port: 0 })
    t.ok(app.server.listening, 'loopback is fine')
    await app.close()
    const socketApp = await fresh()
    const path = join(stateDir, 'x.sock')
    await socketApp.listen({ path })
    t.equal(await get(path, '/metrics'), 401, 'a socket of an embedder makes nobody an owner')
    await socketApp.close()
  }
})

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}
