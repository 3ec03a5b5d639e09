import type { CertificateFact } from '../../security/certificate.ts'
import { tlsFindings } from '../../security/tls.ts'
import { type Check, subject } from './check.ts'

const tls = subject('tls', 'TLS')

/** The certificate and its key, where TLS is on. */
export function tlsChecks(certificate: CertificateFact | undefined, now: number): Check[] {
  if (certificate === undefined) return [tls.skipped('gateway.tls.enabled is not true')]
  if (certificate.missing) {
    const detail = `there is no certificate at ${certificate.certPath}`
    return [
      certificate.autoGenerate
        ? tls.ok(`${detail}; the next start makes one`)
        : tls.error(detail, { path: 'gateway.tls.certPath', fix: 'openclaw config set gateway.tls.autoGenerate true' })
    ]
  }
  const wrong = tlsFindings({ certificate }, now).filter(({ severity }) => severity !== 'info')
  if (wrong.length === 0) return [tls.ok(certificate.certPath)]
  return wrong.map(({ checkId, detail }) => {
    const dead = checkId === 'gateway.tls.unusable' || checkId === 'gateway.tls.cert_expired'
    return tls[dead ? 'error' : 'warning'](detail, { path: certificate.certPath })
  })
}
