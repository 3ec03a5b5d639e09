import fc from 'fast-check'
import t from 'tap'
import { INVOKE } from '../../src/nodes/broker.ts'
import { nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { startApp, TOKEN } from '../support/gateway.ts'
import { type Answer, approvedNode, freshKey, operator, TestNode } from '../support/nodes.ts'
import { schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>

const app = await startApp(t)
const admin = await operator(t, app.ws)
const node = await approvedNode(t, app.ws)
const nodeId = node.id
const { broker } = app.app.nodes

function invoke(more: Json = {}, client = admin): Promise<Answer> {
  return client.call('node.invoke', { nodeId, command: 'system.which', idempotencyKey: freshKey(), ...more })
}

const nodeError = (code: string, message: string) => ({
  code: 'UNAVAILABLE',
  message: `${code}: ${message}`,
  details: { nodeError: { code, message }, nodeCommandDispatched: true }
})

t.test('what a node receives (§4)', async (t) => {
  const rows: { name: string; send: Json; paramsJSON: string | null; timeoutMs?: number }[] = [
    {
      name: 'params',
      send: { params: { bins: ['ls'] }, timeoutMs: 5000 },
      paramsJSON: '{"bins":["ls"]}',
      timeoutMs: 5000
    },
    { name: 'no params', send: {}, paramsJSON: null },
    { name: 'null', send: { params: null }, paramsJSON: 'null' },
    { name: 'a text', send: { params: '{"a":1}' }, paramsJSON: '"{\\"a\\":1}"' },
    { name: 'spaces', send: { nodeId: ` ${nodeId} `, command: ' system.which ' }, paramsJSON: null },
    { name: '0 is no deadline', send: { timeoutMs: 0 }, paramsJSON: null, timeoutMs: INVOKE.longestMs },
    { name: 'the reference’s other keys', send: { sessionKey: 's', turnSourceThreadId: 5 }, paramsJSON: null }
  ]
  for (const { name, send, paramsJSON, timeoutMs = INVOKE.defaultMs } of rows) {
    const running = invoke(send)
    const request = await node.request()
    const { id, timeoutMs: left, idempotencyKey, ...rest } = request
    t.strictSame(rest, { nodeId, command: 'system.which', paramsJSON }, name)
    t.match(id, /^[0-9a-f-]{36}$/)
    t.match(idempotencyKey, /^key-/)
    t.ok(left > timeoutMs - 1000 && left <= timeoutMs, `the budget that is left: ${left}`)
    const frame = node.client.events.at(-1)!
    t.notOk('seq' in frame, 'without a number')
    if (paramsJSON !== null) t.strictSame(schemaErrors('NodeInvokeRequestEvent', request), [])
    t.strictSame((await node.result(id, { ok: true })).payload, { ok: true })
    t.ok((await running).ok)
  }
})

t.test('a program that is run has an id, and nobody claims that it was approved', async (t) => {
  const uuid = /^[0-9a-f-]{36}$/
  for (const [params, want] of [
    [{ command: ['ls'] }, { command: ['ls'], runId: uuid }],
    [
      { command: ['ls'], runId: 'mine' },
      { command: ['ls'], runId: 'mine' }
    ],
    [
      { command: ['ls'], approved: false, systemRunPlan: {} },
      { command: ['ls'], runId: uuid }
    ],
    [undefined, undefined]
  ] as const) {
    const running = invoke({ command: 'system.run', ...(params === undefined ? {} : { params }) })
    const { id, paramsJSON } = await node.request()
    const sent = paramsJSON === null ? undefined : (JSON.parse(paramsJSON) as Json)
    t.match(sent, want, JSON.stringify(params))
    t.strictSame(Object.keys(sent ?? {}), Object.keys(want ?? {}))
    await node.result(id, { ok: true })
    await running
  }
})

t.test('a caller that leaves before its command is sent has none sent', async (t) => {
  const gate = Promise.withResolvers<Json>()
  const request = { nodeId, command: 'system.which', params: {}, timeoutMs: 5_000, idempotencyKey: freshKey() }
  const running = broker.invoke(request, { connId: 'gone', name: 'somebody' }, () => gate.promise)
  broker.callerLeft('gone')
  gate.resolve({})
  await t.rejects(running, { message: 'CANCELLED: the caller is gone' })
  t.equal(node.untaken, 0)
})

t.test('pieces of output name their streams where the node tells them', async (t) => {
  const idempotencyKey = freshKey()
  const running = invoke({ idempotencyKey })
  const { id: invokeId } = await node.request()
  for (const [seq, more] of [
    [0, { stream: 'stdout' }],
    [1, {}]
  ] as const) {
    const piece = { invokeId, nodeId, seq, chunk: 'x', ...more }
    await node.client.call('node.invoke.progress', piece)
    t.strictSame(told(invokeId).at(-1), { idempotencyKey, ...piece })
  }
  const odd = await node.client.call('node.invoke.progress', { invokeId, nodeId, seq: 2, chunk: 'x', stream: 'odd' })
  t.equal(odd.error?.code, 'INVALID_REQUEST')
  await node.result(invokeId, { ok: true })
  await running

  function told(invokeId: string) {
    const pieces = admin.events.filter(({ event }) => event === 'node.invoke.progress')
    return pieces.map(({ payload }) => payload as Json).filter((payload) => payload.invokeId === invokeId)
  }
})

t.test('what a caller gets (§4)', async (t) => {
  const ok = { ok: true, nodeId, command: 'system.which' }
  const failed = (message: string, nodeError: unknown) => ({
    code: 'UNAVAILABLE',
    message,
    details: { nodeError, nodeCommandDispatched: true }
  })
  const rows: { name: string; result: Json; want?: Json; error?: Json }[] = [
    { name: 'payload', result: { ok: true, payload: { a: 1 } }, want: { ...ok, payload: { a: 1 }, payloadJSON: null } },
    {
      name: 'payloadJSON',
      result: { ok: true, payloadJSON: '{"a":1}' },
      want: { ...ok, payload: { a: 1 }, payloadJSON: '{"a":1}' }
    },
    {
      name: 'both',
      result: { ok: true, payload: { b: 1 }, payloadJSON: '{"a":1}' },
      want: { ...ok, payload: { a: 1 }, payloadJSON: '{"a":1}' }
    },
    {
      name: 'payloadJSON that is none',
      result: { ok: true, payloadJSON: '{"a":' },
      want: { ...ok, payload: { payloadJSON: '{"a":' }, payloadJSON: '{"a":' }
    },
    { name: 'nothing', result: { ok: true }, want: { ...ok, payloadJSON: null } },
    {
      name: 'null',
      result: { ok: true, payload: null, payloadJSON: null, error: null },
      want: { ...ok, payload: null, payloadJSON: null }
    },
    {
      name: 'an error',
      result: { ok: false, error: { code: 'BOOM', message: 'kaput' } },
      error: nodeError('BOOM', 'kaput')
    },
    { name: 'an empty error', result: { ok: false, error: {} }, error: failed('node invoke failed', {}) },
    { name: 'no error', result: { ok: false }, error: failed('node invoke failed', null) },
    {
      name: 'a code',
      result: { ok: false, error: { code: 'X' } },
      error: failed('X: node invoke failed', { code: 'X' })
    },
    { name: 'words', result: { ok: false, error: { message: 'X' } }, error: failed('X', { message: 'X' }) }
  ]
  for (const { name, result, want, error } of rows) {
    const running = invoke()
    const { id } = await node.request()
    t.strictSame((await node.result(id, result)).payload, { ok: true }, `the node is told: ${name}`)
    const answer = await running
    t.strictSame(answer.payload, want, name)
    t.strictSame(answer.error, error, name)
    t.strictSame((await node.result(id, result)).payload, { ok: true, ignored: true }, 'an answer counts once')
  }
  const long = invoke()
  await node.result((await node.request()).id, { ok: false, error: { code: 'C', message: 'x'.repeat(100_000) } })
  t.equal((await long).error?.message.length, 'C: '.length + INVOKE.words, 'what a node says has an end')
})

t.test('what is refused before it reaches a node (§4)', async (t) => {
  const allowlist = (command: string, why: string) => ({
    code: 'INVALID_REQUEST',
    message: `node command not allowed: ${why}`,
    details: { reason: 'command not allowlisted', command }
  })
  const invalid = (message: string, details?: Json) => ({
    code: 'INVALID_REQUEST',
    message,
    ...(details === undefined ? {} : { details })
  })
  const missing = (scope: string) => ({
    code: 'FORBIDDEN',
    message: `missing scope: ${scope}`,
    details: { code: 'MISSING_SCOPE', missingScope: scope, requiredScopes: [scope] }
  })
  const changed = {
    code: 'UNAVAILABLE',
    message: 'node pairing changed while invocation was active',
    details: { code: 'PAIRING_CHANGED' },
    retryable: true
  }
  const writer = await operator(t, app.ws, 'operator.write')
  const reader = await operator(t, app.ws, 'operator.read')
  const execApprovals = invalid('node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*', {
    command: 'system.execApprovals.get'
  })
  const rows: { name: string; send: Json; error: Json; who?: RawClient }[] = [
    {
      name: 'not declared',
      send: { command: 'location.get' },
      error: invalid('node command not allowed: the node (platform: linux) does not support "location.get"', {
        reason: 'command not declared by node',
        command: 'location.get'
      })
    },
    {
      name: 'not allowlisted',
      send: { command: 'my.custom' },
      error: allowlist('my.custom', '"my.custom" is not in the allowlist for platform "linux"')
    },
    {
      name: 'not approved',
      send: { command: 'screen.snapshot' },
      error: allowlist('screen.snapshot', '"screen.snapshot" is not in the allowlist for platform "linux"')
    },
    {
      name: 'dangerous',
      send: { command: 'camera.snap' },
      error: allowlist('camera.snap', '"camera.snap" requires explicit gateway.nodes.commands.allow opt-in')
    },
    { name: 'exec approvals', send: { command: 'system.execApprovals.get' }, error: execApprovals },
    {
      name: 'exec approvals, whoever asks',
      send: { command: 'system.execApprovals.get' },
      error: execApprovals,
      who: writer
    },
    { name: 'an unknown node', send: { nodeId: 'nope' }, error: changed },
    { name: 'an unknown node and command', send: { nodeId: 'nope', command: 'camera.snap' }, error: changed },
    {
      name: 'a claim to be approved',
      send: { command: 'system.run', params: { command: ['ls'], approved: true } },
      error: invalid('approval override requires params.runId', { code: 'MISSING_RUN_ID' })
    },
    {
      name: 'a claim to be approved always',
      send: { command: 'system.run', params: { command: ['ls'], approvalDecision: 'allow-always', runId: 'mine' } },
      error: invalid('unknown or expired approval id', { code: 'UNKNOWN_APPROVAL_ID', runId: 'mine' })
    },
    { name: 'blank', send: { command: '  ' }, error: invalid('nodeId and command required') },
    {
      name: 'no key',
      send: { idempotencyKey: undefined },
      error: invalid("invalid node.invoke params: must have required property 'idempotencyKey'")
    },
    {
      name: 'a time below 0',
      send: { timeoutMs: -1 },
      error: invalid('invalid node.invoke params: at /timeoutMs: must be >= 0')
    },
    { name: 'files, for a writer', send: { command: 'fs.listDir' }, error: missing('operator.admin'), who: writer },
    {
      name: 'a browser, for a writer',
      send: { command: 'browser.proxy' },
      error: missing('operator.admin'),
      who: writer
    },
    { name: 'a reader', send: {}, error: missing('operator.write'), who: reader }
  ]
  for (const { name, send, error, who = admin } of rows) t.strictSame((await invoke(send, who)).error, error, name)
  const large = await invoke({ params: 'x'.repeat(INVOKE.params) })
  t.strictSame(large.error, invalid('params are too large for a node'))
  t.equal(node.untaken, 0, 'none of them reached the node')
})

t.test('what a node may say of invocations (§4)', async (t) => {
  const invalid = (message: string) => ({ code: 'INVALID_REQUEST', message })
  const other = await approvedNode(t, app.ws)
  const running = invoke()
  const { id } = await node.request()
  const rows: { who: RawClient; method: string; params: Json; payload?: Json; error?: Json }[] = [
    {
      who: node.client,
      method: 'result',
      params: { id: 'nope', nodeId, ok: true },
      payload: { ok: true, ignored: true }
    },
    {
      who: node.client,
      method: 'result',
      params: { id, nodeId: other.id, ok: true },
      error: invalid('nodeId mismatch')
    },
    {
      who: node.client,
      method: 'result',
      params: { nodeId, ok: true },
      error: invalid("invalid node.invoke.result params: must have required property 'id'")
    },
    {
      who: other.client,
      method: 'result',
      params: { id, nodeId: other.id, ok: true, payload: 'forged' },
      payload: { ok: true, ignored: true }
    },
    { who: other.client, method: 'result', params: { id, nodeId, ok: true }, error: invalid('nodeId mismatch') },
    {
      who: other.client,
      method: 'progress',
      params: { invokeId: id, nodeId: other.id, seq: 0, chunk: 'forged' },
      payload: { ok: true, ignored: true }
    },
    { who: admin, method: 'result', params: { id, nodeId, ok: true }, error: invalid('unauthorized role: operator') },
    { who: node.client, method: 'cancel', params: {}, error: invalid('unauthorized role: node') }
  ]
  for (const { who, method, params, payload, error } of rows) {
    const answer = await who.call(`node.invoke.${method}`, params)
    t.strictSame(answer.payload, payload, `${method} ${JSON.stringify(params)}`)
    t.strictSame(answer.error, error, `${method} ${JSON.stringify(params)}`)
  }
  await node.result(id, { ok: true, payload: 'own' })
  t.equal(((await running).payload as Json).payload, 'own', 'nobody else answered for it')
})

t.test('time runs out: the caller is told, and the node to stop', async (t) => {
  const started = performance.now()
  const running = invoke({ timeoutMs: 120 })
  const { id } = await node.request()
  t.strictSame((await running).error, nodeError('TIMEOUT', 'node invoke timed out'))
  const took = performance.now() - started
  t.ok(took >= 120, `not before its time: ${took}`)
  t.strictSame((await node.client.event('node.invoke.cancel')).payload, { invokeId: id, nodeId })
  t.strictSame((await node.result(id, { ok: true })).payload, { ok: true, ignored: true }, 'too late')
})

t.test('a node that goes fails what it had; one that is away gets nothing', async (t) => {
  const gone = await approvedNode(t, app.ws)
  const running = invoke({ nodeId: gone.id })
  await gone.request()
  await gone.client.close()
  t.strictSame((await running).error, nodeError('DISCONNECTED', 'node disconnected (system.which)'))
  for (const command of ['system.which', 'location.get']) {
    t.strictSame((await invoke({ nodeId: gone.id, command })).error, {
      code: 'UNAVAILABLE',
      message: 'node not connected',
      details: {
        code: 'NOT_CONNECTED',
        nodeError: { code: 'NOT_CONNECTED', message: 'node not connected' },
        nodeCommandDispatched: false
      }
    })
  }
})

t.test('D14: the same request with the same key runs once', async (t) => {
  const idempotencyKey = freshKey()
  const send = { idempotencyKey, params: { a: 1 } }
  const first = invoke(send)
  const { id } = await node.request()
  const second = invoke(send)
  const third = await operator(t, app.ws)
  const elsewhere = invoke(send, third)
  await third.call('health')
  await node.result(id, { ok: true, payload: { n: 1 } })
  const want = (await first).payload
  t.strictSame((await second).payload, want, 'whoever asks meanwhile gets the same answer')
  t.strictSame((await elsewhere).payload, want, 'on another socket, as the same caller, too')
  t.strictSame((await invoke(send)).payload, want, 'and so does whoever asks afterwards')

  const different = { code: 'INVALID_REQUEST', message: 'idempotencyKey was used for a different request' }
  t.strictSame((await invoke({ ...send, params: { a: 2 } })).error, different)
  t.strictSame((await invoke({ ...send, command: 'system.run' })).error, different)

  const failing = { idempotencyKey: freshKey() }
  const boom = invoke(failing)
  await node.result((await node.request()).id, { ok: false, error: { code: 'BOOM' } })
  t.strictSame((await invoke(failing)).error, (await boom).error, 'an error is an answer')

  const refused = { idempotencyKey: freshKey(), nodeId: 'nope' }
  await invoke(refused)
  t.equal((await invoke(refused)).error?.message, 'node pairing changed while invocation was active')

  const device = new TestDevice()
  const mine = await RawClient.open(app.ws)
  t.teardown(() => mine.close())
  const cli = { id: 'cli', version: '1', platform: 'linux', mode: 'cli' } as const
  t.ok((await mine.connect({ auth: { token: 'test-shared-token-0123456789abcdef' }, client: cli }, device)).ok)
  const own = invoke(send, mine)
  await node.result((await node.request()).id, { ok: true, payload: { n: 2 } })
  t.strictSame(((await own).payload as Json).payload, { n: 2 }, 'another caller’s key is another key')
  t.equal(node.untaken, 0)
})

t.test('output reaches whoever waits, in order, and nobody else', async (t) => {
  const caller = await operator(t, app.ws, 'operator.write')
  const other = await operator(t, app.ws)
  const idempotencyKey = freshKey()
  const running = invoke({ idempotencyKey }, caller)
  const { id } = await node.request()
  const piece = (seq: number, chunk: string) =>
    node.client.call('node.invoke.progress', { invokeId: id, nodeId, seq, chunk })
  t.strictSame((await piece(0, 'a')).payload, { ok: true })
  await piece(2, 'c')
  await piece(1, 'late')
  await piece(2, 'again')
  await node.result(id, { ok: true })
  t.strictSame((await piece(3, 'over')).payload, { ok: true, ignored: true })
  await running
  const seen = caller.events.filter(({ event }) => event === 'node.invoke.progress')
  t.strictSame(
    seen.map(({ payload }) => payload),
    [
      { idempotencyKey, invokeId: id, nodeId, seq: 0, chunk: 'a' },
      { idempotencyKey, invokeId: id, nodeId, seq: 2, chunk: 'c' }
    ]
  )
  t.notOk(seen.some((each) => 'seq' in each))
  await other.call('health')
  t.notOk(other.events.some(({ event }) => event === 'node.invoke.progress'))
})

t.test('input reaches the node, from the caller or an admin', async (t) => {
  const caller = await operator(t, app.ws, 'operator.write')
  const idempotencyKey = freshKey()
  const running = invoke({ idempotencyKey }, caller)
  const { id } = await node.request()
  const input = (client: RawClient, more: Json) => client.call('node.invoke.input', { nodeId, idempotencyKey, ...more })
  t.strictSame((await input(caller, { data: 'yes\n' })).payload, { ok: true })
  t.strictSame((await input(admin, { end: true })).payload, { ok: true })
  const events = [await node.client.event('node.invoke.input'), await node.client.event('node.invoke.input', 2)]
  t.strictSame(
    events.map(({ payload }) => payload),
    [
      { id, nodeId, seq: 0, payloadJSON: '{"data":"yes\\n"}' },
      { id, nodeId, seq: 1, payloadJSON: '{"end":true}' }
    ]
  )
  for (const { payload } of events) t.strictSame(schemaErrors('NodeInvokeInputEvent', payload), [])
  await node.result(id, { ok: true })
  await running
  t.equal((await input(caller, { data: 'x' })).error?.message, 'no such invocation is under way')
})

t.test('input and the end of something may follow at once', async (t) => {
  const idempotencyKey = freshKey()
  const params = { command: ['cat'] }
  const running = invoke({ command: 'system.run', params, idempotencyKey })
  const input = admin.call('node.invoke.input', { nodeId, idempotencyKey, data: 'early' })
  const cancel = admin.call('node.invoke.cancel', { nodeId, idempotencyKey })
  t.strictSame((await input).payload, { ok: true })
  t.strictSame((await cancel).payload, { cancelled: true })
  t.strictSame((await running).error, nodeError('CANCELLED', 'node invoke cancelled'))
  await node.request()
})

t.test('whoever started it gives it up, or an admin; nobody else', async (t) => {
  const device = new TestDevice()
  const stranger = await RawClient.open(app.ws)
  t.teardown(() => stranger.close())
  const cli = { id: 'cli', version: '1', platform: 'linux', mode: 'cli' } as const
  const scopes = ['operator.write']
  await stranger.connect({ auth: { token: 'test-shared-token-0123456789abcdef' }, client: cli, scopes }, device)
  const caller = await operator(t, app.ws, 'operator.write')
  let cancels = node.client.events.filter(({ event }) => event === 'node.invoke.cancel').length
  for (const who of [caller, admin]) {
    const idempotencyKey = freshKey()
    const cancel = (client: RawClient) => client.call('node.invoke.cancel', { nodeId, idempotencyKey })
    t.strictSame((await cancel(who)).payload, { cancelled: false }, 'nothing is under way')
    const running = invoke({ idempotencyKey }, caller)
    const { id } = await node.request()
    t.strictSame((await cancel(stranger)).payload, { cancelled: false }, 'not a stranger’s to cancel')
    t.strictSame((await cancel(who)).payload, { cancelled: true })
    t.strictSame((await running).error, nodeError('CANCELLED', 'node invoke cancelled'))
    t.strictSame((await node.client.event('node.invoke.cancel', ++cancels)).payload, { invokeId: id, nodeId })
    t.strictSame((await invoke({ idempotencyKey }, caller)).error, nodeError('CANCELLED', 'node invoke cancelled'))
  }
})

t.test('what nobody waits for any more is given up', async (t) => {
  const caller = await operator(t, app.ws)
  const patient = await operator(t, app.ws)
  const shared = { idempotencyKey: freshKey() }
  const cancelled = () => node.client.events.filter(({ event }) => event === 'node.invoke.cancel')
  const before = cancelled().length
  const alone = invoke({}, caller).catch(() => 'the socket is gone')
  const { id } = await node.request()
  const both = invoke(shared, caller).catch(() => 'the socket is gone')
  const { id: sharedId } = await node.request()
  const follower = invoke(shared, patient)
  await patient.call('health')
  await caller.close()
  t.equal(await alone, 'the socket is gone')
  t.equal(await both, 'the socket is gone')
  t.strictSame((await node.client.event('node.invoke.cancel', before + 1)).payload, { invokeId: id, nodeId })
  await node.result(sharedId, { ok: true, payload: 'here' })
  t.equal(((await follower).payload as Json).payload, 'here', 'somebody else still waits')
  t.equal(cancelled().length, before + 1)
})

t.test('two sockets of one node: the newest serves, and the other one when it goes', async (t) => {
  const device = new TestDevice()
  const old = await approvedNode(t, app.ws, { device })
  const first = invoke({ nodeId: device.id })
  const { id: early } = await old.request()
  const newer = await TestNode.connect(t, app.ws, { device })
  await newer.client.call('health')
  const running = invoke({ nodeId: device.id })
  const { id } = await newer.request()
  t.equal(old.untaken, 0)
  t.strictSame((await old.result(id, { ok: true, payload: 'old' })).error, {
    code: 'UNAVAILABLE',
    message: 'node pairing changed before request dispatch',
    details: { code: 'PAIRING_CHANGED' },
    retryable: true
  })
  await newer.result(id, { ok: true, payload: 'new' })
  t.equal(((await running).payload as Json).payload, 'new')
  await old.result(early, { ok: true, payload: 'asked before' })
  t.equal(((await first).payload as Json).payload, 'asked before', 'the older one finishes what it was asked')

  const lost = invoke({ nodeId: device.id })
  await newer.request()
  await newer.client.close()
  t.equal((await lost).error?.message, 'DISCONNECTED: node disconnected (system.which)')
  t.equal(((await admin.call('node.describe', { nodeId: device.id })).payload as Json).connected, true)
  const again = invoke({ nodeId: device.id })
  await old.result((await old.request()).id, { ok: true, payload: 'old' })
  t.equal(((await again).payload as Json).payload, 'old')
  await old.client.close()
  while (app.app.nodes.registry.serving(device.id) !== undefined) await admin.call('health')
  t.equal(((await admin.call('node.describe', { nodeId: device.id })).payload as Json).connected, false)
})

t.test('a node whose network is cut is found out, and what it had fails', async (t) => {
  const zombie = await approvedNode(t, app.ws)
  // What a cut network looks like from here: nothing is read, nothing is answered.
  const { _socket: socket } = zombie.client.socket as unknown as { _socket: { pause(): void } }
  socket.pause()
  const long = invoke({ nodeId: zombie.id, timeoutMs: 60_000 })
  t.strictSame(
    (await invoke({ nodeId: zombie.id, timeoutMs: 100 })).error,
    nodeError('TIMEOUT', 'node invoke timed out'),
    'nobody waits longer than the time allows'
  )
  const connection = [...app.app.hub].find(({ caller }) => caller?.deviceId === zombie.id)!
  // The clock does this every 25 s (LIMITS.pingMs): 50 s at most.
  connection.ping()
  connection.ping()
  t.strictSame((await long).error, nodeError('DISCONNECTED', 'node disconnected (system.which)'))
  t.equal(((await admin.call('node.describe', { nodeId: zombie.id })).payload as Json).connected, false)
})

t.test('a node that is not ready yet is asked again, within the time', async (t) => {
  const notReady = { ok: false, error: { code: 'NODE_NOT_READY', message: 'starting' } }
  const running = invoke()
  const { id } = await node.request()
  await node.result(id, notReady)
  t.strictSame((await node.result(id, notReady)).payload, { ok: true, ignored: true }, 'once for each time it is asked')
  const again = await node.request()
  t.equal(again.id, id)
  await node.client.call('health')
  t.equal(node.untaken, 0, 'and once again')
  await node.result(id, { ok: true, payload: 'ready' })
  t.equal(((await running).payload as Json).payload, 'ready')

  const spoke = invoke()
  const { id: spokeId } = await node.request()
  await node.client.call('node.invoke.progress', { invokeId: spokeId, nodeId, seq: 0, chunk: 'x' })
  await node.result(spokeId, notReady)
  t.equal((await spoke).error?.message, 'NODE_NOT_READY: starting', 'what began is not begun again')
})

t.test('a node that says the same of a command again, in one breath, says it once', async (t) => {
  const client = { ...nodeHost, id: 'openclaw-ios' as const, platform: 'iOS 18.4', deviceFamily: 'iPhone' }
  const phone = await approvedNode(t, app.ws, { client, caps: ['talk'], commands: ['talk.ptt.start'] })
  const answers = [
    { ok: false, error: { code: 'NODE_BACKGROUND_UNAVAILABLE' } },
    { ok: false, error: { code: 'BOOM' } },
    { ok: true, payload: 1 }
  ]
  for (const first of answers) {
    const ended = { ...broker.stats.outcomes }
    const running = invoke({ nodeId: phone.id, command: 'talk.ptt.start' })
    const { id } = await phone.request()
    const { _socket: socket } = phone.client.socket as unknown as { _socket: { cork(): void; uncork(): void } }
    socket.cork()
    const told = [first, first, ...answers].map((result) => phone.result(id, result))
    socket.uncork()
    t.strictSame(
      (await Promise.all(told)).map(({ payload }) => payload?.ignored === true),
      [false, true, true, true, true],
      JSON.stringify(first)
    )
    await running
    const { ok, failed } = broker.stats.outcomes
    t.equal(ok + failed, ended.ok + ended.failed + 1, 'it ended once')
  }
})

t.test('what is under way is bounded, for a node and for a caller, and leaves room for other calls', async (t) => {
  const busy = await approvedNode(t, app.ws)
  const caller = await operator(t, app.ws)
  const ask = () => invoke({ nodeId: busy.id }, caller)
  const running = Array.from({ length: INVOKE.perNode }, ask)
  for (const _ of running) await busy.request()
  t.strictSame((await ask()).error, {
    code: 'UNAVAILABLE',
    message: 'too many invocations of this node are under way',
    retryable: true,
    details: { code: 'TOO_MANY_INVOCATIONS', limit: INVOKE.perNode, nodeCommandDispatched: false }
  })
  t.ok((await caller.call('health')).ok)
  await caller.close()
  await Promise.allSettled(running)
  while (broker.size > 0) await admin.call('health')
  t.equal(broker.size, 0)
})

t.test('any mix of answers, ends and repeats settles every call once (model)', async (t) => {
  const app = await startApp(t)
  const admin = await operator(t, app.ws)
  const { broker } = app.app.nodes
  const step = fc.record({
    key: fc.integer({ min: 0, max: 3 }),
    ends: fc.constantFrom('ok', 'fail', 'timeout', 'cancel', 'twice'),
    repeat: fc.boolean()
  })
  const node = await approvedNode(t, app.ws)
  let round = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
      round++
      const known = new Map<string, string>()
      for (const { key, ends, repeat } of steps) {
        const idempotencyKey = `m${round}-${key}`
        const timeoutMs = ends === 'timeout' ? 20 : 30_000
        const call = () =>
          admin.call('node.invoke', { nodeId: node.id, command: 'system.which', idempotencyKey, timeoutMs })
        const first = call()
        const second = repeat ? call() : undefined
        if (!known.has(idempotencyKey)) {
          const { id } = await node.request()
          if (ends === 'ok' || ends === 'twice') await node.result(id, { ok: true, payload: id })
          if (ends === 'twice') await node.result(id, { ok: true, payload: 'again' })
          if (ends === 'fail') await node.result(id, { ok: false, error: { code: id } })
          if (ends === 'cancel') await admin.call('node.invoke.cancel', { nodeId: node.id, idempotencyKey })
        }
        const { ok, payload, error } = await first
        const got = JSON.stringify({ ok, payload, error })
        const want = known.get(idempotencyKey) ?? got
        known.set(idempotencyKey, got)
        const repeated = second === undefined ? undefined : await second
        if (got !== want) return false
        if (repeated !== undefined && repeated.ok !== ok) return false
      }
      return node.untaken === 0 && broker.size === 0
    }),
    { numRuns: 40 }
  )
})

