import { Type } from 'typebox'
import { within } from '../../auth/scopes.ts'
import { digest, freshSecret } from '../../auth/secrets.ts'
import { expired, pendingEntry, publishResolved } from '../../devices/pairing.ts'
import type { EventKind } from '../../protocol/audit.ts'
import { invalidRequest } from '../../protocol/errors.ts'
import { isScope, type Role, type Scope } from '../../protocol/scopes.ts'
import type { DeviceFacts, DeviceRequest, DeviceStore, PairedDevice } from '../../store/devices.ts'
import type { Trail } from '../../store/trail.ts'
import { causedBy } from '../caused-by.ts'
import type { Hub } from '../hub.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'

/** Makes the code of a launch link: whoever opens it first becomes a paired admin. Kept as a digest. */
export async function launchLink(devices: DeviceStore): Promise<{ bootstrapToken: string; expiresAtMs: number }> {
  const bootstrapToken = freshSecret()
  const expiresAtMs = Date.now() + LAUNCH_MS
  await devices.addLaunchCode(digest(bootstrapToken), ['operator.admin'], expiresAtMs)
  return { bootstrapToken, expiresAtMs }
}

const text = Type.String({ minLength: 1, maxLength: 256 })
const closed = { additionalProperties: false } as const
const LAUNCH_MS = 10 * 60_000

