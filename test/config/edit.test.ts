// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of configuration files
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import JSON5 from 'json5'
import t from 'tap'
import { Compile } from 'typebox/compile'
import { startRefusal } from '../../src/auth/bind-policy.ts'
import { changeConfig } from '../../src/config/change.ts'
import { parseDocument } from '../../src/config/document.ts'
import { patchText, setKey, unsetKey } from '../../src/config/edit.ts'
import { formatKeyPath, isObject, parseKeyPath, valueAt } from '../../src/config/key-path.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { REDACTED, redactText, redactValue, restoreText } from '../../src/config/redact.ts'
import type { RpcError } from '../../src/protocol/errors.ts'
import { configMethods } from '../../src/rpc/methods/config.ts'

const folder = mkdtempSync(join(tmpdir(), 'oc-edit-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
let count = 0

function fileWith(text: string | undefined) {
  const home = join(folder, `h${count++}`)
  const env: Record<string, string> = { HOME: home }
  const paths = resolvePaths(env)
  mkdirSync(paths.stateDir, { recursive: true, mode: 0o700 })
  if (text !== undefined) writeFileSync(paths.configPath, text, { mode: 0o600 })
  return { env, paths, read: () => readFileSync(paths.configPath, 'utf8') }
}

t.test('key paths', async (t) => {
  const cases: [string, (string | number)[]][] = [
    ['a', ['a']],
    ['gateway.auth.mode', ['gateway', 'auth', 'mode']],
    ['a[0].b', ['a', 0, 'b']],
    ['a["b.c"].d', ['a', 'b.c', 'd']],
    ["a['x y'][2]", ['a', 'x y', 2]],
    ['a["q\\"]"]', ['a', 'q"]']],
    ['agents.entries.main-1', ['agents', 'entries', 'main-1']]
  ]
  for (const [text, path] of cases) {
    t.same(parseKeyPath(text), path, text)
    t.same(parseKeyPath(formatKeyPath(path)), path, `${text} and back`)
  }
  for (const bad of [
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    'a[',
    'a[x]',
    'a["b]',
    'a]b',
    '__proto__.x',
    'a.constructor',
    'a["prototype"]'
  ]) {
    t.throws(() => parseKeyPath(bad), SyntaxError, `refuses "${bad}"`)
  }
})

t.test('a set changes the value and no other byte', async (t) => {
  const cases: [name: string, before: string, path: string, value: unknown, after: string][] = [
    ['replaces a number', '{ a: 1, /* b */ b: 2 }', 'a', 5, '{ a: 5, /* b */ b: 2 }'],
    ['the same value', '{ a: 0x10, }', 'a', 16, '{ a: 0x10, }'],
    ['keeps single quotes', "{ 'a': 'x' }", 'a', 'it"s', "{ 'a': 'it\"s' }"],
    ['adds inline', '{ a: 1 }', 'b', 'x', '{ a: 1, b: "x" }'],
    ['adds inline after a trailing comma', '{a: 1,}', 'b', 2, '{a: 1, b: 2,}'],
    ['adds compact', '{"a":1}', 'b', { c: [1, 'x'] }, '{"a":1,"b":{"c":[1,"x"]}}'],
    [
      'adds to strict JSON',
      '{\n    "a": 1\n}\n',
      'b.c',
      true,
      '{\n    "a": 1,\n    "b": {\n        "c": true\n    }\n}\n'
    ],
    ['keeps a trailing comma', '{\n  a: 1, // one\n  // end\n}', 'b', 2, '{\n  a: 1, // one\n  b: 2,\n  // end\n}'],
    ['adds a comma in front of a remark', '{\n  a: 1 // one\n}', 'b', 2, '{\n  a: 1, // one\n  b: 2\n}'],
    ['keeps CRLF', '{\r\n\ta: 1,\r\n}\r\n', 'b', 2, '{\r\n\ta: 1,\r\n\tb: 2,\r\n}\r\n'],
    ['keeps tabs in depth', '{\n\ta: {\n\t\tb: 1\n\t}\n}', 'a.c', 2, '{\n\ta: {\n\t\tb: 1,\n\t\tc: 2\n\t}\n}'],
    [
      'reserved words as keys',
      '{ default: { class: 1 }, null: 2 }',
      'default.class',
      3,
      '{ default: { class: 3 }, null: 2 }'
    ],
    ['escaped keys', '{ \\u0061b: 1, "c\\x64": 2 }', 'ab', 3, '{ \\u0061b: 3, "c\\x64": 2 }'],
    ['unicode before the place', '{ "😀é": "𝔘", x: 1 }', 'x', 2, '{ "😀é": "𝔘", x: 2 }'],
    ['a byte order mark', '\ufeff{ x: 1 }', 'x', 2, '\ufeff{ x: 2 }'],
    [
      'look-alikes in comments and strings',
      '{ /* x: 1 */ s: "x: 1 // }", x: 1 } // x: 1',
      'x',
      2,
      '{ /* x: 1 */ s: "x: 1 // }", x: 2 } // x: 1'
    ],
    ['the last of repeated keys', '{ a: 1, a: 2 }', 'a', 3, '{ a: 1, a: 3 }'],
    ['an empty object', '{\n  a: {},\n}', 'a.b', 1, '{\n  a: {\n    b: 1,\n  },\n}'],
    [
      'an object of comments',
      '{\n  a: {\n    // nothing yet\n  }\n}',
      'a.b',
      1,
      '{\n  a: {\n    // nothing yet\n    b: 1\n  }\n}'
    ],
    ['null becomes an object', '{ a: null }', 'a.b', 1, '{ a: { b: 1 } }'],
    ['appends to a list', '{ a: [1, 2] }', 'a[2]', 3, '{ a: [1, 2, 3] }'],
    ['an element', '{ a: [{ id: 1 }, { id: 2 }] }', 'a[1].id', 9, '{ a: [{ id: 1 }, { id: 9 }] }'],
    [
      'an object keeps the comments of what stays',
      '{ a: {\n  // why\n  x: 1, // one\n  y: 2,\n} }',
      'a',
      { x: 1, z: 3 },
      '{ a: {\n  // why\n  x: 1, // one\n  z: 3,\n} }'
    ],
    ['keys with dots are quoted', '{ a: {} }', 'a["b.c"]', 1, '{ a: { "b.c": 1 } }'],
    [
      'variables elsewhere',
      '{ t: "${TOKEN}", r: { source: "env", provider: "default", id: "X" }, x: 1 }',
      'x',
      2,
      '{ t: "${TOKEN}", r: { source: "env", provider: "default", id: "X" }, x: 2 }'
    ],
    ['line separators are escaped', '{ a: "" }', 'a', '\u2028', '{ a: "\\u2028" }']
  ]
  for (const [name, before, path, value, after] of cases)
    t.equal(setKey(before, parseKeyPath(path), value), after, name)
  t.throws(() => setKey('{ a: 1 }', ['a', 'b'], 1), TypeError, 'a number is no object')
  t.throws(() => setKey('{ a: [] }', ['a', 5], 1), RangeError, 'a list has no gaps')
  t.throws(() => setKey('{ a: 1', ['a'], 1), SyntaxError)
})

t.test('an unset removes the key and no other byte', async (t) => {
  const cases: [name: string, before: string, path: string, after: string][] = [
    ['first inline', '{ a: 1, b: 2 }', 'a', '{ b: 2 }'],
    ['last inline', '{ a: 1, b: 2 }', 'b', '{ a: 1 }'],
    ['only one', '{ a: 1 }', 'a', '{}'],
    ['a whole line', '{\n  a: 1,\n  b: 2,\n  c: 3\n}', 'b', '{\n  a: 1,\n  c: 3\n}'],
    ['last line of strict JSON', '{\n  "a": 1,\n  "b": 2\n}', 'b', '{\n  "a": 1\n}'],
    ['remarks stay', '{\n  // about a\n  a: 1, // one\n  b: 2\n}', 'a', '{\n  // about a\n  // one\n  b: 2\n}'],
    ['repeated keys', '{ a: 1, b: 0, a: 2 }', 'a', '{ b: 0 }'],
    ['an element', '{ a: [1, 2, 3] }', 'a[1]', '{ a: [1, 3] }'],
    ['CRLF', '{\r\n  a: 1,\r\n  b: 2,\r\n}', 'a', '{\r\n  b: 2,\r\n}'],
    ['absent', '{ a: 1 }', 'x.y', '{ a: 1 }']
  ]
  for (const [name, before, path, after] of cases) t.equal(unsetKey(before, parseKeyPath(path)), after, name)
  const patched = patchText('{ a: { b: 1, /* keep */ c: [1] }, d: 4 }', {
    a: { b: null, c: [2] },
    e: { f: null, g: 1 }
  })
  t.equal(patched, '{ a: { /* keep */ c: [2] }, d: 4, e: { g: 1 } }')
})

const space = fc.constantFrom(
  '',
  ' ',
  '\n',
  '\r\n  ',
  '\t',
  '/* c */',
  ' // é😀 "x": {\n',
  '\u00a0',
  '/* two\n lines */ ',
  '\ufeff',
  '\u2028',
  '\r'
)
const name = fc.constantFrom(
  'a',
  '"b"',
  "'c'",
  'default',
  'null',
  'Infinity',
  '"d.e"',
  "'it\\'s'",
  '\\u0061b',
  '"😀"',
  'été',
  '$x_1'
)
const scalar = fc.constantFrom(
  '1',
  '-0x1F',
  '+.5',
  '5.',
  'NaN',
  '-Infinity',
  'true',
  'null',
  '"s😀"',
  "'q\"\\'\\x41'",
  '"line\\\ncont"',
  '"\\v\\0"',
  '"${VAR}"',
  '"//no"'
)
type Part = [string, string, string, string, string, string]
const objectOf = (value: fc.Arbitrary<string>) =>
  fc
    .tuple(
      fc.uniqueArray(fc.tuple(space, name, space, space, value, space), { maxLength: 4, selector: (part) => part[1] }),
      fc.boolean(),
      space
    )
    .map(([parts, trailing, end]) => {
      const text = (parts as Part[]).map(([a, key, b, c, inner, d]) => `${a}${key}${b}:${c}${inner}${d}`).join(',')
      return `{${text}${trailing && parts.length > 0 ? ',' : ''}${end}}`
    })
const { value: anyValue } = fc.letrec<{ value: string; object: string; list: string }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, scalar, tie('object'), tie('list')),
  object: objectOf(tie('value')),
  list: fc
    .tuple(fc.array(fc.tuple(space, tie('value'), space), { maxLength: 4 }), fc.boolean(), space)
    .map(
      ([parts, trailing, end]) =>
        `[${parts.map((part) => part.join('')).join(',')}${trailing && parts.length > 0 ? ',' : ''}${end}]`
    )
}))
const anyDocument = fc.tuple(space, objectOf(anyValue), space).map((parts) => parts.join(''))

