// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of configuration files
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { Compile } from 'typebox/compile'
import { startRefusal } from '../../src/auth/bind-policy.ts'
import { ConfigError } from '../../src/config/errors.ts'
import { firstStart } from '../../src/config/first-start.ts'
import { loadConfig } from '../../src/config/load.ts'
import { type Env, localSocketPath, resolvePaths } from '../../src/config/paths.ts'
import { GATEWAY_SCHEMA, REFUSED, UNSUPPORTED } from '../../src/config/schema.ts'
import type { ConfigFlags } from '../../src/config/types.ts'
import { type ConfigSchema, validate } from '../../src/config/validate.ts'

const home = mkdtempSync(join(tmpdir(), 'oc-config-'))
t.teardown(() => rmSync(home, { recursive: true, force: true }))
let count = 0

/** A home of its own with these files in its state folder. */
function homeWith(files: Record<string, string>): { env: Env; dir: string } {
  const own = join(home, `h${count++}`)
  const dir = join(own, '.openclaw')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), text, { mode: 0o600 })
  }
  return { env: { HOME: own }, dir }
}

async function load(
  file: unknown,
  options: { env?: Env; flags?: ConfigFlags; client?: boolean; files?: Record<string, string>; exact?: boolean } = {}
) {
  const text = typeof file === 'string' ? file : JSON.stringify(file)
  const { env, dir } = homeWith({ 'openclaw.json': text, ...options.files })
  const merged = { ...env, ...options.env }
  const { flags = {}, client = false } = options
  const config = await loadConfig({ env: merged, paths: resolvePaths(merged), flags, client })
  return Object.assign(Object.create(config), { dir }) as typeof config & { dir: string }
}

