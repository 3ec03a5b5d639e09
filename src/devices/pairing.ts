import { randomUUID } from 'node:crypto'
import type { Authenticated } from '../auth/authenticate.ts'
import type { ProvenDevice } from '../auth/device-signature.ts'
import type { Ingress } from '../auth/ingress.ts'
import { grant, within } from '../auth/scopes.ts'
import { digest, freshSecret } from '../auth/secrets.ts'
import { RpcError } from '../protocol/errors.ts'
import type { ConnectParams } from '../protocol/frames.ts'
import { isScope, type Role, type Scope } from '../protocol/scopes.ts'
import type { DeviceFacts, DeviceRequest, DeviceStore, PairedDevice } from '../store/devices.ts'

/** A device asking to come in, its key already proven and its credential already accepted. */
export interface Arrival {
  device: ProvenDevice
  params: ConnectParams
  role: Role
  auth: Authenticated
  ingress: Ingress
  /** True when the arrival may be paired, or widened, without asking anyone (§2.3). */
  silent: boolean
}

/** A device let in: its scopes for this connection, and its token where one is due. */
export interface Admission {
  scopes: Scope[]
  token: { value: string; issuedAtMs: number } | undefined
  paired: boolean
}

/** What pairing tells the rest of the gateway. */
export interface PairingEvents {
  publish(event: string, payload: unknown): void
}

type Reason = 'not-paired' | 'scope-upgrade' | 'role-upgrade' | 'metadata-upgrade'

const REQUEST_TTL_MS = 5 * 60_000

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

/** Lets a proven device in, or leaves its request for a person and says so. */
export async function admitDevice(arrival: Arrival, store: DeviceStore, events: PairingEvents): Promise<Admission> {
  const { auth, device, role } = arrival
  const requested = arrival.params.scopes ?? []
  const known = await store.find(device.deviceId)

  if (auth.method === 'device-token') {
    if (known !== undefined && moved(known, arrival.params))
      throw await ask(arrival, known, 'metadata-upgrade', store, events)
    if (!within(requested, auth.allowance)) throw scopeMismatch()
    await store.seen(device.deviceId, 'connect', auth.device?.digest)
    return { scopes: grant(requested, auth.allowance), token: undefined, paired: true }
  }
  // Locality alone issues nothing durable (S6): without auth the device works, and leaves no trace.
  if (auth.method === 'none') return { scopes: grant(requested, auth.allowance), token: undefined, paired: false }
  if (auth.launchCode !== undefined) return enrol(arrival, known, grant(requested, auth.allowance), store, events)

  const granted = known?.grants.find((each) => each.role === role && !each.revoked)
  if (known !== undefined && moved(known, arrival.params))
    throw await ask(arrival, known, 'metadata-upgrade', store, events)
  if (granted !== undefined && within(requested, new Set(granted.scopes))) {
    const token = await issue(store, device.deviceId, role)
    await store.seen(device.deviceId, 'connect', undefined)
    return { scopes: grant(requested, new Set(granted.scopes)), token, paired: true }
  }
  if (arrival.silent) {
    const scopes = new Set([...(granted?.scopes ?? []), ...grant(requested, auth.allowance)])
    return enrol(arrival, known, [...scopes], store, events)
  }
  const reason = known === undefined ? 'not-paired' : granted === undefined ? 'role-upgrade' : 'scope-upgrade'
  throw await ask(arrival, known, reason, store, events)
}

/** Approves a device at once, for a code, an owner or a trusted local caller, and gives it a token. */
async function enrol(
  arrival: Arrival,
  known: PairedDevice | undefined,
  scopes: Scope[],
  store: DeviceStore,
  events: PairingEvents
): Promise<Admission> {
  const { auth, role } = arrival
  const held = known?.grants.find((each) => each.role === role && !each.revoked)?.scopes ?? []
  const value = freshSecret()
  const pending = (await store.requests()).find((each) => each.deviceId === arrival.device.deviceId)
  const done = await store.approve({
    facts: facts(arrival),
    via: auth.launchCode !== undefined ? 'launch-link' : auth.method === 'owner' ? 'owner' : 'silent',
    grant: [{ role, scopes: [...new Set([...held, ...scopes])] }],
    token: digest(value),
    endTokens: held.length > 0,
    requestId: pending?.requestId,
    launchCode: auth.launchCode
  })
  if (!done) throw spentCode()
  await store.seen(arrival.device.deviceId, 'connect', undefined)
  events.publish('device.pair.resolved', {
    requestId: pending?.requestId ?? randomUUID(),
    deviceId: arrival.device.deviceId,
    decision: 'approved',
    ts: Date.now()
  })
  return {
    scopes: grant(arrival.params.scopes ?? [], new Set(scopes)),
    token: { value, issuedAtMs: Date.now() },
    paired: true
  }
}

async function issue(store: DeviceStore, deviceId: string, role: Role): Promise<{ value: string; issuedAtMs: number }> {
  const value = freshSecret()
  await store.addToken(deviceId, role, digest(value))
  return { value, issuedAtMs: Date.now() }
}

