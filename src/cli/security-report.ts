import type { Finding, Severity } from '../security/finding.ts'
import type { Attempt } from '../security/live.ts'
import type { ChmodAction } from '../security/repair.ts'
import type { AuditReport } from '../security/report.ts'
import type { Io } from './io.ts'
import { printable, styleOf } from './output.ts'
import { indented } from './wrap.ts'

const HEADINGS: readonly [Severity, string][] = [
  ['critical', 'CRITICAL'],
  ['warn', 'WARNING'],
  ['info', 'TO KNOW']
]

/** Prints an audit for a person: what is worst first, each with what mends it, and a summary as the last line. */
export function printAudit(io: Io, report: AuditReport, attempts: readonly Attempt[]): void {
  const style = styleOf(io)
  const paint: Record<Severity, (text: string) => string> = {
    critical: style.red,
    warn: style.yellow,
    info: style.bold
  }
  for (const [severity, heading] of HEADINGS) {
    for (const finding of report.findings.filter((each) => each.severity === severity)) {
      io.stdout(`${paint[severity](heading)}  ${style.dim(finding.checkId)}`)
      io.stdout(body(finding, style.green('fix:')))
      io.stdout('')
    }
  }
  const refused = attempts.filter((attempt) => attempt.refused === true).length
  if (refused > 0) io.stdout(`Tried without a credential: ${refused} of ${attempts.length} attempts were refused.`)
  io.stdout(auditSummary(report))
}

function body({ title, detail, remediation, fix }: Finding, label: string): string {
  const lines = [indented(printable(title), 2), indented(printable(detail), 4), indented(printable(remediation), 4)]
  // A command is not broken: it is there to be copied.
  if (fix !== undefined) lines.push(`    ${label} ${printable(fix.command)}`)
  return lines.join('\n')
}

/** How many findings there are, in a line. */
export function auditSummary({ summary: { critical, warn, info }, suppressedFindings }: AuditReport): string {
  const hidden = suppressedFindings === undefined ? '' : `, ${suppressedFindings.length} hidden`
  if (critical + warn + info === 0) return 'Nothing found: this gateway is closed to everybody but you.'
  return `${critical} critical, ${plural(warn, 'warning')}, ${info} to know${hidden}`
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Prints what `--fix` has done. */
export function printRepairs(io: Io, actions: readonly ChmodAction[]): void {
  const style = styleOf(io)
  for (const { path, mode, ok, skipped } of actions) {
    const what = `chmod ${mode.toString(8)} ${printable(path)}`
    io.stdout(ok ? `${style.green('done')}  ${what}` : `${style.yellow('left')}  ${what} (${skipped})`)
  }
  if (actions.length > 0) io.stdout('')
}