async function refusalOf(work: Promise<unknown>): Promise<ConfigError> {
  try {
    await work
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('it was not refused')
}

t.test('paths come from environment and profile', async (t) => {
  const cases: { name: string; env: Env; options?: { profile?: string; dev?: boolean }; want: object }[] = [
    {
      name: 'default',
      env: {},
      want: { stateDir: '/h/.openclaw', configPath: '/h/.openclaw/openclaw.json', defaultPort: 18789 }
    },
    {
      name: 'profile',
      env: {},
      options: { profile: 'work' },
      want: { stateDir: '/h/.openclaw-work', profile: 'work', defaultPort: 18789 }
    },
    {
      name: 'dev',
      env: {},
      options: { dev: true },
      want: { stateDir: '/h/.openclaw-dev', profile: 'dev', defaultPort: 19001 }
    },
    { name: 'profile variable', env: { OPENCLAW_PROFILE: 'x' }, want: { stateDir: '/h/.openclaw-x' } },
    { name: 'home', env: { OPENCLAW_HOME: '/srv' }, want: { home: '/srv', stateDir: '/srv/.openclaw' } },
    { name: 'home with tilde', env: { OPENCLAW_HOME: '~/svc' }, want: { home: '/h/svc' } },
    { name: 'home "undefined"', env: { OPENCLAW_HOME: 'undefined' }, want: { home: '/h' } },
    {
      name: 'state folder',
      env: { OPENCLAW_STATE_DIR: '~/s' },
      want: { stateDir: '/h/s', configPath: '/h/s/openclaw.json', localSocket: '/h/s/gateway.sock' }
    },
    { name: 'blank state folder', env: { OPENCLAW_STATE_DIR: ' ' }, want: { stateDir: '/h/.openclaw' } },
    {
      name: 'config path',
      env: { OPENCLAW_CONFIG_PATH: '/etc/oc.json' },
      want: { configPath: '/etc/oc.json', stateDir: '/h/.openclaw' }
    },
    {
      name: 'a profile replaces inherited standard paths',
      env: { OPENCLAW_STATE_DIR: '/h/.openclaw-old', OPENCLAW_CONFIG_PATH: '/h/.openclaw/openclaw.json' },
      options: { profile: 'new' },
      want: { stateDir: '/h/.openclaw-new', configPath: '/h/.openclaw-new/openclaw.json' }
    },
    {
      name: 'a profile leaves chosen paths',
      env: { OPENCLAW_STATE_DIR: '/data' },
      options: { profile: 'new' },
      want: { stateDir: '/data' }
    }
  ]
  for (const { name, env, options, want } of cases) t.match(resolvePaths({ HOME: '/h', ...env }, options), want, name)
  for (const profile of ['../x', '.hidden', '', 'a/b']) {
    t.throws(
      () => resolvePaths({ HOME: '/h' }, { profile }),
      { code: 'CONFIG_ENVIRONMENT', exitCode: 78 },
      `refuses profile "${profile}"`
    )
  }
  const long = localSocketPath(`/${'x'.repeat(100)}`)
  t.ok(Buffer.byteLength(long) <= 100, 'a long state folder gets a short socket')
  t.match(long, /openclaw-\d+\/[0-9a-f]{8}\.sock$/)
  t.not(long, localSocketPath(`/${'y'.repeat(100)}`))
})

t.test('R1: port from flag, environment, file, default, in that order', async (t) => {
  const cases = [
    { flag: 1, env: '2', file: 3, want: [1, 'flag'] },
    { env: '2', file: 3, want: [2, 'env'] },
    { env: '', file: 3, want: [3, 'file'] },
    { file: 3, want: [3, 'file'] },
    { want: [18789, 'default'] }
  ]
  for (const { flag, env, file, want } of cases) {
    const { gateway } = await load(
      { gateway: { mode: 'local', ...(file === undefined ? {} : { port: file }) } },
      { env: { OPENCLAW_GATEWAY_PORT: env }, flags: flag === undefined ? {} : { port: flag } }
    )
    t.same([gateway.port, gateway.portSource], want, JSON.stringify(want))
  }
  for (const client of [false, true]) {
    for (const bad of ['0', '65536', 'abc', '1.5', '-1', '0x10000']) {
      const work = load({ gateway: { mode: 'local' } }, { env: { OPENCLAW_GATEWAY_PORT: bad }, client })
      const { code, message } = await refusalOf(work)
      t.equal(code, 'CONFIG_ENVIRONMENT', bad)
      t.match(message, `Invalid OPENCLAW_GATEWAY_PORT "${bad}"`)
    }
  }
  const level = refusalOf(load({ gateway: { mode: 'local' } }, { env: { OPENCLAW_LOG_LEVEL: 'loud' } }))
  t.match((await level).message, /Invalid OPENCLAW_LOG_LEVEL "loud"/)
})

t.test('R4, R5: the own secret from flag, environment, file; never from gateway.remote', async (t) => {
  for (const key of ['token', 'password'] as const) {
    const name = key === 'token' ? 'OPENCLAW_GATEWAY_TOKEN' : 'OPENCLAW_GATEWAY_PASSWORD'
    for (let bits = 0; bits < 16; bits++) {
      const [flag, env, file, remote] = [1, 2, 4, 8].map((bit) => (bits & bit) !== 0)
      const { gateway } = await load(
        {
          gateway: {
            mode: 'local',
            auth: { mode: key, ...(file ? { [key]: 'from-file' } : {}) },
            remote: remote ? { [key]: 'from-remote' } : {}
          }
        },
        { env: { [name]: env ? 'from-env' : '' }, flags: flag ? { [key]: 'from-flag' } : {} }
      )
      const source = flag ? 'flag' : env ? 'env' : file ? 'file' : undefined
      const want = source === undefined ? undefined : { value: `from-${source}`, source }
      t.same(gateway.auth[key], want, `${key} ${bits}`)
      t.equal(gateway.remote[key], undefined, 'R5: a server has no remote credential')
    }
  }
  t.match((await refusalOf(load({ gateway: { mode: 'local' } }, { flags: { token: '' } }))).message, /--token is empty/)
})

t.test('R4: the mode is flag, file, else inferred', async (t) => {
  const cases: { auth?: object; env?: Env; flags?: ConfigFlags; want: [string, boolean] }[] = [
    { want: ['token', false] },
    { auth: { token: 't' }, want: ['token', false] },
    { auth: { password: 'p' }, want: ['password', false] },
    { env: { OPENCLAW_GATEWAY_PASSWORD: 'p' }, want: ['password', false] },
    { auth: { mode: 'none' }, want: ['none', true] },
    { auth: { mode: 'password', token: 't', password: 'p' }, want: ['password', true] },
    { auth: { mode: 'none' }, flags: { auth: 'token' }, want: ['token', true] }
  ]
  for (const { auth = {}, env = {}, flags = {}, want } of cases) {
    const { gateway } = await load({ gateway: { mode: 'local', auth } }, { env, flags })
    t.same([gateway.auth.mode, gateway.auth.modeExplicit], want, JSON.stringify({ auth, env, flags }))
  }
})

t.test('refusals name file, line, key and fix, and end with 78', async (t) => {
  const scopes =
    '"operator.admin"|"operator.read"|"operator.write"|"operator.sessions.read"|"operator.sessions.write"|"operator.approvals"|"operator.questions"|"operator.pairing"|"operator.talk"|"operator.talk.secrets"'
  const cases: [name: string, text: string, code: string, message: string][] = [
    [
      'D8: unparsable',
      '{ gateway: {\n  mode "local" } }',
      'CONFIG_INVALID',
      'openclaw.json:2:8 — not valid JSON5: invalid character'
    ],
    ['D8: cut off', '{ gateway: {', 'CONFIG_INVALID', 'openclaw.json:1:13 — not valid JSON5: invalid end of input'],
    ['no object', '[]', 'CONFIG_INVALID', 'openclaw.json:1 — the configuration must be an object: { … }'],
    [
      'section of the wrong type',
      '{ gateway: 5 }',
      'CONFIG_INVALID',
      'openclaw.json:1 — gateway: Invalid input: expected object, received number'
    ],
    [
      'unknown key',
      '{ gateway: { "mode": "local", "bogusKey": 1 } }',
      'CONFIG_INVALID',
      'openclaw.json:1 — gateway: Unrecognized key: "bogusKey"'
    ],
    [
      'unknown key deep down',
      '{ gateway: { mode: "local",\n auth: {\n  rateLimit: { max: 1 } } } }',
      'CONFIG_INVALID',
      'openclaw.json:3 — gateway.auth.rateLimit: Unrecognized key: "max"'
    ],
    [
      'auth mode',
      '{ gateway: { auth: { mode: "wat" } } }',
      'CONFIG_INVALID',
      'openclaw.json:1 — gateway.auth.mode: Invalid input (allowed: "none", "token", "password", "trusted-proxy"), got: "wat"'
    ],
    [
      'port',
      '{ gateway: {\n\n port: "abc" } }',
      'CONFIG_INVALID',
      'openclaw.json:3 — gateway.port: Invalid input: expected number, received string'
    ],
    [
      'port too big',
      '{ gateway: { port: 70000 } }',
      'CONFIG_INVALID',
      'openclaw.json:1 — gateway.port: Too big: expected int to be <=65535'
    ],
    [
      'empty trustedProxy',
      '{ gateway: { auth: { trustedProxy: {} } } }',
      'CONFIG_INVALID',
      'openclaw.json:1 — gateway.auth.trustedProxy.userHeader: Invalid input: expected string, received undefined'
    ],
    [
      'unknown scope',
      '{ gateway: { auth: { identityScopes: { "a@b.c": ["operator.bogus"] } } } }',
      'CONFIG_INVALID',
      `openclaw.json:1 — gateway.auth.identityScopes["a@b.c"][0]: Invalid option: expected one of ${scopes}, got: "operator.bogus"`
    ],
    [
      'a key that narrows access',
      '{ gateway: { mode: "local", roles: {} } }',
      'CONFIG_INVALID',
      'openclaw.json:1 — gateway.roles: not supported here, and ignoring it would widen access; remove it to start'
    ],
    [
      'public origin',
      '{ gateway: { publicOrigin: "http://x.example/y" } }',
      'CONFIG_INVALID',
      'gateway.publicOrigin: Invalid origin'
    ],
    [
      'secret of the wrong type',
      '{ gateway: { auth: { token: 12345678 } } }',
      'CONFIG_INVALID',
      'gateway.auth.token: Invalid input: expected a string or a SecretRef { source, provider, id }'
    ],
    [
      'secret reference',
      '{ gateway: { auth: { token: { source: "env", provider: "X", id: "a" } } } }',
      'CONFIG_INVALID',
      'gateway.auth.token.provider: Invalid string'
    ],
    ['no mode', '{}', 'CONFIG_MODE_MISSING', 'Gateway start blocked: existing config is missing gateway.mode.'],
    [
      'mode remote',
      '{ gateway: { mode: "remote" } }',
      'CONFIG_MODE_REMOTE',
      'Gateway start blocked: set gateway.mode=local (current: remote) or pass --allow-unconfigured.'
    ],
    [
      'token and password',
      '{ gateway: { mode: "local", auth: { token: "a", password: "b" } } }',
      'CONFIG_AUTH_AMBIGUOUS',
      'Invalid config: gateway.auth.token and gateway.auth.password are both configured, but gateway.auth.mode is unset. Set gateway.auth.mode to token or password.'
    ],
    [
      'missing variable',
      '{ gateway: { mode: "local",\n publicOrigin: "${NOPE}" } }',
      'CONFIG_INVALID',
      'openclaw.json:2 — gateway.publicOrigin: missing environment variable "NOPE"'
    ],
    [
      'missing variable in a secret',
      '{ gateway: { mode: "local", auth: {\n token: "${NOPE}" } } }',
      'CONFIG_SECRET_UNRESOLVED',
      'openclaw.json:2 — gateway.auth.token: missing environment variable "NOPE"'
    ],
    [
      'blank secret',
      '{ gateway: { mode: "local", auth: { token: " " } } }',
      'CONFIG_SECRET_UNRESOLVED',
      'gateway.auth.token is configured but unusable: it is empty'
    ],
    [
      'placeholder',
      '{ gateway: { mode: "local", auth: { token: "__OPENCLAW_REDACTED__" } } }',
      'CONFIG_SECRET_UNRESOLVED',
      'placeholder'
    ],
    [
      'a header that would hold another',
      '{ gateway: { mode: "local", http: { securityHeaders: { strictTransportSecurity: "x\\r\\ny: z" } } } }',
      'CONFIG_INVALID',
      'gateway.http.securityHeaders.strictTransportSecurity'
    ]
  ]
  for (const [name, text, code, message] of cases) {
    const error = await refusalOf(load(text))
    t.equal(error.code, code, `${name}: code`)
    t.ok(error.message.includes(message), `${name}: ${error.message}`)
    t.equal(error.exitCode, 78, `${name}: exit code`)
    t.ok(error.fix.command.length > 0, `${name}: fix`)
    t.notMatch(error.message, /12345678/, `${name}: no secret`)
  }
  const multiple = await refusalOf(load('{ gateway: { port: "a",\n bind: "b" } }'))
  t.same(
    multiple.issues.map(({ line }) => line),
    [1, 2],
    'every issue at once'
  )
})

t.test('R6, D9: unconfigured is allowed only when told', async (t) => {
  t.equal((await load('{}', { flags: { allowUnconfigured: true } })).gateway.mode, undefined)
  t.equal(
    (await load('{ gateway: { mode: "remote" } }', { flags: { allowUnconfigured: true } })).gateway.mode,
    'remote'
  )
})

t.test('a client is not stopped by what is for the server to refuse', async (t) => {
  const { gateway, warnings } = await load(
    {
      gateway: {
        mode: 'remote',
        bogus: 1,
        roles: {},
        bind: 'nowhere',
        auth: { token: 'a', password: 'b', trustedProxy: {} },
        remote: { url: 'ws://127.0.0.1:1', token: 'r', password: { source: 'exec', provider: 'none', id: 'x' } }
      }
    },
    { client: true }
  )
  t.match(gateway, {
    mode: 'remote',
    bind: 'loopback',
    remote: { url: 'ws://127.0.0.1:1', token: 'r', password: undefined }
  })
  t.match(warnings.join('\n'), /Unrecognized key: "bogus"\n[\s\S]*gateway.bind: /)
  t.equal((await refusalOf(load({ gateway: { remote: { url: 5 } } }, { client: true }))).code, 'CONFIG_INVALID')
})

t.test('sections we do not own are left alone; unused keys of the reference warn', async (t) => {
  const config = await load({
    agents: { whatever: [1] },
    channels: { x: { token: '${NOPE}' } },
    gateway: { mode: 'local', terminal: { enabled: true }, controlUi: { root: '/x' }, portals: {} }
  })
  t.same(config.warnings, [
    'channels.x.token: missing environment variable "NOPE"',
    'gateway.terminal: this gateway does not use it',
    'gateway.controlUi.root: this gateway does not use it',
    'gateway.portals: this gateway does not use it'
  ])
  t.throws(() => {
    ;(config.gateway.auth.rateLimit as { maxAttempts: number }).maxAttempts = 99
  }, 'the Config is frozen to its depth')
})

t.test('devices that become administrators by themselves warn at every start', async (t) => {
  for (const [enabled, scopes, warned] of [
    [true, ['operator.read', 'operator.admin'], 1],
    [true, ['operator.read'], 0],
    [true, undefined, 0],
    [false, ['operator.admin'], 0]
  ] as const) {
    const { warnings } = await load({
      gateway: {
        mode: 'local',
        trustedProxies: ['10.0.0.2'],
        auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: 'X-User', deviceAutoApprove: { enabled, scopes } } }
      }
    })
    const found = warnings.filter((each) => each.startsWith('gateway.auth.trustedProxy.deviceAutoApprove: '))
    t.equal(found.length, warned, `${enabled} ${scopes}`)
  }
})

