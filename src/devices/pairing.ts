import { randomUUID } from 'node:crypto'
import type { Authenticated } from '../auth/authenticate.ts'
import { type ProvenDevice, plain } from '../auth/device-signature.ts'
import type { Ingress } from '../auth/ingress.ts'
import { type Allowance, grant, within } from '../auth/scopes.ts'
import { digest, freshSecret } from '../auth/secrets.ts'
import type { EventKind } from '../protocol/audit.ts'
import { authRefusal, spentCode } from '../protocol/details.ts'
import { RpcError } from '../protocol/errors.ts'
import type { ConnectParams } from '../protocol/frames.ts'
import { isScope, type Role, type Scope } from '../protocol/scopes.ts'
import type { ApprovedVia, DeviceFacts, DeviceRequest, DeviceStore, PairedDevice } from '../store/devices.ts'
import type { AuthEvent } from '../store/trail.ts'

/** A device asking to come in, its key already proven and its credential already accepted. */
export interface Arrival {
  device: ProvenDevice
  params: ConnectParams
  role: Role
  auth: Authenticated
  ingress: Ingress
  /** The scopes asked for, already narrowed where the caller is. */
  requested: readonly string[]
  /** True for one of our UIs in a browser. */
  page: boolean
  /** True when the arrival may be paired, or widened, without asking anyone (§2.3). */
  silent: boolean
  /** The scopes with which a trusted proxy's user enrols this device by itself; undefined where it may not (§9). */
  autoApprove: readonly Scope[] | undefined
}

/** A fresh device token: the only time its text exists here. */
export interface IssuedToken {
  value: string
  issuedAtMs: number
}

/** What a caller was let in with: its scopes for this connection, and its device's token where one is due. */
export interface Admission {
  scopes: Scope[]
  token?: IssuedToken
}

/** What pairing tells the rest of the gateway. */
export interface PairingEvents {
  publish(event: string, payload: unknown): void
  record(event: AuthEvent): void
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
  const { auth, device, params, role } = arrival
  // Scopes are for operators; a node that asks for some is approved by a person (it is not silent) and gets none.
  const requested = role === 'operator' ? arrival.requested : []
  // Locality alone issues nothing durable (S6): without auth the device works, and leaves no trace (D16).
  if (auth.method === 'none') return { scopes: grant(requested, auth.allowance) }
  // A tailnet identity stands for a whole session of our UIs: nothing to approve, nothing to keep (D2).
  const vouched = role === 'operator' ? identityAllowance(auth) : nothing
  if (auth.method === 'tailscale' && (arrival.page || tui(params)) && (vouched === 'all' || vouched.size > 0)) {
    return { scopes: grant(requested, vouched) }
  }
  const known = await store.find(device.deviceId)
  if (auth.launchCode !== undefined)
    return enrol(arrival, grant(requested, auth.allowance), 'launch-link', store, events)
  if (known !== undefined && moved(known, params)) throw await ask(arrival, known, 'metadata-upgrade', store, events)

  if (auth.device !== undefined) {
    if (!within(requested, auth.allowance)) throw scopeMismatch()
    await store.seen(device.deviceId, 'connect', auth.device.digest)
    return { scopes: grant(requested, auth.allowance) }
  }
  const granted = known?.grants.find((each) => each.role === role && !each.revoked)
  const held = granted === undefined ? undefined : union(granted.scopes, vouched)
  if (held !== undefined && within(requested, held)) {
    const issued = freshToken(arrival)
    if (issued !== undefined) await store.addToken(device.deviceId, role, digest(issued.value))
    await store.seen(device.deviceId, 'connect', undefined)
    return { scopes: grant(requested, held), ...(issued === undefined ? {} : { token: issued }) }
  }
  if (arrival.silent) {
    const via = auth.method === 'owner' ? 'owner' : 'silent'
    return enrol(arrival, grant(requested, auth.allowance), via, store, events)
  }
  if (arrival.autoApprove !== undefined && (known === undefined || granted !== undefined)) {
    const scopes = new Set([...(granted?.scopes ?? []), ...arrival.autoApprove])
    // Nothing more to be had without a person: the session is what the device holds already.
    const more = granted === undefined || !within([...scopes], new Set(granted.scopes))
    const admission = more ? await enrol(arrival, [...scopes], 'trusted-proxy', store, events) : {}
    return { ...admission, scopes: grant([...requested, ...arrival.autoApprove], union([...scopes], vouched)) }
  }
  const reason = known === undefined ? 'not-paired' : granted === undefined ? 'role-upgrade' : 'scope-upgrade'
  throw await ask(arrival, known, reason, store, events)
}

const nothing: ReadonlySet<Scope> = new Set()

// What an identity is granted for this connection, beside what its device holds; a secret grants nothing to a device.
function identityAllowance({ method, allowance }: Authenticated): Allowance {
  return method === 'trusted-proxy' || method === 'tailscale' ? allowance : nothing
}

function union(scopes: readonly Scope[], more: Allowance): Allowance {
  return more === 'all' ? 'all' : new Set([...scopes, ...more])
}

