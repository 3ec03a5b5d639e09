import { type Certificate, certificateText } from './certificate.ts'
import { ClientError } from './errors.ts'
import { isPinned, type Pin } from './tls-pin.ts'

/** Who vouches for a gateway's certificate: a pin, or this system and what it saw there first (R34). */
export type Trust =
  | { by: 'pin'; pins: readonly Pin[]; source: string; fix: string }
  | { by: 'system'; known: KnownCertificate | undefined; fix: (fingerprint: string) => TrustFix }

/** A certificate that was trusted on first use. */
export interface KnownCertificate extends Certificate {
  firstSeenMs: number
}

/** What to do about a certificate that this system does not trust, and about one that has changed. */
export interface TrustFix {
  untrusted: string
  changed: string
}

/** What a TLS handshake has shown. */
export interface Shown {
  host: string
  certificate: Certificate
  /** Why this system does not trust it; undefined when it does. */
  problem: string | undefined
}

/** Why a certificate is refused; undefined when it may be trusted. */
export function refusedCertificate(trust: Trust, { host, certificate, problem }: Shown): ClientError | undefined {
  const fingerprint = `sha256:${certificate.sha256}`
  if (trust.by === 'pin') {
    if (isPinned(trust.pins, certificate)) return undefined
    const message = `the certificate of ${host} is not the pinned one (${trust.source}); it is ${certificateText(certificate)}`
    return new ClientError('TLS_PIN_MISMATCH', message, { fix: trust.fix })
  }
  const { untrusted, changed } = trust.fix(fingerprint)
  if (problem !== undefined) {
    const message = `the certificate of ${host} is not trusted by this system (${problem}); it is ${certificateText(certificate)}`
    return new ClientError('TLS_UNTRUSTED', message, { fix: untrusted, fingerprint })
  }
  const { known } = trust
  // A renewed certificate for the same key is the same gateway's.
  if (known === undefined || known.sha256 === certificate.sha256 || known.key === certificate.key) return undefined
  const message = `the certificate of ${host} has changed since this host first saw it, though this system trusts both
was: ${certificateText(known)}; first seen ${new Date(known.firstSeenMs).toISOString().slice(0, 10)}
now: ${certificateText(certificate)}`
  return new ClientError('TLS_PIN_CHANGED', message, { fix: changed })
}