t.test('every key of the reference is honoured, warned about or refused', async (t) => {
  const keys = readFileSync(new URL('reference-keys.txt', import.meta.url), 'utf8')
    .trim()
    .split('\n')
  for (const key of keys) {
    let schema: ConfigSchema | undefined = GATEWAY_SCHEMA
    for (const part of key.split('.').slice(1)) schema = schema?.properties?.[part]
    const told = [...UNSUPPORTED, ...REFUSED].some((other) => key === other || key.startsWith(`${other}.`))
    t.not(schema !== undefined, told, key)
  }
})

t.test('the check agrees with TypeBox on any value', async (t) => {
  const compiled = Compile(GATEWAY_SCHEMA as never)
  const keys = fc.constantFrom(
    'mode',
    'port',
    'bind',
    'auth',
    'token',
    'remote',
    'url',
    'trustedProxy',
    'userHeader',
    'tls',
    'enabled',
    'identityScopes',
    'rateLimit',
    'maxAttempts',
    'x',
    'source',
    'provider',
    'id',
    'http',
    'nodes',
    'pairing',
    'trustedProxies'
  )
  const leaf = fc.constantFrom<unknown>(
    'local',
    'token',
    'env',
    'default',
    'A_B',
    1,
    0,
    1.5,
    true,
    null,
    'operator.read',
    '',
    70000
  )
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.dictionary(keys, tie('value'), { maxKeys: 4 }),
      fc.array(tie('value'), { maxLength: 2 })
    )
  }))
  let fits = 0
  fc.assert(
    fc.property(fc.dictionary(keys, value, { maxKeys: 3, noNullPrototype: true }), (input) => {
      const ours = validate(GATEWAY_SCHEMA, input).length === 0
      if (ours) fits++
      return ours === compiled.Check(JSON.parse(JSON.stringify(input)))
    }),
    { numRuns: 2000 }
  )
  t.ok(fits > 20, `${fits} of 2000 fit`)
})

