import type { Test } from 'tap'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { compare, type Expected, settled, titleOf } from './answer.ts'
import type { Pair } from './pair.ts'

type Json = Record<string, unknown>
type Who = 'admin' | 'reader' | 'node' | 'older' | 'newcomer' | 'mac' | 'phone'

/** One call, and what is expected of its answer. */
interface Step extends Expected {
  name: string
  who: Who
  method: string
  params?: unknown
}

/** A gateway with its nodes and operators. */
type Stage = Record<Who, RawClient>

// The same devices at both gateways, so that ids are the same.
const device = new TestDevice()
const newcomer = new TestDevice()
const mac = new TestDevice()
const phone = new TestDevice()
const nodeId = device.id

const offers = { caps: ['system', 'mcp'], commands: ['system.run', 'mcp.tools.call.v1'], permissions: {} }
const macOffers = { caps: ['system'], commands: ['system.notify'], permissions: { accessibility: true } }
const phoneOffers = { caps: ['device'], commands: ['talk.ptt.start', 'device.status'], permissions: {} }
const macClient = { ...nodeHost, id: 'openclaw-macos', platform: 'macos', deviceFamily: 'Mac' }
const phoneClient = { ...nodeHost, id: 'openclaw-ios', platform: 'iOS 18.4', deviceFamily: 'iPhone' }

const invalid = 'INVALID_REQUEST'
const busy = 'UNAVAILABLE'
const event = (name: string, payload?: unknown, who: Who = 'node') => ({
  who,
  method: 'node.event',
  params: { event: name, ...(payload === undefined ? {} : { payload }) }
})
const enqueue = (params: Json) => ({
  who: 'admin' as const,
  method: 'node.pending.enqueue',
  params: { nodeId, ...params }
})
const drain = (params?: Json) => ({ who: 'node' as const, method: 'node.pending.drain', params })
const wake = (triggers: unknown) => ({ who: 'admin' as const, method: 'voicewake.set', params: { triggers } })
const stats = { cpuCount: 4, memoryTotalBytes: 10, memoryFreeBytes: 5 }
const tool = {
  pluginId: 'mcp',
  name: 'a',
  description: 'd',
  command: 'mcp.tools.call.v1',
  mcp: { server: 's', tool: 't' }
}
const skill = { name: 'a', description: 'd', content: 'c' }
const inventory = { protocolFeatures: ['node-worker-supervisor-v6'], workerHost: { enabled: false } }
const notHandled = (name: string) => ({
  differs: 'what is not handled is not said to be',
  ours: { answer: { event: name, handled: false, reason: 'unsupported_event' } }
})

