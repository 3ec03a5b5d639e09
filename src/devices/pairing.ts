import type { Authenticated } from '../auth/authenticate.ts'
import type { ProvenDevice } from '../auth/device-signature.ts'
import { type Allowance, grant, within } from '../auth/scopes.ts'
import { digest } from '../auth/secrets.ts'
import { authRefusal } from '../protocol/details.ts'
import type { RpcError } from '../protocol/errors.ts'
import { isScope, type Scope } from '../protocol/scopes.ts'
import type { DeviceStore } from '../store/devices.ts'
import { type Admission, type Arrival, freshToken, isProbe, isTui } from './arrival.ts'
import { ask } from './ask.ts'
import { enrol, redeem } from './enrol.ts'
import type { PairingNews } from './news.ts'
import { reasonFor } from './requests.ts'

/** Lets a proven device in, or leaves its request for a person and says so. */
export async function admitDevice(arrival: Arrival, store: DeviceStore, news: PairingNews): Promise<Admission> {
  const { auth, device, params, role } = arrival
  // Scopes are for operators; a node that asks for some is approved by a person (it is not silent) and gets none.
  const requested = role === 'operator' ? arrival.requested : []
  // Locality alone issues nothing durable (S6): without auth the device works, and leaves no trace (D16).
  if (auth.method === 'none') return { scopes: grant(requested, auth.allowance) }
  // A tailnet identity stands for a whole session of our UIs: nothing to approve, nothing to keep (D2).
  const vouched = role === 'operator' ? identityAllowance(auth) : nothing
  if (auth.method === 'tailscale' && (arrival.page || isTui(params)) && (vouched === 'all' || vouched.size > 0)) {
    return { scopes: grant(requested, vouched) }
  }
  if (auth.code !== undefined) return redeem(arrival, auth.code, store, news)
  const known = await store.find(device.deviceId)
  const reason = reasonFor(known, params.client.platform, [role])
  if (reason === 'metadata-upgrade') throw await ask(arrival, known, reason, store, news)

  if (auth.device !== undefined) {
    if (!within(requested, auth.allowance)) throw scopeMismatch(device, requested)
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
  const fresh = known === undefined && arrival.trustedAddress
  const via = arrival.silent ?? (fresh ? 'trusted-cidr' : undefined)
  if (via !== undefined) {
    const scopes = grant(requested, auth.allowance)
    return isProbe(arrival) ? { scopes } : enrol(arrival, [{ role, scopes }], via, store, news)
  }
  if (arrival.autoApprove !== undefined && (known === undefined || granted !== undefined)) {
    const scopes = new Set([...(granted?.scopes ?? []), ...arrival.autoApprove])
    // Nothing more to be had without a person: the session is what the device holds already.
    const more = granted === undefined || !within([...scopes], new Set(granted.scopes))
    const kept = more && !isProbe(arrival)
    const admission = kept ? await enrol(arrival, [{ role, scopes: [...scopes] }], 'trusted-proxy', store, news) : {}
    return { ...admission, scopes: grant([...requested, ...arrival.autoApprove], union([...scopes], vouched)) }
  }
  throw await ask(arrival, known, reason, store, news)
}

const nothing: ReadonlySet<Scope> = new Set()

// What an identity is granted for this connection, beside what its device holds; a secret grants nothing to a device.
function identityAllowance({ method, allowance }: Authenticated): Allowance {
  return method === 'trusted-proxy' || method === 'tailscale' ? allowance : nothing
}

function union(scopes: readonly Scope[], more: Allowance): Allowance {
  return more === 'all' ? 'all' : new Set([...scopes, ...more])
}

function scopeMismatch({ deviceId }: ProvenDevice, requested: readonly string[]): RpcError {
  const scopes = requested.filter(isScope).join(',')
  return authRefusal({
    message: 'unauthorized: device token scope mismatch (re-pair or approve scope upgrade)',
    code: 'AUTH_SCOPE_MISMATCH',
    reason: 'scope_mismatch',
    next: 'review_auth_configuration',
    fix: { command: `openclaw devices grant ${deviceId} --scopes ${scopes}`, where: 'gateway host' }
  })
}