t.test('metrics count invocations by how they ended, and how long nodes took', async (t) => {
  const app = await startApp(t)
  const node = await approvedNode(t, app.ws)
  const caller = await operator(t, app.ws)
  for (const result of [{ ok: true }, { ok: true }, { ok: false, error: { code: 'BOOM' } }]) {
    const running = invoke({ nodeId: node.id }, caller)
    await node.result((await node.request()).id, result)
    await running
  }
  await invoke({ nodeId: node.id, command: 'location.get' }, caller)
  const response = await fetch(`${app.http}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })
  const text = await response.text()
  const { outcomes } = app.app.nodes.broker.stats
  t.strictSame(outcomes, { ...outcomes, ok: 2, failed: 1, refused: 1 })
  for (const [outcome, count] of Object.entries(outcomes)) {
    t.match(text, new RegExp(`^openclaw_node_invokes_total\\{outcome="${outcome}"\\} ${count}$`, 'm'))
  }
  t.match(text, /^# TYPE openclaw_node_invoke_seconds histogram$/m)
  t.match(text, /^openclaw_node_invoke_seconds_bucket\{le="30"\} 3$/m)
  t.match(text, /^openclaw_node_invoke_seconds_bucket\{le="\+Inf"\} 3$/m)
  t.match(text, /^openclaw_node_invoke_seconds_count 3$/m)
  t.match(text, /^openclaw_connections\{role="node"\} 1$/m)
})
