import type { Test } from 'tap'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { type Answer, compare, type Expected, settled, titleOf } from './answer.ts'
import type { Pair } from './pair.ts'

type Json = Record<string, unknown>

/** A node and those who decide about it and use it, at one gateway. */
interface Stage {
  gateway: GatewayProcess
  admin: RawClient
  pairer: RawClient
  writer: RawClient
  node: RawClient
  requestId: string
}

/** One step of a node's life, and what is expected of its answer. */
interface Step extends Expected {
  name: string
  act(stage: Stage): Promise<unknown>
}

// The same device at both gateways, so that ids are the same.
const device = new TestDevice()
const nodeId = device.id
const offer = {
  caps: ['system', 'canvas'],
  commands: ['system.run', 'system.which', 'canvas.present', 'camera.snap', 'my.custom'],
  permissions: { 'camera.capture': true, 'screen.record': false }
}
let keys = 0

const call = (who: 'admin' | 'pairer' | 'writer' | 'node', method: string, params?: (stage: Stage) => Json) => ({
  act: (stage: Stage) => stage[who].call(method, params?.(stage))
})
const describe = call('writer', 'node.describe', () => ({ nodeId }))
const invoke = (stage: Stage, more: Json = {}) =>
  stage.writer.call('node.invoke', {
    nodeId,
    command: 'system.which',
    params: { bins: ['ls'] },
    idempotencyKey: `key-${++keys}`,
    ...more
  })
const refused = (more: Json) => ({ act: (stage: Stage) => invoke(stage, more) })

/** A command that the node is sent, and answers so. */
const answered = (result: Json, more: Json = {}) => ({
  async act(stage: Stage) {
    const before = requests(stage.node)
    const running = invoke(stage, more)
    const { payload, ...frame } = await stage.node.event('node.invoke.request', before + 1)
    const { id, timeoutMs, ...request } = payload ?? {}
    const told = await stage.node.call('node.invoke.result', { id, nodeId, ...result })
    const again = await stage.node.call('node.invoke.result', { id, nodeId, ...result })
    const answer = await running
    const left = typeof timeoutMs === 'number' && timeoutMs > 29_000 && timeoutMs <= 30_000
    return { ...answer, seen: { frame, request: { ...request, idempotencyKey: 'KEY' }, left, told, again } }
  }
})

const invalid = 'INVALID_REQUEST'
const busy = 'UNAVAILABLE'

const before: readonly Step[] = [
  { name: 'what waits', ...call('pairer', 'node.pair.list'), want: 'ok' },
  { name: 'a node that nobody approved', ...describe, want: 'ok' },
  { name: 'the same node, to an admin', ...call('admin', 'node.describe', () => ({ nodeId })), want: 'ok' },
  { name: 'the list before the approval', ...call('writer', 'node.list'), want: 'ok' },
  { name: 'a command before the approval', ...refused({}), want: busy },
  { name: 'a command for a node that nobody knows', ...refused({ nodeId: 'nope' }), want: busy },
  {
    name: 'an approval of nothing',
    ...call('admin', 'node.pair.approve', () => ({ requestId: 'nope' })),
    want: invalid
  },
  {
    name: 'an approval by somebody who may pair only',
    ...call('pairer', 'node.pair.approve', ({ requestId }) => ({ requestId })),
    want: 'FORBIDDEN'
  },
  { name: 'the approval', ...call('admin', 'node.pair.approve', ({ requestId }) => ({ requestId })), want: 'ok' },
  {
    name: 'the same approval',
    ...call('admin', 'node.pair.approve', ({ requestId }) => ({ requestId })),
    want: invalid
  }
]