t.test('$include and ${VAR}', async (t) => {
  const { gateway } = await load(
    '{ gateway: { $include: ["./a.json5", "sub/b.json5"], port: 4, tools: { deny: ["s"] } }, agents: { $include: "agents.json5" } }',
    {
      env: { LIST: '10.0.0.9', EMPTY: '' },
      files: {
        'a.json5':
          '{ mode: "local", port: 2, trustedProxies: ["10.0.0.1", "${LIST}"], controlUi: { basePath: "/a/" } }',
        'sub/b.json5': '{ port: 3, trustedProxies: ["10.0.0.3"], auth: { $include: "../c.json5" } }',
        'c.json5': '{ token: "x-$${LIST}-y" }',
        'agents.json5': '[1]'
      }
    }
  )
  t.equal(gateway.port, 4, 'a sibling wins over what is included')
  t.same(gateway.trustedProxies, ['10.0.0.1', '10.0.0.9', '10.0.0.3'], 'lists are joined, as the reference does')
  t.equal(gateway.controlUi.basePath, '/a', 'files are merged')
  t.equal(gateway.auth.token?.value, 'x-${LIST}-y', 'an escaped variable stands for itself')

  const outside = join(home, 'outside.json5')
  writeFileSync(outside, '{ mode: "local" }')
  const depth = Object.fromEntries(
    Array.from({ length: 12 }, (_, i) => [`d${i}.json5`, `{ $include: "./d${i + 1}.json5" }`])
  )
  const cases: [name: string, include: unknown, files: Record<string, string>, message: RegExp][] = [
    ['missing file', './none.json5', {}, /openclaw.json:1 — gateway: \$include file not found/],
    ['parse error', './p.json5', { 'p.json5': '{\n a b }' }, /p.json5:2:4 — not valid JSON5/],
    [
      'wrong value',
      './w.json5',
      { 'w.json5': '{\n port: "x" }' },
      /w.json5:2 — gateway.port: Invalid input: expected number/
    ],
    [
      'cycle',
      './a.json5',
      { 'a.json5': '{ $include: "./b.json5" }', 'b.json5': '{ $include: "./a.json5" }' },
      /circular \$include/
    ],
    ['depth', './d0.json5', depth, /nested more than 10 levels/],
    ['climbing', '../../outside.json5', {}, /outside the configuration folder/],
    ['absolute', outside, {}, /outside the configuration folder/],
    ['no path', 5, {}, /\$include must be a path or a list of paths/],
    ['null byte', 'a\0b', {}, /null bytes/],
    ['too large', './l.json5', { 'l.json5': `// ${'x'.repeat(2 * 1024 * 1024)}\n{}` }, /larger than 2 MB/]
  ]
  for (const [name, include, files, message] of cases) {
    const error = await refusalOf(load({ gateway: { $include: include } }, { files }))
    t.match(error.message, message, name)
    t.equal(error.exitCode, 78, name)
  }
  const { env, dir } = homeWith({ 'openclaw.json': '{ gateway: { $include: "./link.json5" } }' })
  symlinkSync(outside, join(dir, 'link.json5'))
  const paths = resolvePaths(env)
  t.match((await refusalOf(loadConfig({ env, paths }))).message, /outside the configuration folder/, 'a link leads out')
  const wide = { ...env, OPENCLAW_INCLUDE_ROOTS: home }
  t.equal((await loadConfig({ env: wide, paths })).gateway.mode, 'local', 'OPENCLAW_INCLUDE_ROOTS lets it in')
  t.equal(({} as { polluted?: boolean }).polluted, undefined)
  await load('{ gateway: { mode: "local" }, x: { $include: ["./a.json5", "./a.json5"] } }', {
    files: { 'a.json5': '{ "__proto__": { polluted: true } }' }
  })
  t.equal(({} as { polluted?: boolean }).polluted, undefined, 'an include cannot reach Object.prototype')
})

