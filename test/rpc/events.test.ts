import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { Type } from 'typebox'
import type { ConnectParams } from '../../src/protocol/frames.ts'
import { SCOPES } from '../../src/protocol/scopes.ts'
import { EVENT_NAMES, eventRule, TARGETED_EVENTS } from '../../src/rpc/events.ts'
import { LIMITS } from '../../src/rpc/limits.ts'
import { defineMethod } from '../../src/rpc/method.ts'
import { cli, nodeHost, RawClient, refusedUpgrade, TestDevice } from '../support/client.ts'
import { startApp, startProcess, type TestApp, TOKEN } from '../support/gateway.ts'
import { schemaErrors } from '../support/schema.ts'

const auth = { token: TOKEN }

async function connected(app: TestApp, params: Partial<ConnectParams>, device?: TestDevice): Promise<RawClient> {
  const client = await RawClient.open(app.ws)
  const { ok, error } = await client.connect({ auth, ...params }, device)
  if (!ok) throw new Error(error?.message)
  return client
}

/** The numbers of the broadcasts a client has received, in order. */
const numbers = (client: RawClient) => client.events.flatMap(({ seq }) => (seq === undefined ? [] : [seq]))
const entriesOf = ({ payload }: RawClient['events'][number]) => (payload?.presence ?? []) as Record<string, unknown>[]
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

t.test('every receiver gets its events, numbered without a hole (§5)', async (t) => {
  const app = await startApp(t)
  const { hub } = app.app
  const readers = ['operator.admin', 'operator.read', 'operator.write']
  const pairers = ['operator.admin', 'operator.pairing']
  const approvers = ['operator.admin', 'operator.approvals']
  const publish = {
    tick: { ts: 1 },
    health: app.app.health.report(),
    presence: { presence: app.app.presence.list() },
    heartbeat: {},
    'config.changed': { path: '/x', hash: 'y', ts: 1 },
    'voicewake.changed': { triggers: ['hey'] },
    'voicewake.routing.changed': { config: {} },
    'node.presence': { nodeId: 'd', lastActiveAtMs: null, presenceUpdatedAtMs: null },
    'node.hostStats': { nodeId: 'd', hostStats: {} },
    'device.pair.requested': { requestId: 'r', deviceId: 'd', publicKey: 'k', ts: 1 },
    'device.pair.resolved': { requestId: 'r', deviceId: 'd', decision: 'approved', ts: 1 },
    'device.pair.changed': {},
    'device.pair.setup.completed': { setupId: 's', deviceId: 'd', access: 'full', ts: 1 },
    'device.pair.setup.deliveryUncertain': { setupId: 's', deviceId: 'd', access: 'full', ts: 1 },
    'exec.approval.requested': { id: 'a', request: {}, createdAtMs: 1, expiresAtMs: 2, approvalKind: 'exec' },
    'exec.approval.resolved': { id: 'a', decision: 'deny', resolvedBy: null, ts: 1, request: {} },
    'node.pair.requested': { requestId: 'r', nodeId: 'd', ts: 1 },
    'node.pair.resolved': { requestId: 'r', nodeId: 'd', decision: 'approved', ts: 1 },
    shutdown: { reason: 'gateway stopping' }
  }
  const table: Record<string, readonly string[]> = {
    tick: ['*'],
    health: ['*'],
    shutdown: ['*'],
    presence: readers,
    heartbeat: readers,
    'config.changed': readers,
    'voicewake.changed': readers,
    'voicewake.routing.changed': readers,
    'node.presence': readers,
    'node.hostStats': readers,
    'device.pair.requested': pairers,
    'device.pair.resolved': pairers,
    'device.pair.changed': pairers,
    'device.pair.setup.completed': pairers,
    'device.pair.setup.deliveryUncertain': pairers,
    'exec.approval.requested': approvers,
    'exec.approval.resolved': approvers,
    'node.pair.requested': pairers,
    'node.pair.resolved': pairers
  }
  t.strictSame(Object.keys(publish).sort(), Object.keys(table).sort())
  t.strictSame(
    EVENT_NAMES,
    [...TARGETED_EVENTS, ...EVENT_NAMES.filter((name) => name in table)],
    'no event without a row'
  )

  const receivers: { name: string; client: RawClient }[] = []
  for (const scope of [...SCOPES, undefined]) {
    receivers.push({
      name: scope ?? 'no scopes',
      client: await connected(app, { scopes: scope === undefined ? [] : [scope] })
    })
  }
  receivers.push({
    name: 'node',
    client: await connected(app, { role: 'node', scopes: [], client: nodeHost }, new TestDevice())
  })
  const waiting = await RawClient.open(app.ws)
  // The node's arrival tells presence and pairing; start from a silent moment.
  await receivers[0]!.client.event('presence')
  await Promise.all(receivers.map(({ client }) => client.call('health')))
  const before = new Map(receivers.map(({ client }) => [client, client.events.length]))

  const rounds = 3
  for (let i = 0; i < rounds; i++) {
    for (const [event, payload] of Object.entries(publish)) hub.publish(event, payload)
    hub.publish('no.such.event', {})
    hub.publish('connect.challenge', {})
  }
  await Promise.all([...receivers.map(({ client }) => client.call('health'))])
  for (const { name, client } of receivers) {
    const got = client.events.slice(before.get(client)).map(({ event }) => event)
    const mine = Object.keys(publish).filter((event) => table[event]![0] === '*' || table[event]!.includes(name))
    t.strictSame(got, [...mine, ...mine, ...mine], `${name} receives ${mine.join(', ')}`)
    t.strictSame(numbers(client), upTo(numbers(client).length), `${name} sees no hole`)
    for (const event of client.events) {
      t.strictSame(schemaErrors('EventFrame', event), [])
      t.equal('stateVersion' in event, event.event === 'health' || event.event === 'presence')
    }
    await client.close()
  }
  t.equal(waiting.events.length, 1, 'a socket without a caller hears nothing')
  await waiting.close()
})