function pathsIn(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (value === null || typeof value !== 'object') return []
  return Object.keys(value).flatMap((key) => {
    const at = [...path, Array.isArray(value) ? Number(key) : key]
    return [at, ...pathsIn((value as Record<string, unknown>)[key], at)]
  })
}

function commentsOf(raw: string): string[] {
  return parseDocument(raw)
    .comments.map(({ start, end }) => raw.slice(start, end))
    .toSorted()
}

t.test('edits of any JSON5 text mean what they say and lose no comment', async (t) => {
  const values = fc.constantFrom<unknown>('v', 42, { x: 'y', z: [1, { q: null }] }, [], {})
  const warn = console.warn
  // json5 remarks on line separators inside strings, of which the generator is fond.
  console.warn = () => {}
  t.teardown(() => {
    console.warn = warn
  })
  fc.assert(
    fc.property(anyDocument, fc.nat(), values, (raw, pick, value) => {
      const before: unknown = JSON5.parse(raw)
      const objects = [[], ...pathsIn(before)].filter((path) => isObject(valueAt(before, path)))
      const home = objects[pick % objects.length] ?? []
      const added = setKey(raw, [...home, 'newKey'], value)
      const expected: unknown = JSON5.parse(raw)
      ;(valueAt(expected, home) as Record<string, unknown>).newKey = value
      if (!isDeepStrictEqual(JSON5.parse(added), expected)) return false
      if (!isDeepStrictEqual(commentsOf(raw), commentsOf(added))) return false
      if (Object.keys(valueAt(before, home) as object).length === 0) return true
      const back = unsetKey(added, [...home, 'newKey'])
      return commentsOf(raw).length > 0 ? back.replace(/\s/g, '') === raw.replace(/\s/g, '') : back === raw
    }),
    { numRuns: 400 }
  )
  fc.assert(
    fc.property(anyDocument, fc.nat(), values, fc.boolean(), (raw, pick, value, remove) => {
      const all = pathsIn(JSON5.parse(raw))
      const path = all[pick % all.length]
      if (path === undefined) return true
      const expected: unknown = JSON5.parse(raw)
      const parent = valueAt(expected, path.slice(0, -1)) as Record<string | number, unknown>
      const key = path.at(-1) as string | number
      if (!remove) parent[key] = value
      else if (Array.isArray(parent)) parent.splice(Number(key), 1)
      else delete parent[key]
      const edited = remove ? unsetKey(raw, path) : setKey(raw, path, value)
      return isDeepStrictEqual(JSON5.parse(edited), expected)
    }),
    { numRuns: 400 }
  )
})

