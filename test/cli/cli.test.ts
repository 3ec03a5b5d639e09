import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import type net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import { cleanEnv, freePort, type GatewayProcess, startGateway, waitReady } from '../../scripts/gateway-process.ts'
import { nodeClient } from '../../src/client/index.ts'
import { MAIN, type Outcome, spawnCli } from '../support/cli.ts'

const { version } = (await import('../../package.json', { with: { type: 'json' } })).default

/** Everything that any command here has printed: no secret may be in it. */
let printed = ''

async function cli(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const outcome = await spawnCli(args, env)
  printed += outcome.stdout + outcome.stderr
  return outcome
}

/** Skips a test where a program of the system is missing. */
function without(program: string): { skip: string | false } {
  return { skip: spawnSync(program, ['--version']).error === undefined ? false : `there is no ${program} here` }
}

function makeHome(t: Test, config?: string): { home: string; env: NodeJS.ProcessEnv } {
  const home = mkdtempSync(path.join(os.tmpdir(), 'cli-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  if (config !== undefined) {
    mkdirSync(path.join(home, '.openclaw'), { mode: 0o700 })
    writeFileSync(path.join(home, '.openclaw/openclaw.json'), config, { mode: 0o600 })
  }
  return { home, env: cleanEnv(home) }
}

t.test('the command line', async (t) => {
  const { env } = makeHome(t)
  const rows: { args: string[]; code: number; out?: RegExp; err?: RegExp }[] = [
    { args: ['--version'], code: 0, out: new RegExp(`^openclaw-gateway ${version}\n$`) },
    { args: ['-V'], code: 0, out: new RegExp(version) },
    { args: [], code: 0, out: /Usage: openclaw .*Examples:/s },
    { args: ['--help'], code: 0, out: /dashboard .*--profile <name>/s },
    { args: ['help', 'gateway', 'call'], code: 0, out: /Usage: openclaw gateway call \[options\] <method>/ },
    { args: ['gateway', 'run', '--help'], code: 0, out: /--password-file <path>/ },
    {
      args: ['helath'],
      code: 1,
      err: /^error: unknown command "helath"; did you mean "health"\?\nfix: openclaw health\n$/
    },
    { args: ['zzz'], code: 1, err: /fix: openclaw --help/ },
    {
      args: ['gateway', 'helth'],
      code: 1,
      err: /unknown command "gateway helth"; did you mean "health"\?\nfix: openclaw gateway health/
    },
    { args: ['health', '--nope'], code: 1, err: /^error: unknown option '--nope'\nfix: openclaw health --help\n$/ },
    { args: ['gateway', 'call'], code: 1, err: /missing required argument 'method'/ },
    { args: ['gateway', 'call', 'health', '--params', '[1]'], code: 1, err: /--params must be an object/ },
    { args: ['gateway', 'call', 'health', '--params', '{a:'], code: 1, err: /--params is not valid JSON5/ },
    {
      args: ['gateway', '--bind', 'nowhere'],
      code: 1,
      err: /^error: Invalid --bind\. Use "loopback", "lan", "tailnet", "auto", or "custom"\.\n$/
    },
    {
      args: ['gateway', 'run', '--auth', 'wat'],
      code: 1,
      err: /^error: Invalid --auth\. Use "none", "token", "password", or "trusted-proxy"\.\n$/
    },
    {
      args: ['gateway', 'run', '--port', '99999'],
      code: 1,
      err: /^error: Invalid --port\. Use a port number from 1 to 65535, for example 18789\.\n$/
    },
    { args: ['gateway', 'run', '--port', '0x10'], code: 1, err: /Invalid --port/ },
    { args: ['gateway', 'run', '--token', ''], code: 1, err: /--token is empty/ },
    {
      args: ['gateway', 'run', '--password-file', '/nonexistent'],
      code: 1,
      err: /--password-file \/nonexistent cannot be read/
    },
    { args: ['health', '--timeout', '1s'], code: 1, err: /Invalid --timeout/ },
    { args: ['--profile'], code: 1, err: /--profile needs a name/ },
    { args: ['--profile', '../x', 'health'], code: 78, err: /Invalid --profile "\.\.\/x"/ },
    { args: ['gateway', 'auth-token'], code: 1, err: /auth-token --show/ },
    { args: ['gateway', 'auth-token', '--show'], code: 1, err: /not printed outside an interactive terminal/ },
    {
      args: ['health'],
      code: 1,
      err: /the gateway is not running on this host: .*gateway\.sock or ws:\/\/127\.0\.0\.1:\d+\nfix: openclaw gateway run/
    },
    {
      args: ['--profile', 'two', 'health'],
      code: 1,
      err: /\.openclaw-two\/gateway\.sock.*\nfix: openclaw --profile two gateway run/
    },
    { args: ['health', '--profile=two'], code: 1, err: /\.openclaw-two\/gateway\.sock/ },
    { args: ['--dev', 'health'], code: 1, err: /\.openclaw-dev\/gateway\.sock or ws:\/\/127\.0\.0\.1:19001/ },
    { args: ['status'], code: 0, out: /Reachable +no/ },
    { args: ['gateway', 'probe'], code: 1, out: /Reachable: no/ },
    { args: ['gateway', 'status', '--require-rpc'], code: 1, out: /Reachable +no/ },
    { args: ['completion', 'tcsh'], code: 1, err: /Allowed choices are bash, zsh, fish/ }
  ]
  // Port 18789 may really be in use where the tests run.
  const port = String(await freePort())
  for (const { args, code, out, err } of rows) {
    await t.test(`openclaw ${args.join(' ')} exits with ${code}`, async (t) => {
      const named = args.includes('--dev') ? env : { ...env, OPENCLAW_GATEWAY_PORT: port }
      const outcome = await cli(args, named)
      t.equal(outcome.code, code)
      t.match(outcome.stdout, out ?? /^$/)
      t.match(outcome.stderr, err ?? /^$/)
    })
  }

  t.test('--json turns every failure into one document', async (t) => {
    for (const args of [
      ['health'],
      ['gateway', 'call', 'health'],
      ['dashboard'],
      ['gateway', 'health', '--url', 'ws://8.8.8.8']
    ]) {
      const { code, stdout, stderr } = await cli([...args, '--json'], { ...env, OPENCLAW_GATEWAY_PORT: port })
      const { ok, error } = JSON.parse(stdout)
      t.equal(ok, false, args.join(' '))
      t.equal(typeof error.message, 'string')
      t.equal(typeof error.fix, 'string')
      t.equal(code, 1)
      t.equal(stderr, '')
    }
  })

  // Each line as typed, up to where a person presses the tab key.
  const lines: [line: string, offered: string[], not: string[]][] = [
    ['openclaw ga', ['gateway'], ['health']],
    ['openclaw --profile x gateway cal', ['call'], ['run']],
    ['openclaw gateway call --par', ['--params'], []],
    ['openclaw gateway --bi', ['--bind'], []],
    ['openclaw gateway run --bind ', ['loopback', 'lan', 'tailnet', 'auto', 'custom'], ['--port']],
    ['openclaw gateway run --bind l', ['loopback', 'lan'], ['tailnet']],
    ['openclaw setup --mode remote --tailscale ', ['off', 'serve', 'funnel'], ['--mode']],
    // A value that is the name of a command leads nowhere.
    ['openclaw gateway call --url health --par', ['--params'], []],
    ['openclaw completion ', ['bash', 'zsh', 'fish'], []],
    ['openclaw audit --outcome d', ['denied'], ['changed']]
  ]

  t.test('bash completes commands, options and the values of options', async (t) => {
    const { stdout } = await cli(['completion', 'bash'], env)
    const calls = [...lines.map(([line]) => line), 'openclaw gateway run --bind = lo', 'openclaw gateway run --bind =']
    const script = `${stdout}
comp() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _openclaw; echo "\${COMPREPLY[*]}"; }
${calls.map((line) => `comp ${line.replace(/ $/, " ''")}`).join('\n')}`
    const bash = spawnSync('bash', ['-c', script], { encoding: 'utf8' })
    t.equal(bash.stderr, '')
    const answers = bash.stdout.split('\n').map((line) => line.split(' '))
    offers(t, answers)
    t.same(answers.slice(lines.length, -1), [['loopback'], ['loopback', 'lan', 'tailnet', 'auto', 'custom']])
  })

  t.test('zsh completes the same', without('zsh'), async (t) => {
    const { stdout } = await cli(['completion', 'zsh'], env)
    t.match(stdout, /^#compdef openclaw/)
    // What the completion system does with the lists, and nothing more.
    const script = `compdef() {}; _files() {}
_describe() { local name=\${argv[-1]} each; for each in "\${(@P)name}"; do offer "\${each%%:*}"; done }
compadd() { local each; for each in "\${argv[@]:1}"; do offer "$each"; done }
offer() { if [[ "$1" == "\${words[CURRENT]}"* ]]; then print -n -- "$1 "; fi }
${stdout}
comp() { words=("$@"); CURRENT=$#; _openclaw; print }
${lines.map(([line]) => `comp ${line.replace(/ $/, " ''")}`).join('\n')}`
    const zsh = spawnSync('zsh', ['-f', '-c', script], { encoding: 'utf8' })
    t.equal(zsh.stderr, '')
    offers(
      t,
      zsh.stdout.split('\n').map((line) => line.trim().split(' '))
    )
  })

  t.test('fish completes the same', without('fish'), async (t) => {
    const { stdout } = await cli(['completion', '--shell', 'fish'], env)
    const asked = lines.map(([line]) => `complete -C '${line}'; echo @@`).join('\n')
    const fish = spawnSync('fish', ['--no-config', '-c', `${stdout}\n${asked}`], { env, encoding: 'utf8' })
    t.equal(fish.stderr, '')
    const answers = fish.stdout.split('@@\n').map((text) => text.split('\n').map((line) => line.split('\t')[0]!))
    offers(t, answers)
  })

  function offers(t: Test, answers: readonly (readonly string[])[]): void {
    for (const [index, [line, offered, not]] of lines.entries()) {
      for (const word of offered) t.ok(answers[index]!.includes(word), `${line}: ${word}`)
      for (const word of not) t.notOk(answers[index]!.includes(word), `${line}: not ${word}`)
    }
  }
})

/** A gateway that writes down what each client sends as `auth`, and refuses it. */
async function recorder(t: Test) {
  const auths: unknown[] = []
  let sockets = 0
  const server = createHttp()
  server.on('connection', () => {
    sockets += 1
  })
  const wss = new WebSocketServer({ server })
  wss.on('connection', (socket) => {
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n', ts: 1 } }))
    socket.on('message', (data) => {
      const { id, params } = JSON.parse(String(data))
      auths.push(params.auth ?? null)
      const error = { code: 'INVALID_REQUEST', message: 'unauthorized', details: { code: 'AUTH_TOKEN_MISMATCH' } }
      socket.send(JSON.stringify({ type: 'res', id, ok: false, error }))
      socket.close(1008, 'unauthorized')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of wss.clients) socket.terminate()
    server.close()
  })
  const { port } = server.address() as net.AddressInfo
  return { port, url: `ws://127.0.0.1:${port}`, auths, sockets: () => sockets }
}

t.test('what a command sends where', async (t) => {
  const fake = await recorder(t)
  const secrets = `auth: { token: 'canary-auth', password: 'canary-auth-pw' }`
  const local = `{ gateway: { mode: 'local', port: ${fake.port}, ${secrets}, remote: { url: 'wss://remote.invalid', token: 'canary-remote' } } }`
  const remote = `{ gateway: { mode: 'remote', ${secrets}, remote: { url: '${fake.url}', token: 'canary-remote' } } }`
  const E = { OPENCLAW_GATEWAY_TOKEN: 'canary-env', OPENCLAW_GATEWAY_PASSWORD: 'canary-env-pw' }
  const rows: {
    name: string
    config?: string
    env?: NodeJS.ProcessEnv
    args: string[]
    want: object | null | 'nothing'
  }[] = [
    {
      name: 'R22: --url alone sends nothing at all',
      config: local,
      env: E,
      args: ['health', '--url', fake.url],
      want: 'nothing'
    },
    {
      name: 'R21, R22: --url --token sends that token',
      config: local,
      env: E,
      args: ['gateway', 'health', '--url', fake.url, '--token', 'canary-flag'],
      want: { token: 'canary-flag' }
    },
    {
      name: 'R21: gateway call takes --url',
      env: E,
      args: ['gateway', 'call', 'health', '--url', fake.url, '--password', 'canary-flag'],
      want: { password: 'canary-flag' }
    },
    {
      name: 'R21: gateway probe sends the token of --url there alone',
      config: remote,
      args: ['gateway', 'probe', '--url', fake.url, '--token', 'canary-flag'],
      want: { token: 'canary-flag' }
    },
    {
      name: 'R23: OPENCLAW_GATEWAY_URL gets environment credentials',
      config: local,
      env: { ...E, OPENCLAW_GATEWAY_URL: fake.url },
      args: ['health'],
      want: { token: 'canary-env', password: 'canary-env-pw' }
    },
    {
      name: 'R23: OPENCLAW_GATEWAY_URL gets nothing of the file',
      config: local,
      env: { OPENCLAW_GATEWAY_URL: fake.url },
      args: ['health'],
      want: null
    },
    {
      name: 'R24: --token wins over all',
      config: remote,
      env: E,
      args: ['health', '--token', 'canary-flag'],
      want: { token: 'canary-flag' }
    },
    {
      name: 'R25: local mode',
      config: local,
      env: E,
      args: ['health'],
      want: { token: 'canary-env', password: 'canary-env-pw' }
    },
    {
      name: 'R25: local mode, from the file',
      config: local,
      args: ['health'],
      want: { token: 'canary-auth', password: 'canary-auth-pw' }
    },
    {
      name: 'R26, R31: remote mode',
      config: remote,
      env: E,
      args: ['health'],
      want: { token: 'canary-remote', password: 'canary-env-pw' }
    },
    {
      name: 'R28: a remote status check has no local fallback',
      config: remote.replace(", token: 'canary-remote'", ''),
      env: { OPENCLAW_GATEWAY_TOKEN: 'canary-env' },
      args: ['gateway', 'status'],
      want: null
    },
    {
      name: 'R6: an unresolved secret sends nothing',
      config: local.replace(`'canary-auth'`, `{ source: 'env', provider: 'default', id: 'NOT_SET' }`),
      args: ['health'],
      want: 'nothing'
    },
    {
      name: 'S17, R33: a public plaintext URL sends nothing',
      args: ['health', '--url', 'ws://127.evil.invalid', '--token', 'canary-flag'],
      want: 'nothing'
    }
  ]
  for (const { name, config, env: extra = {}, args, want } of rows) {
    await t.test(name, async (t) => {
      const { env } = makeHome(t, config)
      fake.auths.length = 0
      const before = fake.sockets()
      const outcome = await cli([...args, '--timeout', '5000'], { ...env, ...extra })
      // A status is an answer, and a gateway that refuses was reached.
      if (!['status', 'probe'].includes(args[1]!)) t.not(outcome.code, 0)
      if (want === 'nothing') t.equal(fake.sockets(), before, 'not even a socket is opened')
      else t.same(fake.auths[0], want)
      t.notMatch(outcome.stdout + outcome.stderr, /canary/, 'no secret is printed')
    })
  }

  t.test('R22: the error says "missing credentials" and names the fix', async (t) => {
    const { stderr } = await cli(['health', '--url', fake.url], makeHome(t, local).env)
    t.match(stderr, /^error: missing credentials: .*\nfix: pass --token or --password with --url/)
  })
})

t.test('a running gateway', async (t) => {
  const gateway: GatewayProcess = await startGateway([MAIN])
  t.teardown(() => gateway.stop())
  const { env: clean } = makeHome(t)
  const env = { ...clean, OPENCLAW_STATE_DIR: gateway.stateDir }
  const port = String(gateway.port)

  t.test('answers its owner without a credential, on the local socket', async (t) => {
    const { code, stdout, stderr } = await cli(['health'], env)
    t.equal(stderr, '')
    t.equal(code, 0)
    t.match(stdout, /^Gateway is healthy\n/)
    for (const label of ['Version', 'Uptime', 'Memory', 'Event loop', 'Clients', 'Reached at']) t.match(stdout, label)
    t.match(stdout, `unix:${gateway.stateDir}/gateway.sock`)
    const json = JSON.parse((await cli(['gateway', 'health', '--json'], env)).stdout)
    t.equal(json.ok, true)
    t.type(json.eventLoop, 'object')
  })

  t.test('cannot lock its owner out: not by a stale token, not by a broken file', async (t) => {
    t.equal((await cli(['health'], { ...env, OPENCLAW_GATEWAY_TOKEN: 'stale' })).code, 0)
    const broken = path.join(makeHome(t, '{ gateway: { port: "no" ').home, '.openclaw/openclaw.json')
    const { code, stdout, stderr } = await cli(['health'], { ...env, OPENCLAW_CONFIG_PATH: broken })
    t.equal(code, 0)
    t.match(stdout, 'Gateway is healthy')
    t.match(stderr, /^warning: Invalid config at /)
  })

  t.test('refuses a wrong token over TCP, and says what to run', async (t) => {
    const { code, stderr } = await cli(['health', '--url', gateway.url, '--token', 'canary-wrong'], env)
    t.equal(code, 1)
    t.match(stderr, /token mismatch/)
    t.match(stderr, /\nfix: .*openclaw gateway auth-token --show/)
  })

  t.test('R21: takes --url with --token, and --port', async (t) => {
    t.match(
      (await cli(['health', '--url', gateway.url, '--token', gateway.token], env)).stdout,
      `Reached at  ${gateway.url}`
    )
    const withToken = { ...env, OPENCLAW_GATEWAY_TOKEN: gateway.token }
    t.match((await cli(['health', '--port', port], withToken)).stdout, `Reached at  ${gateway.url}`)
  })

  t.test('R31: is the default target where gateway.remote names it', async (t) => {
    const { env } = makeHome(
      t,
      `{ gateway: { mode: 'remote', remote: { url: '${gateway.url}', token: '${gateway.token}' } } }`
    )
    t.match((await cli(['health'], env)).stdout, `Reached at  ${gateway.url}`)
    const { gateway: report } = JSON.parse((await cli(['status', '--json'], env)).stdout)
    t.match(report, {
      reachable: true,
      urlSource: 'config gateway.remote.url',
      auth: { credential: 'gateway.remote.token' }
    })
  })

  t.test('answers any method', async (t) => {
    const presence = JSON.parse((await cli(['gateway', 'call', 'system-presence'], env)).stdout)
    t.equal(presence[0].mode, 'gateway')
    const tail = JSON.parse(
      (await cli(['gateway', 'call', 'logs.tail', '--params', '{limit: 1}', '--json'], env)).stdout
    )
    t.ok(Array.isArray(tail.lines))
    const unknown = await cli(['gateway', 'call', 'no.such.method', '--json'], env)
    t.equal(unknown.code, 1)
    t.match(JSON.parse(unknown.stdout), {
      ok: false,
      error: { code: 'INVALID_REQUEST', message: /unknown method: no\.such\.method/, retryable: false }
    })
  })

  t.test('is described by status, gateway status and gateway probe', async (t) => {
    t.match((await cli(['status', '--deep'], env)).stdout, /Reachable +yes.*Capability +admin-capable.*Health +ok/s)
    t.match(JSON.parse((await cli(['gateway', 'status', '--json', '--require-rpc'], env)).stdout), {
      gateway: { version },
      rpc: { ok: true, capability: 'admin_capable' }
    })
    const probe = await cli(['gateway', 'probe', '--json', '--url', gateway.url, '--token', gateway.token], env)
    t.equal(probe.code, 0)
    const report = JSON.parse(probe.stdout)
    t.match(report, { ok: true, degraded: false, primaryTargetId: 'explicit' })
    t.same(
      report.targets.map((target: { id: string; connect: { ok: boolean } }) => [target.id, target.connect.ok]),
      [
        ['explicit', true],
        ['localLoopback', true]
      ]
    )
  })

  t.test('gives a launch link that leads to its own port, and holds no shared token', async (t) => {
    const link = JSON.parse((await cli(['dashboard', '--json'], env)).stdout)
    t.match(link, {
      ok: true,
      httpUrl: `http://127.0.0.1:${port}/`,
      wsUrl: gateway.url,
      port: gateway.port,
      tokenIncluded: false
    })
    t.ok(link.browserUrl.startsWith(`${link.httpUrl}#bootstrapToken=`))
    t.ok(link.browserBootstrapExpiresAtMs > Date.now() + 500_000)
    const human = await cli(['dashboard', '--no-open'], { ...env, SSH_CONNECTION: '1 2 3 4' })
    t.match(human.stdout, `http://127.0.0.1:${port}/#bootstrapToken=`)
    t.match(human.stdout, `ssh -N -L ${port}:127.0.0.1:${port}`)
  })

  t.test('is talked to without loading a server', async (t) => {
    const hook = `data:text/javascript,import{registerHooks}from'node:module';registerHooks({resolve(s,c,n){const r=n(s,c);process._rawDebug(r.url);return r}})`
    const { status, stderr } = spawnSync(process.execPath, ['--import', hook, MAIN, 'health'], {
      env,
      encoding: 'utf8'
    })
    t.equal(status, 0)
    t.match(stderr, /node_modules\/ws\//, 'the hook sees what is loaded')
    t.notMatch(
      stderr,
      /node_modules\/(fastify|typebox|pino|env-schema|ajv|prom-client|@croct)|src\/(rpc|routes|plugins|store)\//
    )
  })

  t.test('is not taken down by --force away from a terminal', async (t) => {
    const { code, stderr } = await cli(['gateway', 'run', '--allow-unconfigured', '--force', '--port', port], clean)
    t.equal(code, 1)
    t.match(stderr, new RegExp(`a gateway listens on port ${port}: pid ${gateway.pid} `))
    t.equal((await cli(['health'], env)).code, 0)
  })

  t.test('serves a library client, by URL and by socket', async (t) => {
    const options = {
      client: { id: 'cli', mode: 'cli', version: '0', platform: 'test' } as const,
      scopes: ['operator.read'],
      auth: () => ({ token: gateway.token })
    }
    for (const endpoint of [{ url: gateway.url }, { socketPath: path.join(gateway.stateDir, 'gateway.sock') }]) {
      const client = nodeClient(endpoint, options)
      t.equal((await client.connect()).server.version, version)
      t.match(await client.request('health'), { ok: true })
      client.close()
    }
    t.throws(() => nodeClient({ url: 'ws://8.8.8.8' }, options), { code: 'URL_INSECURE' })
  })
})

t.test('--force stops another program on the port, and then the gateway runs', async (t) => {
  const { env } = makeHome(t)
  const port = await freePort()
  const server = `require('net').createServer().listen(${port}, '127.0.0.1', () => console.log('up'))`
  const squatter = spawn(process.execPath, ['-e', server], { stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => squatter.kill('SIGKILL'))
  await once(squatter.stdout, 'data')
  const gone = once(squatter, 'exit')
  const args = ['gateway', '--allow-unconfigured', '--token', 'canary-force', '--force', '--port', String(port)]
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...args], { env, stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  t.same(await gone, [null, 'SIGTERM'])
  await waitReady(`http://127.0.0.1:${port}/readyz`, child, 20_000)
  child.kill('SIGTERM')
  t.same(await once(child, 'exit'), [0, null])
})

t.test('auth-token --show prints the token on a terminal, and nothing else', without('script'), async (t) => {
  const { env } = makeHome(
    t,
    `{ gateway: { mode: 'local', auth: { token: { source: 'env', provider: 'default', id: 'MY_TOKEN' } } } }`
  )
  const command = `${process.execPath} ${MAIN} gateway auth-token --show`
  const args =
    process.platform === 'darwin' ? ['-q', '/dev/null', ...command.split(' ')] : ['-qec', command, '/dev/null']
  const shown = spawnSync('script', args, { env: { ...env, MY_TOKEN: 'the-token' }, encoding: 'utf8', input: '' })
  t.equal(shown.stdout.trim(), 'the-token')
  t.match(
    spawnSync('script', args, { env, encoding: 'utf8', input: '' }).stdout,
    /gateway\.auth\.token does not resolve/
  )
})

t.test('S22: no command has printed a secret', async (t) => {
  t.ok(printed.length > 10_000, 'there is something to look through')
  t.notMatch(printed, /canary|token-\d{4,}/)
})