t.test('who comes and goes is told once, and stays in the list', async (t) => {
  const app = await startApp(t)
  const reader = await connected(app, { scopes: ['operator.admin'] })
  const quiet = await connected(app, { client: cli })
  await quiet.close()
  const ui = { id: 'openclaw-macos', version: '1.0.0', platform: 'darwin', mode: 'ui', instanceId: 'mac-1' } as const
  const first = await connected(app, { client: ui })
  const arrival = await reader.event('presence')
  const entries = entriesOf(arrival)
  t.equal(entries.length, 2, 'a CLI came and went unseen')
  t.match(entries[1], {
    clientId: 'openclaw-macos',
    mode: 'ui',
    reason: 'connect',
    instanceId: 'mac-1',
    onlineSince: Number
  })
  t.equal(arrival.stateVersion?.presence, 2)

  const second = await connected(app, { client: ui })
  await first.close()
  await second.close()
  const event = await reader.event('presence', 2)
  const last = entriesOf(event).filter(({ instanceId }) => instanceId === 'mac-1')
  t.equal(last.length, 1, 'one entry an instance')
  t.equal(last[0]?.reason, 'disconnect')

  const back = await connected(app, { client: ui })
  const again = await connected(app, { client: ui })
  await back.close()
  await reader.event('presence', 3)
  const list = (await reader.call('system-presence')).payload as unknown as Record<string, unknown>[]
  t.equal(
    list.find(({ instanceId }) => instanceId === 'mac-1')?.reason,
    'connect',
    'an old socket does not take the new one with it'
  )

  await reader.call('system-event', { text: 'hello', reason: 'test' })
  const noted = await reader.event('presence', 4)
  t.match(entriesOf(noted)[1], { text: 'hello', reason: 'test', ts: Number })
  await Promise.all([reader.close(), again.close()])
})

t.test('slow consumers', async (t) => {
  const app = await startApp(t)
  const { hub } = app.app
  const reader = await connected(app, { scopes: ['operator.read'] })
  const other = await connected(app, { scopes: ['operator.read'] })
  const mine = (client: RawClient) => {
    const { connId } = (client.responses[0] as { payload: { server: { connId: string } } }).payload.server
    return [...hub].find(({ id }) => id === connId)!
  }

  await t.test('droppable events skip a socket that is behind, without a hole in its numbers', async (t) => {
    reader.socket.pause()
    const big = 'x'.repeat(1_000_000)
    // Beyond what the kernel takes for a peer that does not read.
    for (let i = 0; i < 16; i++) {
      hub.publish('config.changed', { big })
      await wait(1)
    }
    for (let i = 0; i < 10; i++) hub.publish('tick', { ts: i })
    hub.publish('config.changed', { last: true })
    reader.socket.resume()
    await reader.event('config.changed', 17)
    await other.event('tick', 10)
    t.equal(reader.events.filter(({ event }) => event === 'tick').length, 0, 'ticks were skipped')
    t.strictSame(numbers(reader), upTo(17))
    t.strictSame(numbers(other), upTo(27), 'the other socket got them all')
    hub.publish('tick', { ts: 11 })
    t.equal((await reader.event('tick')).seq, 18, 'and they are back once it reads')
  })

  await t.test('beyond the hard bound the socket closes 1008', async (t) => {
    const connection = mine(reader)
    reader.socket.pause()
    const big = 'x'.repeat(4_000_000)
    let published = 0
    for (; connection.open && published < 40; published++) {
      hub.publish('config.changed', { big })
      await wait(1)
    }
    t.notOk(connection.open)
    t.ok(published * big.length > LIMITS.hardBuffer, 'not before the bound')
    reader.socket.resume()
    t.strictSame(await reader.closed, { code: 1008, reason: 'slow consumer' })
    t.ok((await other.call('health')).ok, 'nobody else notices')
  })

  await t.test('one that never reads again is cut off', async (t) => {
    const stuck = await connected(app, { scopes: ['operator.read'] })
    const connection = mine(stuck)
    stuck.socket.pause()
    const big = 'x'.repeat(4_000_000)
    while (connection.open) {
      hub.publish('config.changed', { big })
      await wait(1)
    }
    while ([...hub].includes(connection)) await wait(50)
    t.pass('its buffers are gone')
    stuck.socket.resume()
    t.equal((await stuck.closed).code, 1006)
  })
  await other.close()
})

