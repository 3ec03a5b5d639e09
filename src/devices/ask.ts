import { RpcError } from '../protocol/errors.ts'
import type { DeviceStore, PairedDevice } from '../store/devices.ts'
import { type Arrival, changeBy, factsOf, isProbe, isTui } from './arrival.ts'
import type { PairingNews } from './news.ts'
import { fileRequest, type Reason } from './requests.ts'

const words: Record<Reason, { message: string; hint: string }> = {
  'not-paired': {
    message: 'device is not approved yet',
    hint: 'Approve this device from the pending pairing requests.'
  },
  'scope-upgrade': {
    message: 'device is asking for more scopes than currently approved',
    hint: 'Review the requested scopes, then approve the pending upgrade.'
  },
  'role-upgrade': {
    message: 'device is asking for a higher role than currently approved',
    hint: 'Review the requested role, then approve the pending upgrade.'
  },
  'metadata-upgrade': {
    message: 'device identity changed and must be re-approved',
    hint: 'Check that the device really changed, then approve it again.'
  }
}

/** Leaves (or finds) the request of a device, and returns the refusal that names it. */
export async function ask(
  arrival: Arrival,
  known: PairedDevice | undefined,
  reason: Reason,
  store: DeviceStore,
  news: PairingNews
): Promise<RpcError> {
  const { device, params, requested, role } = arrival
  const request = isProbe(arrival) ? undefined : await leaveRequest(arrival, known, store, news)
  const { message, hint } = words[reason]
  const grants = known?.grants ?? []
  const approved = grants.filter((each) => !each.revoked).flatMap((each) => each.scopes)
  const polls = params.client.id === 'openclaw-control-ui' || isTui(params)
  return new RpcError('NOT_PAIRED', `pairing required: ${message}`, {
    details: {
      code: 'PAIRING_REQUIRED',
      reason,
      ...(request === undefined ? {} : { requestId: request.requestId }),
      remediationHint: hint,
      deviceId: device.deviceId,
      // The caller's own name, as its front end has it: the screen that waits says who waits.
      ...(request?.user === undefined ? {} : { user: request.user }),
      requestedRole: role,
      ...(requested.length > 0 ? { requestedScopes: requested } : {}),
      ...(known === undefined ? {} : { approvedRoles: grants.map((each) => each.role), approvedScopes: approved }),
      // These poll on their own when told so; other clients wait for a person.
      ...(polls ? { recommendedNextStep: 'wait_then_retry', retryable: true, pauseReconnect: false } : {}),
      fix: {
        command: request === undefined ? 'openclaw devices list' : `openclaw devices approve ${request.requestId}`,
        where: 'gateway host'
      }
    }
  })
}

async function leaveRequest(
  arrival: Arrival,
  known: PairedDevice | undefined,
  store: DeviceStore,
  news: PairingNews
): Promise<{ requestId: string; user?: string }> {
  const { auth, requested: scopes, role } = arrival
  const asked = { facts: factsOf(arrival), role, scopes, user: auth.user?.id, known }
  const { request, fresh } = await fileRequest(asked, store, news)
  if (fresh) news.record(changeBy(arrival, 'device.requested', [...request.roles, ...request.scopes].join(', ')))
  return request
}
