import { Type } from 'typebox'
import { within } from '../../auth/scopes.ts'
import { digest, freshSecret } from '../../auth/secrets.ts'
import { isScope, type Role } from '../../protocol/scopes.ts'
import { defineMethod, type Method } from '../method.ts'
import { type DeviceDeps, endSockets, mayManage, nameById, note, refuse } from './device-deps.ts'

const text = Type.String({ minLength: 1, maxLength: 256 })
const closed = { additionalProperties: false } as const

/** The tokens of paired devices: a new one in place of all, or none at all (§2.5). */
export function deviceTokenMethods(deps: DeviceDeps): Method[] {
  const { devices, news } = deps
  return [
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
        const grants = (await devices.find(deviceId))?.grants
        const held = grants?.find((each) => each.role === role && !each.revoked)?.scopes
        const wanted = scopes?.filter(isScope) ?? held
        // Within what the device holds and what the caller holds, whichever is less (S12).
        const allowed = held !== undefined && wanted !== undefined && mayManage(caller, deviceId)
        if (!allowed || !within(wanted, new Set(held)) || !within(wanted, caller.scopes)) {
          throw refuse('device token rotation denied', 'openclaw devices rotate', deviceId, '--role', role)
        }
        const token = freshSecret()
        await devices.rotateTokens(deviceId, role as Role, wanted, digest(token))
        note(deps, 'device.rotated', `${await nameById(deps, deviceId)}: ${[role, ...wanted].join(', ')}`, caller)
        news.changed()
        endSockets(deps, deviceId)
        const result = { deviceId, role, scopes: wanted, rotatedAtMs: devices.now() }
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
        if (!grants?.some((each) => each.role === role)) {
          throw refuse('device token revocation denied', 'openclaw devices revoke', deviceId, '--role', role)
        }
        await devices.revoke(deviceId, role as Role)
        note(deps, 'device.revoked', `${await nameById(deps, deviceId)}: ${role}`, caller)
        news.changed()
        endSockets(deps, deviceId)
        return { deviceId, role, revokedAtMs: devices.now() }
      }
    })
  ]
}