const CANARIES = [
  'canary-1-aaaa',
  'canary-2-bbbb',
  'canary-3-cccc',
  'canary-4-dddd',
  'canary-5-eeee',
  'canary-6-ffff',
  'canary-7-gggg',
  'canary-8-hhhh'
]
const SECRETS = `// the token is canary-1-aaaa, and password: "canary-8-hhhh"
{
  gateway: { mode: "local", auth: { mode: "token", token: 'canary-1-aaaa', password: "\${PASSWORD}" },
    remote: { edgeAuth: { "CF-Access": "canary-2-bbbb" } } },
  models: { providers: { x: { apiKey: "canary-3-cccc", baseUrl: "https://u:canary-4-dddd@h/", headers: { "X-Any": "canary-5-eeee" }, maxTokens: 5 } } },
  env: { vars: { ANYTHING: "canary-6-ffff" } },
  channels: { telegram: { botToken: { source: "env", provider: "default", id: "BOT" }, accounts: [ { id: "a", webhookSecret: "canary-7-gggg" } ] } },
}
`

t.test('S22: no secret leaves, and what was hidden comes back', async (t) => {
  const shown = redactText(SECRETS) + JSON.stringify(redactValue(JSON5.parse(SECRETS)))
  for (const canary of CANARIES) t.notOk(shown.includes(canary), canary)
  for (const kept of ['${PASSWORD}', 'id: "BOT"', 'maxTokens: 5', 'mode: "token"'])
    t.ok(shown.includes(kept), `shows ${kept}`)
  t.equal(restoreText(redactText(SECRETS), SECRETS), SECRETS, 'byte for byte, comments too')
  const edited = redactText(SECRETS).replace('maxTokens: 5', 'maxTokens: 6')
  t.equal(restoreText(edited, SECRETS), SECRETS.replace('maxTokens: 5', 'maxTokens: 6'))

  const list = '{ a: [{ id: "x", token: "tx" }, { id: "y", token: "ty" }], b: ["k"] }'
  const swapped = `{ a: [{ id: "y", token: "${REDACTED}" }, { id: "x", token: "${REDACTED}" }] }`
  t.equal(
    restoreText(swapped, list),
    '{ a: [{ id: "y", token: "ty" }, { id: "x", token: "tx" }] }',
    'by id, not by place'
  )
  const refused: [string, string, string][] = [
    ['a new key', `{ c: { token: "${REDACTED}" } }`, list],
    ['a new element', `{ a: [{ id: "z", token: "${REDACTED}" }] }`, list],
    ['a shorter list without ids', `{ a: [{ token: "${REDACTED}" }] }`, '{ a: [{ token: "1" }, { token: "2" }] }'],
    ['a comment of its own', `{ /* ${REDACTED} */ }`, list],
    ['inside other text', `{ a: "x${REDACTED}" }`, list]
  ]
  for (const [name, text, stored] of refused) t.throws(() => restoreText(text, stored), RangeError, name)
})

