import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { SCOPES, type Scope, satisfies } from '../../src/protocol/scopes.ts'
import { EVENT_NAMES, eventRule } from '../../src/rpc/events.ts'
import { LIMITS } from '../../src/rpc/limits.ts'
import { REPLAY, Replay } from '../../src/rpc/replay.ts'
import { asJson, askApi, namedToken } from '../support/api.ts'
import { RawClient } from '../support/client.ts'
import { EventReader } from '../support/event-reader.ts'
import { startApp, startProcess, type TestApp, TOKEN } from '../support/gateway.ts'

type Json = Record<string, unknown>

t.setTimeout(100_000)

const NAMES = EVENT_NAMES.filter((name) => eventRule(name) !== undefined)
const names = (reader: EventReader) => reader.events.map(({ event }) => event)
const notes = (reader: EventReader) =>
  reader.events.filter(({ event }) => event === 'config.changed').map(({ data }) => (data.payload as Json).n)
const note = ({ app }: TestApp, n: unknown) => app.hub.publish('config.changed', { n })

t.test('every event that the scopes of a caller show, and no other', async (t) => {
  const gateway = await startApp(t, { local: true })
  const sets: (Scope[] | 'shared secret' | 'owner')[] = ['shared secret', 'owner', ...SCOPES.map((scope) => [scope])]
  for (const who of sets) {
    const scopes = new Set(typeof who === 'string' ? SCOPES : who)
    const reader =
      who === 'owner'
        ? await EventReader.open({ socketPath: gateway.localSocket }, { headers: {} })
        : await EventReader.open(gateway, {
            headers: asJson(who === 'shared secret' ? TOKEN : await namedToken(gateway, who as Scope[]))
          })
    const mine = NAMES.filter((name) => {
      const { scope } = eventRule(name)!
      return scope === 'any' || satisfies(scopes, scope)
    })
    const ready = await reader.event('ready')
    t.same(ready.data, { type: 'ready', events: mine, heartbeatMs: 15_000 })
    for (const name of NAMES) gateway.app.hub.publish(name, { name, text: 'a\nline\r\n\nand another: \u2028' })
    gateway.app.hub.publish('no.such.event', {})
    gateway.app.hub.publish('connect.challenge', {})
    gateway.app.hub.streams.beat()
    await reader.when(() => (reader.beats > 0 ? true : undefined))
    t.same(names(reader).slice(1), mine, `${who} gets ${mine.join(', ')}`)
    for (const { id, event, data } of reader.events.slice(1)) {
      t.match(id, /^[0-9a-f]{8}-\d+$/)
      t.match(data, { type: 'event', event, payload: { name: event, text: 'a\nline\r\n\nand another: \u2028' } })
      t.notOk('seq' in data, 'numbers are a socket’s')
      t.equal('stateVersion' in data, event === 'health' || event === 'presence')
    }
    await reader.leave()
  }
})

t.test('the head of a stream', async (t) => {
  const gateway = await startApp(t)
  const reader = await EventReader.open(gateway)
  t.equal(reader.status, 200)
  t.match(reader.response.headers, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
    'content-security-policy': String
  })
  t.notOk(reader.response.headers['access-control-allow-origin'])
  await reader.leave()
  const packed = await EventReader.open(gateway, { headers: { ...asJson(), 'accept-encoding': 'gzip, br' } })
  t.equal((await packed.event('ready')).event, 'ready', 'never compressed: an event that waits for more comes late')
  await packed.leave()
  const head = await askApi(gateway, '/api/v1/events', { method: 'HEAD', headers: asJson() })
  t.equal(head.status, 200)
  t.match(head.headers, { 'content-type': 'text/event-stream; charset=utf-8' })
  t.equal(gateway.app.hub.streams.size, 0, 'HEAD opens nothing')
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const answer = await askApi(gateway, '/api/v1/events', { method, headers: asJson() })
    t.same([answer.status, answer.headers.allow], [405, 'GET, HEAD'], method)
  }
  t.equal(LIMITS.streamBeatMs, 15_000)
})

