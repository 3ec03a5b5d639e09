import type { Expected } from './answer.ts'

// Differences that several cases have; each names its row or property, or says why.

type Json = Record<string, unknown>
/** A difference, as a case spreads it. */
export type Difference = Required<Pick<Expected, 'differs' | 'ours'>>

/** Our answer to a request that no client can be read out of. */
export const unattributed = {
  status: 403,
  type: 'application/json; charset=utf-8',
  content: {
    error: {
      message:
        'Proxy client attribution is required. Configure gateway.trustedProxies narrowly and make the proxy overwrite or safely rebuild forwarded client headers.',
      type: 'proxy_attribution_required'
    }
  }
}

export const healthNeedsAttribution: Difference = {
  differs: 'S1: what cannot be attributed is answered nothing, not even that we live',
  ours: { ...unattributed, cache: null, content: { ok: null, status: null, ...unattributed.content } }
}

export const twiceIsNobody: Difference = {
  differs: 'S4: an identity that is given twice, or only looks like one, is refused',
  ours: unattributed
}

export const foreignPage: Difference = {
  differs: 'S2: a foreign page is refused as one, before any credential is looked at',
  ours: {
    status: 403,
    type: 'application/json; charset=utf-8',
    content: { error: { message: 'Origin not allowed', type: 'origin_not_allowed' } }
  }
}

export const foreignHost: Difference = {
  differs: 'D7: a host that nobody named is refused',
  ours: {
    status: 421,
    type: 'application/json; charset=utf-8',
    content: { error: { message: 'This gateway does not answer to that host name', type: 'host_not_allowed' } }
  }
}

/** Our answer to a connect that is refused, in place of a session or of another refusal. */
export function refusedWith(message: string, details: Json, code = 'INVALID_REQUEST'): Json {
  return {
    auth: null,
    identityUrl: null,
    call: null,
    error: { code, message, details },
    close: { code: 1008, reason: message }
  }
}

/** Our session, where the reference refuses. */
export function admittedWith(method: string, scopes: readonly string[], more: Json = {}): Json {
  return { error: null, close: null, auth: { method, role: 'operator', scopes, recoveryScope: 'SECRET' }, ...more }
}

/** Our answer to a new device that nobody has approved, where the reference lets it in. */
export function notPaired(requestedScopes: readonly string[], more: Json = {}): Json {
  const message = 'pairing required: device is not approved yet'
  const details = {
    code: 'PAIRING_REQUIRED',
    reason: 'not-paired',
    requestId: 'UUID',
    remediationHint: 'Approve this device from the pending pairing requests.',
    deviceId: 'DEVICE',
    requestedRole: 'operator',
    requestedScopes,
    ...more
  }
  const reason = `${message} (requestId: xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)`
  return { ...refusedWith(message, details, 'NOT_PAIRED'), close: { code: 1008, reason } }
}

/** Our refusal of a device that waits for a person names the verified user behind it, beside any other difference. */
export function saysWho(user: string, beside?: Difference): Difference {
  const differs = 'D12: who waits is told its own verified name'
  const { error, ...rest } = (beside?.ours ?? {}) as { error?: { details?: Json } }
  return {
    differs: beside === undefined ? differs : `${beside.differs}; ${differs}`,
    ours: { ...rest, error: { ...error, details: { ...error?.details, user } } }
  }
}

/** What a client that polls is told beside a refusal. */
export const wait = { recommendedNextStep: 'wait_then_retry', retryable: true, pauseReconnect: false }

/** Nobody gets what it did not ask for, whatever its identity is granted. */
export const asAsked = (scopes: readonly string[]): Difference => ({
  differs: 'S8: nobody gets what it did not ask for',
  ours: { auth: { scopes } }
})

export const metadataHint: Difference = {
  differs: 'hints are in our own words',
  ours: { error: { details: { remediationHint: 'Check that the device really changed, then approve it again.' } } }
}

export const roleUpgrade: Difference = {
  differs: 'hints are in our own words',
  ours: { error: { details: { remediationHint: 'Review the requested role, then approve the pending upgrade.' } } }
}
