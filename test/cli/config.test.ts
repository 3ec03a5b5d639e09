// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of configuration files
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Io } from '../../src/cli/io.ts'
import { runCli } from '../support/cli.ts'

const folder = mkdtempSync(join(tmpdir(), 'oc-cli-config-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
let count = 0

function homeWith(text?: string) {
  const home = join(folder, `h${count++}`)
  const file = join(home, '.openclaw', 'openclaw.json')
  mkdirSync(join(home, '.openclaw'), { recursive: true })
  if (text !== undefined) writeFileSync(file, text)
  return { home, file, read: () => readFileSync(file, 'utf8') }
}

/** Runs `openclaw config …` in this process, with everything it would say. */
const config = (home: string, args: string[], more?: Partial<Io>) => runCli({ HOME: home }, ['config', ...args], more)

const BASE = `// mine
{
  gateway: {
    mode: "local", // stays
    auth: { mode: "token", token: "canary-secret-token" },
    trustedProxies: ["10.0.0.1", "10.0.0.2"],
  },
  agents: { "a.b": { n: null, zero: 0, off: false, empty: "" } },
  channels: { x: { token: "\${NOPE}", list: [{ id: 1 }] } },
}
`

t.test('config get', async (t) => {
  const { home } = homeWith(BASE)
  const cases: [path: string, plain: string, json?: unknown][] = [
    ['gateway.mode', 'local', 'local'],
    ['gateway.auth.token', '__OPENCLAW_REDACTED__', '__OPENCLAW_REDACTED__'],
    ['gateway.trustedProxies[1]', '10.0.0.2', '10.0.0.2'],
    ['agents["a.b"].zero', '0', 0],
    ["agents['a.b'].off", 'false', false],
    ['agents["a.b"].n', 'null', null],
    ['agents["a.b"].empty', '', ''],
    ['channels.x.token', '${NOPE}', '${NOPE}'],
    ['channels.x.list[0]', '{\n  "id": 1\n}', { id: 1 }]
  ]
  for (const [path, plain, json] of cases) {
    t.same(await config(home, ['get', path]), { out: `${plain}\n`, err: '', code: 0 }, path)
    t.same(JSON.parse((await config(home, ['get', path, '--json'])).out), json, `${path} --json`)
  }
  t.match(await config(home, ['get', 'gateway.port']), { out: '', err: /gateway.port is not set/, code: 1 })
  t.match(JSON.parse((await config(home, ['get', 'nope', '--json'])).out), {
    ok: false,
    error: { code: 'CONFIG_UNSET' }
  })
  t.match(await config(home, ['get', 'a..b']), { err: /empty key at character 3/, code: 1 })
  const whole = await config(home, ['get', 'gateway'])
  t.notMatch(whole.out, /canary/)
  const broken = homeWith('{ gateway: {\n nope')
  t.match(await config(broken.home, ['get', 'gateway']), { err: /openclaw.json:2:6 — not valid JSON5/, code: 78 })
})

t.test('config set', async (t) => {
  const { home, file, read } = homeWith(BASE)
  const cases: [path: string, value: string, before: string, after: string][] = [
    ['gateway.port', '19001', '"10.0.0.2"],\n', '"10.0.0.2"],\n    port: 19001,\n'],
    ['gateway.port', '0x4A39', 'port: 19001', 'port: 19001'],
    [
      'gateway.controlUi',
      "{ enabled: false, basePath: '/x' }",
      'port: 19001,\n',
      'port: 19001,\n    controlUi: {\n      enabled: false,\n      basePath: "/x"\n    },\n'
    ],
    ['agents["a.b"].zero', '-5', 'zero: 0', 'zero: -5'],
    ['agents["a.b"].empty', 'plain words', 'empty: ""', 'empty: "plain words"'],
    ['channels.x.list[1]', '{id: 2}', '[{ id: 1 }]', '[{ id: 1 }, { id: 2 }]'],
    [
      'channels.x.token',
      '{"source":"env","provider":"default","id":"X"}',
      '"${NOPE}"',
      '{ source: "env", provider: "default", id: "X" }'
    ]
  ]
  for (const [path, value, before, after] of cases) {
    const text = read()
    const said = await config(home, ['set', path, value])
    t.equal(said.code, 0, `${path} ${said.err}`)
    t.equal(read(), text.replace(before, after), path)
  }
  t.equal(statSync(file).mode & 0o777, 0o600, 'S24: the file is private from the first write on')
  t.equal(statSync(dirname(file)).mode & 0o777, 0o700, 'and so is its folder, where another could take its place')
  t.match(await config(home, ['set', 'gateway.port', '19001']), { out: 'No change\n', code: 0 })
  t.match(await config(home, ['set', 'gateway.port', '19002']), {
    out: /Set gateway.port\nRestart the gateway to apply./
  })
  t.match(await config(home, ['set', 'agents.x', '1']), { out: /No gateway restart needed/ })
  t.match(await config(home, ['set', 'plugins.entries.other.enabled', 'true']), { out: /No gateway restart needed/ })
  for (const [key, value] of [
    ['plugins.entries["admin-http-rpc"].enabled', 'true'],
    ['logging.level', '"debug"'],
    ['gateway.tools.allow', '["nodes"]']
  ] as const)
    t.match(await config(home, ['set', key, value]), { out: /It applies at once, or at the next start/ }, key)
  t.same(JSON.parse((await config(home, ['set', 'gateway.port', '19003', '--json'])).out), {
    ok: true,
    changed: true,
    dryRun: false,
    path: file,
    restart: true
  })

  const text = read()
  const refused: [path: string, value: string, message: RegExp, code: number][] = [
    ['gateway.port', 'abc', /gateway.port: Invalid input: expected number, received string/, 78],
    ['gateway.auth.mode', 'wat', /allowed: "none", "token", "password", "trusted-proxy"\), got: "wat"/, 78],
    ['gateway.nope', '1', /Unrecognized key: "nope"/, 78],
    ['gateway.auth.mode', 'password', /would not start: Gateway auth is set to password/, 78],
    ['gateway.auth.token', '__OPENCLAW_REDACTED__', /cannot be stored/, 78],
    [
      'gateway.auth.token',
      '{source:"env",provider:"default",id:"NOPE"}',
      /gateway.auth.token does not resolve \(SecretRef env:default:NOPE\)/,
      78
    ],
    ['gateway.mode.x', '1', /gateway.mode is not an object/, 1],
    ['gateway.trustedProxies[7]', '"x"', /the list has 2 elements/, 1]
  ]
  for (const [path, value, message, code] of refused) {
    const said = await config(home, ['set', path, value])
    t.match(said, { err: message, code }, `${path} ${value}`)
    t.notMatch(said.err, /canary/)
    t.equal(read(), text, 'nothing is written')
  }
  t.match(await config(home, ['set', 'gateway.port', '{a', '--strict-json']), { err: /not JSON/, code: 1 })
  t.match(await config(home, ['set', 'gateway.port', '7', '--dry-run']), { out: /nothing was written/, code: 0 })
  t.match(await config(home, ['set', 'gateway.port', 'x', '--dry-run']), { code: 78 })
  t.equal(read(), text)
})

t.test('R35: config set gateway.remote.token persists it', async (t) => {
  const { home, read } = homeWith()
  t.equal((await config(home, ['set', 'gateway.remote.token', 'tok-1'])).code, 0)
  t.match(read(), /remote: \{\n {6}token: "tok-1"\n {4}\}/)
  t.match(read(), /mode: "local"/, 'a first configuration is made around it')
  t.equal((await config(home, ['set', 'gateway.mode', 'remote'])).code, 0, 'R31')
  t.match(await config(home, ['validate']), { code: 0 })
})

t.test(
  'R25: a host that is only told where a gateway is makes up no token, which would be sent to that one',
  async (t) => {
    for (const [key, value] of [
      ['gateway.remote.token', 'tok-1'],
      ['gateway.remote.sshTarget', 'user@gateway-host'],
      ['gateway.mode', 'remote']
    ] as const) {
      const { home, read } = homeWith()
      t.match(await config(home, ['set', key, value]), { code: 0 }, key)
      t.notMatch(read(), 'auth', key)
    }
    const { home, read } = homeWith()
    await config(home, ['set', 'gateway.remote.token', 'tok-1'])
    const { out } = await runCli({ HOME: home }, ['auth', 'explain'])
    t.match(out, /gateway\.remote\.token: sent/, 'what was given is what is sent')
    t.match(await config(home, ['set', 'gateway.port', '19000']), { code: 0 }, 'and may be changed further')
    t.match(await config(home, ['set', 'gateway.auth.mode', 'password']), { code: 78 }, 'as far as it would start')
    t.match(read(), /port: 19000/)
    const gateways = homeWith()
    await config(gateways.home, ['set', 'gateway.port', '19000'])
    t.match(gateways.read(), /token: "[\w-]{43}"/, 'a gateway gets one')
  }
)

t.test('config unset and patch', async (t) => {
  const { home, read } = homeWith(BASE)
  t.match(await config(home, ['unset', 'gateway.trustedProxies[0]']), { out: /Removed/, code: 0 })
  t.match(await config(home, ['unset', 'agents']), { code: 0 })
  t.equal(read(), BASE.replace('"10.0.0.1", ', '').replace(/ {2}agents.*\n/, ''))
  t.match(await config(home, ['unset', 'gateway.auth.token']), { err: /no token is configured/, code: 78 })
  t.match(await config(home, ['unset', 'nope']), { err: /nope is not set/, code: 1 })
  const switched = `{ gateway: { auth: { mode: "trusted-proxy", token: null, trustedProxy: { userHeader: "x-user" } } } }`
  t.match(await config(home, ['patch', switched]), { code: 0 }, 'what only starts together is changed together')
  t.match(read(), /mode: "local", \/\/ stays/)
  t.match(await config(home, ['patch']), { err: /either a patch or --file/, code: 1 })
})

t.test('a value that an included file owns is changed there', async (t) => {
  const { home, file, read } = homeWith(
    '{ gateway: { mode: "local", auth: { token: "t" } }, agents: { $include: "./agents.json5" } }'
  )
  writeFileSync(join(home, '.openclaw', 'agents.json5'), '{ list: [1], name: "a" }')
  const text = read()
  t.match(await config(home, ['get', 'agents.name']), { out: 'a\n' })
  t.match(await config(home, ['unset', 'agents.name']), { err: /agents.name comes from .*agents.json5/, code: 1 })
  t.match(await config(home, ['set', 'agents.list', '[2]']), { err: /agents.list comes from .*agents.json5/, code: 1 })
  t.equal(read(), text)
  t.match(await config(home, ['set', 'agents.name', 'b']), { code: 0 })
  t.match(await config(home, ['get', 'agents.name']), { out: 'b\n' }, 'a sibling overrides what is included')
  t.ok(existsSync(file))
})

t.test('config file and validate', async (t) => {
  const { home, file } = homeWith(BASE)
  t.same(await config(home, ['file']), { out: `${file}\n`, err: '', code: 0 })
  t.same(JSON.parse((await config(home, ['file', '--json'])).out), { path: file })
  t.equal((await config(home, ['file'], { profile: 'x' })).out, `${join(home, '.openclaw-x', 'openclaw.json')}\n`)
  t.match(await config(home, ['validate']), {
    out: `${file} is valid\n`,
    err: /channels.x.token: missing environment variable "NOPE"/,
    code: 0
  })
  const bad = homeWith('{\n gateway: { mode: "local", port: "x",\n bogus: 1 } }')
  t.match(await config(bad.home, ['validate']), {
    out: '',
    err: /openclaw.json:2 — gateway.port: .*\n.*openclaw.json:3 — gateway: Unrecognized key: "bogus"/,
    code: 78
  })
  const told = JSON.parse((await config(bad.home, ['validate', '--json'])).out)
  t.match(told, {
    ok: false,
    valid: false,
    issues: [
      { path: 'gateway.port', line: 2 },
      { path: 'gateway', line: 3 }
    ]
  })
  const open = homeWith('{ gateway: { mode: "local", bind: "lan", auth: { mode: "none" } } }')
  t.match(await config(open.home, ['validate']), { err: /Refusing to bind/, code: 78 }, 'R3')
})

t.test('as a process: exit codes, and no secret on any stream', async (t) => {
  const { home } = homeWith(BASE)
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const env = { HOME: home, PATH: process.env.PATH }
  t.equal(execFileSync(process.execPath, [main, 'config', 'get', 'gateway.mode'], { env, encoding: 'utf8' }), 'local\n')
  const refused = spawnSync(process.execPath, [main, 'config', 'set', 'gateway.port', 'x', '--json'], {
    env,
    encoding: 'utf8'
  })
  t.equal(refused.status, 78)
  t.match(JSON.parse(refused.stdout), { ok: false, error: { code: 'CONFIG_INVALID' } })
  t.notMatch(refused.stdout + refused.stderr, /canary/)
})

t.test('R33: no remote URL is kept that would never be used', async (t) => {
  const url = 'wss://gateway.example'
  const { home, read } = homeWith(`{ gateway: { remote: { url: "${url}" } } }\n`)
  const kept = read()
  const refused: [args: string[], code: string][] = [
    [['set', 'gateway.remote.url', 'ws://203.0.113.7:18789'], 'URL_INSECURE'],
    [['set', 'gateway.remote.url', 'ws://127.evil.com'], 'URL_INSECURE'],
    [['set', 'gateway.remote.url', 'wss://me:secret@gateway.example'], 'URL_CREDENTIALS'],
    [['set', 'gateway.remote', '{ url: "gateway.example" }'], 'URL_INVALID'],
    [['patch', '{ gateway: { remote: { url: "http://gateway.example" } } }'], 'URL_INVALID']
  ]
  for (const [args, code] of refused) {
    const { out, code: exit } = await config(home, [...args, '--json'])
    t.match(JSON.parse(out), { ok: false, error: { code, message: /^config gateway\.remote\.url: / } }, args.join(' '))
    t.equal(exit, 1)
    t.equal(read(), kept)
  }
  t.match(await config(home, ['set', 'gateway.remote.url', 'ws://192.168.0.202:18789']), { code: 0 })
  const broken = homeWith('{ gateway: { remote: { url: "ws://203.0.113.7" } } }\n')
  t.match(
    await config(broken.home, ['set', 'gateway.port', '19000']),
    { code: 0 },
    'what was there stops no other change'
  )
})
