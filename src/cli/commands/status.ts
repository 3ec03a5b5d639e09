import { Command } from 'commander'
import { addTargetOptions, parseTimeout, type TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { printJson, printRows } from '../output.ts'
import { inspectAnyway } from '../status.ts'

const TIMEOUT_MS = 60_000

/** `openclaw status`: what the configured gateway is, and how this host reaches it. */
export function build(io: Io): Command {
  const command = new Command('status')
    .description('Show what the configured gateway is and how it is reached; one that is starting is waited for')
    .option('--deep', 'Also ask for its health, and tell how each thing is known')
    .option('--all', 'All of it, to paste into a report: --deep, this host, its services and the security audit')
    .option('--verbose', 'Also show the places on this host')
    .option('--debug', 'The same as --verbose')
    .addHelpText(
      'after',
      `
Examples:
  openclaw status
  openclaw status --deep
  openclaw status --all --json`
    )
  return addTargetOptions(command, TIMEOUT_MS).action((options: StatusOptions) => status(io, options))
}

interface StatusOptions extends TargetOptions {
  deep?: boolean
  all?: boolean
  verbose?: boolean
  debug?: boolean
}

async function status(io: Io, options: StatusOptions): Promise<void> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const all = options.all === true
  const deep = options.deep === true || all
  const [{ hostFacts, systemFacts }, { gatewayServiceFacts, nodeServiceFacts }] = await Promise.all([
    import('../host-facts.ts'),
    import('../service/facts.ts')
  ])
  const [report, host, audit, gatewayService, nodeService] = await Promise.all([
    inspectAnyway(io, options, { timeoutMs, deep, waits: true }),
    hostFacts(io),
    deep ? auditOf(io) : undefined,
    gatewayServiceFacts(io),
    nodeServiceFacts(io)
  ])
  if (options.json === true) {
    const { cliJson, statusJson } = await import('../status-json.ts')
    return printJson(io, {
      ...statusJson(report, host),
      os: systemFacts(),
      cli: cliJson(host),
      config: host.config,
      gatewayService: gatewayService?.facts ?? null,
      nodeService: nodeService?.facts ?? null,
      ...(audit === undefined ? {} : { securityAudit: audit })
    })
  }
  const { hostRows, printReport, systemRows } = await import('../status-text.ts')
  const { auditSummary, printAudit } = await import('../security-report.ts')
  printReport(io, report, { facts: deep })
  const places = all || options.verbose === true || options.debug === true
  printRows(io, [
    ...(all ? systemRows(systemFacts()) : []),
    ...(places ? hostRows(host) : []),
    ...(all ? [...(gatewayService?.rows ?? []), ...(nodeService?.rows ?? [])] : []),
    ['Security', audit && !all ? `${auditSummary(audit)} (openclaw security audit)` : undefined]
  ])
  if (audit === undefined || !all) return
  io.stdout('')
  printAudit(io, audit, [])
}

async function auditOf(io: Io) {
  const { auditFacts, auditReport } = await import('../security-audit.ts')
  return auditReport(io, await auditFacts(io))
}
