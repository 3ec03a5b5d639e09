import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import type { Check } from '../../src/cli/doctor/check.ts'
import { diskVerdict } from '../../src/cli/doctor/files.ts'
import { clockCheck } from '../../src/cli/doctor/host.ts'
import { serviceChecks } from '../../src/cli/doctor/service.ts'
import { tlsChecks } from '../../src/cli/doctor/tls.ts'
import { openDatabase } from '../../src/store/database.ts'
import { runCli, type Said } from '../support/cli.ts'
import { freePort, startProcess, tempDir } from '../support/gateway.ts'
import { startTailnet } from '../support/tailscaled.ts'

t.jobs = 2
t.setTimeout(100_000)

const TOKEN = 'canary-8Qf3vLx0ZpWm2RkT7yBn4GsHd6JcUaEi'
const main = join(import.meta.dirname, '../../src/cli/main.ts')

/** Everything that was said here: no secret may be in it. */
let printed = ''

interface Home {
  home: string
  dir: string
  file: string
  port: number
  env: Record<string, string>
}

/** A home with a configuration text; `PORT` in it is a free port. */
async function homeWith(t: Test, text: string | undefined): Promise<Home> {
  const home = tempDir(t)
  const dir = join(home, '.openclaw')
  const file = join(dir, 'openclaw.json')
  const port = await freePort()
  if (text !== undefined) {
    mkdirSync(dir, { mode: 0o700 })
    writeFileSync(file, text.replaceAll('PORT', String(port)), { mode: 0o600 })
  }
  return { home, dir, file, port, env: { HOME: home, PATH: process.env.PATH ?? '' } }
}

async function doctor(env: Record<string, string>, args: string[] = []): Promise<Said> {
  const said = await runCli(env, ['doctor', ...args])
  printed += said.out + said.err
  return said
}

interface Report {
  ok: boolean
  checks: Check[]
  findings: { checkId: string; severity: string; message: string; line?: number; fixHint?: string }[]
}

async function checksOf(env: Record<string, string>, args: string[] = []): Promise<Report> {
  const said = await doctor(env, ['--json', ...args])
  if (said.code !== 0) throw new Error(`--json exits with ${said.code}: ${said.err}`)
  return JSON.parse(said.out)
}

const of = ({ checks }: Report, id: string) => checks.filter((check) => check.id === id)

const GOOD = `// mine
{
  gateway: {
    mode: "local", // stays
    port: PORT,
    auth: { mode: "token", token: "${TOKEN}" },
  },
}
`

interface Broken {
  name: string
  text?: string
  break?: (home: Home, t: Test) => unknown
  env?: Record<string, string>
  /** The check that names it: its id, status, and a part of what it says. */
  check: string
  status: 'warning' | 'error'
  says: RegExp
  /** What mends it: `--fix`, or the command of the check. */
  mends: '--fix' | 'command' | 'nothing'
  after?: (home: Home, t: Test) => unknown
}

