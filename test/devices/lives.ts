import assert from 'node:assert/strict'
import fc, { type AsyncCommand } from 'fast-check'
import { digest } from '../../src/auth/secrets.ts'
import { isScope, type Role } from '../../src/protocol/scopes.ts'
import { cli, TestDevice } from '../support/client.ts'
import { TOKEN } from '../support/gateway.ts'
import { type ClientKind, type Connect, Expected, type Shown } from './expected.ts'
import type { Answer, Gateway, Place, Who } from './parts.ts'

const MINUTE = 60_000

type Json = Record<string, unknown>
type Step = AsyncCommand<Model, Gateway, true>

/** What the test knows beside the gateway. */
class Model {
  readonly expected = new Expected()
  readonly fixed: readonly Who[]
  sessions: Who[] = []
  readonly tokens: string[] = []
  readonly codes: string[] = []
  readonly requestIds = new Set<string>()
  /** Devices that wait for the end of their own request. */
  waits: { deviceId: string; answer: Promise<Answer<Json>> }[] = []
  steps = 0

  constructor(fixed: readonly Who[]) {
    this.fixed = fixed
  }

  /** Somebody who calls: the owner, others of this host, or a device that is connected; a device itself where asked. */
  actor(n: number | 'self', deviceId?: string): Who {
    if (n === 'self') return this.sessions.findLast((each) => each.deviceId === deviceId) ?? this.fixed[1]!
    const all = [...this.fixed, ...this.sessions]
    return all[n % all.length]!
  }

  shown(what: What): Shown {
    if (what === 'secret' || what === 'nothing') return what
    const texts = what.kind === 'token' ? this.tokens : this.codes
    const text = texts.at(-1 - (what.nth % Math.max(1, texts.length)))
    if (text === undefined) return 'secret'
    return what.kind === 'token' ? { token: text } : { code: text }
  }

  /** A request that is new has an id of its own; one that says the same keeps it. */
  filed(deviceId: string, requestId: unknown, again: string | undefined): void {
    assert.equal(typeof requestId, 'string')
    if (again === undefined) assert.ok(!this.requestIds.has(requestId as string), 'a fresh id for a fresh request')
    else assert.equal(requestId, again, 'the same request keeps its id')
    this.requestIds.add(requestId as string)
    this.expected.waiting.get(deviceId)!.requestId = requestId as string
  }
}

const devices = Array.from({ length: 3 }, () => new TestDevice())
const CLIENTS: Record<ClientKind, { id: string; mode: string }> = {
  cli: { id: 'cli', mode: 'cli' },
  page: { id: 'openclaw-control-ui', mode: 'webchat' },
  node: { id: 'node-host', mode: 'node' },
  phone: { id: 'openclaw-ios', mode: 'ui' },
  probe: { id: 'openclaw-probe', mode: 'probe' }
}

function step(name: string, run: (model: Model, real: Gateway) => Promise<void>): Step {
  return {
    check: async () => true,
    async run(model, real) {
      await run(model, real)
      await settle(model, real)
      await agree(model, real)
      model.steps++
    },
    toString: () => name
  }
}

type What = 'secret' | 'nothing' | { kind: 'token' | 'code'; nth: number }
type Coming = Omit<Connect, 'deviceId' | 'show'> & { device: number; what: What }

