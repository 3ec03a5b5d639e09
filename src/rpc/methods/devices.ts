import { Type } from 'typebox'
import { within } from '../../auth/scopes.ts'
import { pendingEntry } from '../../devices/news.ts'
import { expireRequests, pendingOf, reasonFor } from '../../devices/requests.ts'
import { isScope, type Role, type Scope } from '../../protocol/scopes.ts'
import type { DeviceRequest, PairedDevice } from '../../store/devices.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'
import { type DeviceDeps, endSockets, isAdmin, mayManage, nameById, nameOf, note, refuse } from './device-deps.ts'

const text = Type.String({ minLength: 1, maxLength: 256 })
const closed = { additionalProperties: false } as const

/** Pairing from the operator's side: who waits, who is in, and ending either (§2.5). */
export function deviceMethods(deps: DeviceDeps): Method[] {
  const { devices, hub, news } = deps
  return [
    defineMethod({
      name: 'device.pair.list',
      scope: 'operator.pairing',
      params: Type.Object({}, closed),
      async handler(_params, caller) {
        await expireRequests(devices, news)
        const mine = ({ deviceId }: { deviceId: string }) =>
          isAdmin(caller) || caller.deviceId === undefined || caller.deviceId === deviceId
        const paired = (await devices.list()).filter(mine)
        const pending = (await devices.requests()).filter(mine)
        return { pending: pending.map((each) => waiting(each, paired)), paired: paired.map(entries()) }
      }
    }),
    defineMethod({
      name: 'device.pair.approve',
      scope: 'operator.pairing',
      params: Type.Object({ requestId: text }, closed),
      async handler({ requestId }, caller) {
        const request = await pending(requestId)
        const got = await letIn(request, [], caller)
        note(deps, 'device.paired', `${nameOf(request)}: ${got.join(', ')}`, caller)
        return { requestId, device: await entry(request.deviceId) }
      }
    }),
    defineMethod({
      // Ours: the one command that gives a device what it needs, whatever stands in the store.
      name: 'device.pair.grant',
      scope: 'operator.admin',
      params: Type.Object({ deviceId: text, scopes: Type.Array(text, { minItems: 1, maxItems: 16 }) }, closed),
      async handler({ deviceId, scopes }, caller) {
        if (!scopes.every(isScope)) {
          throw refuse('requested scopes contain an unknown operator scope', 'openclaw devices grant --help')
        }
        await expireRequests(devices, news)
        const device = (await pendingOf(deviceId, devices)) ?? (await devices.find(deviceId))
        if (device === undefined) throw unknownDevice()
        const got = await letIn(device, scopes.filter(isScope), caller)
        note(deps, 'device.granted', `${await nameById(deps, deviceId)}: ${got.join(', ')}`, caller)
        return { deviceId, device: await entry(deviceId) }
      }
    }),
    defineMethod({
      name: 'device.pair.reject',
      scope: 'operator.pairing',
      params: Type.Object({ requestId: text }, closed),
      async handler({ requestId }, caller) {
        const request = await pending(requestId)
        await devices.removeRequest(requestId)
        news.resolved(request, 'rejected', devices.now())
        note(deps, 'device.rejected', nameOf(request), caller)
        return { requestId, deviceId: request.deviceId }
      }
    }),
    defineMethod({
      name: 'device.pair.rename',
      scope: 'operator.pairing',
      params: Type.Object({ deviceId: text, label: Type.String({ minLength: 1, maxLength: 64 }) }, closed),
      async handler({ deviceId, label }, caller) {
        if (!isAdmin(caller) && caller.deviceId !== deviceId && caller.deviceId !== undefined) {
          throw refuse('device pairing rename denied', 'openclaw devices rename', deviceId, 'NAME')
        }
        if (!(await devices.rename(deviceId, label))) throw unknownDevice()
        news.changed()
        return { deviceId, label }
      }
    }),
    defineMethod({
      name: 'device.pair.remove',
      scope: 'operator.pairing',
      params: Type.Object({ deviceId: text }, closed),
      async handler({ deviceId }, caller) {
        if (!mayManage(caller, deviceId)) {
          throw refuse('device pairing removal denied', 'openclaw devices remove', deviceId)
        }
        const name = await nameById(deps, deviceId)
        const removed = await devices.remove(deviceId)
        if (removed === undefined) throw unknownDevice()
        if (removed.request !== undefined) news.resolved(removed.request, 'rejected', devices.now())
        note(deps, 'device.removed', name, caller)
        news.changed()
        endSockets(deps, deviceId)
        return { deviceId }
      }
    })
  ]

  async function pending(requestId: string): Promise<DeviceRequest> {
    await expireRequests(devices, news)
    const request = (await devices.requests()).find((each) => each.requestId === requestId)
    if (request === undefined) throw refuse('unknown requestId', 'openclaw devices list')
    return request
  }

  // What a device asked for, and what it is given beside that, on top of what it holds. Returns the roles and scopes.
  async function letIn(device: DeviceRequest | PairedDevice, more: Scope[], caller: Caller): Promise<string[]> {
    const request = 'requestId' in device ? device : undefined
    const known = await devices.find(device.deviceId)
    const roles = new Set<Role>([...(request?.roles ?? []), ...(more.length > 0 ? (['operator'] as const) : [])])
    const asked = [...(request?.scopes ?? []), ...more]
    const grant = [...roles].map((role) => ({ role, scopes: merged(known, role, asked) }))
    // Nobody hands out more than they hold (S12): neither what is new nor what the device gets back. A node lends its
    // hands to everyone, so only who may do everything lets one in.
    const most = [...asked, ...grant.flatMap(({ scopes }) => scopes), ...(roles.has('node') ? ADMIN : [])]
    if (!within(most, caller.scopes)) {
      throw refuse('device pairing approval denied', 'openclaw devices approve', request?.requestId ?? '--latest')
    }
    await devices.approve({
      facts: device,
      via: 'owner',
      grant,
      endTokens: false,
      requestId: request?.requestId,
      code: undefined
    })
    if (request !== undefined) news.resolved(request, 'approved', devices.now())
    news.changed()
    return [...roles, ...new Set(grant.flatMap(({ scopes }) => scopes))]
  }

  async function entry(deviceId: string): Promise<Record<string, unknown>> {
    return entries()((await devices.find(deviceId))!)
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
        // Ours: what of the roles above still stands.
        grants: live.map(({ role, scopes }) => ({ role, scopes })),
        connected: connected.has(facts.deviceId),
        tokens: tokens.map((token) => ({
          ...token,
          scopes: live.find((each) => each.role === token.role)?.scopes ?? []
        }))
      }
    }
  }
}

const ADMIN: readonly Scope[] = ['operator.admin']

// A request as operators see it: with the reason why a person is asked.
function waiting(request: DeviceRequest, paired: readonly PairedDevice[]): Record<string, unknown> {
  const known = paired.find(({ deviceId }) => deviceId === request.deviceId)
  return { ...pendingEntry(request), reason: reasonFor(known, request.platform, request.roles) }
}

function unknownDevice(): Error {
  return refuse('unknown deviceId', 'openclaw devices list')
}

function merged(known: PairedDevice | undefined, role: Role, scopes: readonly Scope[]): Scope[] {
  if (role === 'node') return []
  const held = known?.grants.find((each) => each.role === role && !each.revoked)?.scopes ?? []
  return [...new Set([...held, ...scopes])]
}
