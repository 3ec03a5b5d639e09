import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  allowAlways,
  approvalsPath,
  changeApprovals,
  noteUse,
  readApprovals,
  readSnapshot,
  replaceApprovals
} from '../../src/approvals/file.ts'
import { planDigest } from '../../src/approvals/plan.ts'
import { evaluate } from '../../src/approvals/policy.ts'
import type { Approvals, Rule } from '../../src/approvals/schema.ts'
import { tempDir } from '../support/gateway.ts'
import { schemaErrors } from '../support/schema.ts'

const path = (t: Test) => approvalsPath(tempDir(t))
const put = (file: string, value: unknown, mode = 0o600) => {
  writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value, null, 2), { mode })
  chmodSync(file, mode)
}
const onDisk = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Approvals
const rulesOn = (file: string, agent = 'main'): Rule[] => onDisk(file).agents?.[agent]?.allowlist ?? []

t.test('a host that has decided nothing', async (t) => {
  const file = path(t)
  t.match(file, /\/exec-approvals\.json$/)
  const snapshot = await readSnapshot(file)
  t.strictSame(snapshot, {
    path: file,
    exists: false,
    hash: 'missing:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    file: { version: 1, defaults: {}, agents: {} },
    resolvedDefaults: { security: 'full', ask: 'off', askFallback: 'deny', autoAllowSkills: false }
  })
  t.same(schemaErrors('ExecApprovalsSnapshot', snapshot), [])
  t.same(await readApprovals(file), { version: 1, defaults: {}, agents: {} })
  t.notOk(existsSync(file), 'reading writes nothing')
})

t.test('a document is replaced whole, mode 0600, and only by whoever has seen it', async (t) => {
  const file = path(t)
  const first: Approvals = {
    version: 1,
    defaults: { security: 'allowlist' },
    agents: { main: { allowlist: [{ pattern: 'rg' }] } }
  }
  const { hash: missing } = await readSnapshot(file)
  await t.rejects(replaceApprovals(file, first, { baseHash: 'other' }), { code: 'APPROVALS_CONFLICT' })
  const written = await replaceApprovals(file, first, { baseHash: missing })
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.match(written, { exists: true, file: first, resolvedDefaults: { security: 'allowlist', ask: 'off' } })
  t.match(rulesOn(file)[0]?.id, /^[0-9a-f-]{36}$/, 'every rule gets an id')
  t.same(schemaErrors('ExecApprovalsSnapshot', written), [])
  t.strictSame(await readSnapshot(file), written)

  const conflicts = [undefined, missing, 'x', written.hash.toUpperCase()]
  for (const baseHash of conflicts) {
    await t.rejects(
      replaceApprovals(file, { version: 1 }, { baseHash }),
      { code: 'APPROVALS_CONFLICT', fix: { command: 'openclaw approvals get', where: 'this client' } },
      String(baseHash)
    )
  }
  t.strictSame(await readSnapshot(file), written, 'a refused write changes nothing')
  await replaceApprovals(file, { version: 1 }, { baseHash: written.hash })
  t.match(onDisk(file), { version: 1 })
  t.same(readdirSync(join(file, '..')), ['exec-approvals.json'], 'nothing is left beside it')
})

t.test('the hash is of what is decided, and of nothing else', async (t) => {
  const [a, b] = [path(t), path(t)]
  const rule = { pattern: 'rg', id: 'one' }
  put(a, { version: 1, defaults: { ask: 'off', security: 'full' }, agents: { main: { allowlist: [rule] } } })
  put(
    b,
    `{"agents":{"main":{"allowlist":[{"id":"one","pattern":"rg","lastUsedAt":5,"lastResolvedPath":"/x"}]}},
    "defaults":{"security":"full","ask":"off"},"socket":{"path":"/s","token":"t"},"version":1}`
  )
  const { hash } = await readSnapshot(a)
  t.equal((await readSnapshot(b)).hash, hash)
  for (const other of [
    { version: 1, defaults: { ask: 'always', security: 'full' }, agents: { main: { allowlist: [rule] } } },
    { version: 1, defaults: { ask: 'off', security: 'full' }, agents: { other: { allowlist: [rule] } } },
    {
      version: 1,
      defaults: { ask: 'off', security: 'full' },
      agents: { main: { allowlist: [{ ...rule, argPattern: 'x' }] } }
    }
  ]) {
    put(a, other)
    t.not((await readSnapshot(a)).hash, hash)
  }
})

t.test('the token of a socket is shown to nobody, and kept', async (t) => {
  const file = path(t)
  put(file, { version: 1, socket: { path: '/s', token: 'canary-token' } })
  const { file: shown, hash } = await readSnapshot(file)
  t.strictSame(shown.socket, { path: '/s' })
  const answer = await replaceApprovals(file, { ...shown, defaults: { security: 'deny' } }, { baseHash: hash })
  t.notMatch(JSON.stringify(answer), 'canary')
  t.same(onDisk(file).socket, { path: '/s', token: 'canary-token' })
})

