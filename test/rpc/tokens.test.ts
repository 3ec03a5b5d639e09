import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { digest } from '../../src/auth/secrets.ts'
import { SCOPES, type Scope } from '../../src/protocol/scopes.ts'
import type { Caller, Method } from '../../src/rpc/method.ts'
import { openDatabase } from '../../src/store/database.ts'
import { freshToken, type NamedToken, TokenStore, tokenState } from '../../src/store/tokens.ts'
import type { RecordedEvent } from '../../src/store/trail.ts'
import { ingressOf } from '../support/access.ts'
import { cli, RawClient, TestDevice } from '../support/client.ts'
import { startApp, type TestApp, TOKEN } from '../support/gateway.ts'

type Json = Record<string, unknown>
type Listed = NamedToken & { state: string; connected: boolean }

const DAY = 86_400_000

async function connected(t: Test, app: TestApp, scopes: readonly string[], device?: TestDevice): Promise<RawClient> {
  const client = await RawClient.open(app.ws)
  t.teardown(() => client.close())
  const params = { auth: { token: TOKEN }, scopes: [...scopes], ...(device === undefined ? {} : { client: cli }) }
  const { ok, error } = await client.connect(params, device)
  if (!ok) throw new Error(error?.message)
  return client
}

async function ask<T = Json>(client: RawClient, method: string, params: Json = {}): Promise<T> {
  const { ok, payload, error } = await client.call(method, params)
  if (!ok) throw new Error(`${method}: ${error?.message}`)
  return payload as T
}

const app = await startApp(t, { local: true })
const admin = await connected(t as Test, app, ['operator.admin'])
const tokens = async () => (await ask<{ tokens: Listed[] }>(admin, 'gateway.tokens.list')).tokens
const events = async (query: Json = {}) =>
  (await ask<{ events: RecordedEvent[] }>(admin, 'gateway.audit.list', query)).events