const states: Broken[] = [
  {
    name: 'an unparsable configuration',
    text: '{ gateway: {\n  mode: "local",,\n} }',
    break: ({ file }) => writeFileSync(`${file}.bak`, GOOD.replace('PORT', '19999'), { mode: 0o600 }),
    check: 'config',
    status: 'error',
    says: /openclaw\.json:2:17 — not valid JSON5/,
    mends: 'command'
  },
  {
    name: 'an unparsable configuration without a backup',
    text: '{ gateway: {',
    check: 'config',
    status: 'error',
    says: /openclaw\.json:1:\d+ — not valid JSON5/,
    mends: 'nothing'
  },
  {
    name: 'an unknown key',
    text: GOOD.replace('port: PORT', 'prot: PORT'),
    check: 'config',
    status: 'error',
    says: /openclaw\.json:5 — gateway: Unrecognized key: "prot"/,
    mends: 'nothing'
  },
  {
    name: 'no gateway.mode',
    text: GOOD.replace('mode: "local", // stays', ''),
    check: 'config',
    status: 'error',
    says: /gateway\.mode is not set/,
    mends: '--fix',
    after: ({ file }, t) => {
      const text = readFileSync(file, 'utf8')
      t.match(text, /mode: "local"/)
      t.match(text, /^\/\/ mine/, 'comments survive')
    }
  },
  {
    name: 'settings that were retired',
    text: GOOD.replace(
      'port: PORT,',
      `port: PORT,
    reload: { mode: "hot", debounceMs: 300, deferralTimeoutMs: 1 }, // kept
    tailscale: { mode: "off", resetOnExit: true },`
    ),
    check: 'config',
    status: 'error',
    says: /gateway\.reload\.mode is "hot", a value that no longer exists/,
    mends: '--fix',
    after: ({ file }, t) => {
      const text = readFileSync(file, 'utf8')
      t.match(text, 'reload: { mode: "hybrid" }, // kept')
      t.match(text, 'tailscale: { mode: "off" }')
      t.match(text, TOKEN, 'the rest is as it was')
    }
  },
  {
    name: 'a retired switch that did nothing',
    text: GOOD.replace('port: PORT,', 'port: PORT, controlUi: { dangerouslyDisableDeviceAuth: true },'),
    check: 'config',
    status: 'error',
    says: /dangerouslyDisableDeviceAuth is a setting that no longer exists/,
    mends: '--fix',
    after: ({ file }, t) =>
      t.equal(readFileSync(`${file}.bak`, 'utf8').includes('dangerously'), true, 'a backup is kept')
  },
  {
    name: 'a retired setting in an included file',
    text: GOOD.replace('port: PORT,', 'port: PORT, reload: { $include: "./reload.json5" },'),
    break: ({ dir }) => writeFileSync(join(dir, 'reload.json5'), '{ debounceMs: 1 }', { mode: 0o600 }),
    check: 'config',
    status: 'error',
    says: /reload\.json5:1 — gateway\.reload: Unrecognized key/,
    mends: 'nothing'
  },
  {
    name: 'token auth without a token',
    text: GOOD.replace(/, token: "[^"]*"/, ''),
    check: 'config',
    status: 'error',
    says: /asks for a token, and none is configured/,
    mends: '--fix',
    after: ({ file }, t) => t.match(readFileSync(file, 'utf8'), /token: "[\w-]{43}"/)
  },
  {
    name: 'R25: no token, and one for a gateway elsewhere, which a new one would take the place of',
    text: '{ gateway: { mode: "local", port: PORT, remote: { token: "elsewhere" } } }',
    check: 'start',
    status: 'error',
    says: /no token is configured/,
    mends: 'nothing',
    after: ({ file }, t) => t.notMatch(readFileSync(file, 'utf8'), 'auth')
  },
  {
    name: 'a blank token',
    text: GOOD.replace(TOKEN, ' '),
    check: 'config',
    status: 'error',
    says: /none is configured/,
    mends: '--fix'
  },
  {
    name: 'several slips at once, each of which would stop the start',
    text: '{ gateway: { port: PORT, reload: { mode: "restart", debounceMs: 1 } } }',
    check: 'config',
    status: 'error',
    says: /gateway\.reload\.mode is "restart"/,
    mends: '--fix'
  },
  {
    name: 'no auth beyond this host',
    text: GOOD.replace(/auth: .*/, 'bind: "lan", auth: { mode: "none" },'),
    check: 'start',
    status: 'error',
    says: /Refusing to bind gateway to lan without auth/,
    mends: 'nothing'
  },
  {
    name: 'a SecretRef that does not resolve',
    text: GOOD.replace(`"${TOKEN}"`, '{ source: "env", provider: "default", id: "NOT_SET" }'),
    check: 'start',
    status: 'error',
    says: /gateway\.auth\.token does not resolve \(SecretRef env:default:NOT_SET\)/,
    mends: 'nothing'
  },
  {
    name: 'files that others can read',
    text: GOOD,
    break: ({ dir, file }) => {
      chmodSync(dir, 0o755)
      chmodSync(file, 0o644)
    },
    check: 'permissions',
    status: 'error',
    says: /openclaw\.json has mode 644/,
    mends: '--fix',
    after: ({ file }, t) => t.equal(statSync(file).mode & 0o777, 0o600)
  },
  {
    name: 'a state folder that is gone',
    text: GOOD,
    break: ({ home, dir, file, env }) => {
      const kept = join(home, 'elsewhere.json')
      writeFileSync(kept, readFileSync(file), { mode: 0o600 })
      rmSync(dir, { recursive: true })
      env.OPENCLAW_CONFIG_PATH = kept
    },
    check: 'state',
    status: 'warning',
    says: /does not exist/,
    mends: '--fix',
    after: ({ dir }, t) => t.equal(statSync(dir).mode & 0o777, 0o700)
  },
  {
    name: "a dead gateway's leftovers",
    text: GOOD,
    break: async ({ dir, env, port }, t) => {
      const gateway = await startProcess(t, { stateDir: dir, port, env: { HOME: env.HOME ?? '' } })
      gateway.child.kill('SIGKILL')
      await gateway.exited
      t.ok(existsSync(join(dir, 'gateway.sock')))
    },
    check: 'state',
    status: 'warning',
    says: /gateway\.sock is left over/,
    mends: '--fix',
    after: ({ dir }, t) => t.notOk(existsSync(join(dir, 'gateway.sock')))
  },
  {
    name: 'a lock of a change that never ended',
    text: GOOD,
    break: async ({ file }) => {
      const dead = spawn('true')
      await once(dead, 'exit')
      symlinkSync(String(dead.pid), `${file}.lock`)
    },
    check: 'state',
    status: 'warning',
    says: /openclaw\.json\.lock is left over/,
    mends: '--fix'
  },
  {
    name: 'a port that another program has taken',
    text: GOOD,
    break: ({ port }, t) => listener(t, port, 'squatter'),
    check: 'port',
    status: 'error',
    says: /is taken by pid \d+ \(squatter\)$/,
    mends: 'command'
  },
  {
    name: 'a port of the environment that another program has taken',
    text: GOOD,
    break: async (home, t) => {
      const port = await freePort()
      home.env.OPENCLAW_GATEWAY_PORT = String(port)
      return listener(t, port, 'squatter')
    },
    check: 'port',
    status: 'error',
    says: /is taken by pid/,
    mends: 'nothing'
  },
  {
    name: 'a database of a later version',
    text: GOOD,
    break: ({ dir }) => {
      openDatabase(join(dir, 'gateway.sqlite')).close()
      const db = new DatabaseSync(join(dir, 'gateway.sqlite'))
      db.exec('PRAGMA user_version = 999')
      db.close()
    },
    check: 'database',
    status: 'error',
    says: /written by a later version \(schema 999, this build knows \d+\)/,
    mends: 'nothing'
  },
  {
    name: 'a database that is none',
    text: GOOD,
    break: ({ dir }) => writeFileSync(join(dir, 'gateway.sqlite'), 'x'.repeat(8192), { mode: 0o600 }),
    check: 'database',
    status: 'error',
    says: /file is not a database/,
    mends: 'command'
  },
  {
    name: 'a clock that runs behind its files',
    text: GOOD,
    break: ({ file }) => utimesSync(file, new Date(), new Date(Date.now() + 49 * 3_600_000)),
    check: 'clock',
    status: 'warning',
    says: /from 49 h later/,
    mends: 'nothing'
  },
  {
    name: 'a remote gateway without a URL',
    text: '{ gateway: { mode: "remote" } }',
    check: 'remote',
    status: 'error',
    says: /gateway\.remote\.url is not set/,
    mends: 'nothing'
  },
  {
    name: 'a remote gateway that nobody reaches',
    text: '{ gateway: { mode: "remote", remote: { transport: "direct", url: "ws://127.0.0.1:PORT" } } }',
    check: 'remote',
    status: 'error',
    says: /no gateway answers at ws:\/\/127\.0\.0\.1:\d+/,
    mends: 'nothing'
  }
]

