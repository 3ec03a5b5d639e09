import { checkGatewayUrl } from '../client/url-policy.ts'
import { type Facts, gatherFacts } from '../security/facts.ts'
import type { Finding } from '../security/finding.ts'
import { findingsOf } from '../security/findings.ts'
import { type AuditReport, reportOf } from '../security/report.ts'
import { ownFix } from './errors.ts'
import { placesOf } from './gateway-call.ts'
import type { Io } from './io.ts'

/** Gathers what an audit of this host looks at. */
export function auditFacts(io: Io): Promise<Facts> {
  return gatherFacts({ ...placesOf(io), checkUrl: checkGatewayUrl })
}

/** An audit of this host, which asks no gateway; `more` are findings of who did. */
export function auditReport(io: Io, facts: Facts, more: readonly Finding[] = []): AuditReport {
  const client = facts.gateway?.mode === 'remote'
  const found = [...findingsOf(facts, Date.now()), ...more].map(({ fix, ...finding }) =>
    fix === undefined ? finding : { ...finding, fix: ownFix(io, fix, client) }
  )
  return reportOf(found, facts.config.suppressions, Date.now())
}