t.test('a token is made once, listed without its text, and kept as a digest (S24)', async (t) => {
  const before = Date.now()
  const made = await ask(admin, 'gateway.tokens.create', {
    name: 'grafana',
    scopes: ['operator.read'],
    expiresInMs: 30 * DAY,
    cidrs: ['10.0.0.0/8', '2001:db8::1']
  })
  t.match(made.token, /^oct_[\w-]{43}$/)
  t.match(made, { name: 'grafana', scopes: ['operator.read'], cidrs: ['10.0.0.0/8', '2001:db8::1'] })
  t.ok((made.createdAtMs as number) >= before)
  t.ok(Math.abs((made.expiresAtMs as number) - before - 30 * DAY) < 10_000)

  const [listed] = await tokens()
  t.strictSame(listed, {
    id: made.id,
    name: 'grafana',
    scopes: ['operator.read'],
    cidrs: ['10.0.0.0/8', '2001:db8::1'],
    createdAtMs: made.createdAtMs,
    createdBy: 'token',
    expiresAtMs: made.expiresAtMs,
    state: 'live',
    connected: false
  })
  const found = await app.app.tokens.find(digest(made.token as string))
  t.match(found, { id: made.id, revokedAtMs: undefined })

  const forever = await ask(admin, 'gateway.tokens.create', { name: 'forever', scopes: [...SCOPES] })
  t.notOk('expiresAtMs' in forever, 'without an expiry it has none')
  t.not(forever.token, made.token)

  for (const text of [made.token, forever.token] as string[]) {
    t.notMatch(JSON.stringify([await tokens(), await events()]), text.slice(4))
    t.notMatch(JSON.stringify([await tokens(), await events()]), digest(text).toString('hex'))
    for (const entry of readdirSync(app.stateDir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const bytes = readFileSync(join(entry.parentPath, entry.name))
      t.notOk(bytes.includes(text.slice(4)), `${entry.name} holds none`)
    }
  }
})

t.test('what a token is made of is checked, and the refusal says what is wrong', async (t) => {
  const good = { name: 'checked', scopes: ['operator.read'] }
  const rows: { name: string; params: Json; error: RegExp | string }[] = [
    { name: 'no name', params: { scopes: ['operator.read'] }, error: "must have required property 'name'" },
    { name: 'no scopes', params: { name: 'checked' }, error: "must have required property 'scopes'" },
    {
      name: 'an empty list of scopes',
      params: { ...good, scopes: [] },
      error: /at \/scopes: must not have fewer than 1/
    },
    {
      name: 'an unknown scope (D1)',
      params: { ...good, scopes: ['operator.read', 'operator.bogus'] },
      error: 'at /scopes/1: must be equal to one of the allowed values'
    },
    {
      name: 'a scope twice',
      params: { ...good, scopes: ['operator.read', 'operator.read'] },
      error: 'at /scopes: must not have duplicate items'
    },
    { name: 'an unexpected key', params: { ...good, token: 'mine' }, error: "at root: unexpected property 'token'" },
    ...[
      ['an empty name', ''],
      ['a blank name', '   '],
      ['a name with a space before it', ' a'],
      ['65 characters', 'a'.repeat(65)],
      ['a line break', 'a\nb'],
      ['an escape', 'a\u001b[2J'],
      ['text that turns around', 'a\u202eb'],
      ['a hidden character', 'a\u200bb'],
      ['half a character', '\ud800'],
      ['an id', crypto.randomUUID()],
      ['a token', freshToken()]
    ].map(([name, value]) => ({ name: name!, params: { ...good, name: value }, error: 'at /name: must' })),
    ...[['0.0.0.0/0'], ['::/0'], ['10.0.0.0/33'], ['example.com'], ['10.0.0.0/8', 'x']].map((cidrs) => ({
      name: `cidrs ${cidrs}`,
      params: { ...good, cidrs },
      error: `at /cidrs: must be addresses or networks such as 10.0.0.0/8, not "${cidrs.at(-1)}"`
    })),
    { name: 'no network at all', params: { ...good, cidrs: [] }, error: /at \/cidrs: must not have fewer than 1/ },
    {
      name: '33 networks',
      params: { ...good, cidrs: Array.from({ length: 33 }, (_, i) => `10.0.${i}.0/24`) },
      error: /at \/cidrs: must not have more than 32/
    },
    { name: 'the past', params: { ...good, expiresAtMs: Date.now() - 1 }, error: /expires in the future/ },
    { name: 'no time at all', params: { ...good, expiresInMs: 0 }, error: /at \/expiresInMs: must be >= 1/ },
    {
      name: 'part of a millisecond',
      params: { ...good, expiresInMs: 1.5 },
      error: /at \/expiresInMs: must be integer/
    },
    { name: 'eleven years', params: { ...good, expiresInMs: 11 * 366 * DAY }, error: /within ten years/ },
    {
      name: 'two expiries',
      params: { ...good, expiresInMs: DAY, expiresAtMs: Date.now() + DAY },
      error: /give either expiresInMs or expiresAtMs/
    }
  ]
  const count = (await tokens()).length
  for (const { name, params, error } of rows) {
    const answer = await admin.call('gateway.tokens.create', params)
    t.equal(answer.error?.code, 'INVALID_REQUEST', name)
    t.match(answer.error?.message, error, name)
    t.match(answer.error?.message, 'gateway.tokens.create')
    t.notMatch(answer.error?.message, /oct_/, 'what may be a secret is not repeated')
  }
  t.equal((await tokens()).length, count, 'none was made')
  for (const [index, name] of ['a', 'Ünïcode 漢字 🦞', 'a'.repeat(64), 'with "quotes" & <tags>'].entries()) {
    t.ok(
      (await admin.call('gateway.tokens.create', { ...good, name, expiresInMs: 10 * 365 * DAY })).ok,
      `name ${index}`
    )
  }
})

t.test('a name belongs to one live token', async (t) => {
  const params = { name: 'only-one', scopes: ['operator.read'] }
  const first = await ask(admin, 'gateway.tokens.create', params)
  const { error } = await admin.call('gateway.tokens.create', params)
  t.match(error, {
    code: 'INVALID_REQUEST',
    message: /a live token has this name already/,
    details: { fix: { command: 'openclaw tokens revoke NAME', where: 'gateway host' } }
  })
  await ask(admin, 'gateway.tokens.revoke', { name: 'only-one' })
  const second = await ask(admin, 'gateway.tokens.create', params)
  t.not(second.id, first.id)
  const named = (await tokens()).filter(({ name }) => name === 'only-one')
  t.same(
    named.map(({ id, state }) => [id, state]),
    [
      [second.id, 'live'],
      [first.id, 'revoked']
    ]
  )
})

t.test('revoking, by name or id, is once and for all', async (t) => {
  const byName = await ask(admin, 'gateway.tokens.create', { name: 'by-name', scopes: ['operator.read'] })
  const byId = await ask(admin, 'gateway.tokens.create', { name: 'by-id', scopes: ['operator.read'] })
  const revoked = await ask(admin, 'gateway.tokens.revoke', { name: 'by-name' })
  t.match(revoked, { id: byName.id, name: 'by-name', revokedAtMs: Number })
  t.match(await ask(admin, 'gateway.tokens.revoke', { id: byId.id }), { id: byId.id, name: 'by-id' })
  const found = await app.app.tokens.find(digest(byName.token as string))
  t.equal(found?.revokedAtMs, revoked.revokedAtMs, 'it is still known, so that its holder can be told why')
  const text = freshToken()
  const rows: [Json, RegExp][] = [
    [{ name: 'by-name' }, /no such token, or it is revoked already/],
    [{ id: byId.id }, /no such token/],
    [{ name: 'nobody' }, /no such token/],
    [{ name: text }, /no such token/],
    [{}, /give either id or name/],
    [{ id: byId.id, name: 'by-id' }, /give either id or name/],
    [{ name: '' }, /at \/name: must not have fewer/]
  ]
  for (const [params, message] of rows) {
    const { error } = await admin.call('gateway.tokens.revoke', params)
    t.match(error?.message, message, JSON.stringify(params))
    t.notMatch(JSON.stringify(error), text)
  }
})

t.test('only an admin makes, sees or ends tokens, and sees the trail', async (t) => {
  const others = SCOPES.filter((scope) => scope !== 'operator.admin')
  const client = await connected(t, app, others)
  for (const method of ['create', 'list', 'revoke']
    .map((each) => `gateway.tokens.${each}`)
    .concat('gateway.audit.list')) {
    const { error } = await client.call(method, { anything: 1 })
    t.match(error, { code: 'FORBIDDEN', details: { missingScope: 'operator.admin' } }, method)
  }
})

t.test('S12: nobody hands out more than they hold, whatever the scope of the method', async (t) => {
  const create = app.app.registry.get('gateway.tokens.create') as unknown as {
    handler(params: Json, caller: Caller): Promise<Json>
  } & Method
  const sets: Scope[][] = [...SCOPES.map((scope) => [scope]), ['operator.read', 'operator.pairing'], []]
  let n = 0
  for (const held of sets) {
    for (const scopes of sets.filter((each) => each.length > 0)) {
      const entry = { ingress: ingressOf() }
      const caller = {
        scopes: new Set(held),
        method: 'token',
        client: cli,
        address: '127.0.0.1',
        entry
      } as unknown as Caller
      const within = held.includes('operator.admin') || scopes.every((scope) => held.includes(scope))
      const made = create.handler({ name: `s12 ${n++}`, scopes }, caller)
      if (within) t.strictSame((await made).scopes, scopes)
      else await t.rejects(made, { code: 'INVALID_REQUEST' }, `${held} makes no ${scopes}`)
    }
  }
})

t.test('S14: revoking closes the live sockets of the token, and of no other', async (t) => {
  // A caller of its own: each has thirty writes a minute.
  const maker = await connected(t, app, ['operator.admin'], new TestDevice())
  const make = (name: string) => ask(maker, 'gateway.tokens.create', { name, scopes: ['operator.admin'] })
  const [mine, other] = [await make('mine'), await make('other')]
  const arrive = async ({ token }: Json) => {
    const client = await RawClient.open(app.ws)
    t.teardown(() => client.close())
    t.ok((await client.connect({ auth: { token: token as string }, scopes: ['operator.admin'] })).ok)
    return client
  }
  const [first, second, bystander] = [await arrive(mine), await arrive(mine), await arrive(other)]
  const states = async () => (await tokens()).filter(({ connected }) => connected).map(({ name }) => name)
  t.same((await states()).sort(), ['mine', 'other'])

  const answer = await first.call('gateway.tokens.revoke', { id: mine.id })
  t.ok(answer.ok, 'the answer comes before the end')
  for (const client of [first, second]) t.same(await client.closed, { code: 1008, reason: 'token revoked' })
  t.ok((await bystander.call('health')).ok)
  t.same(await states(), ['other'])
  t.match((await events({ limit: 1 }))[0], { kind: 'token.revoked', detail: 'mine', who: 'mine' })
})

t.test('the trail tells who made and ended what, from where', async (t) => {
  const owner = await RawClient.open(`ws+unix://${app.localSocket}:/`)
  t.teardown(() => owner.close())
  await owner.connect({ client: cli, scopes: ['operator.admin'] })
  const device = new TestDevice()
  const person = await connected(t, app, ['operator.admin'], device)
  const [{ id: last } = { id: 0 }] = await events({ limit: 1 })
  await ask(owner, 'gateway.tokens.create', { name: 'of-the-owner', scopes: ['operator.read', 'operator.write'] })
  await ask(person, 'gateway.tokens.revoke', { name: 'of-the-owner' })
  await ask(person, 'device.pair.launchLink')
  t.match(await events({ after: last }), [
    { kind: 'launch.created', outcome: 'changed', who: device.id },
    {
      kind: 'token.revoked',
      outcome: 'changed',
      detail: 'of-the-owner',
      who: device.id,
      method: 'token',
      address: '127.0.0.1',
      listener: 'main',
      client: 'cli',
      surface: 'websocket'
    },
    {
      kind: 'token.created',
      detail: 'of-the-owner: operator.read, operator.write',
      who: 'owner',
      method: 'owner',
      address: 'local',
      listener: 'local'
    }
  ])
  t.match(
    (await tokens()).find(({ name }) => name === 'of-the-owner'),
    { createdBy: 'owner' }
  )
})

t.test('the trail tells why a request was refused, in one line', async (t) => {
  const { token, id } = await ask<Json>(admin, 'gateway.tokens.create', { name: 'ended', scopes: ['operator.read'] })
  await ask(admin, 'gateway.tokens.revoke', { id })
  const rows: [headers: Record<string, string>, status: number, want: Json][] = [
    [{}, 401, { kind: 'http', reason: 'token_missing' }],
    [{ authorization: 'Bearer wrong' }, 401, { kind: 'http', reason: 'token_mismatch' }],
    [{ authorization: `Bearer ${token}` }, 401, { kind: 'http', reason: 'token_revoked', detail: 'ended' }],
    [
      { authorization: `Bearer ${TOKEN}`, origin: 'https://evil.example' },
      403,
      { kind: 'origin', reason: 'origin_not_allowed' }
    ],
    [
      { authorization: `Bearer ${TOKEN}`, 'x-forwarded-for': '203.0.113.9' },
      403,
      { kind: 'ingress', reason: 'proxy_attribution_required' }
    ]
  ]
  for (const [headers, status, want] of rows) {
    const [{ id: last } = { id: 0 }] = await events({ limit: 1 })
    t.equal((await fetch(`${app.http}/metrics`, { headers })).status, status)
    const found = await events({ after: last })
    t.equal(found.length, 1, `${want.reason} is one event`)
    t.match(found, [{ ...want, outcome: 'denied', address: '127.0.0.1', listener: 'main' }])
  }
})

t.test('the trail tells what was decided about devices', async (t) => {
  const arrives = async (displayName: string) => {
    const device = new TestDevice()
    const client = await RawClient.open(app.ws, { origin: app.http })
    t.teardown(() => client.close())
    const params = { auth: { token: TOKEN }, client: { ...cli, displayName }, scopes: ['operator.read'] }
    const { error } = await client.connect(params, device)
    return { device, requestId: error?.details?.requestId as string }
  }
  const kitchen = await arrives('Kitchen\u001b[31m')
  const stranger = await arrives('Stranger')
  const { id: deviceId } = kitchen.device
  await ask(admin, 'device.pair.approve', { requestId: kitchen.requestId })
  await ask(admin, 'device.pair.reject', { requestId: stranger.requestId })
  await ask(admin, 'device.token.rotate', { deviceId, role: 'operator' })
  await ask(admin, 'device.token.revoke', { deviceId, role: 'operator' })
  await ask(admin, 'device.pair.rename', { deviceId, label: 'Hallway' })
  await ask(admin, 'device.pair.remove', { deviceId })
  const key = `(${deviceId.slice(0, 12)})`
  t.same(
    (await events({ limit: 5 })).map(({ kind, detail }) => `${kind} ${detail}`),
    [
      `device.removed Hallway ${key}`,
      `device.revoked Kitchen\\u{1b}[31m ${key}: operator`,
      `device.rotated Kitchen\\u{1b}[31m ${key}: operator, operator.read`,
      `device.rejected Stranger (${stranger.device.id.slice(0, 12)})`,
      `device.paired Kitchen\\u{1b}[31m ${key}: operator, operator.read`
    ]
  )
})

t.test('gateway.audit.list pages and filters', async (t) => {
  const page = await ask<{ events: RecordedEvent[]; nextBefore: number }>(admin, 'gateway.audit.list', { limit: 2 })
  t.equal(page.events.length, 2)
  t.equal(page.nextBefore, page.events[1]?.id)
  const older = await events({ before: page.nextBefore, limit: 1 })
  t.ok(older[0]!.id < page.nextBefore)
  t.ok((await events({ kind: 'token.created', limit: 500 })).every(({ kind }) => kind === 'token.created'))
  t.same(await events({ outcome: 'allowed', kind: 'token.created' }), [])
  t.ok((await events({ who: 'OWN' })).every(({ who }) => who === 'owner'))
  t.same(await events({ after: page.events[0]!.id }), [])
  for (const query of [
    { limit: 0 },
    { limit: 501 },
    { before: 0 },
    { outcome: 'x' },
    { kind: 'x' },
    { who: '' },
    { x: 1 }
  ]) {
    t.match((await admin.call('gateway.audit.list', query)).error, { code: 'INVALID_REQUEST' }, JSON.stringify(query))
  }
})

t.test('S22: a canary secret that is sent anywhere else is not on the trail', async (t) => {
  const canary = freshToken()
  const client = await RawClient.open(app.ws)
  await client.connect({ auth: { token: canary, deviceToken: canary }, client: cli }, new TestDevice())
  await client.close()
  await admin.call('gateway.tokens.create', { name: canary, scopes: ['operator.read'] })
  await admin.call('gateway.tokens.revoke', { name: canary })
  await fetch(`${app.http}/metrics?token=${canary}`, { headers: { authorization: `Bearer ${canary}` } })
  t.notMatch(JSON.stringify(await events({ limit: 500 })), canary.slice(4, 20))
})

t.test('the store', async (t) => {
  const store = (t: Test) => {
    const db = openDatabase(':memory:')
    t.teardown(() => db.close())
    const clock = { now: 1_000_000 }
    const make = (name: string, expiresAtMs?: number) =>
      tokens.create(
        { name, scopes: ['operator.read'], cidrs: [], createdBy: 'owner', expiresAtMs },
        digest(name + clock.now)
      )
    const tokens = new TokenStore(db, () => clock.now)
    return { tokens, clock, make }
  }

  t.test('500 tokens are live at most; an expired one makes room, and frees its name', async (t) => {
    const { tokens, clock, make } = store(t)
    for (let i = 0; i < 500; i++) t.notOk('refused' in (await make(`t${i}`, i === 7 ? clock.now + 5 : undefined)))
    t.same(await make('one more'), { refused: 'too-many' })
    t.same(await make('t7'), { refused: 'name-taken' })
    clock.now += 5
    t.match(await make('t7'), { name: 't7' })
    const [fresh, old] = (await tokens.list()).filter(({ name }) => name === 't7')
    t.equal(tokenState(fresh!, clock.now), 'live')
    t.equal(tokenState(old!, clock.now), 'expired')
    t.equal((await tokens.revoke('t7'))?.id, fresh!.id, 'a name means the live one')
    t.equal((await tokens.revoke('t7'))?.id, old!.id)
    t.equal(await tokens.revoke('t7'), undefined)
  })

  t.test('what ended is forgotten after 90 days, or when 500 ended later', async (t) => {
    const { tokens, clock, make } = store(t)
    await make('expired', clock.now + DAY)
    await make('revoked')
    await make('live')
    await tokens.revoke('revoked')
    clock.now += 90 * DAY
    await make('a')
    t.same((await tokens.list()).map(({ name }) => name).sort(), ['a', 'expired', 'live', 'revoked'])
    clock.now += 1
    await make('b')
    t.same((await tokens.list()).map(({ name }) => name).sort(), ['a', 'b', 'expired', 'live'])
    clock.now += DAY
    await make('c')
    t.same((await tokens.list()).map(({ name }) => name).sort(), ['a', 'b', 'c', 'live'])
    for (let i = 0; i < 510; i++) {
      clock.now += 1
      await make(`r${i}`)
      await tokens.revoke(`r${i}`)
    }
    await make('d')
    const all = await tokens.list()
    t.equal(all.filter((each) => tokenState(each, clock.now) === 'revoked').length, 500)
    t.ok(all.some(({ name }) => name === 'r509') && !all.some(({ name }) => name === 'r9'))
    t.ok(all.some(({ name }) => name === 'live'))
  })

  t.test('a use is written at most once a minute for each token', async (t) => {
    const { tokens, clock, make } = store(t)
    const { id } = (await make('busy')) as NamedToken
    const { id: other } = (await make('other')) as NamedToken
    const last = async (name: string) => {
      const { lastUsedAtMs, lastUsedFrom } = (await tokens.list()).find((each) => each.name === name)!
      return [lastUsedAtMs, lastUsedFrom]
    }
    t.same(await last('busy'), [undefined, undefined])
    const start = clock.now
    await tokens.used(id, '10.0.0.1')
    clock.now += 59_999
    await tokens.used(id, '10.0.0.2')
    await tokens.used(other, '10.0.0.3')
    t.same(await last('busy'), [start, '10.0.0.1'])
    t.same(await last('other'), [start + 59_999, '10.0.0.3'])
    clock.now += 1
    await tokens.used(id, 'x'.repeat(1_000))
    t.same(await last('busy'), [start + 60_000, 'x'.repeat(64)])
    for (let i = 0; i < 1_000; i++) await tokens.used(`nobody ${i}`, '10.0.0.1')
  })

  t.test('a digest finds its token, whatever became of it', async (t) => {
    const { tokens, clock, make } = store(t)
    const key = digest(`x${clock.now}`)
    t.equal(await tokens.find(key), undefined)
    const made = (await make('x', clock.now + 10)) as NamedToken
    t.same(await tokens.find(key), made)
    clock.now += 10
    t.equal(tokenState((await tokens.find(key))!, clock.now), 'expired')
    await tokens.revoke(made.id)
    t.equal(tokenState((await tokens.find(key))!, clock.now), 'revoked')
  })
})