for (const state of states) {
  t.test(state.name, async (t) => {
    const home = await homeWith(t, state.text)
    await state.break?.(home, t)
    const named = of(await checksOf(home.env), state.check).filter(({ status }) => status === state.status)
    const match = named.find(({ detail }) => state.says.test(detail))
    t.ok(match, `${state.says} among ${JSON.stringify(named.map(({ detail }) => detail))}`)
    t.type(match?.fix?.command, 'string')
    t.equal(spawnSync('sh', ['-n', '-c', match?.fix?.command ?? '']).status, 0)
    t.equal(match?.mendable === true, state.mends === '--fix')
    t.equal((await doctor(home.env)).code, hasError(await checksOf(home.env)) ? 1 : 0, 'the exit code')
    const before = existsSync(home.file) ? readFileSync(home.file, 'utf8') : undefined
    if (state.mends === 'command') {
      const shell = { env: { ...home.env, PATH: `${bin}:${process.env.PATH}` }, encoding: 'utf8' } as const
      const { status, stderr } = spawnSync('sh', ['-c', match?.fix?.command ?? 'false'], shell)
      t.equal(status, 0, stderr)
    } else await doctor(home.env, ['--fix', '--non-interactive'])
    const left = of(await checksOf(home.env), state.check).filter(({ detail }) => state.says.test(detail))
    t.equal(left.length === 0, state.mends !== 'nothing', 'mended, or left as it was')
    if (state.mends === 'nothing' && before !== undefined) t.equal(readFileSync(home.file, 'utf8'), before)
    if (state.mends !== 'nothing') t.same(of(await checksOf(home.env), state.check).filter(isWrong), [])
    await state.after?.(home, t)
  })
}

