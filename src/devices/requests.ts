import { randomUUID } from 'node:crypto'
import { plain } from '../auth/device-signature.ts'
import { isScope, type Role } from '../protocol/scopes.ts'
import type { DeviceFacts, DeviceRequest, DeviceStore, PairedDevice } from '../store/devices.ts'
import type { PairingNews } from './news.ts'

/** Why a device may not come in as it is: the protocol's words. */
export type Reason = 'not-paired' | 'scope-upgrade' | 'role-upgrade' | 'metadata-upgrade'

/** What a device asks a person for. */
export interface Asked {
  facts: DeviceFacts
  role: Role
  scopes: readonly string[]
  user: string | undefined
  known: PairedDevice | undefined
}

const REQUEST_TTL_MS = 5 * 60_000

/** Why a device needs a person, in the order in which it matters. */
export function reasonFor(known: PairedDevice | undefined, platform: string, roles: readonly Role[]): Reason {
  if (known === undefined) return 'not-paired'
  if (plain(known.platform) !== plain(platform)) return 'metadata-upgrade'
  const held = known.grants.filter(({ revoked }) => !revoked).map(({ role }) => role)
  return roles.every((role) => held.includes(role)) ? 'scope-upgrade' : 'role-upgrade'
}

/**
 * Leaves a device's request, or finds the one that says the same. One request a device: asking again as an operator
 * replaces the scopes, asking for one more role adds to it; the old request ends, and its id with it.
 */
export async function fileRequest(
  { facts, role, scopes: wanted, user, known }: Asked,
  store: DeviceStore,
  news: PairingNews
): Promise<{ request: DeviceRequest; fresh: boolean }> {
  await expireRequests(store, news)
  const earlier = await pendingOf(facts.deviceId, store)
  const again = role === 'operator' && earlier?.roles.includes(role)
  const scopes = [...new Set([...(again ? [] : (earlier?.scopes ?? [])), ...wanted.filter(isScope)])]
  const roles = [...new Set([...(earlier?.roles ?? []), role])]
  const same = earlier !== undefined && sameSet(earlier.roles, roles) && sameSet(earlier.scopes, scopes)
  const request: DeviceRequest = {
    ...facts,
    requestId: same ? earlier.requestId : randomUUID(),
    role: same ? earlier.role : role,
    roles,
    scopes,
    isRepair: known !== undefined,
    ...(user === undefined ? {} : { user: user.slice(0, 320) }),
    ts: store.now()
  }
  for (const each of await store.saveRequest(request)) news.resolved(each, 'expired', store.now())
  if (!same) {
    if (earlier !== undefined) news.resolved(earlier, 'rejected', store.now())
    news.requested(request)
  }
  return { request, fresh: !same }
}

/** A device's request, while it waits. */
export async function pendingOf(deviceId: string, store: DeviceStore): Promise<DeviceRequest | undefined> {
  return (await store.requests()).find((each) => each.deviceId === deviceId)
}

/** Ends the requests that nobody decided in time, and says so to the operators and to the devices. */
export async function expireRequests(store: DeviceStore, news: PairingNews): Promise<void> {
  for (const request of await store.takeRequests(store.now() - REQUEST_TTL_MS)) {
    news.resolved(request, 'expired', store.now())
    news.record({
      kind: 'device.expired',
      outcome: 'changed',
      who: request.user ?? request.deviceId,
      address: request.remoteIp ?? 'local',
      client: request.clientId,
      detail: [...request.roles, ...request.scopes].join(', ')
    })
  }
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each) => b.includes(each))
}
