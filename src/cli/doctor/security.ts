import type { Finding } from '../../security/finding.ts'
import { findingsOf } from '../../security/findings.ts'
import { reportOf } from '../../security/report.ts'
import { type Check, subject } from './check.ts'
import type { DoctorContext } from './context.ts'

const security = subject('security', 'Security')

/** What `security audit` would say beside the files, in one line. */
export async function securityCheck(context: DoctorContext): Promise<Check> {
  const { io, facts, deep, timeoutMs } = context
  const found: Finding[] = findingsOf(facts, Date.now())
  if (deep && context.running.answers) {
    const [{ lookLive }, { liveFindings }] = await Promise.all([
      import('../security-probe.ts'),
      import('../../security/live.ts')
    ])
    found.push(...liveFindings(facts, await lookLive({ ...io, isTTY: false }, {}, facts, timeoutMs)))
  }
  const { findings } = reportOf(found, facts.config.suppressions, Date.now())
  // Files and the file itself have checks of their own.
  const others = findings.filter(({ checkId }) => !/^(fs\.|config\.invalid$)/.test(checkId))
  const named = (severity: Finding['severity']) => [
    ...new Set(others.filter((each) => each.severity === severity).map(({ checkId }) => checkId))
  ]
  const bad = [...named('critical'), ...named('warn')]
  if (bad.length === 0) return security.ok('the audit has nothing to warn about')
  const shown = `${bad.slice(0, 4).join(', ')}${bad.length > 4 ? ` and ${bad.length - 4} more` : ''}`
  return security.warning(`the audit warns about ${shown}`, { fix: 'openclaw security audit' })
}