t.test('a filter, and words that the query does not know', async (t) => {
  const gateway = await startApp(t)
  const reader = await EventReader.open(gateway, { query: '?events=config.changed,%20tick' })
  t.same((await reader.event('ready')).data.events, ['tick', 'config.changed'])
  for (const name of NAMES) gateway.app.hub.publish(name, {})
  gateway.app.hub.streams.beat()
  await reader.when(() => (reader.beats > 0 ? true : undefined))
  t.same(names(reader), ['ready', 'tick', 'config.changed'])
  await reader.leave()

  const get = (query: string, headers = asJson()) =>
    askApi(gateway, `/api/v1/events${query}`, { method: 'GET', headers })
  for (const query of [
    '?events=',
    '?events=nope',
    '?events=tick,nope',
    '?events=tick,,health',
    '?events=connect.challenge',
    '?events=__proto__'
  ]) {
    const { status, json } = await get(query)
    t.equal(status, 400, query)
    t.match(json, { error: { type: 'unknown_event', details: { known: NAMES } } })
  }
  for (const query of [
    `?token=${TOKEN}`,
    `?access_token=${TOKEN}&events=tick`,
    '?lastEventId=x',
    `?events=${'x'.repeat(3_000)}`,
    '?events=tick&events=health'
  ]) {
    const { status, body } = await get(query)
    t.equal(status, 400, `S22: ${query.slice(0, 30)}`)
    t.notOk(body.includes(TOKEN))
  }
  t.equal((await get(`?token=${TOKEN}`, {} as never)).status, 401, 'S22: a query is no credential')
  const reading = asJson(await namedToken(gateway, ['operator.read']))
  const { status, json } = await get('?events=tick,device.pair.requested', reading)
  t.equal(status, 403, 'what a caller may not see is refused, not left out in silence')
  t.match(json, { ok: false, error: { type: 'forbidden', message: 'missing scope: operator.pairing' } })
  t.equal(gateway.app.hub.streams.size, 0)
})

t.test('a reader that comes back takes up where it left off', async (t) => {
  const gateway = await startApp(t)
  const first = await EventReader.open(gateway)
  const { id: start } = await first.event('ready')
  for (let n = 1; n <= 3; n++) note(gateway, n)
  await first.event('config.changed', 3)
  await first.leave()
  for (let n = 4; n <= 6; n++) note(gateway, n)
  gateway.app.hub.publish('device.pair.requested', { n: 0 })

  const second = await EventReader.open(gateway, { lastId: first.lastId })
  await second.event('config.changed', 3)
  note(gateway, 7)
  await second.event('config.changed', 4)
  t.same(notes(second), [4, 5, 6, 7], 'nothing is missing and nothing comes twice')
  t.notOk(names(second).includes('gap'))
  t.equal(second.events[0]!.id, first.lastId, 'until something came, the place is the same')
  await second.leave()

  const third = await EventReader.open(gateway, { lastId: start })
  await third.event('config.changed', 7)
  t.same(notes(third), [1, 2, 3, 4, 5, 6, 7], 'from the beginning of an earlier stream')
  await third.leave()

  const pairing = asJson(await namedToken(gateway, ['operator.pairing']))
  const narrow = await EventReader.open(gateway, { lastId: start, headers: pairing })
  await narrow.event('device.pair.requested')
  t.same(notes(narrow), [], 'what is kept is shown by the scopes of whoever comes')
  await narrow.leave()
  const filtered = await EventReader.open(gateway, { lastId: start, query: '?events=device.pair.requested' })
  await filtered.event('device.pair.requested')
  t.same(names(filtered), ['ready', 'device.pair.requested'], 'and by the filter')
  await filtered.leave()

  const fresh = await EventReader.open(gateway)
  note(gateway, 8)
  await fresh.event('config.changed')
  t.same(notes(fresh), [8], 'whoever names no id gets what happens from now on')
  await fresh.leave()
})

t.test('of events that replace each other, the newest is kept', async (t) => {
  const gateway = await startApp(t)
  const first = await EventReader.open(gateway)
  const { id } = await first.event('ready')
  await first.leave()
  for (let n = 1; n <= 50; n++) {
    gateway.app.hub.publish('tick', { ts: n })
    if (n % 10 === 0) note(gateway, n)
  }
  const back = await EventReader.open(gateway, { lastId: id })
  await back.event('tick')
  t.same(notes(back), [10, 20, 30, 40, 50])
  t.same(
    back.events.filter(({ event }) => event === 'tick').map(({ data }) => data.payload),
    [{ ts: 50 }]
  )
  t.notOk(names(back).includes('gap'), 'nothing is missing')
  await back.leave()

  const { id: then } = await back.event('tick')
  for (let n = 1; n <= 3; n++)
    for (const nodeId of ['one', 'other']) {
      gateway.app.hub.publish('node.presence', { nodeId, n })
      gateway.app.hub.publish('node.hostStats', { nodeId, n })
    }
  const later = await EventReader.open(gateway, { lastId: then, query: '?events=node.presence,node.hostStats' })
  await later.event('node.hostStats', 2)
  t.same(
    later.events.slice(1).map(({ event, data: { payload } }) => [event, payload]),
    ['one', 'other'].flatMap((nodeId) => ['node.presence', 'node.hostStats'].map((name) => [name, { nodeId, n: 3 }])),
    'of each node'
  )
  await later.leave()
})