t.test('the environment is completed by .env and env.vars, and overridden by neither', async (t) => {
  const file = {
    gateway: { mode: 'local', customBindHost: '${A}-${B}-${C}' },
    env: { vars: { A: 'vars', B: 'vars', C: 'vars', OPENCLAW_GATEWAY_PORT: '7' } }
  }
  const files = { '.env': 'B=dotenv\nC=dotenv\nOPENCLAW_GATEWAY_TOKEN=from-dotenv\nOPENCLAW_STATE_DIR=/elsewhere\n' }
  const { gateway } = await load(file, { files, env: { C: 'real' } })
  t.equal(gateway.customBindHost, 'vars-dotenv-real')
  t.same(gateway.auth.token, { value: 'from-dotenv', source: 'env' })
  t.equal(gateway.port, 18789, 'R29: the file cannot set an override')
})

t.test('R6: a SecretRef resolves, or nothing starts', async (t) => {
  const { dir } = homeWith({
    's.json': '{ "a": { "b/c": "file-secret", "n": 5 } }',
    'one.txt': 'single-secret\n',
    'open.json': '{"a":"x"}',
    'hard.json': '{"a":"x"}'
  })
  chmodSync(join(dir, 'open.json'), 0o644)
  linkSync(join(dir, 'hard.json'), join(dir, 'hard2.json'))
  symlinkSync(join(dir, 's.json'), join(dir, 'link.json'))
  const script = (name: string, body: string, mode = 0o700) => {
    writeFileSync(join(dir, name), `#!/bin/sh\n${body}\n`)
    chmodSync(join(dir, name), mode)
    return join(dir, name)
  }
  const exec = (command: string, more = {}) => ({ source: 'exec', command, timeoutMs: 3000, ...more })
  const providers = {
    files: { source: 'file', path: join(dir, 's.json') },
    one: { source: 'file', path: join(dir, 'one.txt'), mode: 'singleValue' },
    open: { source: 'file', path: join(dir, 'open.json') },
    hard: { source: 'file', path: join(dir, 'hard.json') },
    linked: { source: 'file', path: join(dir, 'link.json') },
    gone: { source: 'file', path: join(dir, 'gone.json') },
    listed: { source: 'env', allowlist: ['OTHER'] },
    ok: exec(
      script('ok.sh', `read request; printf '{"protocolVersion":1,"values":{"%s":"exec-%s"}}' "a/b#c" "$PASSED$HOME"`),
      { passEnv: ['PASSED'] }
    ),
    plain: exec(script('plain.sh', 'echo plain-secret'), { jsonOnly: false }),
    words: exec(script('words.sh', 'echo leaked-canary')),
    notfound: exec(
      script(
        'nf.sh',
        `echo '{"protocolVersion":1,"values":{},"errors":{"x":{"code":"NOT_FOUND","message":"leaked-canary"}}}'`
      )
    ),
    fails: exec(script('fails.sh', 'echo leaked-canary >&2; exit 3')),
    slow: exec(script('slow.sh', 'sleep 30 & wait'), { timeoutMs: 200 }),
    big: exec(script('big.sh', 'head -c 5000 /dev/zero'), { maxOutputBytes: 1000 }),
    loose: exec(script('loose.sh', 'echo x', 0o777)),
    relative: exec('ok.sh'),
    elsewhere: exec(script('else.sh', 'echo x'), { trustedDirs: ['/usr/bin'] })
  }
  const good: [object | string, string][] = [
    [{ source: 'env', provider: 'default', id: 'THE_TOKEN' }, 'env-secret'],
    ['$THE_TOKEN', 'env-secret'],
    ['${THE_TOKEN}', 'env-secret'],
    ['${ODD}', '$THE_TOKEN'],
    ['pre-${THE_TOKEN}', 'pre-env-secret'],
    [{ source: 'file', provider: 'files', id: '/a/b~1c' }, 'file-secret'],
    [{ source: 'file', provider: 'one', id: 'value' }, 'single-secret'],
    [{ source: 'exec', provider: 'ok', id: 'a/b#c' }, 'exec-yes'],
    [{ source: 'exec', provider: 'plain', id: 'x' }, 'plain-secret']
  ]
  const env = { THE_TOKEN: 'env-secret', PASSED: 'yes', BLANK: '', ODD: '$THE_TOKEN' }
  const file = (token: unknown) => ({ gateway: { mode: 'local', auth: { token } }, secrets: { providers } })
  for (const [token, value] of good) {
    const { gateway } = await load(file(token), { env })
    t.same(gateway.auth.token, { value, source: 'file' }, JSON.stringify(token))
  }
  const bad: [object | string, RegExp][] = [
    [{ source: 'env', provider: 'default', id: 'UNSET_TOKEN' }, /environment variable "UNSET_TOKEN" is not set/],
    [{ source: 'env', provider: 'default', id: 'BLANK' }, /not set/],
    ['$UNSET_TOKEN', /SecretRef env:default:UNSET_TOKEN/],
    [{ source: 'env', provider: 'other', id: 'THE_TOKEN' }, /secrets.providers has no "other"/],
    [{ source: 'env', provider: 'listed', id: 'THE_TOKEN' }, /allowlist/],
    [{ source: 'env', provider: 'files', id: 'THE_TOKEN' }, /no "files" with source "env"/],
    [{ source: 'file', provider: 'files', id: '/a/zzz' }, /nothing at that pointer/],
    [{ source: 'file', provider: 'files', id: '/a/n' }, /no string at that pointer/],
    [{ source: 'file', provider: 'files', id: '/__proto__/x' }, /nothing at that pointer/],
    [{ source: 'file', provider: 'open', id: '/a' }, /open to other users/],
    [{ source: 'file', provider: 'hard', id: '/a' }, /hardlinked/],
    [{ source: 'file', provider: 'linked', id: '/a' }, /symbolic link/],
    [{ source: 'file', provider: 'gone', id: '/a' }, /ENOENT/],
    [{ source: 'exec', provider: 'words', id: 'x' }, /did not answer with JSON/],
    [{ source: 'exec', provider: 'notfound', id: 'x' }, /NOT_FOUND/],
    [{ source: 'exec', provider: 'ok', id: 'other' }, /no value for that id/],
    [{ source: 'exec', provider: 'ok', id: 'a/../b' }, /the id is invalid/],
    [{ source: 'exec', provider: 'fails', id: 'x' }, /exit code 3/],
    [{ source: 'exec', provider: 'slow', id: 'x' }, /longer than 200 ms/],
    [{ source: 'exec', provider: 'big', id: 'x' }, /more than 1000 bytes/],
    [{ source: 'exec', provider: 'loose', id: 'x' }, /can be changed by other users/],
    [{ source: 'exec', provider: 'relative', id: 'x' }, /absolute path/],
    [{ source: 'exec', provider: 'elsewhere', id: 'x' }, /trustedDirs/],
    [{ source: 'store', provider: 'default', id: 'X' }, /store is not supported/]
  ]
  for (const [token, message] of bad) {
    const work = load(
      { ...file(token), gateway: { mode: 'local', auth: { token }, remote: { token: 'remote' } } },
      { env }
    )
    const error = await refusalOf(work)
    t.equal(error.code, 'CONFIG_SECRET_UNRESOLVED', JSON.stringify(token))
    t.match(error.message, message)
    t.match(error.message, /gateway\.auth\.token/)
    t.notMatch(error.message, /leaked-canary/, 'S22: what a program says is not repeated')

    const client = await load(file(token), { env, client: true })
    t.equal(client.gateway.auth.token, undefined, 'a client has nothing to send')
    t.match((await refusalOf(client.fileSecret('gateway.auth.token'))).message, message)
  }
  const skipped = await load(file({ source: 'exec', provider: 'fails', id: 'x' }), {
    env: { ...env, OPENCLAW_GATEWAY_TOKEN: 'e' }
  })
  t.same(skipped.gateway.auth.token, { value: 'e', source: 'env' }, 'a higher source needs no reference')
  const lazy = await load(file({ source: 'exec', provider: 'plain', id: 'x' }), { env, client: true })
  t.equal(await lazy.fileSecret('gateway.auth.token'), 'plain-secret', 'a client resolves when it asks')
  t.equal(await lazy.fileSecret('gateway.remote.token'), undefined)
})

