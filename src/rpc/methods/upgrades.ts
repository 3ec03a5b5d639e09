import { Type } from 'typebox'
import { digest, freshSecret } from '../../auth/secrets.ts'
import { fileRequest, pendingOf } from '../../devices/requests.ts'
import { invalidRequest, RpcError } from '../../protocol/errors.ts'
import { isScope } from '../../protocol/scopes.ts'
import type { DeviceFacts, PairedDevice } from '../../store/devices.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'
import { type DeviceDeps, note, refuse } from './device-deps.ts'

const text = Type.String({ minLength: 1, maxLength: 256 })
const closed = { additionalProperties: false } as const

/** How a paired device asks for more while it is connected, and waits for the answer. */
export function upgradeMethods(deps: DeviceDeps): Method[] {
  const { devices, news } = deps
  return [
    defineMethod({
      name: 'device.scopes.requestUpgrade',
      scope: 'operator.read',
      params: Type.Object({ scopes: Type.Array(text, { minItems: 1, maxItems: 8, uniqueItems: true }) }, closed),
      async handler({ scopes }, caller) {
        const known = await pairedCaller(caller)
        if (!scopes.every(isScope)) {
          throw refuse('requested scopes contain an unknown operator scope', 'openclaw devices grant --help')
        }
        const asked = {
          facts: factsOf(known),
          role: 'operator' as const,
          scopes: [...held(known), ...scopes],
          user: caller.user?.id,
          known
        }
        const { request, fresh } = await fileRequest(asked, devices, news)
        if (fresh) note(deps, 'device.requested', [...request.roles, ...request.scopes].join(', '), caller)
        return { requestId: request.requestId }
      }
    }),
    defineMethod({
      name: 'device.scopes.waitUpgrade',
      scope: 'operator.read',
      params: Type.Object({ requestId: text }, closed),
      async handler({ requestId }, caller) {
        const { deviceId } = await pairedCaller(caller)
        const waits = (await pendingOf(deviceId, devices))?.requestId === requestId
        // Asked for last, and nothing comes between: a request that ends meanwhile is one or the other.
        const decision = news.takeEnded(requestId, deviceId) ?? (waits ? await news.outcome(requestId) : undefined)
        if (decision === undefined) {
          if (waits) throw new RpcError('UNAVAILABLE', 'gateway stopping; retry shortly', { retryable: true })
          throw refuse('scope upgrade expired or not found', 'openclaw devices list')
        }
        if (decision !== 'approved') return { status: decision, requestId }
        const known = await pairedCaller(caller)
        // Beside the token it has: an answer that gets lost must not lock the device out.
        const deviceToken = freshSecret()
        await devices.addToken(deviceId, 'operator', digest(deviceToken))
        return { status: decision, requestId, deviceToken, scopes: held(known) }
      }
    })
  ]

  async function pairedCaller({ deviceId }: Caller): Promise<PairedDevice> {
    const device = deviceId === undefined ? undefined : await devices.find(deviceId)
    if (device?.grants.some(({ role, revoked }) => role === 'operator' && !revoked)) return device
    throw invalidRequest(
      'device scope upgrade requires a paired browser identity; reopen the Control UI over HTTPS or localhost, then retry',
      {
        code: 'DEVICE_IDENTITY_REQUIRED',
        recommendedNextStep: 'reopen_control_ui_securely',
        fix: { command: 'openclaw dashboard', where: 'gateway host' }
      }
    )
  }
}

// What a device said of itself when it was approved; the rest of its record is not for the request.
function factsOf(known: PairedDevice): DeviceFacts {
  const { deviceId, publicKey, platform, deviceFamily, clientId, clientMode, displayName, remoteIp } = known
  return { deviceId, publicKey, platform, deviceFamily, clientId, clientMode, displayName, remoteIp }
}

function held({ grants }: PairedDevice) {
  return grants.find(({ role, revoked }) => role === 'operator' && !revoked)?.scopes ?? []
}