t.test('a change is checked, atomic, private and keeps the last good text', async (t) => {
  const good = '{ gateway: { mode: "local", auth: { mode: "token", token: "t" } } } // end\n'
  const { env, paths, read } = fileWith(good)
  const change = (path: string, value: unknown) =>
    changeConfig({ paths, env, check: startRefusal, edit: (raw) => setKey(raw, parseKeyPath(path), value) })
  const refused: [string, unknown, string][] = [
    ['gateway.auth.mode', 'none-such', 'CONFIG_INVALID'],
    ['gateway.bogus', 1, 'CONFIG_INVALID'],
    ['gateway.auth.mode', 'password', 'CONFIG_WOULD_NOT_START'],
    ['gateway.tailscale.mode', 'funnel', 'CONFIG_WOULD_NOT_START'],
    ['gateway.bind', 'custom', 'CONFIG_WOULD_NOT_START'],
    ['gateway.auth.token', { source: 'env', provider: 'default', id: 'NOT_SET' }, 'CONFIG_SECRET_UNRESOLVED'],
    ['gateway.auth.token', REDACTED, 'CONFIG_INVALID'],
    ['gateway.$include', './none.json5', 'CONFIG_INVALID']
  ]
  for (const [path, value, code] of refused) {
    await t.rejects(change(path, value), { code, exitCode: 78 }, `${path} ${JSON.stringify(value)}`)
    t.equal(read(), good, 'and nothing is written')
  }
  t.notOk(existsSync(`${paths.configPath}.bak`))
  t.match(await change('gateway.port', 5), { changed: true })
  t.match(await change('gateway.port', 5), { changed: false })
  t.equal(readFileSync(`${paths.configPath}.bak`, 'utf8'), good)
  for (const file of [paths.configPath, `${paths.configPath}.bak`]) t.equal(statSync(file).mode & 0o777, 0o600, file)
  t.same(readdirSync(paths.stateDir).toSorted(), ['openclaw.json', 'openclaw.json.bak'], 'no litter')

  await Promise.all(Array.from({ length: 20 }, (_, i) => change(`agents.entries.a${i}`, { n: i })))
  const all = (JSON5.parse(read()) as { agents: { entries: object } }).agents.entries
  t.equal(Object.keys(all).length, 20, 'twenty changes at once are twenty changes')

  t.match(await change('gateway.mode', 'remote'), { changed: true }, 'R31: a file may point at another gateway')
  env.OPENCLAW_CONFIG_READONLY = '1'
  await t.rejects(change('gateway.port', 6), { code: 'CONFIG_READ_ONLY' })

  const broken = fileWith('{ gateway: { mode: "local", one: 1, two: 2, auth: { token: "t" } } }')
  const repair = (key: string) =>
    changeConfig({ ...broken, check: startRefusal, edit: (raw) => unsetKey(raw, ['gateway', key]) })
  await repair('one')
  t.notOk(existsSync(`${broken.paths.configPath}.bak`), 'a text that does not start is no good one')
  await repair('two')
  t.equal(broken.read(), '{ gateway: { mode: "local", auth: { token: "t" } } }', 'repaired one key at a time')

  const linked = fileWith(undefined)
  const target = join(folder, 'target.json')
  writeFileSync(target, good, { mode: 0o644 })
  symlinkSync(target, linked.paths.configPath)
  await changeConfig({ ...linked, check: startRefusal, edit: (raw) => setKey(raw, ['gateway', 'port'], 7) })
  t.match(readFileSync(target, 'utf8'), 'port: 7', 'a link is written through')
  t.equal(statSync(target).mode & 0o777, 0o600)

  const fresh = fileWith(undefined)
  await changeConfig({ ...fresh, check: startRefusal, edit: (raw) => setKey(raw, ['gateway', 'port'], 7) })
  t.match(
    JSON5.parse(fresh.read()),
    { gateway: { mode: 'local', auth: { mode: 'token' }, port: 7 } },
    'D9: starts from a first configuration'
  )
})