const isWrong = ({ status }: Check) => status === 'error' || status === 'warning'
const hasError = ({ checks }: Report) => checks.some(({ status }) => status === 'error')

// The command under its own name, as the fixes write it.
const bin = tempDir(t)
writeFileSync(join(bin, 'openclaw'), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, { mode: 0o755 })

/** A program of some name that listens on a port. */
async function listener(t: Test, port: number, name: string): Promise<ChildProcess> {
  const code = `require('net').createServer().listen(${port}, '127.0.0.1', () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', code], { argv0: name, stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout!, 'data')
  return child
}

t.test('a running gateway, and nothing is wrong', async (t) => {
  const { dir, port, env, file } = await homeWith(t, GOOD)
  const gateway = await startProcess(t, { stateDir: dir, port, env: { HOME: env.HOME ?? '' } })
  const before = snapshot(dir)
  const report = await checksOf(env, ['--deep'])
  t.equal(report.ok, true, JSON.stringify(report.findings))
  t.match(of(report, 'state')[0]?.detail, `(pid ${gateway.child.pid}) runs on ${dir}`)
  t.match(of(report, 'port')[0]?.detail, `${port} is the gateway's`)
  t.match(of(report, 'gateway')[0]?.detail, /^version .* answers on unix:/)
  t.match(of(report, 'database')[0]?.detail, /^whole, schema \d+ of \d+$/)
  t.same(snapshot(dir), before, '--json changes nothing')
  const human = await doctor(env)
  t.equal(human.code, 0)
  t.match(human.out, /\nNothing is wrong\.\n$/)
  for (const line of human.out.split('\n'))
    t.ok(line.length <= 80 || line.includes(dir) || line.includes(process.execPath), line)

  t.match((await doctor(env, ['--fix'])).out, /Nothing is wrong/, 'and there is nothing to mend')
  t.ok(existsSync(join(dir, 'gateway.sock')), 'a socket that is in use is no leftover')
  writeFileSync(file, readFileSync(file, 'utf8').replace(String(port), String(await freePort())))
  t.match(of(await checksOf(env), 'port')[0], {
    status: 'warning',
    detail: /the running gateway listens on another one/
  })

  gateway.child.kill('SIGSTOP')
  const [stuck] = of(await checksOf(env), 'gateway')
  gateway.child.kill('SIGCONT')
  t.match(stuck, { status: 'error', detail: /did not answer in time/ })

  rmSync(join(dir, 'gateway.sock'))
  t.match(of(await checksOf(env), 'state')[0], {
    status: 'error',
    detail: /^a gateway \(pid \d+\) holds .*, and its socket does not answer$/,
    fix: { command: `kill ${gateway.child.pid}` }
  })
})

