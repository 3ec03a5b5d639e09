import { Command } from 'commander'
import type { Finding } from '../../security/finding.ts'
import type { LiveFacts } from '../../security/live.ts'
import { parseTimeout, placesOf, type TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { printJson } from '../output.ts'
import { auditFacts, auditReport } from '../security-audit.ts'
import { printAudit, printRepairs } from '../security-report.ts'

const TIMEOUT_MS = 5_000

/** `openclaw security`: looks for what would let somebody else in. */
export function build(io: Io): Command {
  const command = new Command('security')
    .description('Look for what would let somebody else into the gateway')
    .usage('<command> [options]')
  command
    .command('audit')
    .description('Check configuration, files and exposure; exit code 1 while something critical is left')
    .option('--deep', 'Also look at the running gateway, and try to get in without a credential')
    .option('--fix', 'Close files that others can read or change, then check')
    .option('--url <url>', 'With --deep: another gateway; needs --token or --password beside it')
    .option('--token <token>', 'With --deep: the token to look with')
    .option('--password <password>', 'With --deep: the password to look with')
    .option('--timeout <ms>', 'With --deep: how long to wait, in milliseconds', String(TIMEOUT_MS))
    .option('--json', 'Print JSON')
    .action((options: AuditOptions) => audit(io, options))
  return command
}

interface AuditOptions extends Omit<TargetOptions, 'port'> {
  deep?: boolean
  fix?: boolean
}

async function audit(io: Io, options: AuditOptions): Promise<void> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const { paths } = placesOf(io)
  let facts = await auditFacts(io)
  const { closeFiles } = options.fix === true ? await import('../../security/repair.ts') : {}
  const actions = await closeFiles?.(facts)
  if (actions?.some(({ ok }) => ok)) facts = await auditFacts(io)
  let live: LiveFacts | undefined
  const found: Finding[] = []
  if (options.deep === true) {
    const [{ lookLive }, { liveFindings }] = await Promise.all([
      import('../security-probe.ts'),
      import('../../security/live.ts')
    ])
    live = await lookLive(io, options, facts, timeoutMs)
    found.push(...liveFindings(facts, live))
  }
  const report = auditReport(io, facts, found)
  if (report.summary.critical > 0) io.exit(1)
  if (options.json === true) {
    const shown = live === undefined ? report : { ...report, deep: deepOf(live) }
    printJson(io, actions === undefined ? shown : { fix: fixOf(actions, paths), report: shown })
    return
  }
  printRepairs(io, actions ?? [])
  printAudit(io, report, live?.attempts ?? [])
}

function deepOf({ url, error, attempts }: LiveFacts) {
  return {
    gateway: { attempted: true, url, ok: error === undefined, error: error?.message ?? null },
    attempts
  }
}

function fixOf(actions: readonly { ok: boolean; skipped?: string }[], paths: { stateDir: string; configPath: string }) {
  return { ok: actions.every(({ ok }) => ok), stateDir: paths.stateDir, configPath: paths.configPath, actions }
}