async function come(model: Model, real: Gateway, { device, what, ...facts }: Coming): Promise<void> {
  const { id: deviceId } = devices[device]!
  const show = model.shown(what)
  const ask: Connect = { ...facts, deviceId, show }
  // What is wrong is answered slowly to callers of this host; there are thousands of them here.
  if (ask.place === 'here' && !model.expected.believes(ask, real.now)) ask.place = 'away'
  const before = await real.rows()
  const answer = await real.connect(ask.place, paramsOf(ask), devices[device])
  const verdict = model.expected.connect(ask, real.now)
  if (ask.client === 'probe') assert.deepEqual(await real.rows(), before, 'a probe leaves nothing behind')
  if ('refused' in verdict) {
    assert.ok(!answer.ok, `${JSON.stringify(ask)} is refused: ${verdict.refused}`)
    assert.equal(answer.details.code, verdict.refused)
    assert.equal(answer.details.reason, verdict.reason)
    const fix = answer.details.fix as { command: string } | undefined
    if (!('again' in verdict)) return
    model.filed(deviceId, answer.details.requestId, verdict.again)
    assert.equal(fix?.command, `openclaw devices approve ${answer.details.requestId}`)
    return
  }
  assert.ok(answer.ok, `${JSON.stringify(ask)} is let in, not: ${JSON.stringify(answer)}`)
  const { caller, deviceToken, handed } = answer.value
  same(caller.scopes, verdict.in)
  for (const scope of caller.scopes) assert.ok(ask.scopes.includes(scope), 'S8: nothing that was not asked for')
  if (verdict.token === 'none') assert.equal(deviceToken, undefined)
  if (verdict.token === 'own') assert.equal(deviceToken?.value, (show as { token: string }).token)
  if (verdict.token === 'fresh') receive(model, deviceId, ask.role, deviceToken!.value)
  assert.equal(handed.length, verdict.handed === undefined ? 0 : 1)
  for (const { role, scopes, value } of handed) {
    same(scopes, verdict.handed!)
    receive(model, deviceId, role, value)
  }
  if (caller.role === 'operator' && caller.deviceId !== undefined)
    model.sessions = [...model.sessions, caller].slice(-6)
}

function receive(model: Model, deviceId: string, role: Role, token: string): void {
  model.expected.handOver(deviceId, role, token)
  model.tokens.push(token)
}

function paramsOf({ client, platform, role, scopes, show }: Omit<Connect, 'deviceId' | 'place'>): Json {
  const auth =
    show === 'nothing'
      ? {}
      : show === 'secret'
        ? { token: TOKEN }
        : 'token' in show
          ? { deviceToken: show.token }
          : { bootstrapToken: show.code }
  return { client: { ...CLIENTS[client], version: '1', platform }, role, scopes: [...scopes], auth }
}

/** Calls a method as somebody, who must not hand out full control without having it, nor see anybody's token. */
async function as(model: Model, real: Gateway, by: Who, method: string, params: Json) {
  const admins = await adminsOf(real)
  const answer = await real.call(by, method, params)
  if (!by.scopes.has('operator.admin')) {
    for (const device of await adminsOf(real)) {
      assert.ok(admins.has(device), `S12: ${method} by ${[...by.scopes]} makes nobody an admin`)
    }
  }
  const text = JSON.stringify(answer)
  for (const token of model.tokens) assert.ok(!text.includes(token), `S12: ${method} shows no token`)
  return answer
}

async function adminsOf(real: Gateway): Promise<Set<string>> {
  const all = await real.devices.list()
  return new Set(
    all
      .filter(({ grants }) => grants.some((each) => !each.revoked && each.scopes.includes('operator.admin')))
      .map(({ deviceId }) => deviceId)
  )
}

async function decide(model: Model, real: Gateway, method: 'approve' | 'reject', nth: number, by: Who): Promise<void> {
  const { waiting } = model.expected
  const all = [...waiting]
  const [deviceId, request] = all[nth % Math.max(1, all.length)] ?? []
  const params = { requestId: request?.requestId ?? 'none' }
  const answer = await as(model, real, by, `device.pair.${method}`, params)
  if (deviceId === undefined) return assert.ok(!answer.ok)
  if (method === 'approve') return assert.equal(answer.ok, model.expected.approve(deviceId, by), JSON.stringify(answer))
  assert.equal(answer.ok, by.scopes.has('operator.admin') || by.scopes.has('operator.pairing'))
  if (answer.ok) waiting.delete(deviceId)
}

async function change(
  model: Model,
  real: Gateway,
  what: 'rotate' | 'revoke' | 'remove',
  { device, role, scopes, by }: { device: number; role: Role; scopes: readonly string[] | undefined; by: Who }
): Promise<void> {
  const { id: deviceId } = devices[device]!
  const { expected } = model
  const params =
    what === 'remove'
      ? { deviceId }
      : { deviceId, role, ...(what === 'rotate' && scopes !== undefined ? { scopes } : {}) }
  const known = scopes?.filter(isScope)
  const method = what === 'remove' ? 'device.pair.remove' : `device.token.${what}`
  const answer = await as(model, real, by, method, params)
  const may =
    what === 'remove'
      ? expected.remove(deviceId, by)
      : what === 'revoke'
        ? expected.revoke(deviceId, role, by)
        : expected.rotate(deviceId, role, known, by)
  assert.equal(answer.ok, may, `${method}: ${JSON.stringify(answer)}`)
  if (!answer.ok) return
  const token = answer.value.token as string | undefined
  const own = what === 'rotate' && by.deviceId === deviceId && by.method === 'device-token'
  assert.equal(token !== undefined, own, 'S12: a device sees its own token only')
  if (token !== undefined) receive(model, deviceId, role, token)
  await real.ended(deviceId)
  model.sessions = model.sessions.filter((each) => each.deviceId !== deviceId)
}