t.test('D9, S24: the first start writes a configuration that starts, once', async (t) => {
  const fresh = (more: Env = {}) => {
    const env = { HOME: join(home, `f${count++}`), ...more }
    return { env, paths: resolvePaths(env) }
  }
  const { env, paths } = fresh()
  t.same(await firstStart(paths, env), { wrote: true, generatedToken: true })
  t.equal(statSync(paths.configPath).mode & 0o777, 0o600)
  t.equal(statSync(paths.stateDir).mode & 0o777, 0o700)
  const config = await loadConfig({ env, paths })
  t.match(config.gateway.auth.token?.value, /^[A-Za-z0-9_-]{43}$/, '32 random bytes')
  t.equal(startRefusal(config.gateway), undefined)
  const before = readFileSync(paths.configPath, 'utf8')
  chmodSync(paths.configPath, 0o644)
  chmodSync(paths.stateDir, 0o755)
  t.same(await firstStart(paths, env), { wrote: false, generatedToken: false })
  t.equal(readFileSync(paths.configPath, 'utf8'), before, 'the second start changes nothing')
  t.equal(statSync(paths.configPath).mode & 0o777, 0o600, 'but closes the file')
  t.equal(statSync(paths.stateDir).mode & 0o777, 0o700, 'and the folder')
  for (const [more, flags] of [
    [{ OPENCLAW_GATEWAY_TOKEN: 't' }, {}],
    [{}, { password: 'p' }],
    [{}, { auth: 'none' }]
  ] as [Env, ConfigFlags][]) {
    const other = fresh(more)
    t.same(await firstStart(other.paths, other.env, flags), { wrote: true, generatedToken: false })
    t.notMatch(readFileSync(other.paths.configPath, 'utf8'), /token|password/, 'no secret where auth was given')
    t.equal(startRefusal((await loadConfig({ ...other, flags })).gateway), undefined)
  }
  const race = fresh()
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => firstStart(race.paths, race.env)))
  t.equal(outcomes.filter(({ wrote }) => wrote).length, 1, 'of many at once, one writes')
})