function snapshot(dir: string): Record<string, string> {
  // A reader of the database may touch the file of shared memory, and a gateway writes down who came in.
  const names = globSync('**/*', { cwd: dir }).filter((name) => !/gateway\.sqlite-|\.sock$|\.log$/.test(name))
  return Object.fromEntries(
    names.map((name) => {
      const { mode, size, mtimeMs } = statSync(join(dir, name))
      return [name, `${mode.toString(8)} ${size} ${mtimeMs}`]
    })
  )
}

t.test('--json looks, and does nothing else', async (t) => {
  const { dir, env } = await homeWith(t, '{ gateway: { reload: { mode: "hot" } } }')
  openDatabase(join(dir, 'gateway.sqlite')).close()
  chmodSync(dir, 0o755)
  const before = snapshot(dir)
  const { out, code } = await doctor(env, ['--json'])
  t.equal(code, 0, 'whatever it finds')
  const report = JSON.parse(out)
  t.same(Object.keys(report), ['schemaVersion', 'ok', 'checksRun', 'checksSkipped', 'checks', 'findings'])
  t.equal(report.ok, false)
  t.equal(report.checksRun + report.checksSkipped, report.checks.length)
  for (const { checkId, severity, message } of report.findings) {
    t.match([checkId, severity, message], [/^[a-z]+$/, /^(warning|error)$/, /./])
  }
  t.same(snapshot(dir), before)
  t.same(globSync('**/*', { cwd: dir }).sort(), ['gateway.sqlite', 'openclaw.json'])
  for (const flag of ['--fix', '--repair', '--yes', '--generate-gateway-token']) {
    t.match(await doctor(env, ['--json', flag]), { code: 1, out: /"code": "USAGE"/ }, flag)
  }
})

t.test('a host without anything is no failure', async (t) => {
  const { env, home } = await homeWith(t, undefined)
  env.OPENCLAW_GATEWAY_PORT = String(await freePort())
  const { out, code } = await doctor(env, ['--fix'])
  t.equal(code, 0)
  t.match(out, /0 errors, 2 warnings\.\n$/)
  t.same(globSync('.*', { cwd: home }), [], 'and nothing is made')
})

t.test('commands name the profile', async (t) => {
  const { env, home } = await homeWith(t, undefined)
  mkdirSync(join(home, '.openclaw-two'), { mode: 0o700 })
  writeFileSync(join(home, '.openclaw-two/openclaw.json'), '{ gateway: {} }', { mode: 0o600 })
  const { out } = await runCli(env, ['doctor', '--json'], { profile: 'two' })
  t.match(JSON.parse(out).checks.find(({ id }: Check) => id === 'config')?.fix, {
    command: 'openclaw --profile two doctor --fix'
  })
})

t.test('a program that hands out secrets is not run', async (t) => {
  const { dir, env } = await homeWith(
    t,
    '{ gateway: { mode: "local", port: PORT, auth: { token: { source: "exec", provider: "vault", id: "x" } } }, secrets: { providers: { vault: { source: "exec", command: "/nonexistent/vault" } } } }'
  )
  t.match(of(await checksOf(env), 'start')[0], { status: 'ok' })
  t.ok(existsSync(dir))
})