// A front end that vouches for every request needs no token in the browser; a native app comes back without one.
function freshToken({ auth, page }: Arrival): IssuedToken | undefined {
  if (auth.method === 'tailscale' || (auth.method === 'trusted-proxy' && page)) return undefined
  return { value: freshSecret(), issuedAtMs: Date.now() }
}

/**
 * Approves a device at once, for a code, an owner, a trusted local caller or a proxy's user, and gives it a token. What
 * it asks for replaces what it had, and its earlier tokens end: none of them grows with the new grant.
 */
async function enrol(
  arrival: Arrival,
  scopes: Scope[],
  via: ApprovedVia,
  store: DeviceStore,
  events: PairingEvents
): Promise<Admission> {
  const { auth, role } = arrival
  const { deviceId } = arrival.device
  const issued = freshToken(arrival)
  const pending = (await store.requests()).find((each) => each.deviceId === deviceId)
  const done = await store.approve({
    facts: facts(arrival),
    via,
    grant: [{ role, scopes }],
    token: issued && digest(issued.value),
    endTokens: true,
    requestId: pending?.requestId,
    launchCode: auth.launchCode
  })
  if (!done) throw spentCode()
  await store.seen(deviceId, 'connect', undefined)
  publishResolved(events, { requestId: pending?.requestId ?? randomUUID(), deviceId }, 'approved')
  record(events, arrival, 'device.paired', `${via}: ${[role, ...scopes].join(', ')}`)
  return { scopes, ...(issued === undefined ? {} : { token: issued }) }
}

/** Tells the operators how a request ended. */
export function publishResolved(
  events: Pick<PairingEvents, 'publish'>,
  { requestId, deviceId }: Pick<DeviceRequest, 'requestId' | 'deviceId'>,
  decision: 'approved' | 'rejected'
): void {
  events.publish('device.pair.resolved', { requestId, deviceId, decision, ts: Date.now() })
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
  const approved = grants.filter((each) => !each.revoked).flatMap((each) => each.scopes)
  const polls = arrival.params.client.id === 'openclaw-control-ui' || tui(arrival.params)
  return new RpcError('NOT_PAIRED', `pairing required: ${message}`, {
    details: {
      code: 'PAIRING_REQUIRED',
      reason,
      ...(request === undefined ? {} : { requestId: request.requestId }),
      remediationHint: hint,
      deviceId: arrival.device.deviceId,
      // The caller's own name, as its front end has it: the screen that waits says who waits.
      ...(request?.user === undefined ? {} : { user: request.user }),
      requestedRole: arrival.role,
      ...(arrival.requested.length > 0 ? { requestedScopes: arrival.requested } : {}),
      ...(known === undefined ? {} : { approvedRoles: grants.map((each) => each.role), approvedScopes: approved }),
      // These poll on their own when told so; other clients wait for a person.
      ...(polls ? { recommendedNextStep: 'wait_then_retry', retryable: true, pauseReconnect: false } : {}),
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
  const { role, device } = arrival
  const earlier = (await store.requests()).find((each) => each.deviceId === device.deviceId)
  const live = earlier !== undefined && !expired(earlier, Date.now()) ? earlier : undefined
  const asked = arrival.requested.filter(isScope)
  // One request a device: asking again as an operator replaces the scopes, asking for one more role adds to it.
  const again = role === 'operator' && live?.roles.includes(role)
  const scopes = [...new Set([...(again ? [] : (live?.scopes ?? [])), ...asked])]
  const roles = [...new Set([...(live?.roles ?? []), role])]
  const same = live !== undefined && sameSet(live.roles, roles) && sameSet(live.scopes, scopes)
  const request: DeviceRequest = {
    ...facts(arrival),
    requestId: same ? live.requestId : randomUUID(),
    role: same ? live.role : role,
    roles,
    scopes,
    isRepair: known !== undefined,
    ...(arrival.auth.user === undefined ? {} : { user: arrival.auth.user.id.slice(0, 320) }),
    ts: Date.now()
  }
  await store.saveRequest(request)
  if (same) return request
  if (live !== undefined) publishResolved(events, live, 'rejected')
  events.publish('device.pair.requested', pendingEntry(request))
  record(events, arrival, 'device.requested', [...roles, ...scopes].join(', '))
  return request
}

function record(events: PairingEvents, arrival: Arrival, kind: EventKind, detail: string): void {
  const { auth, device, ingress, params } = arrival
  events.record({
    kind,
    outcome: 'changed',
    method: auth.method,
    who: auth.user?.id ?? device.deviceId,
    address: ingress.client,
    listener: ingress.listener,
    client: params.client.id,
    surface: 'websocket',
    detail
  })
}

/** A request as `device.pair.list` and `device.pair.requested` show it. */
export function pendingEntry(request: DeviceRequest): Record<string, unknown> {
  return { ...request, silent: false }
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
  return plain(known.platform) !== plain(params.client.platform)
}

function tui({ client }: ConnectParams): boolean {
  return client.id === 'openclaw-tui'
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each) => b.includes(each))
}

function scopeMismatch(): RpcError {
  return authRefusal({
    message: 'unauthorized: device token scope mismatch (re-pair or approve scope upgrade)',
    code: 'AUTH_SCOPE_MISMATCH',
    reason: 'scope_mismatch',
    next: 'review_auth_configuration'
  })
}
