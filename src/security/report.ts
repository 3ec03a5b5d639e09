import type { Suppression } from './config-facts.ts'
import type { Finding, Severity } from './finding.ts'

/** What an audit came to; the shape that `--json` prints. */
export interface AuditReport {
  /** Milliseconds since 1970. */
  ts: number
  summary: Record<Severity, number>
  findings: Finding[]
  suppressedFindings?: SuppressedFinding[]
}

/** A finding that the configuration accepts. */
export type SuppressedFinding = Finding & { suppression: Omit<Suppression, 'checkId'> }

const ORDER: readonly Severity[] = ['critical', 'warn', 'info']

/** Sorts the findings, and sets those aside that `security.audit.suppressions` accepts; that it does is itself a finding. */
export function reportOf(found: readonly Finding[], suppressions: readonly Suppression[], ts: number): AuditReport {
  const findings: Finding[] = []
  const suppressed: SuppressedFinding[] = []
  for (const finding of found) {
    const match = suppressions.find((suppression) => covers(suppression, finding))
    if (match === undefined) {
      findings.push(finding)
      continue
    }
    const { checkId: _checkId, ...suppression } = match
    suppressed.push({ ...finding, suppression })
  }
  if (suppressions.length > 0) {
    findings.push({
      checkId: 'security.audit.suppressions.active',
      severity: 'info',
      title: 'Findings may be hidden',
      detail: `security.audit.suppressions has ${plural(suppressions.length, 'entry', 'entries')}, which hide ${plural(suppressed.length, 'finding', 'findings')} of this audit.`,
      remediation: 'Remove the entries whose reason is gone.'
    })
  }
  const sorted = findings.toSorted((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity))
  const count = (severity: Severity) => findings.filter((finding) => finding.severity === severity).length
  return {
    ts,
    summary: { critical: count('critical'), warn: count('warn'), info: count('info') },
    findings: sorted,
    ...(suppressions.length > 0 ? { suppressedFindings: suppressed } : {})
  }
}

function covers({ checkId, titleIncludes, detailIncludes }: Suppression, finding: Finding): boolean {
  const has = (text: string, part: string | undefined) =>
    part === undefined || text.toLowerCase().includes(part.toLowerCase())
  return checkId === finding.checkId && has(finding.title, titleIncludes) && has(finding.detail, detailIncludes)
}

function plural(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`
}