async function upgrade(model: Model, real: Gateway, scopes: readonly string[], by: Who): Promise<void> {
  const answer = await as(model, real, by, 'device.scopes.requestUpgrade', { scopes })
  const reads = ['operator.admin', 'operator.read', 'operator.write'].some((each) => by.scopes.has(each as never))
  const may = reads && by.deviceId !== undefined && scopes.every(isScope)
  const filed = may ? model.expected.upgrade(by.deviceId!, scopes, real.now) : undefined
  assert.equal(answer.ok, filed !== undefined, JSON.stringify(answer))
  if (!answer.ok) return
  const { requestId } = answer.value
  model.filed(by.deviceId!, requestId, filed?.again)
  const wait = real.call(by, 'device.scopes.waitUpgrade', { requestId })
  model.waits.push({ deviceId: by.deviceId!, answer: wait })
}

/** Takes what devices got that waited for the end of their request. */
async function settle(model: Model, real: Gateway): Promise<void> {
  if (model.waits.length === 0) return
  await real.settled()
  const open: Model['waits'] = []
  for (const each of model.waits) {
    const answer = await Promise.race([each.answer, undefined])
    if (answer === undefined) open.push(each)
    else if (answer.ok && answer.value.status === 'approved') {
      model.expected.issue(each.deviceId, 'operator')
      receive(model, each.deviceId, 'operator', answer.value.deviceToken as string)
    }
  }
  model.waits = open
}

async function mint(model: Model, real: Gateway, kind: 'link' | 'full' | 'limited' | 'node', by: Who): Promise<void> {
  const link = kind === 'link'
  const profile = kind === 'full' ? {} : { bootstrapProfile: kind }
  const params = link ? {} : { publicUrl: 'wss://gateway.example', includeQr: false, ...profile }
  const answer = await as(model, real, by, `device.pair.${link ? 'launchLink' : 'setupCode'}`, params)
  assert.equal(answer.ok, by.scopes.has('operator.admin'))
  if (!answer.ok) return
  const { value } = answer
  const text = link ? (value.bootstrapToken as string) : (decoded(value.setupCode as string).bootstrapToken as string)
  const limited = ['approvals', 'questions', 'read', 'talk.secrets', 'write'].map((each) => `operator.${each}`)
  const scopes = { link: ['operator.admin'], full: ['operator.admin', ...limited], limited, node: [] }[kind]
  const access = link ? 'owner' : kind
  model.codes.push(text)
  model.expected.codes.set(text, {
    access,
    scopes: new Set(scopes),
    until: real.now + 10 * MINUTE,
    boundTo: undefined,
    spent: false
  })
}

function decoded(code: string): Json {
  return JSON.parse(Buffer.from(code, 'base64url').toString()) as Json
}

