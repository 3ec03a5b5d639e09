import { Command } from 'commander'
import { VERSION } from '../../../package.ts'
import { addTargetOptions, parseTimeout, placesOf, type TargetOptions } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'
import { printJson, printRows } from '../../output.ts'
import { inspectGateway, printReport } from '../../status.ts'

const TIMEOUT_MS = 10_000

/** `openclaw gateway status`: whether a gateway can be reached, and what the credential is good for. */
export function buildStatus(io: Io): Command {
  const command = new Command('status')
    .description('Show whether a gateway can be reached, and what this credential is good for')
    .option('--no-probe', 'Show the places on this host only')
    .option('--deep', 'Also ask for its health')
    .option('--require-rpc', 'Exit with 1 unless the gateway answers a read call')
  return addTargetOptions(command, TIMEOUT_MS).action((options: StatusOptions) => status(io, options))
}

interface StatusOptions extends TargetOptions {
  probe: boolean
  deep?: boolean
  requireRpc?: boolean
}

async function status(io: Io, options: StatusOptions): Promise<void> {
  if (!options.probe && options.requireRpc === true) {
    throw new CliError('USAGE', '--require-rpc and --no-probe exclude each other')
  }
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const { paths } = placesOf(io)
  const report = options.probe
    ? await inspectGateway(io, options, { timeoutMs, deep: options.deep === true })
    : undefined
  const { error, facts, reachable } = report ?? {}
  const ok = reachable === true && error === undefined
  if (options.requireRpc === true && facts?.rpc.state !== 'yes') io.exit(1)
  if (options.json === true) {
    const { reachable: _reachable, error: _error, ...gateway } = report ?? {}
    const { url, capability, auth, version } = report ?? {}
    const rpc = { ok, kind: 'read', gatewayReached: reachable, reachable, capability, auth, server: { version }, url }
    return printJson(io, {
      cli: { version: VERSION },
      config: { path: paths.configPath, stateDir: paths.stateDir, localSocket: paths.localSocket },
      ...(report === undefined ? {} : { gateway, rpc: { ...rpc, ...(error === undefined ? {} : { error }) } })
    })
  }
  if (report !== undefined) printReport(io, report, { facts: true })
  printRows(io, [
    ['Config', paths.configPath],
    ['State', paths.stateDir]
  ])
}
