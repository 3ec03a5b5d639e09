import { readFileSync, statSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { approvalsPath } from '../../src/approvals/file.ts'
import { RpcError } from '../../src/protocol/errors.ts'
import { SCOPES, type Scope } from '../../src/protocol/scopes.ts'
import { call } from '../../src/rpc/dispatch.ts'
import type { Caller } from '../../src/rpc/method.ts'
import { type NodeInvoke, policyMethods } from '../../src/rpc/methods/exec-approvals.ts'
import { Registry } from '../../src/rpc/registry.ts'
import { openDatabase } from '../../src/store/database.ts'
import { Trail } from '../../src/store/trail.ts'
import { ingressOf } from '../support/access.ts'
import { cli, RawClient } from '../support/client.ts'
import { startApp, TOKEN, tempDir } from '../support/gateway.ts'
import { publishedScope, schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>
type Snapshot = { path: string; exists: boolean; hash: string; file: Json; resolvedDefaults: Json }

const app = await startApp(t)
const path = approvalsPath(app.stateDir)

async function connected(scopes: readonly Scope[]): Promise<RawClient> {
  const client = await RawClient.open(app.ws)
  t.teardown(() => client.close())
  await client.connect({ auth: { token: TOKEN }, scopes: [...scopes] })
  return client
}

const admin = await connected(['operator.admin'])
const get = async () => (await admin.call('exec.approvals.get', {})).payload as unknown as Snapshot
const set = (file: unknown, baseHash?: string) =>
  admin.call('exec.approvals.set', { file, ...(baseHash === undefined ? {} : { baseHash }) })

t.test('only an admin sees or changes what hosts allow', async (t) => {
  const others = await connected(SCOPES.filter((scope) => scope !== 'operator.admin'))
  for (const name of ['get', 'set', 'node.get', 'node.set']) {
    const method = `exec.approvals.${name}`
    t.equal(app.app.registry.get(method)?.scope, publishedScope(method))
    t.match((await others.call(method, { x: 1 })).error, {
      code: 'FORBIDDEN',
      details: { missingScope: 'operator.admin' }
    })
  }
})

t.test('the policy of this host', async (t) => {
  const first = await get()
  t.same(schemaErrors('ExecApprovalsSnapshot', first), [])
  t.match(first, { path, exists: false, hash: /^missing:/, resolvedDefaults: { security: 'full', ask: 'off' } })
  const file = {
    version: 1,
    defaults: { security: 'allowlist', ask: 'on-miss' },
    agents: { '*': { allowlist: [{ pattern: 'rg' }] } }
  }
  const written = (await set(file, first.hash)).payload as unknown as Snapshot
  t.same(schemaErrors('ExecApprovalsSnapshot', written), [])
  t.strictSame(await get(), written)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.match(JSON.parse(readFileSync(path, 'utf8')), file)

  const refused = [
    [undefined, 'exec approvals base hash required; re-run exec.approvals.get and retry'],
    [first.hash, 'exec approvals changed since last load; re-run exec.approvals.get and retry']
  ] as const
  for (const [hash, message] of refused) {
    t.match((await set({ version: 1 }, hash)).error, {
      code: 'INVALID_REQUEST',
      message,
      details: { code: 'APPROVALS_CONFLICT', fix: { command: 'openclaw approvals get' } }
    })
  }
  const races = await Promise.all(
    ['deny', 'full', 'allowlist'].map((security) => set({ version: 1, defaults: { security } }, written.hash))
  )
  t.equal(races.filter(({ ok }) => ok).length, 1, 'of three who saw the same, one writes')
})

t.test('a document that would not mean what it says is refused by its key', async (t) => {
  const { hash } = await get()
  const rows: [file: unknown, message: RegExp][] = [
    [
      { version: 1, defaults: { security: 'denny' } },
      /^invalid exec\.approvals\.set params: file — defaults\.security: .*"deny"\|"allowlist"\|"full", got: "denny"/
    ],
    [
      { version: 1, agents: { main: { allowlist: [{ pattern: '' }] } } },
      /file — agents\.main\.allowlist\[0\]\.pattern/
    ],
    [{ version: 1, agents: { main: { allow: [] } } }, /Unrecognized key: "allow"/],
    [{ version: 3 }, /file — version/],
    [[], /at \/file: must be object/],
    [undefined, /must have required property 'file'/]
  ]
  for (const [file, message] of rows)
    t.match((await set(file, hash)).error, { code: 'INVALID_REQUEST', message }, JSON.stringify(file))
  t.equal((await get()).hash, hash)
})

t.test('a file that cannot be relied on is said to be so, and is not replaced from afar', async (t) => {
  const good = readFileSync(path, 'utf8')
  writeFileSync(path, '{ "version": 1, "defaults": { "ask": "sometimes" } }')
  const broken = {
    code: 'UNAVAILABLE',
    message: /exec-approvals\.json:1 — defaults\.ask/,
    details: {
      code: 'APPROVALS_INVALID',
      fix: { command: 'openclaw approvals set --file FILE', where: 'gateway host' }
    }
  }
  t.match((await admin.call('exec.approvals.get')).error, broken)
  t.match((await set({ version: 1 })).error, broken)
  t.match((await set({ version: 1 }, 'x')).error, broken)
  writeFileSync(path, good)
})

t.test('the record tells who changed the policy', async (t) => {
  const { hash } = await get()
  await set({ version: 1, defaults: { security: 'full' } }, hash)
  const { events } = (await admin.call('gateway.audit.list', { limit: 1 })).payload as { events: Json[] }
  t.match(events, [{ kind: 'policy.changed', outcome: 'changed', who: 'token', detail: 'this gateway' }])
})

t.test('writes are limited', async (t) => {
  const client = await connected(['operator.admin'])
  let refused: Json | undefined
  for (let n = 0; n < 40 && refused === undefined; n++) {
    const { error } = await client.call('exec.approvals.set', { file: { version: 1 }, baseHash: 'x' })
    if (error?.code === 'UNAVAILABLE') refused = error as unknown as Json
  }
  t.match(refused, { message: /rate limit exceeded for exec\.approvals\.set/, retryable: true })
})

t.test('a node that is not there is not asked', async (t) => {
  t.match((await admin.call('exec.approvals.node.get', { nodeId: 'nope' })).error, {
    code: 'UNAVAILABLE',
    message: 'NOT_CONNECTED: node not connected',
    details: { nodeError: { code: 'NOT_CONNECTED', message: 'node not connected' }, nodeCommandDispatched: false }
  })
})

/** The methods over a node that answers as a test says. */
function over(t: Test, invoke: NodeInvoke) {
  const db = openDatabase(':memory:')
  const trail = new Trail(db, { error: () => {} })
  t.teardown(() => db.close())
  const registry = new Registry(policyMethods({ path: approvalsPath(tempDir(t)), trail, invoke }))
  const caller = {
    role: 'operator',
    scopes: new Set(['operator.admin']),
    method: 'token',
    client: cli,
    address: '127.0.0.1',
    entry: { ingress: ingressOf() }
  } as unknown as Caller
  const ask = async (method: string, params: unknown) => call(registry, { method, params }, caller)
  return { ask, trail }
}

t.test('the policy of a node is the node’s to read and to write', async (t) => {
  const sent: unknown[] = []
  const snapshot = {
    path: '/n/exec-approvals.json',
    exists: true,
    hash: 'h',
    file: { version: 1, socket: { path: '/s', token: 'canary' }, agents: {} }
  }
  const { ask, trail } = over(t, async (...args) => {
    sent.push(args)
    return snapshot
  })
  const shown = await ask('exec.approvals.node.get', { nodeId: 'n' })
  t.same(schemaErrors('ExecApprovalsNodeSnapshot', shown), [])
  t.strictSame(
    shown,
    { ...snapshot, file: { version: 1, agents: {}, socket: { path: '/s' } } },
    'without what opens its socket'
  )
  const file = { version: 1, agents: { main: { allowlist: [{ pattern: 'rg' }] } } }
  t.strictSame(await ask('exec.approvals.node.set', { nodeId: 'n', file, baseHash: 'h' }), shown)
  await ask('exec.approvals.node.set', { nodeId: 'n', native: { rules: [], defaultAction: 'deny' }, baseHash: 'h' })
  t.strictSame(sent, [
    ['n', 'system.execApprovals.get', {}, 30_000],
    ['n', 'system.execApprovals.set', { file, baseHash: 'h' }, 30_000],
    ['n', 'system.execApprovals.set', { rules: [], defaultAction: 'deny', baseHash: 'h' }, 30_000]
  ])
  t.match((await trail.list({ limit: 9 })).events, [{ kind: 'policy.changed', detail: 'node n', count: 2 }])

  const refused: [params: Json, message: RegExp][] = [
    [{ nodeId: 'n', native: { rules: [] } }, /invalid exec\.approvals\.node\.set params/],
    [{ nodeId: 'n', native: { rules: [] }, file, baseHash: 'h' }, /invalid exec\.approvals\.node\.set params/],
    [{ nodeId: 'n' }, /invalid exec\.approvals\.node\.set params/],
    [{ nodeId: 'n', file: { version: 1, defaults: { ask: 'x' } } }, /file — defaults\.ask/],
    [{ nodeId: '', file }, /invalid exec\.approvals\.node\.set params/]
  ]
  for (const [params, message] of refused) {
    await t.rejects(
      ask('exec.approvals.node.set', params),
      { code: 'INVALID_REQUEST', message },
      JSON.stringify(params)
    )
  }
  t.equal(sent.length, 3, 'what is wrong is not sent')
})

t.test('what a node answers comes through as it is', async (t) => {
  for (const answer of [
    { enabled: false, message: 'off' },
    { enabled: true, hash: 'h', defaultAction: 'deny', rules: [] }
  ]) {
    const { ask } = over(t, async () => answer)
    const shown = await ask('exec.approvals.node.get', { nodeId: 'n' })
    t.strictSame(shown, answer)
    t.same(schemaErrors('ExecApprovalsNodeSnapshot', shown), [])
  }
  const { ask } = over(t, async () => {
    throw new RpcError('UNAVAILABLE', 'TIMEOUT: node invoke timed out')
  })
  await t.rejects(ask('exec.approvals.node.get', { nodeId: 'n' }), { message: 'TIMEOUT: node invoke timed out' })
})