t.test('kill -9 leaves the old text or the new one, and no lock', async (t) => {
  const { env, paths, read } = fileWith('{ gateway: { mode: "local", auth: { token: "t" }, port: 1 } }')
  const url = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url))
  const script = `
    const { changeConfig } = await import(${url('config/change.ts')})
    const { setKey } = await import(${url('config/edit.ts')})
    const [paths, env] = JSON.parse(process.argv[1])
    process.stdout.write('ready')
    for (let port = 2; ; port = port % 60000 + 1) {
      const filler = 'x'.repeat(port % 7 * 20000)
      await changeConfig({ paths, env, check: () => undefined, edit: (raw) => setKey(setKey(raw, ['gateway', 'port'], port), ['filler'], filler) })
    }`
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify([paths, env])], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    await once(child.stdout, 'data')
    const before = statSync(paths.configPath).ino
    while (statSync(paths.configPath).ino === before) await new Promise((resolve) => setImmediate(resolve))
    child.kill('SIGKILL')
    await once(child, 'exit')
    const { gateway } = JSON5.parse(read()) as { gateway: { port: number } }
    t.type(gateway.port, 'number')
    t.equal(statSync(paths.configPath).mode & 0o777, 0o600)
  }
  const started = Date.now()
  await changeConfig({ paths, env, check: startRefusal, edit: (raw) => setKey(raw, ['gateway', 'port'], 9) })
  t.ok(Date.now() - started < 5000, 'a dead process keeps no lock')
  t.ok(readdirSync(paths.stateDir).length <= 3, 'and leaves no pile of temporary files')
})