t.test('--generate-gateway-token', async (t) => {
  const { env, file, dir } = await homeWith(t, GOOD)
  const said = await doctor(env, ['--generate-gateway-token'])
  t.equal(said.code, 0)
  t.match(said.out, /^Wrote a new token to .*openclaw gateway auth-token --show\nClients that use the old token/)
  const text = readFileSync(file, 'utf8')
  const [, token = ''] = /token: "([\w-]{43})"/.exec(text) ?? []
  t.notMatch(said.out + said.err, token)
  t.notMatch(text, TOKEN)
  t.match(text, '// stays')
  t.match(readFileSync(`${file}.bak`, 'utf8'), TOKEN, 'the old text is kept')
  t.equal((await doctor(env, ['--generate-gateway-token'])).code, 0)
  t.notMatch(readFileSync(file, 'utf8'), token, 'each is new')

  const fresh = await homeWith(t, undefined)
  t.equal((await doctor(fresh.env, ['--generate-gateway-token'])).code, 0)
  t.match(readFileSync(fresh.file, 'utf8'), /mode: "local"[\s\S]*token: "[\w-]{43}"/)

  const refused: [name: string, text: string, env: Record<string, string>, says: RegExp][] = [
    ['the environment decides', GOOD, { OPENCLAW_GATEWAY_TOKEN: 'canary-env' }, /OPENCLAW_GATEWAY_TOKEN decides/],
    ['a reference decides', GOOD.replace(TOKEN, '$MY_TOKEN'), { MY_TOKEN: TOKEN }, /is a reference/],
    [
      'a SecretRef decides',
      GOOD.replace(`"${TOKEN}"`, '{ source: "env", provider: "default", id: "MY_TOKEN" }'),
      { MY_TOKEN: TOKEN },
      /is a reference/
    ],
    ['another mode', GOOD.replace('mode: "token", token', 'mode: "password", password'), {}, /is "password"/],
    ['no auth', GOOD.replace(/auth: .*/, 'auth: { mode: "none" },'), {}, /is "none"/],
    ['an inferred password', GOOD.replace('mode: "token", token', 'password'), {}, /is "password"/],
    ['a gateway elsewhere', GOOD.replace('mode: "local"', 'mode: "remote"'), {}, /gateway\.mode is "remote"/],
    ['an unparsable file', '{ gateway: {', {}, /not valid JSON5/]
  ]
  for (const [name, written, more, says] of refused) {
    const other = await homeWith(t, written)
    const before = readFileSync(other.file, 'utf8')
    const { code, err } = await doctor({ ...other.env, ...more }, ['--generate-gateway-token'])
    t.not(code, 0, name)
    t.match(err, says, name)
    t.match(err, /\nfix: /, name)
    t.equal(readFileSync(other.file, 'utf8'), before, name)
  }
  t.ok(existsSync(dir))
})

const script = { skip: spawnSync('script', ['--version']).error === undefined ? false : 'there is no script here' }