const steps: readonly Step[] = [
  // What waits.
  { name: 'work for a node that nobody knows', ...enqueue({ nodeId: 'nope', type: 'status.request' }), want: busy },
  {
    name: 'work for a node that nobody approved',
    ...enqueue({ nodeId: newcomer.id, type: 'status.request' }),
    want: busy
  },
  { name: 'work of an unknown kind', ...enqueue({ type: 'x' }), want: invalid },
  { name: 'work of an unknown priority', ...enqueue({ type: 'status.request', priority: 'default' }), want: invalid },
  { name: 'work that expires at once', ...enqueue({ type: 'status.request', expiresInMs: 999 }), want: invalid },
  { name: 'work from a reader', ...enqueue({ type: 'status.request' }), who: 'reader', want: 'FORBIDDEN' },
  { name: 'work', ...enqueue({ type: 'location.request', expiresInMs: 60_000 }), want: 'ok' },
  { name: 'the same work', ...enqueue({ type: 'location.request', priority: 'high', wake: true }), want: 'ok' },
  { name: 'urgent work', ...enqueue({ type: 'status.request', priority: 'high' }), want: 'ok' },
  { name: 'a drain by an operator', ...drain(), who: 'admin', want: invalid },
  { name: 'a drain by a node that nobody approved', ...drain({}), who: 'newcomer', want: busy },
  { name: 'a drain of too much', ...drain({ maxItems: 11 }), want: invalid },
  { name: 'a drain of one', ...drain({ maxItems: 1 }), want: 'ok' },
  { name: 'a drain of the rest', ...drain(), want: 'ok' },
  { name: 'a drain of nothing', ...drain(), want: 'ok' },
  { name: 'more work', ...enqueue({ type: 'location.request' }), want: 'ok' },
  { name: 'a drain of one, without room for the status', ...drain({ maxItems: 1 }), want: 'ok' },
  { name: 'a drain of the status', ...drain({ maxItems: 1 }), want: 'ok' },
  { name: 'a pull of nothing', who: 'node', method: 'node.pending.pull', want: 'ok' },
  { name: 'a pull with params', who: 'node', method: 'node.pending.pull', params: { a: 1 }, want: invalid },
  {
    name: 'an acknowledgement of nothing that waits',
    who: 'node',
    method: 'node.pending.ack',
    params: { ids: ['a', 'b', 'a'] },
    want: 'ok'
  },
  { name: 'an empty acknowledgement', who: 'node', method: 'node.pending.ack', params: { ids: [] }, want: invalid },
  {
    name: 'an acknowledgement by a node that nobody approved',
    who: 'newcomer',
    method: 'node.pending.ack',
    params: { ids: ['a'] },
    want: busy
  },
  { name: 'an older socket of a node', ...drain(), who: 'older', want: busy },

  // What nodes tell.
  { name: 'an unknown event', ...event('bogus.event'), want: 'unsupported_event' },
  { name: 'an event of a node that nobody approved', ...event('bogus.event', undefined, 'newcomer'), want: busy },
  { name: 'no event', who: 'node', method: 'node.event', params: {}, want: invalid },
  { name: 'an event with more', who: 'node', method: 'node.event', params: { event: 'x', bogus: 1 }, want: invalid },
  { name: 'alive, without saying why', ...event('node.presence.alive'), want: 'invalid_payload' },
  { name: 'alive', ...event('node.presence.alive', { trigger: 'manual' }), want: 'persisted' },
  { name: 'still alive', ...event('node.presence.alive', { trigger: 'other' }), want: 'throttled' },
  { name: 'stats', ...event('node.host.stats', stats), want: 'updated' },
  { name: 'stats with a time', ...event('node.host.stats', { ...stats, updatedAtMs: 1 }), want: 'invalid_payload' },
  { name: 'half a disk', ...event('node.host.stats', { ...stats, diskTotalBytes: 1 }), want: 'invalid_payload' },
  {
    name: 'activity in an app',
    ...event('node.presence.activity', { idleSeconds: 3, source: 'app' }, 'mac'),
    want: 'updated'
  },
  { name: 'activity on a machine', ...event('node.presence.activity', { idleSeconds: 3 }, 'mac'), want: 'updated' },
  { name: 'no activity', ...event('node.presence.activity', { idleSeconds: -1 }, 'mac'), want: 'invalid_payload' },
  { name: 'activity cleared', ...event('node.presence.activity', { action: 'clear' }, 'mac'), want: 'cleared' },
  { name: 'cleared again', ...event('node.presence.activity', { action: 'clear' }, 'mac'), want: 'already_clear' },
  {
    name: 'activity without permission',
    ...event('node.presence.activity', { idleSeconds: 3 }),
    want: 'permission_required'
  },
  {
    name: 'activity in an app that is none',
    ...event('node.presence.activity', { idleSeconds: 3, source: 'app' }),
    want: 'stale_connection'
  },
  {
    name: 'a command nobody asked for',
    ...event('exec.finished', { runId: 'r', exitCode: 1 }),
    want: 'unmatched_exec_event'
  },
  { name: 'a command without a name', ...event('exec.finished', {}), want: 'unmatched_exec_event' },
  { name: 'a command that is text', ...event('exec.finished', 'x'), want: 'ok' },
  { name: 'words', ...event('voice.transcript', { text: '' }), want: 'ok' },
  { name: 'a request for an agent', ...event('agent.request', {}), want: 'ok' },
  {
    name: 'a subscription',
    ...event('chat.subscribe', { sessionKey: 'main' }),
    want: 'ok',
    ...notHandled('chat.subscribe')
  },

  // What nodes lend.
  {
    name: 'programs of skills',
    who: 'node',
    method: 'skills.bins',
    want: 'ok',
    differs: 'there are no skills here',
    ours: { answer: { bins: [] } }
  },
  { name: 'programs of skills, with params', who: 'node', method: 'skills.bins', params: { a: 1 }, want: invalid },
  { name: 'skills', who: 'node', method: 'node.skills.update', params: { skills: [skill, skill] }, want: 'ok' },
  { name: 'no skills', who: 'node', method: 'node.skills.update', params: {}, want: invalid },
  { name: 'tools', who: 'node', method: 'node.pluginTools.update', params: { tools: [tool, tool] }, want: 'ok' },
  {
    name: 'tools of commands that are not approved',
    who: 'node',
    method: 'node.pluginTools.update',
    params: {
      tools: [
        { ...tool, command: 'system.which' },
        { ...tool, name: 'b', command: undefined }
      ]
    },
    want: 'ok'
  },
  {
    name: 'tools of a node that nobody approved',
    who: 'newcomer',
    method: 'node.pluginTools.update',
    params: { tools: [tool] },
    want: 'ok'
  },
  { name: 'an inventory', who: 'node', method: 'node.runnerInventory.update', params: inventory, want: 'ok' },
  { name: 'no inventory', who: 'node', method: 'node.runnerInventory.update', params: {}, want: invalid },
  {
    name: 'an inventory of a node that nobody approved',
    who: 'newcomer',
    method: 'node.runnerInventory.update',
    params: inventory,
    want: busy,
    differs: 'a node that waits need not ask again and again',
    ours: { answer: { code: null, message: null, nodeId: newcomer.id } }
  },
  { name: 'no surface', who: 'node', method: 'node.pluginSurface.refresh', params: {}, want: invalid },
  { name: 'a surface', who: 'node', method: 'node.pluginSurface.refresh', params: { surface: 'canvas' }, want: busy },

  // Wake words.
  { name: 'wake words', who: 'reader', method: 'voicewake.get', want: 'ok' },
  { name: 'wake words, for a node', who: 'node', method: 'voicewake.get', want: invalid },
  { name: 'where an assistant listens', who: 'reader', method: 'voicewake.routing.get', want: 'ok' },
  { name: 'new wake words', ...wake([' hey ', '', 5, 'hey', 'x'.repeat(100)]), want: 'ok' },
  { name: 'half a character', ...wake([`${'x'.repeat(63)}😀`]), want: 'ok' },
  { name: 'many wake words', ...wake(Array.from({ length: 40 }, (_, n) => `w${n}`)), want: 'ok' },
  { name: 'no wake words', ...wake([]), want: 'ok' },
  { name: 'wake words that are none', ...wake('x'), want: invalid },
  { name: 'wake words from a reader', ...wake([]), who: 'reader', want: 'FORBIDDEN' },
  { name: 'no routing to set', who: 'admin', method: 'voicewake.routing.set', params: {}, want: invalid }
]

