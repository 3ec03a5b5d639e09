import { Command } from 'commander'
import { VERSION } from '../../package.ts'
import { addTargetOptions, parseTimeout, placesOf, type TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { printJson, printRows } from '../output.ts'
import { inspectGateway, printReport } from '../status.ts'

const TIMEOUT_MS = 60_000

/** `openclaw status`: what the configured gateway is, and how this host reaches it. */
export function build(io: Io): Command {
  const command = new Command('status')
    .description('Show what the configured gateway is and how it is reached')
    .option('--deep', 'Also ask for its health')
    .option('--all', 'The same as --deep')
    .option('--verbose', 'Also show the places on this host')
    .option('--debug', 'The same as --verbose')
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
  const deep = options.deep === true || options.all === true
  const report = await inspectGateway(io, options, { timeoutMs, deep })
  const { paths } = placesOf(io)
  if (options.json === true) {
    const { status: gatewayStatus, health, ...gateway } = report
    const own = { version: VERSION, configPath: paths.configPath, stateDir: paths.stateDir }
    return printJson(io, { gateway, status: gatewayStatus, ...(deep ? { health } : {}), cli: own })
  }
  printReport(io, report, { facts: deep })
  if (options.verbose !== true && options.debug !== true) return
  printRows(io, [
    ['Config', paths.configPath],
    ['State', paths.stateDir],
    ['Socket', paths.localSocket]
  ])
}
