import { Command } from 'commander'
import { addTargetOptions, parseTimeout, type TargetOptions } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'
import { printJson, printRows } from '../../output.ts'
import { inspectAnyway } from '../../status.ts'

const TIMEOUT_MS = 10_000

/** `openclaw gateway status`: the service, and whether a gateway can be reached and what the credential is good for. */
export function buildStatus(io: Io): Command {
  const command = new Command('status')
    .description(
      'Show the service of this host, and whether a gateway can be reached and what this credential is good for'
    )
    .option('--no-probe', 'Show what this host knows, and ask no gateway')
    .option('--deep', 'Also ask for its health, and look for other gateway services of this machine')
    .option('--require-rpc', 'Exit with 1 unless the gateway answers a read call; one that is starting is waited for')
    .addHelpText(
      'after',
      `
Examples:
  openclaw gateway status
  openclaw gateway status --require-rpc --timeout 30000      (in a script, after a start)
  openclaw gateway status --no-probe --json`
    )
  return addTargetOptions(command, TIMEOUT_MS).action((options: StatusOptions) => status(io, options))
}

interface StatusOptions extends TargetOptions {
  probe: boolean
  deep?: boolean
  requireRpc?: boolean
}

async function status(io: Io, options: StatusOptions): Promise<void> {
  const { probe, deep, requireRpc, ...target } = options
  if (!probe && requireRpc === true) {
    throw new CliError('USAGE', '--require-rpc and --no-probe exclude each other')
  }
  const timeoutMs = parseTimeout(target.timeout, TIMEOUT_MS)
  const wants = { timeoutMs, deep: deep === true, waits: requireRpc === true }
  const [{ hostFacts, portFacts }, { gatewayServiceFacts, otherServices }] = await Promise.all([
    import('../../host-facts.ts'),
    import('../../service/facts.ts')
  ])
  const host = await hostFacts(io)
  const [report, port, service] = await Promise.all([
    probe ? inspectAnyway(io, target, wants) : undefined,
    host.gateway?.mode === 'local' ? portFacts(host.gateway.port) : undefined,
    gatewayServiceFacts(io)
  ])
  const others = deep === true ? await otherServices(io, service?.name) : undefined
  if (requireRpc === true && report?.facts.rpc.state !== 'yes') io.exit(1)
  if (options.json === true) {
    const { gatewayStatusJson } = await import('../../status-json.ts')
    const extra = others === undefined ? {} : { extraServices: others }
    return printJson(io, { ...gatewayStatusJson(report, host, port), service: service?.facts ?? null, ...extra })
  }
  const { hostRows, portText, printReport } = await import('../../status-text.ts')
  if (report !== undefined) printReport(io, report, { facts: true })
  const beside = others?.map(({ name, scope }) => `${name} (${scope})`).join(', ')
  printRows(io, [
    ...(service?.rows ?? []),
    ['Other services', beside === '' ? undefined : beside],
    ['Port', port && portText(port)],
    ...hostRows(host)
  ])
}
