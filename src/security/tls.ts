import type { CertificateFact } from './certificate.ts'
import type { Facts } from './facts.ts'
import type { Finding } from './finding.ts'

const DAY_MS = 86_400_000
const SOON_DAYS = 21

/** The certificate that the gateway shows, at a moment in milliseconds since 1970. */
export function tlsFindings({ certificate }: Pick<Facts, 'certificate'>, now: number): Finding[] {
  if (certificate === undefined || certificate.missing) return []
  const { problem } = certificate
  const found: Finding[] = []
  if (problem !== undefined) {
    found.push({
      checkId: 'gateway.tls.unusable',
      severity: 'warn',
      title: 'The certificate cannot be used',
      detail: `${problem}.`,
      remediation: 'Put a matching PEM pair at gateway.tls.certPath and gateway.tls.keyPath.'
    })
  }
  return [...found, ...validity(certificate, now), ...quality(certificate)]
}

function validity(
  { certPath, notBefore, notAfter, autoGenerate, selfSigned }: CertificateFact,
  now: number
): Finding[] {
  if (notBefore === undefined || notAfter === undefined) return []
  const own = autoGenerate && selfSigned === true
  const remediation = own
    ? 'Move the certificate and its key away: the next start makes a new pair. Clients that pinned the old one have to be told.'
    : 'Renew it; the gateway takes the new files by itself.'
  const date = (ms: number) => new Date(ms).toISOString().slice(0, 10)
  if (notAfter <= now || notBefore > now) {
    const when = notAfter <= now ? `expired on ${date(notAfter)}` : `is not valid before ${date(notBefore)}`
    return [
      {
        checkId: 'gateway.tls.cert_expired',
        severity: 'critical',
        title: 'The certificate is not valid today',
        detail: `${certPath} ${when}: people learn to click the warning away, and then do so for anybody's certificate.`,
        remediation
      }
    ]
  }
  const days = Math.ceil((notAfter - now) / DAY_MS)
  if (days > SOON_DAYS) return []
  return [
    {
      checkId: 'gateway.tls.cert_expiring',
      severity: 'warn',
      title: 'The certificate expires soon',
      detail: `${certPath} is valid until ${date(notAfter)}, ${days === 1 ? 'one more day' : `${days} more days`}.`,
      remediation
    }
  ]
}

function quality({ certPath, selfSigned, weakness }: CertificateFact): Finding[] {
  const found: Finding[] = []
  if (weakness !== undefined) {
    found.push({
      checkId: 'gateway.tls.weak_key',
      severity: 'warn',
      title: 'The certificate is weak',
      detail: `${certPath} has ${weakness}.`,
      remediation: 'Use an ECDSA P-256 key, or RSA with at least 2048 bits, signed with SHA-256.'
    })
  }
  if (selfSigned === true) {
    found.push({
      checkId: 'gateway.tls.self_signed',
      severity: 'info',
      title: 'The certificate is self-signed',
      detail: `${certPath} is vouched for by nobody: a client is safe only with its fingerprint (gateway.remote.tlsFingerprint).`,
      remediation: 'Give clients the fingerprint on a way that you trust, or use a certificate of an authority.'
    })
  }
  return found
}