t.test('what earlier versions wrote is read', async (t) => {
  const file = path(t)
  put(file, {
    version: 1,
    agents: {
      default: {
        security: 'deny',
        ask: 'always',
        allowlist: [{ pattern: 'ls', lastUsedAt: null, lastUsedCommand: null }]
      },
      main: { security: 'allowlist', allowlist: [{ pattern: 'rg', commandText: 'a secret' }] }
    }
  })
  t.strictSame(await readApprovals(file), {
    version: 1,
    agents: { main: { security: 'allowlist', ask: 'always', allowlist: [{ pattern: 'rg' }, { pattern: 'ls' }] } }
  })
})

t.test('a document that cannot be relied on allows nothing, and the refusal names the key', async (t) => {
  const rule = (more: object) => ({ version: 1, agents: { main: { allowlist: [{ pattern: 'rg' }, more] } } })
  const rows: [name: string, document: unknown, message: RegExp][] = [
    ['no JSON', '{ version: 1 ', /exec-approvals\.json is not JSON/],
    ['no object', [], /expected object, received array/],
    ['no version', {}, /version: Invalid input: expected 1/],
    ['another version', { version: 2 }, /exec-approvals\.json:2 — version: Invalid input: expected 1/],
    [
      'a misspelt value',
      { version: 1, defaults: { security: 'denny' } },
      /:4 — defaults\.security: Invalid option: expected one of "deny"\|"allowlist"\|"full", got: "denny"/
    ],
    ['a misspelt key', { version: 1, defaults: { secruity: 'deny' } }, /Unrecognized key: "secruity"/],
    ['a key nobody knows', { version: 1, extra: true }, /Unrecognized key: "extra"/],
    ['an empty pattern', rule({ pattern: '' }), /agents\.main\.allowlist\[1\]\.pattern: Too small/],
    ['a blank pattern', rule({ pattern: '  ' }), /agents\.main\.allowlist\[1\]\.pattern: Invalid string/],
    ['no pattern', rule({}), /agents\.main\.allowlist\[1\]\.pattern: Invalid input: expected string/],
    [
      'a bad expression',
      rule({ pattern: 'rg', argPattern: '(' }),
      /agents\.main\.allowlist\[1\]\.argPattern: .*regular expression/
    ],
    ['another source', rule({ pattern: 'rg', source: 'me' }), /source: Invalid input: expected "allow-always"/],
    ['a number of agents', { version: 1, agents: 5 }, /agents: Invalid input: expected record, received number/],
    ['too much', `{ "version": 1 }${' '.repeat(1_048_576)}`, /larger than 1 MiB/]
  ]
  for (const [name, document, message] of rows) {
    const file = path(t)
    put(file, document)
    const error = (await readApprovals(file).catch((error) => error)) as Error & { fix?: unknown }
    t.match(error, { message, code: /^APPROVALS_(INVALID|UNUSABLE)$/, fix: { where: 'this client' } }, name)
    await t.rejects(readSnapshot(file), name)
    await t.rejects(
      changeApprovals(file, () => ({ version: 1 })),
      `${name}: is not changed in passing`
    )
    await t.rejects(replaceApprovals(file, { version: 1 }, {}), `${name}: is not replaced from afar`)
    t.match(
      await replaceApprovals(file, { version: 1 }, { repair: true }),
      { exists: true },
      `${name}: its owner replaces it`
    )
    t.ok(existsSync(`${file}.bak`), `${name}: and finds it beside the new one`)
    t.equal(statSync(`${file}.bak`).mode & 0o777, 0o600)
  }
  const file = path(t)
  put(file, { version: 1 }, 0o666)
  await t.rejects(readApprovals(file), {
    code: 'APPROVALS_UNUSABLE',
    message: /Others .* can write/,
    fix: { command: `chmod 600 ${file}` }
  })
  put(file, { version: 1 }, 0o644)
  t.match(await readApprovals(file), { version: 1 }, 'others may read it')
  await t.rejects(replaceApprovals(file, { version: 1, defaults: { security: 'x' } }, { repair: true }), {
    code: 'APPROVALS_INVALID',
    message: /file — defaults\.security/
  })
  await t.rejects(readApprovals(tempDir(t)), { code: 'APPROVALS_UNUSABLE', message: /EISDIR/ })
})