/** The gateway stands where the rules say. */
async function agree({ expected }: Model, real: Gateway): Promise<void> {
  const stored = (await real.devices.list()).map(({ deviceId, platform, grants }) => [
    deviceId,
    {
      platform,
      grants: grants.map(({ role, scopes, revoked }) => [role, revoked ? 'revoked' : scopes.toSorted()]).sort()
    }
  ])
  const wanted = [...expected.devices].map(([deviceId, { platform, grants }]) => [
    deviceId,
    { platform, grants: [...grants].map(([role, scopes]) => [role, scopes ? [...scopes].sort() : 'revoked']).sort() }
  ])
  assert.deepEqual(Object.fromEntries(stored), Object.fromEntries(wanted))
  const pending = await real.devices.requests()
  const waiting = [...expected.waiting].map(([deviceId, { requestId, roles, scopes }]) => [
    deviceId,
    { requestId, roles: [...roles].sort(), scopes: [...scopes].sort() }
  ])
  assert.deepEqual(
    Object.fromEntries(
      pending.map(({ deviceId, requestId, roles, scopes }) => [
        deviceId,
        { requestId, roles: roles.toSorted(), scopes: scopes.toSorted() }
      ])
    ),
    Object.fromEntries(waiting)
  )
  // Who listens to the events knows the same: what was asked and has not ended.
  const open = new Set<unknown>()
  for (const { event, payload } of await real.events()) {
    if (event === 'device.pair.requested') open.add(payload.requestId)
    if (event === 'device.pair.resolved') open.delete(payload.requestId)
  }
  assert.deepEqual(open, new Set(pending.map(({ requestId }) => requestId)))
  for (const [token, good] of expected.tokens()) {
    const found = await real.devices.findToken(digest(token))
    assert.equal(found === undefined, good === undefined, 'S12: what ended stays ended, what stands works')
    if (found === undefined || good === undefined) continue
    assert.deepEqual([found.deviceId, found.role], [good.deviceId, good.role])
    same(found.scopes, good.scopes)
  }
}

/** From wherever it stands, one command of the owner makes a device a paired admin. */
async function reach(model: Model, real: Gateway, device: number, how: 'approve' | 'grant'): Promise<void> {
  const { id: deviceId } = devices[device]!
  const [owner] = model.fixed as [Who]
  const known = await real.devices.find(deviceId)
  const request = (await real.devices.requests()).find((each) => each.deviceId === deviceId)
  const platform = how === 'grant' ? (request?.platform ?? known?.platform) : 'linux'
  if (platform === undefined) return
  const ask = { client: 'page', platform, role: 'operator', scopes: ['operator.admin'], show: 'secret' } as const
  if (how === 'approve') {
    const refused = await real.connect('away', paramsOf(ask), devices[device])
    if (!refused.ok) {
      const list = await real.call<{ pending: { requestId: string }[] }>(owner, 'device.pair.list')
      assert.ok(list.ok)
      const requestId = list.value.pending[0]?.requestId
      assert.equal(requestId, refused.details.requestId, 'the latest request is the one just made')
      assert.ok((await real.call(owner, 'device.pair.approve', { requestId })).ok)
    }
  } else {
    assert.ok((await real.call(owner, 'device.pair.grant', { deviceId, scopes: ['operator.admin'] })).ok)
  }
  const back = await real.connect('away', paramsOf(ask), devices[device])
  assert.ok(back.ok, `devices ${how} lets it in: ${JSON.stringify(back)}`)
  assert.deepEqual([...back.value.caller.scopes], ['operator.admin'])
  const show = { token: back.value.deviceToken!.value }
  const later = await real.connect('away', paramsOf({ ...ask, show }), devices[device])
  assert.ok(later.ok && later.value.caller.scopes.has('operator.admin'), 'and its token is an admin’s')
}

function same(got: Iterable<string>, want: Iterable<string>): void {
  assert.deepEqual([...got].sort(), [...want].sort())
}

const scope = fc.constantFrom('operator.admin', 'operator.read', 'operator.write', 'operator.pairing', 'operator.bogus')
const scopes = fc.oneof(
  fc.uniqueArray(scope, { maxLength: 3 }),
  fc.constantFrom(['operator.pairing'], ['operator.pairing', 'operator.read'])
)
const device = fc.nat({ max: devices.length - 1 })
const role = fc.constantFrom<Role>('operator', 'operator', 'node')
const by = fc.nat({ max: 8 })
const nth = fc.nat({ max: 4 })
const text = JSON.stringify