const after: readonly Step[] = [
  { name: 'a node that is approved', ...describe, want: 'ok' },
  { name: 'the list of nodes', ...call('writer', 'node.list'), want: 'ok' },
  { name: 'a payload', ...answered({ ok: true, payload: { bins: {} } }), want: 'ok' },
  { name: 'a payload as JSON', ...answered({ ok: true, payloadJSON: '{"a":1}' }), want: 'ok' },
  { name: 'nothing', ...answered({ ok: true }), want: 'ok' },
  { name: 'an error', ...answered({ ok: false, error: { code: 'BOOM', message: 'kaput' } }), want: busy },
  {
    name: 'an error that names itself',
    ...answered({ ok: false, error: { code: 'BOOM', message: 'BOOM: kaput' } }),
    want: busy,
    differs: 'its name is said once',
    ours: { answer: { message: 'BOOM: kaput' } }
  },
  { name: 'an error without words', ...answered({ ok: false, error: { code: 'BOOM' } }), want: busy },
  { name: 'no error', ...answered({ ok: false }), want: busy },
  { name: 'no answer', ...refused({ timeoutMs: 150 }), want: busy },
  { name: 'a command that was not declared', ...refused({ command: 'location.get' }), want: invalid },
  { name: 'a command that no list has', ...refused({ command: 'my.custom' }), want: invalid },
  { name: 'a dangerous command', ...refused({ command: 'camera.snap' }), want: invalid },
  { name: 'the node’s exec approvals', ...refused({ command: 'system.execApprovals.get' }), want: invalid },
  { name: 'a blank command', ...refused({ command: ' ' }), want: invalid },
  { name: 'no key', ...refused({ idempotencyKey: undefined }), want: invalid },
  {
    name: 'a result for nobody',
    ...call('node', 'node.invoke.result', () => ({ id: 'nope', nodeId, ok: true })),
    want: 'ok'
  },
  {
    name: 'a result in another’s name',
    ...call('node', 'node.invoke.result', () => ({ id: 'nope', nodeId: 'other', ok: true })),
    want: invalid
  },
  {
    name: 'a result without an id',
    ...call('node', 'node.invoke.result', () => ({ nodeId, ok: true })),
    want: invalid
  },
  {
    name: 'a result from an operator',
    ...call('admin', 'node.invoke.result', () => ({ id: 'a', nodeId, ok: true })),
    want: invalid
  },
  { name: 'a method that is not a node’s', ...call('node', 'node.list'), want: invalid },
  { name: 'a name', ...call('admin', 'node.rename', () => ({ nodeId, displayName: 'Attic' })), want: 'ok' },
  {
    name: 'a name for nobody',
    ...call('admin', 'node.rename', () => ({ nodeId: 'x', displayName: 'A' })),
    want: invalid
  },
  { name: 'a node that nobody knows', ...call('writer', 'node.describe', () => ({ nodeId: 'nope' })), want: invalid },
  { name: 'the end of it', ...call('admin', 'node.pair.remove', () => ({ nodeId })), want: 'ok' },
  { name: 'its socket', act: async ({ node }) => ({ ok: true, payload: { ...(await node.closed) } }), want: 'ok' },
  { name: 'the end of it, again', ...call('admin', 'node.pair.remove', () => ({ nodeId })), want: invalid }
]

/** Compares how nodes are approved and asked, at both gateways at once. */
export async function nodeTests(t: Test, { ours, reference }: Pair): Promise<void> {
  const stages = await Promise.all([ours, reference].map((gateway) => open(t, gateway)))
  const take = async (steps: readonly Step[]) => {
    for (const step of steps) {
      await t.test(titleOf(step), async (t) => {
        const [mine, theirs] = await Promise.all(stages.map((stage) => answerOf(stage, step)))
        compare(t, [mine!, theirs!], step)
      })
    }
  }
  await take(before)
  await t.test('the node is told on its socket', async (t) => {
    const [mine, theirs] = await Promise.all(
      stages.map(async ({ node }) => settled(await node.event('node.pair.resolved')))
    )
    t.strictSame(mine, theirs)
  })
  await take(after)
  await t.test('everybody hears the same of it', async (t) => {
    const [mine, theirs] = await Promise.all(
      stages.map(async ({ pairer, writer }) => {
        await Promise.all([pairer, writer].map((each) => each.call('health')))
        const of = ({ events }: RawClient) =>
          events.filter(({ event }) => event.startsWith('node.pair.')).map(({ seq: _seq, ...rest }) => settled(rest))
        return { pairer: of(pairer), writer: of(writer) }
      })
    )
    t.strictSame(mine, theirs)
  })
}

async function open(t: Test, gateway: GatewayProcess): Promise<Stage> {
  const connect = async (params: Json, device?: TestDevice) => {
    const client = await RawClient.open(gateway.url)
    t.teardown(() => client.close())
    const { ok, error } = await client.connect({ auth: { token: gateway.token }, ...params }, device)
    if (!ok) throw new Error(error?.message)
    return client
  }
  const admin = await connect({ scopes: ['operator.admin'] })
  const pairer = await connect({ scopes: ['operator.pairing', 'operator.write'] })
  const writer = await connect({ scopes: ['operator.read', 'operator.write'] })
  const node = await connect({ client: nodeHost, role: 'node', scopes: [], ...offer }, device)
  const { payload } = await pairer.event('node.pair.requested')
  return { gateway, admin, pairer, writer, node, requestId: String(payload?.requestId) }
}

async function answerOf(stage: Stage, { act }: Step): Promise<Answer> {
  const { ok, payload, error, seen } = (await act(stage)) as {
    ok: boolean
    payload?: Json
    error?: { code: string }
    seen?: unknown
  }
  // Other tests have nodes of their own at the same gateway.
  const mine = (value: unknown) =>
    Array.isArray(value) ? value.filter((each) => (each.nodeId ?? nodeId) === nodeId) : value
  const shown = payload && Object.fromEntries(Object.entries(payload).map(([key, value]) => [key, mine(value)]))
  return { word: ok ? 'ok' : error!.code, told: settled({ answer: ok ? shown : error, seen }) as Json }
}

function requests({ events }: RawClient): number {
  return events.filter(({ event }) => event === 'node.invoke.request').length
}