t.test('a missing token is asked about on a terminal, and nowhere else', script, async (t) => {
  const rows: [flags: string, answer: string, asks: boolean, writes: boolean][] = [
    ['--fix', 'n\n', true, false],
    ['--fix', 'y\n', true, true],
    ['--fix', '\n', true, true],
    ['--fix --yes', 'n\n', false, true],
    ['--yes', 'n\n', false, true],
    ['--fix --non-interactive', 'n\n', false, true]
  ]
  for (const [flags, answer, asks, writes] of rows) {
    const { env, file } = await homeWith(t, GOOD.replace(/, token: "[^"]*"/, ''))
    const command = `${process.execPath} ${main} doctor ${flags}`
    const mac = process.platform === 'darwin'
    const args = mac ? ['-q', '/dev/null', ...command.split(' ')] : ['-qec', command, '/dev/null']
    const { stdout } = spawnSync('script', args, { env, encoding: 'utf8', input: answer })
    t.equal(stdout.includes('Write a new random token'), asks, `${flags} asks`)
    const [, token] = /token: "([\w-]{43})"/.exec(readFileSync(file, 'utf8')) ?? []
    t.equal(token !== undefined, writes, `${flags} ${JSON.stringify(answer)}`)
    if (token !== undefined) t.notMatch(stdout, token)
  }
})

t.test('an SSH tunnel', async (t) => {
  const remote = (more: string) => `{ gateway: { mode: "remote", remote: { url: "ws://127.0.0.1:PORT", ${more} } } }`
  const closed = await homeWith(
    t,
    remote('sshTarget: "me@gw.example.com", remotePort: 19000, sshIdentity: "/keys/my key"')
  )
  t.match(of(await checksOf(closed.env), 'tunnel')[0], {
    status: 'error',
    detail: `nothing listens on 127.0.0.1:${closed.port}, the local end`,
    fix: {
      command: `ssh -N -i '/keys/my key' -L ${closed.port}:127.0.0.1:19000 me@gw.example.com`,
      where: 'this client'
    }
  })
  const unknown = await homeWith(t, remote(''))
  t.match(of(await checksOf(unknown.env), 'tunnel')[0]?.detail, /gateway\.remote\.sshTarget names no host/)
  const open = await homeWith(t, remote(''))
  const ssh = await listener(t, open.port, '/usr/bin/ssh')
  t.match(of(await checksOf(open.env), 'tunnel')[0], { status: 'ok', detail: `pid ${ssh.pid} (ssh) listens` })
  const other = await homeWith(t, remote(''))
  await listener(t, other.port, 'squatter')
  const report = await checksOf(other.env)
  t.match(of(report, 'tunnel')[0], { status: 'warning', detail: /\(squatter\) listens on .*no ssh/ })
  t.match(of(report, 'gateway')[0], { status: 'skipped' })
})

t.test('a gateway of another version', async (t) => {
  const { dir, env } = await homeWith(t, GOOD)
  const server = createServer()
  const wss = new WebSocketServer({ server })
  wss.on('connection', (socket) => {
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n', ts: 1 } }))
    socket.on('message', (data) => {
      const { id, method } = JSON.parse(String(data))
      const auth = { method: 'owner', role: 'operator', scopes: [] }
      const hello = { type: 'hello-ok', auth, server: { version: '0.0.1' }, snapshot: { uptimeMs: 1 } }
      socket.send(JSON.stringify({ type: 'res', id, ok: true, payload: method === 'connect' ? hello : { ok: true } }))
    })
  })
  server.listen(join(dir, 'gateway.sock'))
  await once(server, 'listening')
  chmodSync(join(dir, 'gateway.sock'), 0o600)
  t.teardown(() => {
    for (const socket of wss.clients) socket.terminate()
    server.close()
  })
  t.match(of(await checksOf(env), 'gateway')[0], {
    status: 'warning',
    detail: /^version 0\.0\.1 runs, and this command is/
  })
})

t.test('Tailscale, where the configuration counts on it', async (t) => {
  const tailnet = await startTailnet(t)
  const here = { mode: 'serve', socket: tailnet.socket }
  const served = GOOD.replace('port: PORT,', `port: PORT, tailscale: ${JSON.stringify(here)},`)
  const { env } = await homeWith(t, served)
  const asked = async (PATH = tailnet.env.PATH) => of(await checksOf({ ...env, PATH }), 'tailscale')[0]
  t.match(await asked(), { status: 'ok', detail: /as box\.tail1\.ts\.net$/ })
  tailnet.set({ state: 'NeedsLogin' })
  t.match(await asked(), { status: 'error', detail: /not connected \(NeedsLogin\)/, fix: { command: 'tailscale up' } })
  await tailnet.kill()
  t.match(await asked(), { status: 'error', detail: /doesn't appear to be running/, fix: { command: /tailscaled/ } })
  t.match(await asked('/nowhere'), { status: 'error', detail: /not on PATH/, fix: { command: /install/ } })

  const unused = await homeWith(t, GOOD)
  t.match(of(await checksOf(unused.env), 'tailscale')[0], { status: 'skipped' }, 'and nobody is asked elsewhere')
})

t.test('services', async (t) => {
  const rows: [name: string, system: NodeJS.Platform, program: string, status: string, detail: RegExp][] = [
    ['an active unit', 'linux', 'echo active', 'ok', /openclaw-gateway\.service is active/],
    ['a failed unit', 'linux', 'echo failed; exit 3', 'warning', /openclaw-gateway\.service is failed/],
    ['a stopped unit', 'linux', 'echo inactive; exit 3', 'warning', /is inactive/],
    [
      'no systemd',
      'linux',
      'echo "Failed to connect to bus" >&2; exit 1',
      'skipped',
      /systemd does not answer \(Failed to connect/
    ],
    ['no systemctl', 'linux', '', 'skipped', /there is no systemctl/],
    ['a running agent', 'darwin', 'echo "state = running"', 'ok', /ai\.openclaw\.gateway is running/],
    ['a stopped agent', 'darwin', 'exit 113', 'warning', /is installed and not running/],
    ['another system', 'win32', '', 'skipped', /services of win32/]
  ]
  for (const [name, system, program, status, detail] of rows) {
    const { home, env } = await homeWith(t, GOOD)
    mkdirSync(join(home, '.config/systemd/user'), { recursive: true })
    writeFileSync(join(home, '.config/systemd/user/openclaw-gateway.service'), '[Service]\n')
    mkdirSync(join(home, 'Library/LaunchAgents'), { recursive: true })
    writeFileSync(join(home, 'Library/LaunchAgents/ai.openclaw.gateway.plist'), '')
    const folder = tempDir(t)
    for (const command of ['systemctl', 'launchctl']) {
      if (program !== '') writeFileSync(join(folder, command), `#!/bin/sh\n${program}\n`, { mode: 0o755 })
    }
    const context = {
      env: { ...env, PATH: folder },
      config: undefined,
      source: undefined,
      deep: false,
      running: { running: false, answers: false, pid: undefined }
    }
    t.match((await serviceChecks(context, system))[0], { status, detail }, name)
    if (system !== process.platform) continue
    t.match(of(await checksOf({ ...env, PATH: folder }), 'service')[0], { status, detail }, `${name}, by the command`)
  }
  const { env } = await homeWith(t, GOOD)
  t.match(of(await checksOf(env), 'service')[0], { status: 'skipped' })
})

t.test('disk, clock and certificates', async (t) => {
  const MB = 1024 * 1024
  t.equal(diskVerdict('/s', 10 * MB, 1).status, 'error')
  t.equal(diskVerdict('/s', 100 * MB, 1).status, 'warning')
  t.equal(diskVerdict('/s', 10_000 * MB, 0.001).status, 'error')
  t.equal(diskVerdict('/s', 10_000 * MB, 0.5).status, 'ok')
  const stateDir = tempDir(t)
  t.equal(clockCheck({ stateDir, platform: 'linux' }, Date.UTC(1970, 0, 2)).status, 'error')
  t.equal(clockCheck({ stateDir, platform: 'linux' }).status, 'ok')
  const base = { certPath: '/c', keyPath: '/k', autoGenerate: true, missing: false, selfSigned: true }
  const valid = { notBefore: 0, notAfter: Date.now() + 1e12 }
  t.equal(tlsChecks(undefined, Date.now())[0]?.status, 'skipped')
  t.equal(tlsChecks({ ...base, ...valid }, Date.now())[0]?.status, 'ok')
  t.equal(tlsChecks({ ...base, missing: true }, Date.now())[0]?.status, 'ok')
  t.equal(tlsChecks({ ...base, missing: true, autoGenerate: false }, Date.now())[0]?.status, 'error')
  t.equal(tlsChecks({ ...base, ...valid, notAfter: 1 }, Date.now())[0]?.status, 'error')
  t.equal(tlsChecks({ ...base, ...valid, problem: '/k is not the key of /c' }, Date.now())[0]?.status, 'error')
})

t.test('S22: no secret was told', async (t) => {
  t.ok(printed.length > 20_000)
  t.notMatch(printed, /canary/)
})