/** Has nodes of the same devices do the same at both gateways: each step in turn, then what everybody heard. */
export async function nodeWorkTests(t: Test, { ours, reference }: Pair): Promise<void> {
  const stages = (await Promise.all([stage(ours), stage(reference)])) as [Stage, Stage]
  t.teardown(() => Promise.all(stages.flatMap((each) => Object.values(each).map((client) => client.close()))))
  const heard = stages.map(eventsOf)
  t.strictSame(heard[0]!.node, heard[1]!.node, 'a node is greeted alike')
  for (const step of steps) {
    await t.test(titleOf(step), async (t) => {
      const [mine, theirs] = await Promise.all(stages.map((each) => take(each, step)))
      compare(t, [mine!, theirs!], step)
    })
  }
  await t.test('everybody hears the same of it', async (t) => {
    const [mine, theirs] = await Promise.all(
      stages.map(async (each) => {
        // The last word on each socket: what was sent before it has come.
        await Promise.all(Object.values(each).map((client) => client.call('health')))
        return eventsOf(each)
      })
    )
    t.strictSame(mine, theirs)
  })
  await t.test('of commands that a node was told to run', async (t) => {
    const [mine, theirs] = await Promise.all(stages.map(run))
    t.strictSame(mine, theirs)
  })
  await t.test('of commands that a phone cannot run unseen', async (t) => {
    const [mine, theirs] = await Promise.all(stages.map(postponed))
    t.strictSame(mine, theirs)
  })
}

