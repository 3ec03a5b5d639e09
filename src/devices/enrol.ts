import { randomUUID } from 'node:crypto'
import type { Authenticated } from '../auth/authenticate.ts'
import { grant } from '../auth/scopes.ts'
import { digest } from '../auth/secrets.ts'
import { spentCode } from '../protocol/details.ts'
import type { Role, Scope } from '../protocol/scopes.ts'
import { SETUP_PROFILES } from '../protocol/setup.ts'
import type { ApprovedVia, DeviceStore } from '../store/devices.ts'
import type { SpentCode } from '../store/setup-codes.ts'
import { type Admission, type Arrival, changeBy, factsOf, freshToken } from './arrival.ts'
import type { PairingNews } from './news.ts'
import { pendingOf } from './requests.ts'

/** Devices that rules paired, in all. Whoever has to go comes back the way they came. */
const MAX_BY_RULE = 1_000

// Apps that are a node and an operator at once, and get both tokens when they come as a node.
const PHONES: ReadonlySet<string> = new Set(['openclaw-ios', 'openclaw-android'])

/** Spends a one-time code: its device becomes what the code was made for, and nothing beyond. */
export async function redeem(
  arrival: Arrival,
  { digest: code, access }: NonNullable<Authenticated['code']>,
  store: DeviceStore,
  news: PairingNews
): Promise<Admission> {
  const { auth, params, role, requested } = arrival
  const { roles } = SETUP_PROFILES[access]
  if (!roles.includes(role)) throw spentCode(params, `made for ${roles.join(' and ')}, presented as ${role}`)
  const own = { role, scopes: role === 'operator' ? grant(requested, auth.allowance) : [] }
  const both = role === 'node' && roles.includes('operator') && PHONES.has(params.client.id)
  const grants = both ? [own, { role: 'operator' as const, scopes: [...(auth.allowance as Set<Scope>)] }] : [own]
  return enrol(arrival, grants, access === 'owner' ? 'launch-link' : 'bootstrap', store, news, code)
}

/**
 * Approves a device at once, for a code, an owner or a rule, and gives it a token for each role. What it asks for
 * replaces what it had, and its earlier tokens end: none of them grows with the new grant.
 */
export async function enrol(
  arrival: Arrival,
  grants: { role: Role; scopes: Scope[] }[],
  via: ApprovedVia,
  store: DeviceStore,
  news: PairingNews,
  code?: Buffer
): Promise<Admission> {
  const { deviceId } = arrival.device
  const issued = grants.map((each) => ({ ...each, token: freshToken(arrival) }))
  const pending = await pendingOf(deviceId, store)
  const done = await store.approve({
    facts: factsOf(arrival),
    via,
    grant: issued.map(({ role, scopes, token }) => ({ role, scopes, token: token && digest(token.value) })),
    endTokens: true,
    requestId: pending?.requestId,
    code
  })
  if (done === undefined) throw spentCode(arrival.params, 'used at the same moment')
  await store.seen(deviceId, 'connect', undefined)
  news.resolved({ requestId: pending?.requestId ?? randomUUID(), deviceId }, 'approved', store.now())
  news.changed()
  const got = grants.flatMap(({ role, scopes }) => [role, ...scopes]).join(', ')
  news.record(changeBy(arrival, 'device.paired', `${via}: ${got}`))
  await makeRoom(store, news)
  const [own, ...others] = issued
  return {
    scopes: own!.scopes,
    ...(own!.token === undefined ? {} : { token: own!.token }),
    ...(others.length === 0 ? {} : { handed: others.map(({ token, ...rest }) => ({ ...token!, ...rest })) }),
    ...outcomeOf(done.code, arrival)
  }
}

function outcomeOf(code: SpentCode | undefined, { params }: Arrival): Pick<Admission, 'setup'> {
  // A launch link is for the browser of the one who made it: nobody waits to be told.
  if (code === undefined || code.access === 'owner') return {}
  const { setupId, deviceId, access, spentAtMs: ts } = code
  const { displayName } = params.client
  return {
    setup: {
      setupId,
      deviceId,
      ...(displayName === undefined ? {} : { deviceName: displayName.slice(0, 200) }),
      access,
      ts
    }
  }
}

// A program that makes itself a new key at each start leaves a device behind each time.
async function makeRoom(store: DeviceStore, news: PairingNews): Promise<void> {
  const crowd = await store.beyond(MAX_BY_RULE)
  if (crowd.length === 0) return
  const connected = news.connected()
  for (const { deviceId, clientId } of crowd) {
    if (connected.has(deviceId)) continue
    const removed = await store.remove(deviceId)
    if (removed?.request !== undefined) news.resolved(removed.request, 'rejected', store.now())
    const detail = `more than ${MAX_BY_RULE} devices were paired without asking`
    news.record({
      kind: 'device.removed',
      outcome: 'changed',
      who: deviceId,
      address: 'local',
      client: clientId,
      detail
    })
  }
}
