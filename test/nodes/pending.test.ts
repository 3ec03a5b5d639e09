import { deepStrictEqual as deepEqual } from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { openDatabase } from '../../src/store/database.ts'
import { NodeActionStore } from '../../src/store/node-actions.ts'
import { NodeStore } from '../../src/store/nodes.ts'
import { WORK_PRIORITIES, WORK_TYPES, type Work, WorkStore } from '../../src/store/work.ts'
import { nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { startApp, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { approvedNode, TestNode } from '../support/nodes.ts'
import { schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>

const DAY_MS = 86_400_000
const facts = { clientId: 'node-host', clientMode: 'node', platform: 'linux' }
const changed = (what: string) => ({
  code: 'UNAVAILABLE',
  message: `node pairing changed ${what}`,
  retryable: true,
  details: { code: 'PAIRING_CHANGED' }
})
const pendingChanged = changed('while pending work was active')
const baseline = { id: 'baseline-status', type: 'status.request', priority: 'default', expiresAtMs: null }

async function operator(t: Test, url: string, scopes: string[] = ['operator.write']): Promise<RawClient> {
  const client = await RawClient.open(url)
  t.teardown(() => client.close())
  await client.connect({ auth: { token: TOKEN }, scopes })
  return client
}

/** A gateway with an approved node and an operator who may leave work. */
async function withNode(t: Test) {
  const app = await startApp(t)
  const { client: node, device } = await approvedNode(t, app.ws, { commands: ['system.run'] })
  t.teardown(() => node.close())
  const writer = await operator(t, app.ws)
  const nodeId = device.id
  const enqueue = async (params: Json) => writer.call('node.pending.enqueue', { nodeId, ...params })
  const drain = async (params: Json = {}) => {
    const { ok, payload, error } = await node.call('node.pending.drain', params)
    t.ok(ok, error?.message ?? 'drains')
    t.same(schemaErrors('NodePendingDrainResult', payload), [])
    return payload as unknown as { nodeId: string; revision: number; items: Work[]; hasMore: boolean }
  }
  return { app, node, device, nodeId, writer, enqueue, drain }
}

t.test('work waits for a node, the urgent before the rest, once of a kind', async (t) => {
  const { nodeId, enqueue, drain } = await withNode(t)
  const before = Date.now()
  const first = await enqueue({ type: 'location.request' })
  t.same(schemaErrors('NodePendingEnqueueResult', first.payload), [])
  const { queued, ...rest } = first.payload as { queued: Work }
  t.strictSame(rest, { nodeId, revision: 1, wakeTriggered: false })
  t.match(queued, { type: 'location.request', priority: 'normal', id: /^[0-9a-f-]{36}$/ })
  t.ok(queued.createdAtMs >= before && queued.createdAtMs <= Date.now())
  t.equal(queued.expiresAtMs - queued.createdAtMs, DAY_MS, 'for a day')

  const again = await enqueue({ type: 'location.request', priority: 'high', expiresInMs: 1_000, wake: true })
  t.strictSame(again.payload, first.payload, 'the same again is what already waits')
  t.match((await enqueue({ type: 'status.request', priority: 'high' })).payload, { revision: 2 })

  const one = await drain({ maxItems: 1 })
  t.match(one, { nodeId, revision: 3, hasMore: true, items: [{ type: 'status.request', priority: 'high' }] })
  t.equal(one.items.length, 1)
  const other = await drain()
  t.match(other, { revision: 4, hasMore: false, items: [{ id: queued.id }, baseline] })
  t.equal(other.items.length, 2)
  t.match(await drain(), { revision: 0, items: [baseline], hasMore: false }, 'a queue that is empty begins anew')
  t.match((await enqueue({ type: 'status.request' })).payload, { revision: 1 })
})

t.test('the status that is always asked for waits its turn', async (t) => {
  const { enqueue, drain } = await withNode(t)
  await enqueue({ type: 'location.request' })
  t.match(await drain({ maxItems: 1 }), { items: [{ type: 'location.request' }], hasMore: true })
  t.match(await drain({ maxItems: 1 }), { revision: 0, items: [baseline], hasMore: false })
  await enqueue({ type: 'status.request' })
  const asked = await drain({ maxItems: 1 })
  t.equal(asked.items.length, 1, 'and is not asked for twice')
  t.equal(asked.hasMore, false)
})

t.test('refuses work for nodes that nobody approved', async (t) => {
  const { app, node, device, nodeId, writer, enqueue } = await withNode(t)
  const unapproved = await TestNode.connect(t, app.ws, { commands: ['system.run'] })
  for (const id of ['nope', 'constructor', unapproved.device.id]) {
    const answer = await writer.call('node.pending.enqueue', { nodeId: id, type: 'status.request' })
    t.strictSame(answer.error, pendingChanged, id.slice(0, 12))
  }
  t.strictSame((await unapproved.client.call('node.pending.drain', {})).error, pendingChanged)
  for (const [method, params] of [
    ['node.pending.pull', {}],
    ['node.pending.ack', { ids: ['a'] }]
  ] as const) {
    t.strictSame((await unapproved.client.call(method, params)).error, changed('while invocation was active'), method)
  }

  await enqueue({ type: 'status.request' })
  const newer = await TestNode.connect(t, app.ws, { commands: ['system.run'], device })
  const older = await node.call('node.pending.drain', {})
  t.strictSame(older.error, changed('before request dispatch'), 'an older socket of the node speaks for nobody')
  t.match((await newer.client.call('node.pending.drain', {})).payload, { items: [{ type: 'status.request' }] })

  await app.app.devices.revoke(nodeId, 'node')
  t.strictSame((await enqueue({ type: 'status.request' })).error, pendingChanged, 'a node whose role was taken back')
  await app.app.nodes.store.remove(nodeId)
  t.strictSame((await enqueue({ type: 'status.request' })).error, pendingChanged, 'a node that was removed')
})

t.test('refuses params that make no sense', async (t) => {
  const { node, writer, nodeId } = await withNode(t)
  const rows: [client: RawClient, method: string, params: unknown, wrong: string][] = [
    [writer, 'node.pending.enqueue', { nodeId, type: 'x' }, 'at /type: must be equal to one of the allowed values'],
    [
      writer,
      'node.pending.enqueue',
      { nodeId, type: 'status.request', priority: 'default' },
      'at /priority: must be equal to one of the allowed values'
    ],
    [
      writer,
      'node.pending.enqueue',
      { nodeId, type: 'status.request', expiresInMs: 999 },
      'at /expiresInMs: must be >= 1000'
    ],
    [
      writer,
      'node.pending.enqueue',
      { nodeId, type: 'status.request', expiresInMs: DAY_MS + 1 },
      `at /expiresInMs: must be <= ${DAY_MS}`
    ],
    [writer, 'node.pending.enqueue', { type: 'status.request' }, "must have required property 'nodeId'"],
    [node, 'node.pending.drain', { maxItems: 11 }, 'at /maxItems: must be <= 10'],
    [node, 'node.pending.drain', { maxItems: 0 }, 'at /maxItems: must be >= 1'],
    [node, 'node.pending.pull', { a: 1 }, "at root: unexpected property 'a'"],
    [node, 'node.pending.ack', { ids: [] }, 'at /ids: must not have fewer than 1 items']
  ]
  for (const [client, method, params, wrong] of rows) {
    const { error } = await client.call(method, params)
    t.strictSame(error, { code: 'INVALID_REQUEST', message: `invalid ${method} params: ${wrong}` }, wrong)
  }
})

t.test('what a phone cannot do unseen waits until someone looks at it', async (t) => {
  const app = await startApp(t)
  const phone = { client: { ...nodeHost, id: 'openclaw-ios' as const, platform: 'iOS 18.4', deviceFamily: 'iPhone' } }
  const commands = ['talk.ptt.start', 'device.status']
  const { client: node, device } = await approvedNode(t, app.ws, { ...phone, commands })
  t.teardown(() => node.close())
  const nodeId = device.id
  const writer = await operator(t, app.ws)
  const pull = async () => (await node.call('node.pending.pull')).payload as { nodeId: string; actions: Json[] }
  const ack = async (...ids: string[]) => (await node.call('node.pending.ack', { ids })).payload
  let asked = 0
  const error = { code: 'NODE_BACKGROUND_UNAVAILABLE', message: 'not looked at' }
  const invoke = async (command: string, idempotencyKey: string) => {
    const call = writer.call('node.invoke', { nodeId, command, params: { a: 1 }, idempotencyKey })
    const { payload } = await node.event('node.invoke.request', ++asked)
    await node.call('node.invoke.result', { id: payload?.id, nodeId, ok: false, error })
    return (await call).error
  }

  t.strictSame(await pull(), { nodeId, actions: [] })
  t.strictSame(await ack('a', 'b', 'a'), { nodeId, ackedIds: ['a', 'b'], remainingCount: 0 })
  t.match(await invoke('device.status', 'k0'), { message: 'NODE_BACKGROUND_UNAVAILABLE: not looked at' })
  const before = Date.now()
  const first = await invoke('talk.ptt.start', 'k1')
  const id = first?.details?.queuedActionId as string
  t.strictSame(first, {
    code: 'UNAVAILABLE',
    message: 'node command queued until iOS returns to foreground',
    details: {
      code: 'QUEUED_UNTIL_FOREGROUND',
      queuedActionId: id,
      nodeId,
      command: 'talk.ptt.start',
      wake: { path: 'no-registration', available: false, throttled: false },
      nodeError: error
    },
    retryable: true
  })
  const { enqueuedAtMs, ...rest } = (await pull()).actions[0] as Json & { enqueuedAtMs: number }
  t.strictSame(rest, { id, command: 'talk.ptt.start', paramsJSON: '{"a":1}' })
  t.ok(enqueuedAtMs >= before)
  await invoke('talk.ptt.start', 'k2')
  t.strictSame(await ack('zz', id), { nodeId, ackedIds: ['zz', id], remainingCount: 1 }, 'until it is acknowledged')
  const { actions: left } = await pull()
  t.equal(left.length, 1)

  await node.close()
  const back = await TestNode.connect(t, app.ws, { ...phone, commands, device })
  t.strictSame((await back.client.call('node.pending.pull')).payload, { nodeId, actions: left }, 'on any connection')
  const fewer = await TestNode.connect(t, app.ws, { ...phone, commands: ['device.status'], device })
  t.strictSame((await fewer.client.call('node.pending.pull')).payload, { nodeId, actions: [] }, 'where it still can')
})

t.test('commands that wait are few, and not for long', async (t) => {
  const db = openDatabase(':memory:')
  t.teardown(() => db.close())
  let now = 1_000_000
  const nodes = new NodeStore(db, () => now)
  const actions = new NodeActionStore(db, () => now)
  const nodeId = 'a'
  await nodes.arrived(nodeId, facts, now)
  const command = 'talk.ptt.start'
  const first = await actions.add(nodeId, { key: 'k', command })
  t.strictSame(
    await actions.add(nodeId, { key: 'k', command, paramsJSON: '{}' }),
    first,
    'the same key, the same action'
  )
  t.equal(await actions.add('nobody', { key: 'k', command }), undefined)
  for (let n = 0; n < 70; n++) await actions.add(nodeId, { key: `n${n}`, command })
  const kept = await actions.list(nodeId)
  t.equal(kept.length, 64)
  t.notOk(
    kept.some(({ id }) => id === first?.id),
    'the oldest go'
  )
  now += 10 * 60_000
  t.strictSame(await actions.list(nodeId), [])
  await actions.add(nodeId, { key: 'later', command })
  await nodes.remove(nodeId)
  t.equal(await actions.done(nodeId, []), 0, 'nothing outlives its node')
})

t.test('kill -9 loses no work whose answer was given, and brings none back', { timeout: 60_000 }, async (t) => {
  const stateDir = tempDir(t)
  const config = JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
  const device = new TestDevice()
  const nodeId = device.id
  const crash = async (gateway: Awaited<ReturnType<typeof startProcess>>) => {
    gateway.child.kill('SIGKILL')
    await gateway.exited
  }

  let gateway = await startProcess(t, { stateDir, config })
  await approvedNode(t, gateway.ws, { device })
  await crash(gateway)

  let waiting = 0
  for (let round = 0; round < 4; round++) {
    gateway = await startProcess(t, { stateDir })
    const writer = await operator(t, gateway.ws)
    const type = WORK_TYPES[round % 2]!
    const { payload, error } = await writer.call('node.pending.enqueue', { nodeId, type, priority: 'high' })
    t.equal(error, undefined)
    if (round < 2) waiting++
    t.equal(payload?.revision, waiting, 'the revision stands')
    await crash(gateway)
  }

  gateway = await startProcess(t, { stateDir })
  const { client } = await TestNode.connect(t, gateway.ws, { device })
  t.match((await client.call('node.pending.drain', { maxItems: 1 })).payload, {
    revision: 3,
    hasMore: true,
    items: [{ type: WORK_TYPES[0], priority: 'high' }]
  })
  await crash(gateway)
  gateway = await startProcess(t, { stateDir })
  const back = await TestNode.connect(t, gateway.ws, { device })
  t.match((await back.client.call('node.pending.drain', {})).payload, {
    revision: 4,
    hasMore: false,
    items: [{ type: WORK_TYPES[1] }, baseline]
  })
  gateway.child.kill('SIGTERM')
  await once(gateway.child, 'exit')
})

t.test('the queue does what a simple list does, over restarts', async (t) => {
  const nodeIds = ['a', 'b'] as const
  const operation = fc.oneof(
    fc.record({
      do: fc.constant('add' as const),
      node: fc.constantFrom(...nodeIds, 'nobody'),
      type: fc.constantFrom(...WORK_TYPES),
      priority: fc.constantFrom(...WORK_PRIORITIES),
      expiresInMs: fc.integer({ min: 1_000, max: 5_000 })
    }),
    fc.record({
      do: fc.constant('take' as const),
      node: fc.constantFrom(...nodeIds, 'nobody'),
      max: fc.integer({ min: 1, max: 3 })
    }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 3_000 }) }),
    fc.record({ do: fc.constant('restart' as const) })
  )
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 40, size: 'max' }), async (operations) => {
      const file = join(tempDir(t), 'state.sqlite')
      let now = 1_000_000
      const clock = () => now
      let db = openDatabase(file)
      const nodes = new NodeStore(db, clock)
      for (const id of nodeIds) await nodes.arrived(id, facts, now)
      let store = new WorkStore(db, clock)
      const model = new Map(nodeIds.map((id) => [id as string, { revision: 0, work: [] as Work[] }]))
      try {
        for (const operation of operations) {
          if (operation.do === 'wait') now += operation.ms
          else if (operation.do === 'restart') {
            db.close()
            db = openDatabase(file)
            store = new WorkStore(db, clock)
          } else {
            const queue = model.get(operation.node)
            const fresh = queue?.work.filter(({ expiresAtMs }) => expiresAtMs > now) ?? []
            if (queue !== undefined && fresh.length < queue.work.length) {
              queue.revision++
              queue.work = fresh
            }
            if (operation.do === 'add') {
              const { type, priority, expiresInMs } = operation
              const answer = await store.add(operation.node, { type, priority, expiresInMs })
              const same = queue?.work.find((each) => each.type === type)
              const fields = { type, priority, createdAtMs: now, expiresAtMs: now + expiresInMs }
              if (queue !== undefined && same === undefined) {
                queue.revision++
                queue.work.push({ id: answer?.work.id ?? '', ...fields })
              }
              const work = same ?? queue?.work.at(-1)
              deepEqual(answer, queue && { revision: queue.revision, work })
            } else {
              const answer = await store.take(operation.node, operation.max)
              const order = [...(queue?.work ?? [])].sort(
                (one, two) => Number(two.priority === 'high') - Number(one.priority === 'high')
              )
              const work = order.slice(0, operation.max)
              if (queue !== undefined) {
                if (work.length > 0) queue.revision++
                queue.work = queue.work.filter((each) => !work.includes(each))
              }
              deepEqual(answer, queue && { revision: queue.revision, work, left: queue.work.length })
              if (queue?.work.length === 0) queue.revision = 0
            }
          }
        }
      } finally {
        db.close()
      }
    }),
    { numRuns: 40 }
  )
})