// Leaves (or finds) the request of a device and returns the refusal that names it.
async function ask(
  arrival: Arrival,
  known: PairedDevice | undefined,
  reason: Reason,
  store: DeviceStore,
  events: PairingEvents
): Promise<RpcError> {
  // A probe asks whether the gateway answers; it must not leave requests behind.
  const request = arrival.params.client.mode === 'probe' ? undefined : await fileRequest(arrival, known, store, events)
  const { message, hint } = words[reason]
  const grants = known?.grants ?? []
  const approved = grants.find((each) => each.role === arrival.role && !each.revoked)
  const browser = arrival.params.client.id === 'openclaw-control-ui'
  return new RpcError('NOT_PAIRED', `pairing required: ${message}`, {
    details: {
      code: 'PAIRING_REQUIRED',
      reason,
      ...(request === undefined ? {} : { requestId: request.requestId }),
      remediationHint: hint,
      deviceId: arrival.device.deviceId,
      requestedRole: arrival.role,
      ...(arrival.params.scopes?.length ? { requestedScopes: arrival.params.scopes } : {}),
      ...(known === undefined
        ? {}
        : { approvedRoles: grants.map((each) => each.role), approvedScopes: approved?.scopes ?? [] }),
      // Browsers poll on their own when told so; other clients wait for a person.
      ...(browser ? { recommendedNextStep: 'wait_then_retry', retryable: true, pauseReconnect: false } : {}),
      fix: {
        command:
          request === undefined
            ? 'openclaw dashboard'
            : `openclaw gateway call device.pair.approve --params '{"requestId":"${request.requestId}"}'`,
        where: 'gateway host'
      }
    }
  })
}

async function fileRequest(
  arrival: Arrival,
  known: PairedDevice | undefined,
  store: DeviceStore,
  events: PairingEvents
): Promise<DeviceRequest> {
  const earlier = (await store.requests()).find((each) => each.deviceId === arrival.device.deviceId)
  const live = earlier !== undefined && Date.now() - earlier.ts < REQUEST_TTL_MS ? earlier : undefined
  const roles = [...new Set([...(live?.roles ?? []), arrival.role])]
  const asked = (arrival.params.scopes ?? []).filter(isScope)
  // A request for another role keeps what the device already asked for in the first one.
  const merging = live !== undefined && !live.roles.includes(arrival.role)
  const scopes = merging ? [...new Set([...live.scopes, ...asked])] : asked
  const same = live !== undefined && !merging && live.role === arrival.role && sameSet(live.scopes, scopes)
  const request: DeviceRequest = {
    ...facts(arrival),
    requestId: same ? live.requestId : randomUUID(),
    role: arrival.role,
    roles,
    scopes,
    isRepair: known !== undefined,
    ts: Date.now()
  }
  await store.saveRequest(request)
  if (same) return request
  if (live !== undefined) {
    events.publish('device.pair.resolved', {
      requestId: live.requestId,
      deviceId: live.deviceId,
      decision: 'rejected',
      ts: Date.now()
    })
  }
  events.publish('device.pair.requested', pendingEntry(request))
  return request
}

/** A request as `device.pair.list` and `device.pair.requested` show it. */
export function pendingEntry(request: DeviceRequest): Record<string, unknown> {
  const { displayName, deviceFamily, remoteIp, ...rest } = request
  return {
    ...rest,
    ...(displayName === undefined ? {} : { displayName }),
    ...(deviceFamily === undefined ? {} : { deviceFamily }),
    ...(remoteIp === undefined ? {} : { remoteIp }),
    silent: false
  }
}

/** Reports whether a request has waited too long to be approved. */
export function expired(request: DeviceRequest, now: number): boolean {
  return now - request.ts >= REQUEST_TTL_MS
}

function facts({ device, params, ingress }: Arrival): DeviceFacts {
  return {
    deviceId: device.deviceId,
    publicKey: device.publicKey,
    platform: params.client.platform,
    deviceFamily: params.client.deviceFamily,
    clientId: params.client.id,
    clientMode: params.client.mode,
    displayName: params.client.displayName?.slice(0, 200),
    remoteIp: ingress.local ? undefined : ingress.client
  }
}

function moved(known: PairedDevice, params: ConnectParams): boolean {
  return known.platform.toLowerCase() !== params.client.platform.toLowerCase()
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each) => b.includes(each))
}

function scopeMismatch(): RpcError {
  return new RpcError(
    'INVALID_REQUEST',
    'unauthorized: device token scope mismatch (re-pair or approve scope upgrade)',
    {
      details: {
        code: 'AUTH_SCOPE_MISMATCH',
        authReason: 'scope_mismatch',
        canRetryWithDeviceToken: false,
        recommendedNextStep: 'review_auth_configuration'
      }
    }
  )
}

/** The refusal of a launch code that is wrong, old or already spent. */
export function spentCode(): RpcError {
  return new RpcError(
    'INVALID_REQUEST',
    'unauthorized: setup code invalid, expired, revoked, or already used (create a new code; review `openclaw devices list`)',
    {
      details: {
        code: 'AUTH_BOOTSTRAP_TOKEN_INVALID',
        authReason: 'bootstrap_token_invalid',
        canRetryWithDeviceToken: false,
        recommendedNextStep: 'review_auth_configuration',
        fix: { command: 'openclaw dashboard', where: 'gateway host' }
      }
    }
  )
}