t.test('config.* methods', async (t) => {
  const protocol = JSON.parse(
    readFileSync(new URL('../../node_modules/@openclaw/gateway-protocol/protocol.schema.json', import.meta.url), 'utf8')
  )
  const { env, paths, read } = fileWith(SECRETS)
  env.PASSWORD = 'from-environment-canary'
  const events: [string, unknown][] = []
  const methods = configMethods({
    paths,
    env,
    version: '1.2.3',
    publish: (event, payload) => events.push([event, payload]),
    log: { info: () => {} },
    reloader: () => undefined
  })
  const call = async (name: string, params: object = {}) => {
    const method = methods.find((candidate) => candidate.name === name)
    return (await method?.handler(params as never, undefined as never)) as {
      [key: string]: unknown
      raw: string
      hash: string
      uiHints: Record<string, object>
    }
  }
  // The rest is the protocol's: applying the file is ours, and secrets.reload takes no params.
  const ours = new Set(['config.reload', 'secrets.reload'])
  for (const { name, scope, params } of methods.filter((each) => !ours.has(each.name))) {
    t.equal(scope, protocol.methods[name].scope, `${name} needs ${scope}`)
    const definition = `${name.replace(/(^|\.)(\w)/g, (_, __, letter) => letter.toUpperCase())}Params`
    t.same(
      Object.keys((params as unknown as { properties: object }).properties).toSorted(),
      Object.keys(protocol.definitions[definition].properties).toSorted(),
      definition
    )
  }
  const sample = [
    'path',
    'includedPaths',
    'exists',
    'raw',
    'parsed',
    'sourceConfig',
    'resolved',
    'valid',
    'runtimeConfig',
    'config',
    'hash',
    'issues',
    'warnings',
    'legacyIssues',
    'configRevisionHash',
    'appliedConfigHash'
  ]
  const got = await call('config.get')
  for (const key of sample) t.ok(key in got, `config.get has ${key}`)
  t.match(got, { path: paths.configPath, exists: true, valid: true, issues: [], hash: /^hmac-sha256:v1:/ })
  const text = JSON.stringify(got)
  for (const canary of [...CANARIES, 'from-environment-canary']) t.notOk(text.includes(canary), canary)

  const set = await call('config.set', {
    raw: got.raw.replace('maxTokens: 5', 'maxTokens: 6'),
    baseHash: got.hash
  })
  t.match(set, { ok: true, path: paths.configPath, changedPaths: ['models.providers.x.maxTokens'] })
  t.equal(read(), SECRETS.replace('maxTokens: 5', 'maxTokens: 6'), 'S24: secrets, references and comments as they were')
  t.match(events, [['config.changed', { path: paths.configPath, hash: set.hash, ts: Number }]])
  t.notOk(JSON.stringify(set).includes('canary'))

  const patched = await call('config.patch', {
    raw: `{ gateway: { port: 18000, auth: { token: "${REDACTED}" } }, channels: { telegram: { accounts: [{ id: "a", name: "A" }, { id: "b" }] } } }`,
    baseHash: set.hash
  })
  const stored = JSON5.parse(read())
  t.match(stored, {
    gateway: { port: 18000, auth: { token: 'canary-1-aaaa' } },
    channels: { telegram: { accounts: [{ id: 'a', name: 'A', webhookSecret: 'canary-7-gggg' }, { id: 'b' }] } }
  })
  t.match(read(), /\/\/ the token is canary-1-aaaa/, 'comments are kept')

  const refusals: [name: string, method: string, params: object, message: RegExp][] = [
    ['no base', 'config.set', { raw: '{}' }, /base hash required; re-run config.get/],
    [
      'a stale base',
      'config.set',
      { raw: '{}', baseHash: got.hash },
      /config changed since last load; re-run config.get/
    ],
    ['no JSON5', 'config.set', { raw: '{', baseHash: patched.hash }, /invalid end of input/],
    [
      'unknown key',
      'config.apply',
      { raw: '{ gateway: { mode: "local", nope: 1 } }', baseHash: patched.hash },
      /Unrecognized key: "nope"/
    ],
    ['no mode', 'config.set', { raw: '{}', baseHash: patched.hash }, /missing gateway.mode/],
    [
      'exposed without auth',
      'config.patch',
      { raw: '{ gateway: { bind: "lan", auth: { mode: "none" } } }', baseHash: patched.hash },
      /would not start: Refusing to bind/
    ],
    ['no object', 'config.patch', { raw: '5', baseHash: patched.hash }, /must be an object/],
    [
      'a lost list',
      'config.patch',
      { raw: '{ channels: { telegram: null } }', baseHash: patched.hash },
      /would remove entries of channels.telegram.accounts/
    ],
    [
      'a misplaced placeholder',
      'config.patch',
      { raw: `{ gateway: { remote: { token: "${REDACTED}" } } }`, baseHash: patched.hash },
      /gateway.remote.token holds the placeholder/
    ]
  ]
  const before = read()
  for (const [name, method, params, message] of refusals) {
    const error = await call(method, params).then(
      () => t.fail(name) as never,
      (reason: RpcError) => reason
    )
    t.equal(error.code, 'INVALID_REQUEST', name)
    t.match(error.message, message, name)
    const { details } = error as { details: { issues?: object[]; code: string } }
    t.ok(details.code === 'CONFIG_STALE' || (details.issues?.length ?? 0) > 0, `${name}: issues`)
    t.equal(read(), before, `${name}: nothing written`)
  }
  await call('config.patch', {
    raw: '{ channels: { telegram: null } }',
    baseHash: patched.hash,
    replacePaths: ['channels.telegram.accounts']
  })
  t.same((JSON5.parse(read()) as { channels: object }).channels, {})

  const check = (name: string, value: unknown) => {
    const compiled = Compile({ ...protocol.definitions[name], definitions: protocol.definitions })
    t.ok(compiled.Check(value), `${name}: ${JSON.stringify(compiled.Errors(value)).slice(0, 300)}`)
  }
  const schema = await call('config.schema')
  check('ConfigSchemaResponse', JSON.parse(JSON.stringify(schema)))
  t.match(schema.uiHints['gateway.auth.token'], { sensitive: true })
  for (const path of ['.', 'gateway', 'gateway.auth.token', 'gateway.auth.identityScopes.*', 'gateway.remote']) {
    const found = await call('config.schema.lookup', { path })
    check('ConfigSchemaLookupResult', JSON.parse(JSON.stringify(found)))
  }
  await t.rejects(call('config.schema.lookup', { path: 'gateway.nope' }), { code: 'INVALID_REQUEST' })

  writeFileSync(paths.configPath, '{ gateway: { token: "canary-1-aaaa" ')
  const unparsable = await call('config.get')
  t.match(unparsable, { valid: false, raw: null, issues: [{ line: 1, message: /not valid JSON5/ }] })
  t.notOk(JSON.stringify(unparsable).includes('canary'))
  chmodSync(paths.configPath, 0o600)
})