t.test('a gap is told', async (t) => {
  const gateway = await startApp(t)
  const first = await EventReader.open(gateway)
  const { id } = await first.event('ready')
  await first.leave()
  note(gateway, 1)
  const strange = [
    '',
    'x',
    '0-1',
    id!.replace(/-\d+$/, '-999999'),
    `${id}x`,
    id!.replace(/^./, (c) => (c === '0' ? '1' : '0')),
    'a'.repeat(5_000)
  ]
  for (const lastId of strange) {
    const reader = await EventReader.open(gateway, { lastId })
    await reader.event('config.changed')
    t.same(
      names(reader),
      ['ready', 'gap', 'config.changed'],
      `after an id that means nothing here: ${lastId.slice(0, 20)}`
    )
    t.match(reader.events[1]!.data, { type: 'gap' })
    await reader.leave()
  }
  // More than is kept, in a few large ones.
  const large = 'x'.repeat(1_048_576)
  for (let n = 2; n <= 12; n++) gateway.app.hub.publish('config.changed', { n, large })
  const late = await EventReader.open(gateway, { lastId: id })
  await late.when(() => (notes(late).includes(12) ? true : undefined))
  t.equal(names(late)[1], 'gap')
  const got = notes(late) as number[]
  t.ok(got.length >= 6 && got.length < 11, `${got.length} of 12 are left`)
  t.same(
    got,
    got.toSorted((a, b) => a - b)
  )
  await late.leave()
})

t.test('what nobody comes back for is forgotten, and known to be', async (t) => {
  const { Streams } = await import('../../src/rpc/streams.ts')
  const replay = new Replay()
  const rule = { scope: 'any', droppable: false } as const
  const add = (bytes: number) => replay.add({ name: 'x', rule, key: undefined }, () => Buffer.alloc(bytes))
  const kept = () => [...replay.after(0)]
  for (let i = 0; i < REPLAY.events + 10; i++) add(1)
  t.equal(kept().length, REPLAY.events)
  t.equal(replay.lost, 10)
  for (let i = 0; i < 20; i++) add(REPLAY.bytes / 8)
  t.ok(kept().reduce((sum, { frame }) => sum + frame.length, 0) <= REPLAY.bytes)
  add(REPLAY.bytes + 1)
  t.same([kept().length, replay.lost], [0, replay.last], 'one that is larger than everything is not kept')
  const before = replay.last
  replay.clear()
  t.ok(replay.lost > before, 'whoever was up to date has missed something, for all that is known')
  const streams = new Streams()
  streams.publish('tick', rule, {}, '}')
  t.equal(streams.size, 0, 'without a reader nothing is kept')
})

t.test('a reader that reads nothing is cut off, and costs no memory; others get everything', async (t) => {
  const gateway = await startApp(t)
  const slow = await EventReader.open(gateway)
  await slow.event('ready')
  slow.response.pause()
  const quick = await EventReader.open(gateway)
  await quick.event('ready')
  const large = 'x'.repeat(65_536)
  const rounds = 400
  const before = process.memoryUsage().rss
  for (let n = 1; n <= rounds; n++) {
    gateway.app.hub.publish('config.changed', { n, large })
    if (n % 8 === 0) await quick.event('config.changed', n)
  }
  t.same(notes(quick).length, rounds, 'whoever reads has all of it')
  t.ok((process.memoryUsage().rss - before) / 1e6 < 150, 'of 26 MB that nobody reads, no more than the replay is kept')
  t.equal(gateway.app.hub.streams.size, 1, 'the slow one is gone')
  slow.response.resume()
  t.equal(await slow.closed, 'cut')
  const back = await EventReader.open(gateway, { lastId: slow.lastId })
  await back.when(() => (notes(back).at(-1) === rounds ? true : undefined))
  t.equal(names(back)[1], 'gap', 'and is told what that means when it comes back')
  await Promise.all([back.leave(), quick.leave()])
})

