import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { approvalsPath } from '../../src/approvals/file.ts'
import { planDigest } from '../../src/approvals/plan.ts'
import { evaluate } from '../../src/approvals/policy.ts'
import type { Approvals as Policy } from '../../src/approvals/schema.ts'
import { SCOPES } from '../../src/protocol/scopes.ts'
import { cli, nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { startApp, startProcess, type TestApp, TOKEN } from '../support/gateway.ts'
import { publishedScope, schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>
type Answer = Awaited<ReturnType<RawClient['call']>>

const METHODS = [
  'exec.approval.request',
  'exec.approval.waitDecision',
  'exec.approval.get',
  'exec.approval.list',
  'exec.approval.resolve',
  'exec.approval.grants.list',
  'exec.approval.grants.revoke',
  'plugin.approval.list',
  'openclaw.approval.list',
  'approval.get',
  'approval.resolve',
  'approval.history'
]

async function connected(t: Test, url: string, params: Json = {}, device?: TestDevice): Promise<RawClient> {
  const client = await RawClient.open(url)
  t.teardown(() => client.close())
  const { ok, error } = await client.connect(
    { auth: { token: TOKEN }, scopes: ['operator.approvals'], ...params },
    device
  )
  if (!ok) throw new Error(error?.message)
  return client
}

/** A person at a device of their own. */
const person = (t: Test, { ws }: Pick<TestApp, 'ws'>, displayName: string) =>
  connected(t, ws, { client: { ...cli, displayName } }, new TestDevice())

const ask = async <T = Json>(client: RawClient, method: string, params: Json = {}): Promise<T> => {
  const { ok, payload, error } = await client.call(method, params)
  if (!ok) throw new Error(`${method}: ${error?.message}`)
  return payload as T
}

/** What came of a call, in short. */
const told = ({ ok, payload, error }: Answer) => (ok ? payload : error)

let ids = 0
const nextId = () => `request-${++ids}`
const plan = { argv: ['/bin/echo', 'hi'], cwd: '/tmp', commandText: '/bin/echo hi', agentId: 'main', sessionKey: 's' }

const app = await startApp(t)
const agent = await connected(t as Test, app.ws)
const boss = await person(t as Test, app, 'Boss')
const other = await person(t as Test, app, 'Other')

/** Asks, and returns once everybody has been told. */
async function request(more: Json = {}, asker = agent): Promise<string> {
  const id = nextId()
  const params = { id, command: 'echo hi', host: 'gateway', twoPhase: true, ...more }
  const { payload, error } = await asker.call('exec.approval.request', params)
  if (payload?.status !== 'accepted') throw new Error(error?.message)
  return id
}

t.test('who may ask, see and decide', async (t) => {
  for (const method of METHODS) {
    const scope = publishedScope(method)
    t.equal(app.app.registry.get(method)?.scope, scope, method)
    for (const scopes of [[], ...SCOPES.map((each) => [each])]) {
      const may = scopes.includes('operator.approvals') || scopes.includes('operator.admin')
      const client = await connected(t, app.ws, { scopes })
      const { error } = await client.call(method, { nonsense: 1 })
      t.equal(error?.details?.code === 'MISSING_SCOPE', !may, `${method} with ${scopes.join() || 'nothing'}`)
      await client.close()
    }
  }
  const node = await connected(t, app.ws, { role: 'node', scopes: [], client: nodeHost }, new TestDevice())
  for (const method of METHODS) {
    t.match(await node.call(method, {}), { ok: false, error: { message: 'unauthorized role: node' } }, method)
  }
})

t.test('a request in two phases: accepted at once, decided later', async (t) => {
  const id = nextId()
  const before = boss.events.length
  agent.send({
    type: 'req',
    id: 'two',
    method: 'exec.approval.request',
    params: {
      id,
      command: 'echo hi',
      commandArgv: ['echo', 'hi'],
      env: { TOKEN: 'canary-value', A: '' },
      cwd: '/tmp',
      host: 'gateway',
      agentId: 'main',
      sessionKey: 'agent:main:main',
      resolvedPath: '/bin/echo',
      timeoutMs: 60_000,
      twoPhase: true
    }
  })
  const accepted = (await agent.response('two')).payload as { createdAtMs: number; expiresAtMs: number } & Json
  t.match(accepted, { status: 'accepted', id, deliveryRoute: 'approval-client' })
  t.equal(accepted.expiresAtMs - accepted.createdAtMs, 60_000)
  const requested = await boss.event('exec.approval.requested')
  const want = {
    command: 'echo hi',
    commandArgv: ['echo', 'hi'],
    envKeys: ['A', 'TOKEN'],
    systemRunBinding: null,
    systemRunPlan: null,
    cwd: '/tmp',
    nodeId: null,
    host: 'gateway',
    security: null,
    ask: null,
    warningText: null,
    scope: null,
    allowedDecisions: ['allow-once', 'allow-always', 'deny'],
    agentId: 'main',
    resolvedPath: '/bin/echo',
    sessionKey: 'agent:main:main',
    sessionId: null,
    runId: null,
    toolCallId: null,
    turnSourceChannel: null,
    turnSourceTo: null,
    turnSourceAccountId: null,
    turnSourceThreadId: null
  }
  const { createdAtMs, expiresAtMs } = accepted
  const entry = { id, approvalKind: 'exec', request: want, createdAtMs, expiresAtMs }
  t.strictSame(requested.payload, entry)
  t.strictSame(await ask(other, 'exec.approval.list'), [entry])
  t.strictSame(await ask(other, 'exec.approval.get', { id: id.slice(0, -1) }), {
    id,
    commandText: 'echo hi',
    commandPreview: null,
    allowedDecisions: want.allowedDecisions,
    host: 'gateway',
    nodeId: null,
    agentId: 'main',
    expiresAtMs
  })
  const pending = await ask(other, 'approval.get', { id })
  t.same(schemaErrors('ApprovalGetResult', pending), [])
  t.match(pending, { approval: { status: 'pending', urlPath: `/approve/${id}` } })
  for (const entry of readdirSync(app.stateDir, { withFileTypes: true })) {
    if (entry.isFile()) t.notOk(readFileSync(join(app.stateDir, entry.name)).includes('canary-value'), entry.name)
  }

  t.strictSame(await ask(boss, 'exec.approval.resolve', { id, decision: 'allow-once' }), { ok: true })
  const resolved = (await other.event('exec.approval.resolved')).payload as { ts: number } & Json
  t.strictSame(resolved, { id, decision: 'allow-once', resolvedBy: 'Boss', ts: resolved.ts, request: want })
  await agent.event('exec.approval.resolved')
  t.strictSame(
    agent.responses.filter((each) => each.id === 'two').map(({ payload }) => payload),
    [accepted, { id, decision: 'allow-once', createdAtMs, expiresAtMs }],
    'the second answer has the same id'
  )
  t.equal(boss.events.length - before, 2, 'one event for each')
  t.strictSame(await ask(agent, 'exec.approval.waitDecision', { id }), {
    id,
    decision: 'allow-once',
    createdAtMs,
    expiresAtMs,
    terminalReason: 'user'
  })
  const after = await ask<{ approval: Json }>(other, 'approval.get', { id })
  t.same(schemaErrors('ApprovalGetResult', after), [])
  t.match(after.approval, {
    status: 'allowed',
    decision: 'allow-once',
    reason: 'user',
    resolvedAtMs: resolved.ts,
    resolver: { kind: 'device', id: /^[0-9a-f]{64}$/ },
    source: { agentId: 'main', sessionKey: 'agent:main:main' }
  })
  t.same(await ask(other, 'exec.approval.list'), [])
  t.match((await other.call('exec.approval.get', { id })).error?.details, { reason: 'APPROVAL_NOT_FOUND' })
})

t.test('a request in one phase is answered when it is decided', async (t) => {
  const id = nextId()
  const answer = agent.call('exec.approval.request', { id, command: 'echo one' })
  await wait(0)
  while ((await ask<unknown[]>(boss, 'exec.approval.list')).length === 0) await wait(5)
  const waiting = [agent, other].map((client) => client.call('exec.approval.waitDecision', { id }))
  t.match(await ask(boss, 'approval.resolve', { id, kind: 'exec', decision: 'deny' }), {
    applied: true,
    approval: { status: 'denied', decision: 'deny', reason: 'user' }
  })
  t.match(await answer, { ok: true, payload: { id, decision: 'deny' } })
  for (const each of waiting) t.match((await each).payload, { id, decision: 'deny', terminalReason: 'user' })
})

t.test('what is asked in a way that cannot be answered is refused', async (t) => {
  const node = { host: 'node', nodeId: 'n', systemRunPlan: plan }
  const pending = await request()
  const done = await request()
  await ask(boss, 'exec.approval.resolve', { id: done, decision: 'deny' })
  const rows: [name: string, params: Json, message: RegExp | string][] = [
    ['nothing', {}, 'command is required'],
    ['an empty command', { command: '' }, /at \/command: must not have fewer than 1 characters/],
    ['a node without its id', { ...node, nodeId: null }, 'nodeId is required for host=node'],
    ['a node without a plan', { host: 'node', nodeId: 'n', command: 'x' }, 'systemRunPlan is required for host=node'],
    ['a plan without a command', { ...node, systemRunPlan: { ...plan, argv: [] } }, /systemRunPlan\/argv/],
    ['a plan with more', { ...node, systemRunPlan: { ...plan, more: 1 } }, /unexpected property 'more'/],
    ['an id that is a path', { command: 'x', id: '../x' }, /^approval id must be/],
    ['an id of dots', { command: 'x', id: '..' }, /^approval id must be/],
    ['an id of plugins', { command: 'x', id: 'plugin:x' }, /reserved/],
    ['an id that waits', { command: 'x', id: pending }, 'approval id already pending'],
    ['an id that ended', { command: 'x', id: done }, 'approval id already used'],
    ['a time of nothing', { command: 'x', timeoutMs: 0 }, /at \/timeoutMs/],
    ['an unknown key', { command: 'x', bogus: 1 }, /unexpected property 'bogus'/],
    ['environment that is no text', { command: 'x', env: { A: 1 } }, /at \/env\/A/],
    ['more than anybody would read', { command: 'x'.repeat(70_000) }, 'the approval request is too large']
  ]
  for (const [name, params, message] of rows) {
    t.match((await agent.call('exec.approval.request', params)).error, { code: 'INVALID_REQUEST', message }, name)
  }
  for (const method of ['exec.approval.get', 'exec.approval.resolve', 'approval.get', 'approval.resolve']) {
    const params = { id: 'nobody', ...(method.endsWith('resolve') ? { decision: 'deny' } : {}) }
    const { error } = await boss.call(method, method === 'approval.resolve' ? { ...params, kind: 'exec' } : params)
    t.match(error?.details, { reason: 'APPROVAL_NOT_FOUND', fix: { command: 'openclaw approvals pending' } }, method)
  }
  const start = 'request-'
  await request()
  for (const method of ['exec.approval.get', 'exec.approval.resolve']) {
    const { error } = await boss.call(method, { id: start, ...(method.endsWith('get') ? {} : { decision: 'deny' }) })
    t.equal(error?.message, 'ambiguous approval id prefix; use the full id')
  }
  t.match((await boss.call('approval.get', { id: start })).error, { message: 'approval not found' }, 'whole ids only')
  t.match((await boss.call('exec.approval.resolve', { id: pending, decision: 'maybe' })).error, {
    message: 'invalid decision'
  })
  t.match((await boss.call('exec.approval.waitDecision', { id: 'nobody' })).error, {
    message: 'approval expired or not found'
  })
  await clear()
})

/** Ends everything that waits. */
async function clear(): Promise<void> {
  for (const { id } of await ask<{ id: string }[]>(boss, 'exec.approval.list')) {
    await ask(boss, 'exec.approval.resolve', { id, decision: 'deny' })
  }
}

t.test('what is shown is what would run', async (t) => {
  const shown = async (params: Json) => {
    const id = await request(params)
    const { commandText } = await ask<{ commandText: string }>(boss, 'exec.approval.get', { id })
    await ask(boss, 'exec.approval.resolve', { id, decision: 'deny' })
    return commandText
  }
  const node = (argv: string[], commandText = 'echo harmless') => ({
    host: 'node',
    nodeId: 'n',
    command: 'echo harmless',
    systemRunPlan: { ...plan, argv, commandText, commandPreview: 'echo harmless' }
  })
  t.equal(await shown(node(['/bin/echo', 'hi'], '/bin/echo hi')), '/bin/echo hi')
  t.equal(await shown(node(['/bin/rm', '-rf', '/'])), '/bin/rm -rf /', 'whatever text came along')
  t.equal(await shown(node(['/bin/sh', '-c', `echo 'a b'`])), `/bin/sh -c 'echo '\\''a b'\\'''`)
  t.equal(await shown(node(['/bin/echo', ''])), `/bin/echo ''`)
  t.equal(await shown({ command: 'echo \u202ekcab\u200b\u001b[31m' }), 'echo \\u{202e}kcab\\u{200b}\\u{1b}[31m')
  t.equal(await shown({ command: 'one\n\ttwo' }), 'one\n\ttwo')
})

t.test('an approval is not for whoever asked', async (t) => {
  const device = new TestDevice()
  const both = ['operator.approvals', 'operator.admin']
  const asker = await connected(t, app.ws, { client: cli, scopes: both }, device)
  const sameDevice = await connected(t, app.ws, { client: cli, scopes: both }, device)
  const { token } = await ask(await connected(t, app.ws, { scopes: ['operator.admin'] }), 'gateway.tokens.create', {
    name: 'agent',
    scopes: ['operator.approvals']
  })
  const named = () => connected(t, app.ws, { auth: { token } })
  const rows: [name: string, asker: RawClient, resolver: RawClient, may: boolean][] = [
    ['the same socket', agent, agent, false],
    ['the same device, an admin', asker, asker, false],
    ['another socket of the same device', asker, sameDevice, false],
    ['another socket of the same token', await named(), await named(), false],
    ['another device', asker, boss, true],
    ['a person, for a token', await named(), boss, true]
  ]
  for (const [name, who, resolver, may] of rows) {
    for (const method of ['exec.approval.resolve', 'approval.resolve']) {
      const id = await request({}, who)
      const answer = await resolver.call(method, {
        id,
        decision: 'allow-once',
        ...(method.startsWith('exec') ? {} : { kind: 'exec' })
      })
      t.equal(answer.ok, may, `${name}: ${method}`)
      if (may) continue
      t.match(answer.error, {
        code: 'FORBIDDEN',
        details: { reason: 'APPROVAL_OWN_REQUEST', fix: { command: `openclaw approvals approve ${id}` } }
      })
      t.match(await ask(boss, 'approval.get', { id }), { approval: { status: 'pending' } }, 'and it still waits')
      t.match(
        await ask(resolver, 'exec.approval.resolve', { id, decision: 'deny' }),
        { ok: true },
        'taking it back is not giving it'
      )
    }
  }
})

t.test('an answer that was not offered is refused, and the request waits on', async (t) => {
  for (const more of [{ ask: 'always' }, { unavailableDecisions: ['allow-always'] }]) {
    const id = await request(more)
    for (const method of ['exec.approval.resolve', 'approval.resolve']) {
      const params = { id, decision: 'allow-always', ...(method.startsWith('exec') ? {} : { kind: 'exec' }) }
      t.match((await boss.call(method, params)).error, {
        message: 'allow-always is unavailable for this command',
        details: { reason: 'APPROVAL_ALLOW_ALWAYS_UNAVAILABLE' }
      })
    }
    t.match((await boss.call('approval.resolve', { id, kind: 'plugin', decision: 'deny' })).error, {
      message: 'approval not found'
    })
    t.match((await boss.call('approval.resolve', { id, kind: 'exec', decision: 'nope' })).error, {
      code: 'INVALID_REQUEST'
    })
    t.match(await ask(boss, 'approval.get', { id }), {
      approval: { status: 'pending', presentation: { allowedDecisions: ['allow-once', 'deny'] } }
    })
    await ask(boss, 'exec.approval.resolve', { id, decision: 'allow-once' })
  }
})

t.test('of two who decide at once, one does; the other is told who, when and what', async (t) => {
  for (let round = 0; round < 20; round++) {
    const id = await request()
    const answers = await Promise.all([
      boss.call('exec.approval.resolve', { id, decision: 'allow-once' }),
      other.call('exec.approval.resolve', { id, decision: 'deny' })
    ])
    t.equal(answers.filter(({ ok }) => ok).length, 1)
    const [winner, loser] = answers[0]!.ok ? (['Boss', other] as const) : (['Other', boss] as const)
    const decision = winner === 'Boss' ? 'allow-once' : 'deny'
    const { approval } = await ask<{ approval: { resolvedAtMs: number } & Json }>(boss, 'approval.get', { id })
    t.match(approval, { decision, resolvedAtMs: Number })
    t.match(answers.find(({ ok }) => !ok)?.error, {
      code: 'INVALID_REQUEST',
      message: 'approval already resolved',
      details: {
        reason: 'APPROVAL_ALREADY_RESOLVED',
        decision,
        resolvedBy: winner,
        resolvedAtMs: approval.resolvedAtMs
      }
    })
    const late = await ask(loser, 'approval.resolve', { id, kind: 'exec', decision: 'deny' })
    t.match(late, { applied: false, approval: { decision, resolvedAtMs: approval.resolvedAtMs } })
    t.same(schemaErrors('ApprovalResolveResult', late), [])
  }
})

t.test('a request ends with its time, and nobody’s answer is a no', async (t) => {
  const id = nextId()
  const { payload } = await agent.call('exec.approval.request', { id, command: 'x', timeoutMs: 120, twoPhase: true })
  t.match(await ask(agent, 'exec.approval.waitDecision', { id }), {
    ...payload,
    status: undefined,
    deliveryRoute: undefined,
    decision: null,
    terminalReason: 'timeout'
  })
  const after = await ask(boss, 'approval.get', { id })
  const last = boss.events.findLast(({ event }) => event === 'exec.approval.resolved')
  t.match(last?.payload, { id, decision: 'deny', resolvedBy: null })
  t.same(schemaErrors('ApprovalGetResult', after), [])
  t.match(after, { approval: { status: 'expired', reason: 'timeout', resolver: { kind: 'system' } } })
  t.notOk('decision' in (after.approval as Json))
  t.match((await boss.call('exec.approval.resolve', { id, decision: 'allow-once' })).error?.details, {
    reason: 'APPROVAL_ALREADY_RESOLVED',
    decision: null,
    resolvedBy: null
  })
})

t.test('with nobody there to answer: it waits, or is denied at once for whoever wants that', async (t) => {
  const lonely = await startApp(t)
  const asker = await connected(t, lonely.ws)
  await connected(t, lonely.ws, { scopes: ['operator.read'] })
  const { payload: waits } = await asker.call('exec.approval.request', { command: 'x', twoPhase: true })
  t.match(waits, { status: 'accepted' })
  t.notOk('deliveryRoute' in (waits as Json))
  const { payload } = await asker.call('exec.approval.request', { id: 'n', command: 'x', requireDeliveryRoute: true })
  t.match(payload, { id: 'n', decision: null })
  const denied = await ask(asker, 'approval.get', { id: 'n' })
  t.same(schemaErrors('ApprovalGetResult', denied), [])
  t.match(denied, {
    approval: {
      status: 'denied',
      decision: 'deny',
      reason: 'no-route',
      resolver: { kind: 'system', id: 'no-approval-route' }
    }
  })
  await connected(t, lonely.ws)
  const { payload: heard } = await asker.call('exec.approval.request', {
    command: 'x',
    requireDeliveryRoute: true,
    twoPhase: true
  })
  t.match(heard, { status: 'accepted', deliveryRoute: 'approval-client' })
})

t.test('"allow always" adds a rule of this host, for the command that was read', async (t) => {
  const path = approvalsPath(app.stateDir)
  const rules = () => {
    try {
      return (JSON.parse(readFileSync(path, 'utf8')) as Policy).agents ?? {}
    } catch {
      return {}
    }
  }
  const command = { argv: ['rg', 'x y'], cwd: '/work', env: { CI: '1' } }
  const params = {
    command: `rg 'x y'`,
    commandArgv: command.argv,
    cwd: '/work',
    env: command.env,
    resolvedPath: '/usr/bin/rg'
  }
  const decide = async (more: Json, decision = 'allow-always') => {
    const id = await request({ ...params, ...more })
    await ask(boss, 'exec.approval.resolve', { id, decision })
  }
  await decide({ commandArgv: ['rm', '-rf', '/'] })
  await decide({ command: 'echo harmless' })
  await decide({ commandArgv: undefined })
  await decide({ resolvedPath: null })
  await decide({ host: 'node', nodeId: 'n', systemRunPlan: plan })
  await decide({ agentId: '*' })
  await decide({}, 'allow-once')
  await decide({}, 'deny')
  t.same(rules(), {}, 'none of these is one')
  await decide({ agentId: 'helper' })
  t.match(rules(), {
    helper: {
      allowlist: [{ pattern: '/usr/bin/rg', argPattern: `sha256:plan:${planDigest(command)}`, source: 'allow-always' }]
    }
  })
  await decide({
    command: `rg 'x y' | rg z`,
    commandArgv: ['/bin/sh', '-lc', `rg 'x y' | rg z`],
    resolvedPath: '/bin/sh',
    agentId: 'main'
  })
  const policy: Policy = { version: 1, defaults: { security: 'allowlist' }, agents: rules() }
  t.equal(evaluate(policy, { ...command, resolvedPath: '/usr/bin/rg', agentId: 'helper' }).verdict, 'allow')
  t.equal(evaluate(policy, { ...command, resolvedPath: '/usr/bin/rg' }).verdict, 'deny', 'for that agent')
  t.equal(
    evaluate(policy, {
      argv: ['/bin/sh', '-lc', `rg 'x y' | rg z`],
      cwd: '/work',
      env: { CI: '1' },
      resolvedPath: '/bin/sh'
    }).verdict,
    'allow'
  )
})

t.test('the record tells who decided, and not what the command was', async (t) => {
  const admin = await connected(t, app.ws, { scopes: ['operator.admin'] })
  const list = async () => (await ask<{ events: Json[] }>(admin, 'gateway.audit.list', { limit: 2 })).events
  const id = await request({ command: 'curl -H canary-secret' })
  await ask(boss, 'exec.approval.resolve', { id, decision: 'allow-once' })
  const no = await request({ host: 'node', nodeId: 'f'.repeat(64), systemRunPlan: plan })
  await ask(other, 'approval.resolve', { id: no, kind: 'exec', decision: 'deny' })
  const [denied, allowed] = await list()
  t.match(allowed, {
    kind: 'approval.allowed',
    outcome: 'changed',
    who: /^[0-9a-f]{64}$/,
    detail: `allow-once ${id} (gateway, asked by gateway-client)`
  })
  t.match(denied, {
    kind: 'approval.denied',
    outcome: 'changed',
    detail: `deny ${no} (node ffffffffffff, asked by gateway-client)`
  })
  t.notMatch(JSON.stringify(await list()), 'canary')
})

t.test('approval.history pages, the newest first', async (t) => {
  const [first, second, third] = [await request(), await request(), await request()]
  for (const id of [first, second, third]) await ask(boss, 'exec.approval.resolve', { id, decision: 'deny' })
  type Page = { items: { id: string }[]; nextCursor?: string }
  const page = await ask<Page>(agent, 'approval.history', { limit: 2 })
  t.same(schemaErrors('ApprovalHistoryResult', page), [])
  t.same(
    page.items.map(({ id }) => id),
    [third, second]
  )
  const older = await ask<Page>(agent, 'approval.history', { limit: 1, cursor: page.nextCursor })
  t.same(
    older.items.map(({ id }) => id),
    [first]
  )
  const all = await ask<Page>(agent, 'approval.history', { limit: 100 })
  t.same(schemaErrors('ApprovalHistoryResult', all), [])
  t.same(await ask(agent, 'approval.history', { kind: 'plugin' }), { items: [] })
  for (const cursor of ['zz', Buffer.from('{}').toString('base64url'), Buffer.from('null').toString('base64url')]) {
    t.match((await agent.call('approval.history', { cursor })).error, { message: 'invalid approval.history cursor' })
  }
  for (const bad of [{ limit: 0 }, { limit: 101 }, { cursor: '' }, { kind: 'x' }, { x: 1 }]) {
    t.match((await agent.call('approval.history', bad)).error, { code: 'INVALID_REQUEST' })
  }
})

t.test('what only other gateways have is empty', async (t) => {
  for (const method of ['plugin.approval.list', 'openclaw.approval.list']) t.same(await ask(agent, method), [])
  const grants = await ask(agent, 'exec.approval.grants.list', { limit: 5 })
  t.same(schemaErrors('ExecApprovalGrantsListResult', grants), [])
  const revoked = await ask(agent, 'exec.approval.grants.revoke', { grantId: 'x' })
  t.same(schemaErrors('ExecApprovalGrantsRevokeResult', revoked), [])
})

t.test('one asker has 64 requests waiting at most', async (t) => {
  const crowded = await startApp(t)
  const asker = await connected(t, crowded.ws)
  const judge = await person(t, crowded, 'Judge')
  // Each of a socket's 64 calls under way would wait; more sockets are the same asker only with a device.
  const device = new TestDevice()
  const sockets = [
    await connected(t, crowded.ws, { client: cli }, device),
    await connected(t, crowded.ws, { client: cli }, device)
  ]
  for (let n = 0; n < 64; n++) {
    const { ok } = await sockets[n % 2]!.call('exec.approval.request', { id: `r${n}`, command: 'x', twoPhase: true })
    if (!ok) t.fail(`r${n}`)
  }
  const one = { command: 'x', twoPhase: true }
  t.match((await sockets[0]!.call('exec.approval.request', one)).error, {
    code: 'UNAVAILABLE',
    retryable: true,
    message: 'too many approvals are pending',
    details: { fix: { command: 'openclaw approvals pending' } }
  })
  t.match((await asker.call('exec.approval.request', one)).payload, { status: 'accepted' }, 'another asks on')
  await ask(judge, 'exec.approval.resolve', { id: 'r7', decision: 'deny' })
  t.match(
    (await sockets[0]!.call('exec.approval.request', one)).payload,
    { status: 'accepted' },
    'an answer makes room'
  )
})

t.test('what waits survives the end of the gateway, however it ends', async (t) => {
  const first = await startProcess(t, { args: ['--token', TOKEN, '--allow-unconfigured'] })
  const { stateDir } = first
  const device = new TestDevice()
  const asker = await connected(t, first.ws, { client: cli }, device)
  const judge = await person(t, first, 'Judge')
  const accepted = await asker.call('exec.approval.request', { id: 'kept', command: 'echo kept', twoPhase: true })
  await asker.call('exec.approval.request', { id: 'brief', command: 'echo brief', twoPhase: true, timeoutMs: 1 })
  await asker.call('exec.approval.request', { id: 'done', command: 'echo done', twoPhase: true })
  await ask(judge, 'exec.approval.resolve', { id: 'done', decision: 'allow-once' })
  const before = await ask(judge, 'exec.approval.list')
  first.child.kill('SIGKILL')
  await first.exited

  const second = await startProcess(t, { args: ['--token', TOKEN, '--allow-unconfigured'], stateDir })
  const again = await connected(t, second.ws, { client: cli }, device)
  const later = await person(t, second, 'Later')
  t.same(await ask(later, 'exec.approval.list'), before)
  t.match(await ask(later, 'approval.get', { id: 'done' }), { approval: { status: 'allowed', decision: 'allow-once' } })
  t.match(await ask(later, 'approval.get', { id: 'brief' }), { approval: { status: 'expired' } })
  t.match(
    (await again.call('exec.approval.resolve', { id: 'kept', decision: 'allow-once' })).error,
    { code: 'FORBIDDEN' },
    'who asked is known still'
  )
  const decision = again.call('exec.approval.waitDecision', { id: 'kept' })
  await ask(later, 'exec.approval.resolve', { id: 'kept', decision: 'allow-once' })
  t.match((await decision).payload, { id: 'kept', decision: 'allow-once', createdAtMs: accepted.payload?.createdAtMs })

  await again.call('exec.approval.request', { id: 'stays', command: 'x', twoPhase: true })
  const waits = again.call('exec.approval.waitDecision', { id: 'stays' })
  await ask(later, 'exec.approval.list')
  const started = performance.now()
  second.child.kill('SIGTERM')
  t.match(told(await waits), { code: 'UNAVAILABLE', retryable: true, message: /stays pending/ })
  t.equal(await second.exited, 0)
  t.ok(performance.now() - started < 1_500, 'and who waits does not hold up the end')
})