/** Pairing from the operator's side: who waits, who is in, and ending either (§2.5). */
export function deviceMethods({ devices, hub, trail }: { devices: DeviceStore; hub: Hub; trail: Trail }): Method[] {
  return [
    defineMethod({
      name: 'device.pair.list',
      scope: 'operator.pairing',
      params: Type.Object({}, closed),
      async handler(_params, caller) {
        const now = Date.now()
        const mine = (deviceId: string) =>
          isAdmin(caller) || caller.deviceId === undefined || caller.deviceId === deviceId
        const pending = (await devices.requests()).filter((each) => !expired(each, now) && mine(each.deviceId))
        const paired = (await devices.list()).filter(({ deviceId }) => mine(deviceId))
        return { pending: pending.map(pendingEntry), paired: paired.map(entries()) }
      }
    }),
    defineMethod({
      name: 'device.pair.approve',
      scope: 'operator.pairing',
      params: Type.Object({ requestId: text }, closed),
      async handler({ requestId }, caller) {
        const request = await pending(requestId)
        const known = await devices.find(request.deviceId)
        const grant = request.roles.map((role) => ({ role, scopes: merged(known, role, request.scopes) }))
        // Nobody hands out more than they hold (S12): neither what is new nor what the device gets back.
        const handedOut = [...request.scopes, ...grant.flatMap(({ scopes }) => scopes)]
        if (!within(handedOut, caller.scopes)) throw invalidRequest('device pairing approval denied')
        await devices.approve({
          facts: request,
          via: 'owner',
          grant,
          token: undefined,
          endTokens: false,
          requestId,
          launchCode: undefined
        })
        publishResolved(hub, request, 'approved')
        note('device.paired', `${nameOf(request)}: ${[...request.roles, ...request.scopes].join(', ')}`, caller)
        return { requestId, device: entries()((await devices.find(request.deviceId))!) }
      }
    }),
    defineMethod({
      name: 'device.pair.reject',
      scope: 'operator.pairing',
      params: Type.Object({ requestId: text }, closed),
      async handler({ requestId }, caller) {
        const request = await pending(requestId)
        await devices.removeRequest(requestId)
        publishResolved(hub, request, 'rejected')
        note('device.rejected', nameOf(request), caller)
        return { requestId, deviceId: request.deviceId }
      }
    }),
    defineMethod({
      name: 'device.pair.rename',
      scope: 'operator.pairing',
      params: Type.Object({ deviceId: text, label: Type.String({ minLength: 1, maxLength: 64 }) }, closed),
      async handler({ deviceId, label }, caller) {
        if (!isAdmin(caller) && caller.deviceId !== deviceId && caller.deviceId !== undefined) {
          throw invalidRequest('device pairing rename denied')
        }
        if (!(await devices.rename(deviceId, label))) throw invalidRequest('unknown deviceId')
        return { deviceId, label }
      }
    }),
    defineMethod({
      name: 'device.pair.remove',
      scope: 'operator.pairing',
      params: Type.Object({ deviceId: text }, closed),
      async handler({ deviceId }, caller) {
        if (!mayManage(caller, deviceId)) throw invalidRequest('device pairing removal denied')
        const name = await nameById(deviceId)
        if (!(await devices.remove(deviceId))) throw invalidRequest('unknown deviceId')
        note('device.removed', name, caller)
        end(deviceId)
        return { deviceId }
      }
    }),
    defineMethod({
      name: 'device.token.rotate',
      scope: 'operator.pairing',
      params: Type.Object(
        {
          deviceId: text,
          role: text,
          scopes: Type.Optional(Type.Array(text, { maxItems: 32 }))
        },
        closed
      ),
      async handler({ deviceId, role, scopes }, caller) {
        const held = await grantOf(deviceId, role)
        const wanted = scopes?.filter(isScope) ?? held
        // Within what the device holds and what the caller holds, whichever is less (S12).
        const allowed = held !== undefined && wanted !== undefined && mayManage(caller, deviceId)
        if (!allowed || !within(wanted, new Set(held)) || !within(wanted, caller.scopes)) {
          throw invalidRequest('device token rotation denied')
        }
        const token = freshSecret()
        await devices.rotateTokens(deviceId, role as Role, wanted, digest(token))
        const rotatedAtMs = Date.now()
        note('device.rotated', `${await nameById(deviceId)}: ${[role, ...wanted].join(', ')}`, caller)
        end(deviceId)
        const result = { deviceId, role, scopes: wanted, rotatedAtMs }
        // Only a device sees its own token; anyone else only learns that it changed.
        const own = caller.deviceId === deviceId && caller.method === 'device-token'
        return own
          ? { ...result, token, tokenDelivery: 'in-band' }
          : { ...result, tokenDelivery: 'withheld-cross-device' }
      }
    }),
    defineMethod({
      name: 'device.token.revoke',
      scope: 'operator.pairing',
      params: Type.Object({ deviceId: text, role: text }, closed),
      async handler({ deviceId, role }, caller) {
        const grants = mayManage(caller, deviceId) ? (await devices.find(deviceId))?.grants : undefined
        if (!grants?.some((each) => each.role === role)) throw invalidRequest('device token revocation denied')
        await devices.revoke(deviceId, role as Role)
        note('device.revoked', `${await nameById(deviceId)}: ${role}`, caller)
        end(deviceId)
        return { deviceId, role, revokedAtMs: Date.now() }
      }
    }),
    defineMethod({
      // Ours: the link that `openclaw dashboard` opens. One browser, once, within ten minutes (S13).
      name: 'device.pair.launchLink',
      scope: 'operator.admin',
      params: Type.Object({}, closed),
      async handler(_params, caller) {
        const link = await launchLink(devices)
        note('launch.created', undefined, caller)
        return link
      }
    })
  ]

  async function pending(requestId: string): Promise<DeviceRequest> {
    const request = (await devices.requests()).find((each) => each.requestId === requestId)
    if (request === undefined || expired(request, Date.now())) throw invalidRequest('unknown requestId')
    return request
  }

  async function grantOf(deviceId: string, role: string): Promise<Scope[] | undefined> {
    return (await devices.find(deviceId))?.grants.find((each) => each.role === role && !each.revoked)?.scopes
  }

  async function nameById(deviceId: string): Promise<string> {
    return nameOf((await devices.find(deviceId)) ?? { deviceId })
  }

  // A paired device as operators see it; who is connected is looked up once for all of them.
  function entries(): (device: PairedDevice) => Record<string, unknown> {
    const connected = new Set([...hub].map(({ caller }) => caller?.deviceId))
    return ({ grants, tokens, ...facts }) => {
      const live = grants.filter((each) => !each.revoked)
      return {
        ...facts,
        role: grants[0]?.role ?? 'operator',
        roles: grants.map((each) => each.role),
        scopes: live.flatMap((each) => each.scopes),
        connected: connected.has(facts.deviceId),
        tokens: tokens.map((token) => ({
          ...token,
          scopes: live.find((each) => each.role === token.role)?.scopes ?? []
        }))
      }
    }
  }

  function note(kind: EventKind, detail: string | undefined, caller: Caller): void {
    trail.record({ kind, outcome: 'changed', detail, ...causedBy(caller) })
  }

  // After the answer is on its way: the caller may be the very device whose sockets end.
  function end(deviceId: string): void {
    setImmediate(() => hub.closeWhere(({ caller }) => caller?.deviceId === deviceId, 'deviceRemoved', 'device removed'))
  }
}

// A name that a person gave or the device claims, and the start of its key, which it cannot choose.
function nameOf(device: Partial<DeviceFacts> & { deviceId: string; label?: string | undefined }): string {
  const name = device.label ?? device.displayName ?? device.clientId
  return `${name?.slice(0, 64) ?? 'device'} (${device.deviceId.slice(0, 12)})`
}

function isAdmin(caller: Caller): boolean {
  return caller.scopes.has('operator.admin')
}

function mayManage(caller: Caller, deviceId: string): boolean {
  return isAdmin(caller) || caller.deviceId === deviceId
}

function merged(known: PairedDevice | undefined, role: Role, scopes: readonly Scope[]): Scope[] {
  if (role === 'node') return []
  const held = known?.grants.find((each) => each.role === role && !each.revoked)?.scopes ?? []
  return [...new Set([...held, ...scopes])]
}