t.test('a reader that is slow for a while catches up, without what has been replaced', async (t) => {
  const gateway = await startApp(t)
  const reader = await EventReader.open(gateway)
  await reader.event('ready')
  reader.response.pause()
  const large = 'x'.repeat(32_768)
  for (let n = 1; n <= 150; n++) {
    gateway.app.hub.publish('config.changed', { n, large })
    gateway.app.hub.publish('presence', { n, large })
    if (n % 10 === 0) await wait(1)
  }
  reader.response.resume()
  await reader.when(() => (notes(reader).at(-1) === 150 ? true : undefined))
  await reader.when(() =>
    reader.events.some(({ event, data }) => event === 'presence' && (data.payload as Json).n === 150) ? true : undefined
  )
  t.same(
    notes(reader),
    Array.from({ length: 150 }, (_, i) => i + 1),
    'every event, once, in order'
  )
  const presence = names(reader).filter((name) => name === 'presence').length
  t.ok(presence < 150, `${presence} of 150 lists`)
  const ids = reader.events.map(({ id }) => Number(id?.split('-')[1]))
  t.same(
    ids,
    ids.toSorted((a, b) => a - b)
  )
  await reader.leave()
})

t.test('200 streams at once, half of them asleep, within bounds', async (t) => {
  const gateway = await startProcess(t, {
    config: JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
  })
  const client = await RawClient.open(gateway.ws)
  await client.connect({ auth: { token: TOKEN } })
  const rss = async () =>
    ((await client.call('status')).payload as { memory: { rssBytes: number } }).memory.rssBytes / 1e6
  await client.call('system-event', { text: 'first' })
  const before = await rss()
  const readers = await Promise.all(
    Array.from({ length: 200 }, () => EventReader.open(gateway, { query: '?events=presence,shutdown' }))
  )
  await Promise.all(readers.map((reader) => reader.event('ready')))
  const awake = readers.filter((reader, i) => {
    if (i % 2 === 0) reader.response.pause()
    return i % 2 === 1
  })
  // 200 lists of 100 KB each for everybody: 20 MB that half of them never take.
  for (let n = 1; n <= 24; n++) await client.call('system-event', { text: `${n} ${'x'.repeat(4_000)}` })
  for (let n = 1; n <= 200; n++) await client.call('system-event', { text: `1 ${'x'.repeat(4_000)}` })
  await client.call('system-event', { text: 'the last' })
  const last = ({ data }: { data: Json }) => JSON.stringify(data).includes('the last')
  await Promise.all(awake.map((reader) => reader.when(() => reader.events.find(last))))
  const grown = (await rss()) - before
  t.ok(grown < 120, `memory grows by ${grown | 0} MB`)
  const metrics = await askApi(gateway, '/metrics', { method: 'GET', headers: asJson() })
  t.match(metrics.body, /^openclaw_event_streams \d+$/m)
  const started = performance.now()
  t.ok((await client.call('health')).ok)
  t.ok(performance.now() - started < 500, 'and everybody else is served')
  gateway.child.kill('SIGTERM')
  await Promise.all(awake.map((reader) => reader.event('shutdown')))
  t.equal(await gateway.exited, 0, 'streams, asleep or not, keep no stop from ending')
  await Promise.all(readers.map((reader) => reader.leave()))
})

t.test('each caller has so many streams, and all together', async (t) => {
  const gateway = await startApp(t)
  const one = asJson(await namedToken(gateway, ['operator.read']))
  const readers = await Promise.all(
    Array.from({ length: LIMITS.streamsPerCaller }, () => EventReader.open(gateway, { headers: one }))
  )
  const refused = await askApi(gateway, '/api/v1/events', { method: 'GET', headers: one })
  t.equal(refused.status, 429)
  t.match(refused.json, { error: { type: 'too_many_streams' } })
  t.equal(refused.headers['retry-after'], '10')
  const other = await EventReader.open(gateway)
  t.equal(other.status, 200, 'another caller is not affected')
  await readers[0]!.leave()
  let next = await EventReader.open(gateway, { headers: one })
  while (next.status === 429) next = await EventReader.open(gateway, { headers: one })
  t.equal(next.status, 200, 'one that goes makes room')
  await Promise.all([...readers, other, next].map((reader) => reader.leave()))
})