const steps: fc.Arbitrary<Step>[] = [
  fc
    .record({
      device,
      client: fc.constantFrom<ClientKind>('cli', 'page', 'node', 'phone', 'probe'),
      role,
      scopes,
      platform: fc.constantFrom('linux', 'linux', 'linux', 'darwin'),
      place: fc.constantFrom<Place>('here', 'away', 'away', 'away', 'owner'),
      what: fc.oneof(
        fc.constantFrom<What>('secret', 'secret', 'nothing'),
        fc.record({ kind: fc.constantFrom('token' as const, 'token' as const, 'code' as const), nth })
      )
    })
    .map((coming) => step(`connect ${text(coming)}`, (model, real) => come(model, real, coming))),
  fc
    .tuple(fc.constantFrom('approve' as const, 'approve' as const, 'reject' as const), nth, by)
    .map(([what, n, who]) =>
      step(`${what} #${n} by #${who}`, (model, real) => decide(model, real, what, n, model.actor(who)))
    ),
  fc
    .record({
      what: fc.constantFrom('rotate' as const, 'revoke' as const, 'remove' as const),
      device,
      role,
      scopes: fc.option(scopes, { nil: undefined }),
      by: fc.oneof(by, fc.constant('self' as const))
    })
    .map(({ what, by: who, ...rest }) =>
      step(`${what} ${text(rest)} by #${who}`, (model, real) =>
        change(model, real, what, { ...rest, by: model.actor(who, devices[rest.device]!.id) })
      )
    ),
  fc.tuple(device, scopes, by).map(([n, wanted, who]) =>
    step(`grant ${n} ${wanted} by #${who}`, async (model, real) => {
      const { id: deviceId } = devices[n]!
      const actor = model.actor(who)
      const answer = await as(model, real, actor, 'device.pair.grant', { deviceId, scopes: wanted })
      const valid = wanted.length > 0 && wanted.every(isScope)
      assert.equal(answer.ok, valid && model.expected.grant(deviceId, wanted, actor), text(answer))
    })
  ),
  fc
    .tuple(fc.uniqueArray(scope, { minLength: 1, maxLength: 2 }), by)
    .map(([wanted, who]) =>
      step(`ask for ${wanted} as #${who}`, (model, real) => upgrade(model, real, wanted, model.actor(who)))
    ),
  fc
    .tuple(fc.constantFrom('link' as const, 'full' as const, 'limited' as const, 'node' as const), by)
    .map(([kind, who]) =>
      step(`make a code: ${kind} by #${who}`, (model, real) => mint(model, real, kind, model.actor(who)))
    )
]

// What needs a clock in the test's hand, or the process.
const clockSteps: fc.Arbitrary<Step>[] = [
  fc.constantFrom(1_000, MINUTE, 5 * MINUTE, 11 * MINUTE).map((ms) =>
    step(`${ms} ms pass`, async (model, real) => {
      await real.pass(ms)
      model.expected.expire(real.now)
    })
  ),
  fc.constant(
    step('restart', async (model, real) => {
      await real.restart()
      model.sessions = []
    })
  )
]

/**
 * Random lives of a gateway: devices come and go, people decide, time passes, the process starts anew. After each step
 * it must stand where the rules say, and in the end its owner must be one command away from a paired admin.
 */
export function livesOf(
  begin: () => Promise<Gateway>,
  options: { maxSteps: number; withClock: boolean }
): {
  property: fc.IAsyncPropertyWithHooks<[Iterable<Step>, number, 'approve' | 'grant']>
  done: { lives: number; steps: number }
} {
  const [connect, decision, ...others] = [...steps, ...(options.withClock ? clockSteps : [])] as [
    fc.Arbitrary<Step>,
    fc.Arbitrary<Step>,
    ...fc.Arbitrary<Step>[]
  ]
  const life = fc.commands<Model, Gateway, true>([connect, connect, connect, decision, decision, ...others], {
    maxCommands: options.maxSteps,
    size: '+1'
  })
  const done = { lives: 0, steps: 0 }
  const property = fc.asyncProperty(life, device, fc.constantFrom('approve', 'grant'), async (all, n, how) => {
    const real = await begin()
    const model = new Model([
      await caller(real, 'owner', ['operator.admin']),
      await caller(real, 'here', ['operator.pairing']),
      await caller(real, 'here', ['operator.pairing', 'operator.read'])
    ])
    await fc.asyncModelRun(() => ({ model, real }), all)
    await reach(model, real, n, how)
    await real.end()
    done.lives++
    done.steps += model.steps
  })
  return { property, done }
}

async function caller(real: Gateway, place: Place, scopes: string[]): Promise<Who> {
  const answer = await real.connect(place, { client: cli, scopes, auth: place === 'owner' ? {} : { token: TOKEN } })
  assert.ok(answer.ok)
  same(answer.value.caller.scopes, scopes)
  return answer.value.caller
}
