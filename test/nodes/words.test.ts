import t, { type Test } from 'tap'
import type { EventFrame } from '../../src/protocol/frames.ts'
import { nodeHost, RawClient } from '../support/client.ts'
import { startApp, startProcess, TOKEN } from '../support/gateway.ts'
import { approvedNode, freshKey, TestNode } from '../support/nodes.ts'
import { schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>

const app = await startApp(t)
const reader = await operator(t, app.ws, ['operator.read'])
const writer = await operator(t, app.ws, ['operator.write'])
const admin = await operator(t, app.ws, ['operator.admin'])
const nobody = await operator(t, app.ws, [])

async function operator(t: Test, url: string, scopes: string[]): Promise<RawClient> {
  const client = await RawClient.open(url)
  t.teardown(() => client.close())
  await client.connect({ auth: { token: TOKEN }, scopes })
  return client
}

const node = (t: Test, params?: Parameters<typeof approvedNode>[2]) => approvedNode(t, app.ws, params)

/** Has a node tell of something. */
function tell(client: RawClient, event: string, payload?: unknown) {
  return client.call('node.event', { event, ...(payload === undefined ? {} : { payload }) })
}

const handled = (event: string, reason: string, was = true) => ({ ok: true, event, handled: was, reason })
const invalid = (event: string) => handled(event, 'invalid_payload', false)

t.test('events that nobody knows are answered, not refused', async (t) => {
  const { client } = await node(t)
  for (const event of ['bogus.event', 'constructor', '__proto__', 'chat.subscribe']) {
    t.strictSame((await tell(client, event)).payload, handled(event, 'unsupported_event', false))
  }
  const { payload } = await tell(client, 'bogus.event')
  t.same(schemaErrors('NodeEventResult', payload), [])
  t.equal(
    (await client.call('node.event', {})).error?.message,
    "invalid node.event params: must have required property 'event'"
  )
  const extra = await client.call('node.event', { event: 'x', bogus: 1 })
  t.equal(extra.error?.message, "invalid node.event params: at root: unexpected property 'bogus'")

  const unapproved = await TestNode.connect(t, app.ws)
  t.match((await tell(unapproved.client, 'voice.transcript', { text: 'let me in' })).error, {
    code: 'UNAVAILABLE',
    message: 'node pairing changed while invocation was active',
    retryable: true,
    details: { code: 'PAIRING_CHANGED' }
  })
})

t.test('a node that is alive is written down, at most once a minute', async (t) => {
  const { client, device } = await node(t)
  const event = 'node.presence.alive'
  for (const payload of [undefined, null, 5, 'text'])
    t.strictSame((await tell(client, event, payload)).payload, invalid(event))
  t.strictSame((await client.call('node.event', { event, payloadJSON: '{' })).payload, invalid(event))
  const before = Date.now()
  const answer = await client.call('node.event', { event, payloadJSON: '{"trigger":"silent_push"}', payload: 'unread' })
  t.strictSame(answer.payload, handled(event, 'persisted'))
  const record = await app.app.nodes.store.find(device.id)
  t.equal(record?.lastSeenReason, 'silent_push')
  t.ok(record!.lastSeenAtMs! >= before)
  t.strictSame((await tell(client, event, { trigger: 'manual' })).payload, handled(event, 'throttled'))

  const other = await node(t)
  t.strictSame((await tell(other.client, event, { trigger: 'of another kind' })).payload, handled(event, 'persisted'))
  t.equal((await app.app.nodes.store.find(other.device.id))?.lastSeenReason, 'background')
})

t.test('where someone sits is told, and forgotten with the connection', async (t) => {
  const seat = async (nodeId: string) => {
    const { lastActiveAtMs, presenceUpdatedAtMs, active } = await described(nodeId)
    return { lastActiveAtMs, presenceUpdatedAtMs, active }
  }
  const empty = { lastActiveAtMs: undefined, presenceUpdatedAtMs: undefined, active: undefined }
  const event = 'node.presence.activity'
  const mac = { client: { ...nodeHost, id: 'openclaw-macos' as const }, permissions: { accessibility: true } }
  const { client, device } = await node(t, mac)
  const wrong = [
    undefined,
    {},
    { idleSeconds: -1 },
    { idleSeconds: 1.5 },
    { idleSeconds: 2_592_001 },
    { idleSeconds: 1, source: 'x' },
    { idleSeconds: 1, extra: 1 },
    { action: 'clear', extra: 1 },
    { action: 'other' }
  ]
  for (const payload of wrong) t.strictSame((await tell(client, event, payload)).payload, invalid(event))

  t.strictSame((await tell(client, event, { action: 'clear' })).payload, handled(event, 'already_clear'))
  const before = Date.now()
  t.strictSame((await tell(client, event, { idleSeconds: 3, source: 'app' })).payload, handled(event, 'updated'))
  const { payload, seq } = await reader.event('node.presence')
  t.equal(payload?.nodeId, device.id)
  const { lastActiveAtMs, presenceUpdatedAtMs } = payload as { lastActiveAtMs: number; presenceUpdatedAtMs: number }
  t.equal(presenceUpdatedAtMs - lastActiveAtMs, 3_000)
  t.ok(presenceUpdatedAtMs >= before)
  t.type(seq, 'number')

  const second = await node(t, { permissions: { accessibility: true } })
  t.strictSame((await tell(second.client, event, { idleSeconds: 0 })).payload, handled(event, 'updated'))
  t.match(await seat(second.device.id), { active: true })
  t.strictSame(
    await seat(device.id),
    { lastActiveAtMs, presenceUpdatedAtMs, active: undefined },
    'the one touched last is active'
  )
  t.strictSame(
    (await tell(second.client, event, { idleSeconds: 0, source: 'app' })).payload,
    handled(event, 'stale_connection', false),
    'only the app speaks for the app'
  )
  t.strictSame((await tell(second.client, event, { action: 'clear' })).payload, handled(event, 'cleared'))
  t.match(await reader.event('node.presence', 3), { payload: { lastActiveAtMs: null, presenceUpdatedAtMs: null } })
  t.match(await seat(device.id), { active: true })

  const plain = await node(t)
  t.strictSame(
    (await tell(plain.client, event, { idleSeconds: 0 })).payload,
    handled(event, 'permission_required', false),
    'what happens elsewhere on the machine takes the permission'
  )
  await tell(second.client, event, { idleSeconds: 0 })
  t.match(await seat(second.id), { active: true })
  await second.client.close()
  await gone(second.id)
  t.match(await seat(device.id), { active: true }, 'nobody sits where nobody is')
  await client.close()
  await gone(device.id)
  t.strictSame(await seat(device.id), empty)
})

t.test('how a machine fares is kept and told', async (t) => {
  const event = 'node.host.stats'
  const { client, device } = await node(t)
  const stats = { cpuCount: 4, memoryTotalBytes: 10, memoryFreeBytes: 5 }
  const wrong: unknown[] = [
    undefined,
    { ...stats, updatedAtMs: 1 },
    { ...stats, cpuCount: 0 },
    { ...stats, cpuCount: 1.5 },
    { ...stats, memoryFreeBytes: 11 },
    { ...stats, memoryFreeBytes: -1 },
    { ...stats, diskTotalBytes: 1 },
    { ...stats, diskTotalBytes: 1, diskAvailableBytes: 2 },
    { ...stats, loadAverage: [1, 2] },
    { ...stats, loadAverage: [1, 2, -3] },
    { cpuCount: 4 }
  ]
  for (const payload of wrong) t.strictSame((await tell(client, event, payload)).payload, invalid(event))
  const full = { ...stats, loadAverage: [1, 0.5, 0], diskTotalBytes: 9, diskAvailableBytes: 9 }
  const before = Date.now()
  t.strictSame((await tell(client, event, full)).payload, handled(event, 'updated'))
  const { payload } = await reader.event('node.hostStats')
  const { updatedAtMs, ...rest } = (payload as { hostStats: Json & { updatedAtMs: number } }).hostStats
  t.equal(payload?.nodeId, device.id)
  t.strictSame(rest, full)
  t.ok(updatedAtMs >= before)
  t.strictSame((await app.app.nodes.store.find(device.id))?.hostStats, { ...full, updatedAtMs })
})

t.test('what is said on a node is shown to people, and nobody pretends to act on it', async (t) => {
  const { client, device } = await node(t)
  const seen = reader.events.length
  t.strictSame(
    (await tell(client, 'voice.transcript', { text: 'open  the\u0007 door\u001b[2J', sessionKey: 'main' })).payload,
    { ok: true }
  )
  const heard = `Voice transcript (node=${device.id}): open the door[2J`
  t.equal((await lines()).at(-1), heard)
  t.strictSame((await tell(client, 'agent.request', { message: 'x'.repeat(10_000) })).payload, { ok: true })
  const request = (await lines()).at(-1)!
  t.ok(request.startsWith(`Agent request (node=${device.id}): xxx`))
  t.ok(request.length < 600, 'cut short')
  for (const payload of [undefined, { text: ' ' }, { text: 5 }, []]) {
    t.strictSame((await tell(client, 'voice.transcript', payload)).payload, { ok: true })
  }
  t.strictSame((await client.call('node.event', { event: 'agent.request', payloadJSON: '{' })).payload, { ok: true })
  t.equal((await lines()).at(-1), request, 'nothing said, nothing shown')

  for (let n = presenceSeen(seen); !isShown(await reader.event('presence', n), request); ) n++
})

t.test('a node is believed about the commands that it was told to run, and about no others', async (t) => {
  const sessionKey = 'agent:main:main'
  const unmatched = (event: string) => handled(event, 'unmatched_exec_event', false)
  /** Has a node run a command; what the node is asked, and what the command is known by. */
  const run = async (at: TestNode, params: Json = {}) => {
    const request = { nodeId: at.id, command: 'system.run', params: { command: ['ls'], ...params } }
    admin.call('node.invoke', { ...request, idempotencyKey: freshKey() }).catch(() => {})
    const { id, paramsJSON } = await at.request()
    return { id, runId: (JSON.parse(paramsJSON!) as { runId: string }).runId }
  }
  const here = await node(t)
  const { client } = here
  const bound = (await run(here, { sessionKey })).runId
  const free = (await run(here)).runId
  const elsewhere = (await run(await node(t))).runId
  const foreign = [
    { runId: 'unknown', sessionKey },
    { runId: bound },
    { runId: bound, sessionKey: 'x' },
    { runId: elsewhere }
  ]
  for (const payload of foreign) {
    for (const event of ['exec.started', 'exec.finished', 'exec.denied']) {
      t.strictSame((await tell(client, event, payload)).payload, unmatched(event), JSON.stringify(payload))
    }
  }
  const of = (id: string) => `(node=${here.id} id=${id}`
  const started = { runId: bound, sessionKey, command: 'ls -l' }
  t.strictSame((await tell(client, 'exec.started', started)).payload, { ok: true })
  t.equal((await lines()).at(-1), `Exec started ${of(bound)}): ls -l`)
  const finished = { runId: bound, sessionKey, exitCode: 3, timedOut: false, output: ' boom\n' }
  t.strictSame((await tell(client, 'exec.finished', finished)).payload, { ok: true })
  const boom = `Exec finished ${of(bound)}, code 3)\nboom`
  t.equal((await lines()).at(-1), boom)
  t.strictSame((await tell(client, 'exec.finished', finished)).payload, unmatched('exec.finished'), 'once')

  t.strictSame((await tell(client, 'exec.denied', { runId: free, sessionKey: 'any' })).payload, { ok: true })
  t.strictSame((await tell(client, 'exec.started', { runId: free })).payload, unmatched('exec.started'), 'it ended')
  const quiet: Json[] = [
    { exitCode: 0, output: ' \n ' },
    { exitCode: 1, output: 'x', suppressNotifyOnExit: true }
  ]
  for (const payload of quiet) {
    const { runId } = await run(here)
    t.strictSame((await tell(client, 'exec.finished', { runId, ...payload })).payload, { ok: true })
  }
  t.equal((await lines()).at(-1), boom, 'what went well, or nobody asked about, is not shown')
  const { id, runId: late } = await run(here)
  await here.result(id, { ok: true, payload: {} })
  const output = `${'y'.repeat(100_000)} last words`
  t.ok((await tell(client, 'exec.finished', { runId: late, timedOut: true, output })).ok, 'also after the result')
  const timeout = (await lines()).at(-1)!
  t.ok(timeout.startsWith(`Exec finished ${of(late)}, timeout)\n…y`) && timeout.endsWith('last words'))
  t.ok(timeout.length < 600)
})

t.test('a node that says too much is heard no more, for a while', async (t) => {
  const { client, device } = await node(t)
  for (let n = 0; n < 40; n++) t.ok((await tell(client, 'voice.transcript', { text: `word ${n}` })).ok)
  const shown = await lines()
  t.equal(shown.length, 20, 'few lines are kept')
  t.equal(shown.at(-1), `Voice transcript (node=${device.id}): word 29`)
})

t.test('wake words are one list for everyone who listens', async (t) => {
  const usual = ['openclaw', 'claude', 'computer']
  const { client } = await TestNode.connect(t, app.ws)
  t.teardown(() => client.close())
  t.match(await client.event('voicewake.changed'), { payload: { triggers: usual } }, 'also before anybody approved it')
  const routing = { version: 1, defaultTarget: { mode: 'current' }, routes: [], updatedAtMs: 0 }
  t.strictSame(await client.event('voicewake.routing.changed'), {
    type: 'event',
    event: 'voicewake.routing.changed',
    payload: { config: routing }
  })
  const order = client.events.slice(0, 3).map(({ event }) => event)
  t.strictSame(order, ['connect.challenge', 'voicewake.changed', 'voicewake.routing.changed'], 'before all else')
  t.strictSame((await reader.call('voicewake.get', { anything: 1 })).payload, { triggers: usual })
  t.strictSame((await reader.call('voicewake.routing.get')).payload, { config: routing })

  const long = `${'x'.repeat(63)}😀`
  const rows: [given: unknown[], kept: string[]][] = [
    [
      [' hey ', '', 5, null, 'hey', 'x'.repeat(100)],
      ['hey', 'hey', 'x'.repeat(64)]
    ],
    [[long], ['x'.repeat(63)]],
    [Array.from({ length: 40 }, (_, n) => `w${n}`), Array.from({ length: 32 }, (_, n) => `w${n}`)],
    [[], usual]
  ]
  for (const [n, [given, kept]] of rows.entries()) {
    t.strictSame((await writer.call('voicewake.set', { triggers: given })).payload, { triggers: kept })
    const told = await client.event('voicewake.changed', n + 2)
    t.strictSame(
      told,
      { type: 'event', event: 'voicewake.changed', payload: { triggers: kept } },
      'to nodes without a number'
    )
    const { payload, seq } = await reader.event('voicewake.changed', n + 1)
    t.strictSame(payload, { triggers: kept })
    t.type(seq, 'number')
  }
  for (const params of [{}, { triggers: 'x' }, null, 5]) {
    const { error } = await writer.call('voicewake.set', params)
    t.strictSame(error, { code: 'INVALID_REQUEST', message: 'voicewake.set requires triggers: string[]' })
  }
  t.match((await reader.call('voicewake.set', { triggers: ['x'] })).error, {
    details: { missingScope: 'operator.write' }
  })
  t.notOk(
    nobody.events.some(({ event }) => event.startsWith('voicewake')),
    'not to those without a scope'
  )
})

t.test('wake words outlive the gateway', async (t) => {
  const config = JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
  const gateway = await startProcess(t, { config })
  const client = await operator(t, gateway.ws, ['operator.write'])
  await client.call('voicewake.set', { triggers: ['wake up'] })
  gateway.child.kill('SIGKILL')
  await gateway.exited
  const again = await startProcess(t, { stateDir: gateway.stateDir })
  const { client: node } = await TestNode.connect(t, again.ws)
  t.match(await node.event('voicewake.changed'), { payload: { triggers: ['wake up'] } })
  await node.close()
})

t.test('what a node lends is answered as it is understood', async (t) => {
  const { client, device } = await node(t, { commands: ['mcp.tools.call.v1', 'system.run'] })
  const nodeId = device.id
  const lent = async () => (await described(nodeId)).nodePluginTools as Json[] | undefined
  const tool = {
    pluginId: 'mcp',
    name: 'a',
    description: 'd',
    command: 'mcp.tools.call.v1',
    mcp: { server: 's', tool: 't' }
  }
  const any = { type: 'object', properties: {}, additionalProperties: true }
  const update = async (...tools: Json[]) => {
    return (await client.call('node.pluginTools.update', { tools })).payload as { nodeId: string; tools: Json[] }
  }
  t.strictSame(await update(), { nodeId, tools: [] })
  t.match(await update(tool, tool), { tools: [{ ...tool, parameters: any }] })
  t.equal((await lent())?.length, 1, 'a name counts once')
  t.match(await update({ ...tool, command: 'camera.snap' }, { ...tool, command: undefined }), { nodeId, tools: [] })
  t.equal((await lent())?.length, 0, 'what is not approved is not lent')
  const many = Array.from({ length: 200 }, (_, n) => ({ ...tool, name: `t${n}`, parameters: { type: 'object' } }))
  t.equal((await update(...many)).tools.length, 128)
  t.equal((await update(...many.map((each) => ({ ...each, description: 'x'.repeat(100_000) })))).tools.length, 5)
  const wrong = await client.call('node.pluginTools.update', { tools: [{ ...tool, name: '1st' }] })
  t.match(wrong.error?.message, /^invalid node\.pluginTools\.update params: at \/tools\/0\/name: must match pattern/)

  t.strictSame((await client.call('skills.bins', {})).payload, { bins: [] })
  t.same(schemaErrors('SkillsBinsResult', { bins: [] }), [])
  const skill = { name: 'a-b', description: 'd', content: 'c' }
  const skills = await client.call('node.skills.update', { skills: [skill, { ...skill, content: 'later' }] })
  t.strictSame(skills.payload, { nodeId, skills: [skill] })
  t.notOk((await client.call('node.skills.update', { skills: [{ ...skill, name: 'A' }] })).ok)

  const inventory = { protocolFeatures: ['node-worker-supervisor-v6'], workerHost: { enabled: false } }
  t.strictSame((await client.call('node.runnerInventory.update', inventory)).payload, { nodeId })
  t.match((await client.call('node.runnerInventory.update', {})).error, {
    code: 'INVALID_REQUEST',
    message: 'invalid node runner inventory'
  })
  const unapproved = await TestNode.connect(t, app.ws, { commands: ['mcp.tools.call.v1'] })
  const quiet = await unapproved.client.call('node.runnerInventory.update', inventory)
  t.strictSame(quiet.payload, { nodeId: unapproved.device.id }, 'a node that waits need not ask again and again')
  t.match((await unapproved.client.call('node.pluginTools.update', { tools: [tool] })).payload, { tools: [] })

  t.match((await client.call('node.pluginSurface.refresh', {})).error, { message: 'surface required' })
  t.strictSame((await client.call('node.pluginSurface.refresh', { surface: 'canvas' })).error, {
    code: 'UNAVAILABLE',
    message: 'canvas plugin surface unavailable'
  })
  await update(tool)
  await client.close()
  await gone(nodeId)
  t.equal(await lent(), undefined, 'what a connection lent goes with it')
})

/** Waits until the gateway has noticed that a node is gone. */
async function gone(nodeId: string): Promise<void> {
  while ((await described(nodeId)).connected === true);
}

async function described(nodeId: string): Promise<Json> {
  return (await reader.call('node.describe', { nodeId })).payload as Json
}

async function lines(): Promise<string[]> {
  return (await reader.call('status')).payload?.queuedSystemEvents as string[]
}

/** The number of the next presence event after the first so many events. */
function presenceSeen(first: number): number {
  return reader.events.slice(0, first).filter(({ event }) => event === 'presence').length + 1
}

/** Reports whether a presence event holds a line of text. */
function isShown({ payload }: EventFrame<Json>, line: string): boolean {
  return (payload!.presence as { text?: string }[]).some(({ text }) => text === line)
}