t.test('"allow always" adds one rule for one agent, once', async (t) => {
  const file = path(t)
  const plan = { argv: ['rg', 'x'], cwd: '/work', resolvedPath: '/usr/bin/rg' }
  put(file, {
    version: 1,
    defaults: { security: 'allowlist', ask: 'on-miss' },
    agents: { main: { allowlist: [{ pattern: 'ls' }] } }
  })
  t.match(evaluate(await readApprovals(file), plan), { verdict: 'ask' })
  const allowed = { digest: planDigest(plan), resolvedPath: '/usr/bin/rg' }
  await allowAlways(file, allowed, 5)
  await allowAlways(file, allowed, 6)
  t.match(rulesOn(file), [{ pattern: 'ls' }, { pattern: '/usr/bin/rg', source: 'allow-always', lastUsedAt: 5 }])
  t.equal(rulesOn(file).length, 2)
  t.match(evaluate(await readApprovals(file), plan), { verdict: 'allow', rule: { source: 'allow-always' } })
  t.match(evaluate(await readApprovals(file), { ...plan, cwd: '/' }), { verdict: 'ask' })
  await allowAlways(file, { ...allowed, agentId: 'helper' }, 7)
  t.equal(rulesOn(file, 'helper').length, 1)
  t.same(schemaErrors('ExecApprovalsSnapshot', await readSnapshot(file)), [])
})

t.test('500 rules of "allow always" are kept for an agent; the one not used for longest goes', async (t) => {
  const file = path(t)
  const made = Array.from({ length: 500 }, (_, n) => ({
    id: `r${n}`,
    pattern: '/usr/bin/rg',
    argPattern: `sha256:plan:${n}`,
    source: 'allow-always',
    lastUsedAt: n === 7 ? 1 : 1_000 + n
  }))
  put(file, { version: 1, agents: { main: { allowlist: [{ pattern: 'ls' }, ...made] } } })
  await allowAlways(file, { digest: 'new', resolvedPath: '/usr/bin/rg' }, 9_999)
  const kept = rulesOn(file)
  t.equal(kept.length, 501)
  t.equal(kept[0]?.pattern, 'ls', 'what a person wrote stays')
  t.notOk(kept.some(({ id }) => id === 'r7'))
  t.equal(kept.at(-1)?.lastUsedAt, 9_999)
})

t.test('the use of a rule is noted once a minute, is nobody’s conflict, and survives a replacement', async (t) => {
  const file = path(t)
  put(file, { version: 1, agents: { main: { allowlist: [{ pattern: 'rg' }, { id: 'ls', pattern: 'ls' }] } } })
  const plan = { argv: ['rg', 'x y'], cwd: '/', resolvedPath: '/usr/bin/rg' }
  const before = await readSnapshot(file)
  const rules = async () => (await readApprovals(file)).agents!.main!.allowlist!
  await noteUse(file, [(await rules())[0]!], plan, 100_000)
  t.match(rulesOn(file)[0], { lastUsedAt: 100_000, lastUsedCommand: 'rg x y', lastResolvedPath: '/usr/bin/rg' })
  t.notOk('lastUsedAt' in rulesOn(file)[1]!)
  await noteUse(file, [(await rules())[0]!], plan, 159_999)
  t.equal(rulesOn(file)[0]?.lastUsedAt, 100_000)
  await noteUse(file, [(await rules())[0]!], { ...plan, argv: ['rg', 'z'.repeat(1_000)] }, 160_000)
  t.equal(rulesOn(file)[0]?.lastUsedAt, 160_000)
  t.equal(rulesOn(file)[0]?.lastUsedCommand?.length, 512)

  const { file: seen, hash } = await readSnapshot(file)
  await noteUse(file, [(await rules())[1]!], plan, 200_000)
  await replaceApprovals(file, { ...seen, defaults: { ask: 'always' } }, { baseHash: hash })
  t.equal(rulesOn(file)[1]?.lastUsedAt, 200_000)
  t.not(hash, before.hash, 'only the ids that were missing made a difference')

  await allowAlways(file, { digest: planDigest(plan), resolvedPath: '/usr/bin/rg' }, 300_000)
  const exact = (await rules()).at(-1)!
  await noteUse(file, [exact], { ...plan, argv: ['rg', 'a secret'] }, 400_000)
  t.equal(rulesOn(file).at(-1)?.lastUsedAt, 400_000)
  t.notMatch(readFileSync(file, 'utf8'), 'a secret')
})

t.test('changes at the same time all happen', async (t) => {
  const file = path(t)
  await Promise.all(
    Array.from({ length: 20 }, (_, n) => allowAlways(file, { digest: `${n}`, resolvedPath: '/usr/bin/rg' }))
  )
  t.equal(rulesOn(file).length, 20)
  const { hash } = await readSnapshot(file)
  const races = await Promise.allSettled(
    ['deny', 'allowlist', 'full'].map((security) =>
      replaceApprovals(file, { version: 1, defaults: { security } }, { baseHash: hash })
    )
  )
  t.equal(races.filter(({ status }) => status === 'fulfilled').length, 1, 'of replacements, one wins')
})