async function stage(gateway: GatewayProcess): Promise<Stage> {
  const open = async (params: Json, device?: TestDevice) => {
    const client = await RawClient.open(gateway.url)
    const { ok, error } = await client.connect({ auth: { token: gateway.token }, ...params }, device)
    if (!ok) throw new Error(error?.message)
    return client
  }
  const asNode = { client: nodeHost, role: 'node', scopes: [] }
  const admin = await open({ scopes: ['operator.admin'] })
  const approve = async ({ id }: TestDevice) => {
    for (let n = 1; ; n++) {
      const { pending } = (await admin.call('node.pair.list', {})).payload as { pending: Record<string, string>[] }
      const requestId = pending.find((each) => each.nodeId === id)?.requestId
      if (requestId !== undefined) return admin.call('node.pair.approve', { requestId })
      await admin.event('node.pair.requested', n)
    }
  }
  const older = await open({ ...asNode, ...offers }, device)
  await approve(device)
  const node = await open({ ...asNode, ...offers }, device)
  await node.event('voicewake.routing.changed')
  const onMac = await open({ ...asNode, client: macClient, ...macOffers }, mac)
  await approve(mac)
  const onPhone = await open({ ...asNode, client: phoneClient, ...phoneOffers }, phone)
  await approve(phone)
  return {
    admin,
    reader: await open({ scopes: ['operator.read'] }),
    older,
    node,
    newcomer: await open({ ...asNode, ...offers }, newcomer),
    mac: onMac,
    phone: onPhone
  }
}

async function take(stage: Stage, { who, method, params }: Step) {
  const { ok, payload, error } = await stage[who].call(method, params)
  const word = ok ? String(payload?.reason ?? 'ok') : String(error?.code)
  return { word, told: settled({ answer: ok ? payload : error }) as Json }
}

const COMPARED = ['voicewake.changed', 'voicewake.routing.changed', 'node.presence', 'node.hostStats']

/**
 * The compared events of everybody, sorted, for the reference tells changes that follow at once in any order; those with
 * a number are said to have one.
 */
function eventsOf(stage: Stage): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(stage).map(([who, { events }]) => [
      who,
      events
        .filter(({ event }) => COMPARED.includes(event))
        .map(({ seq, ...rest }) => settled({ ...rest, numbered: seq !== undefined }))
        .sort((a, b) => Buffer.compare(Buffer.from(JSON.stringify(a)), Buffer.from(JSON.stringify(b))))
    ])
  )
}

/** Has the node be told to run something, and tell of it what is and is not so. */
async function run({ admin, reader, node }: Stage): Promise<unknown> {
  const sessionKey = 'agent:main:main'
  const params = { command: ['ls'], sessionKey }
  const invoked = admin.call('node.invoke', { nodeId, command: 'system.run', params, idempotencyKey: 'run' })
  const { payload } = await node.event('node.invoke.request')
  const { runId } = JSON.parse(payload?.paramsJSON as string) as { runId: string }
  const told: unknown[] = []
  const tell = async (event: string, more: Json) => {
    told.push((await node.call('node.event', { event, payload: { runId, sessionKey, ...more } })).payload)
  }
  await tell('exec.started', { sessionKey: 'agent:other:main' })
  await tell('exec.started', { sessionKey: undefined })
  await tell('exec.started', { runId: 'other' })
  await tell('exec.started', { command: 'ls' })
  await tell('exec.finished', { exitCode: 3, timedOut: false, output: 'boom' })
  await tell('exec.finished', { exitCode: 3, timedOut: false, output: 'boom' })
  await node.call('node.invoke.result', { id: payload?.id, nodeId, ok: true, payload: {} })
  await invoked
  const { queuedSystemEvents } = (await reader.call('status')).payload as { queuedSystemEvents: string[] }
  return settled({ told, shown: queuedSystemEvents.filter((line) => line.startsWith('Exec ')) })
}

/** Has the phone say that nobody looks at it, and ask for what waits. */
async function postponed({ admin, phone: client }: Stage): Promise<unknown> {
  const answers: unknown[] = []
  let ids: string[] = []
  for (const [n, command] of ['device.status', 'talk.ptt.start'].entries()) {
    const params = { nodeId: phone.id, command, params: { a: 1 }, idempotencyKey: `key ${n}` }
    const invoked = admin.call('node.invoke', params)
    const { payload } = await client.event('node.invoke.request', n + 1)
    const error = { code: 'NODE_BACKGROUND_UNAVAILABLE', message: 'not looked at' }
    await client.call('node.invoke.result', { id: payload?.id, nodeId: phone.id, ok: false, error })
    answers.push((await invoked).error)
  }
  const pull = async () => {
    const { payload } = await client.call('node.pending.pull', {})
    ids = (payload!.actions as { id: string }[]).map(({ id }) => id)
    return payload
  }
  answers.push(await pull(), (await client.call('node.pending.ack', { ids: ['zz', ...ids] })).payload, await pull())
  return settled(answers)
}