t.test('S14: a stream ends with the authority behind it', async (t) => {
  const ends = async (t: Test, what: string, reader: EventReader, end: () => unknown, reason: string) => {
    await reader.event('ready')
    const started = performance.now()
    await end()
    t.match((await reader.event('end')).data, { type: 'end', reason }, what)
    t.equal(await reader.closed, 'end')
    t.ok(performance.now() - started < 1_000, 'within a second')
  }

  await t.test('named tokens', async (t) => {
    const gateway = await startApp(t)
    const owner = await RawClient.open(gateway.ws)
    await owner.connect({ auth: { token: TOKEN } })
    const token = await namedToken(gateway, ['operator.read'], { name: 'short' })
    const kept = await EventReader.open(gateway, { headers: asJson(await namedToken(gateway, ['operator.read'])) })
    const reader = await EventReader.open(gateway, { headers: asJson(token) })
    const list = async () =>
      (await owner.call('gateway.tokens.list')).payload as { tokens: { name: string; connected: boolean }[] }
    t.ok((await list()).tokens.find(({ name }) => name === 'short')?.connected, 'a stream counts as a connection')
    await ends(t, 'revoked', reader, () => owner.call('gateway.tokens.revoke', { name: 'short' }), 'token revoked')
    const again = await askApi(gateway, '/api/v1/events', { method: 'GET', headers: asJson(token) })
    t.equal(again.status, 401, 'and does not come back')
    const brief = await namedToken(gateway, ['operator.read'], { expiresAtMs: Date.now() + 700 })
    await ends(t, 'expired', await EventReader.open(gateway, { headers: asJson(brief) }), () => {}, 'token expired')
    note(gateway, 1)
    await kept.event('config.changed')
    t.pass('another token’s stream goes on')
    await Promise.all([kept.leave(), owner.close()])
  })

  await t.test('the shared secret, the proxy and the origins', async (t) => {
    const file = { trustedProxies: ['127.0.0.1'], controlUi: { allowedOrigins: ['https://ui.example'] } }
    const gateway = await startApp(t, { local: true, gateway: file })
    const { live } = gateway.app
    const change = (more: Json) => () =>
      live.apply({ ...live.config, gateway: { ...live.config.gateway, ...more } as never })
    const owner = await EventReader.open({ socketPath: gateway.localSocket }, { headers: {} })
    const page = () => EventReader.open(gateway, { headers: { ...asJson(), origin: 'https://ui.example' } })
    const far = () => EventReader.open(gateway, { headers: { ...asJson(), 'x-forwarded-for': '203.0.113.5' } })
    await ends(
      t,
      'an origin that is allowed no more',
      await page(),
      change({ controlUi: { ...live.config.gateway.controlUi, allowedOrigins: [] } }),
      'gateway auth changed'
    )
    await ends(
      t,
      'a proxy that is trusted no more',
      await far(),
      change({ trustedProxies: [] }),
      'gateway auth changed'
    )
    const { auth } = live.config.gateway
    const rotated = { ...auth, token: { value: 'another-shared-secret-0123456789', source: 'file' } }
    const direct = await EventReader.open(gateway)
    await ends(t, 'a secret that was rotated', direct, change({ auth: rotated }), 'gateway auth changed')
    note(gateway, 1)
    await owner.event('config.changed')
    t.pass('the owner’s stream goes on')
    await owner.leave()
  })
})

t.test('a gateway that stops says so, and takes no more readers', async (t) => {
  const gateway = await startApp(t)
  const reader = await EventReader.open(gateway, { query: '?events=shutdown' })
  await reader.event('ready')
  const asleep = await EventReader.open(gateway)
  asleep.response.pause()
  // More than the system takes from a gateway for a reader that takes nothing.
  gateway.app.hub.publish('config.changed', { large: 'x'.repeat(33_554_432) })
  const stopped = gateway.app.drain()
  t.match((await reader.event('shutdown')).data, { payload: { reason: 'gateway stopping' } })
  t.match((await reader.event('end')).data, { reason: 'service restart' })
  t.equal(await reader.closed, 'end')
  await stopped
  asleep.response.removeAllListeners('data').resume()
  t.equal(await asleep.closed, 'cut', 'one that sleeps is not waited for')
  t.equal(gateway.app.hub.streams.size, 0)
  const refused = await askApi(gateway, '/api/v1/events', { method: 'GET', headers: asJson() })
  t.equal(refused.status, 503)
  t.match(refused.json, { error: { type: 'stopping' } })
})

t.test('a stream is a browser’s as well', async (t) => {
  const gateway = await startApp(t)
  const response = await fetch(`${gateway.http}/api/v1/events?events=tick`, { headers: asJson() })
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  t.match((await reader.read()).value, /^id: [0-9a-f]{8}-\d+\nevent: ready\ndata: \{.*\}\n\n$/)
  gateway.app.hub.publish('tick', { ts: 1 })
  t.match(
    (await reader.read()).value,
    /^id: [0-9a-f]{8}-\d+\nevent: tick\ndata: \{"type":"event","event":"tick","payload":\{"ts":1\}\}\n\n$/
  )
  await reader.cancel()
})