t.test('a socket that does not answer pings is ended', async (t) => {
  const app = await startApp(t)
  const lively = await connected(app, {})
  const silent = await RawClient.open(app.ws, { autoPong: false })
  await silent.connect({ auth })
  const pings = { lively: 0, silent: 0 }
  lively.socket.on('ping', (data) => {
    t.equal(data.length, 0, 'with an empty payload')
    pings.lively++
  })
  silent.socket.on('ping', () => pings.silent++)
  const round = async () => {
    for (const connection of app.app.hub) connection.ping()
    await lively.call('health')
  }
  await round()
  t.strictSame(pings, { lively: 1, silent: 1 })
  await round()
  t.equal((await silent.closed).code, 1006)
  t.ok((await lively.call('health')).ok)
  t.strictSame(pings, { lively: 2, silent: 1 })
  await lively.close()
})

t.test('a call under way gets its answer before the close, within bounds', async (t) => {
  const app = await startApp(t)
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const method = (name: string, answer: () => Promise<unknown>) =>
    app.app.registry.add(defineMethod({ name, scope: 'any', params: Type.Unknown(), handler: answer }))
  method('test.held', () => held.then(() => ({ done: true })))
  method('test.never', () => new Promise(() => {}))
  const client = await connected(app, {})
  const stuck = await connected(app, {})
  const waiting = await RawClient.open(app.ws)
  const answer = client.call('test.held')
  stuck.send({ type: 'req', id: 'n', method: 'test.never' })
  await stuck.call('health')
  const started = Date.now()
  const drained = app.app.drain()
  t.strictSame((await client.event('shutdown')).payload, { reason: 'gateway stopping' })
  t.strictSame(schemaErrors('ShutdownEvent', client.events.at(-1)?.payload), [])
  t.equal((await fetch(`${app.http}/readyz`)).status, 503)
  t.equal((await fetch(`${app.http}/healthz`)).status, 200, 'it still lives')
  t.strictSame(await refusedUpgrade(app.ws), { status: 503, body: 'Gateway is stopping' })
  release()
  t.strictSame((await answer).payload, { done: true })
  for (const each of [client, stuck, waiting]) {
    t.strictSame(await each.closed, { code: 1012, reason: 'service restart' })
  }
  t.ok(Date.now() - started < LIMITS.drainMs + 1_500, 'a call that never ends does not hold it')
  await drained
  t.equal(app.app.hub.size + app.app.waiting.size, 0)
})

t.test('SIGTERM ends the process in good order', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const gateway = await startProcess(t, { env: { OPENCLAW_GATEWAY_TOKEN: TOKEN } })
    const client = await RawClient.open(gateway.ws)
    t.ok((await client.connect({ auth })).ok)
    const nobody = await RawClient.open(gateway.ws)
    const local = await RawClient.open(`ws+unix://${gateway.stateDir}/gateway.sock:/`)
    t.ok((await local.connect()).ok)
    gateway.child.kill(signal)
    const { payload, seq } = await client.event('shutdown')
    t.strictSame(payload, { reason: 'gateway stopping' })
    t.equal(seq, numbers(client).length)
    for (const each of [client, nobody, local]) {
      t.strictSame(await each.closed, { code: 1012, reason: 'service restart' }, signal)
    }
    t.equal(nobody.events.length, 1, 'a socket without a caller is told nothing')
    t.equal(await gateway.exited, 0)
  }
})

t.test('every event has a rule; an unknown one has none', async (t) => {
  for (const name of EVENT_NAMES.slice(TARGETED_EVENTS.length)) t.ok(eventRule(name), name)
  for (const name of ['no.such', 'connect.challenge', 'constructor', '__proto__', 'toString']) {
    t.equal(eventRule(name), undefined, name)
  }
})
