import { Command } from 'commander'
import type { Check } from '../doctor/check.ts'
import { type DoctorContext, gather, isRemote } from '../doctor/context.ts'
import { jsonOf, printChecks, printRepaired } from '../doctor/report.ts'
import { ownFix } from '../errors.ts'
import { CliError, type Io } from '../io.ts'
import { printJson, withProgress } from '../output.ts'

const TIMEOUT_MS = 3_000

interface DoctorOptions {
  fix?: boolean
  repair?: boolean
  json?: boolean
  deep?: boolean
  yes?: boolean
  nonInteractive?: boolean
  generateGatewayToken?: boolean
}

/** `openclaw doctor`: what is wrong with the gateway of this host, and how to mend it. */
export function build(io: Io): Command {
  return new Command('doctor')
    .description('Find what is wrong, and mend it; exit code 1 while an error is left')
    .option('--fix', 'Mend what can be mended safely, then check')
    .option('--repair', 'The same as --fix')
    .option('--deep', 'Also ask the gateway for its health, look at services of the system, and try the doors')
    .option('-y, --yes', 'The same as --fix, and ask nothing')
    .option('--non-interactive', 'Ask nothing')
    .option('--generate-gateway-token', 'Write a new random token into the configuration')
    .option('--json', 'Print JSON; changes nothing, and exits with 0')
    .action((options: DoctorOptions) => doctor(io, options))
}

async function doctor(io: Io, options: DoctorOptions): Promise<void> {
  const { json = false, deep = false, generateGatewayToken: generate = false } = options
  const fix = options.fix === true || options.repair === true || options.yes === true
  if (json && (fix || generate)) {
    throw new CliError('USAGE', '--json only looks; it cannot be combined with a flag that changes something', {
      fix: 'openclaw doctor --fix'
    })
  }
  if (generate) {
    const { rotateToken } = await import('../rotate.ts')
    const { path, running } = await rotateToken(io)
    io.stdout(`Wrote a new token to ${path}. See it: openclaw gateway auth-token --show`)
    io.stdout(`${running ? 'It is in force. ' : ''}Clients that use the old token have to be given the new one.`)
    if (!fix) return
  }
  const look = () => gather(io, { deep, timeoutMs: TIMEOUT_MS })
  let context = await look()
  if (fix) {
    const { repair } = await import('../doctor/repair.ts')
    const ask = io.isTTY && options.yes !== true && options.nonInteractive !== true
    const repaired = await repair(context, ask)
    printRepaired(io, repaired)
    if (repaired.done.length > 0) context = await look()
  }
  const checks = await withProgress(io, 'Looking', checkAll(context))
  if (json) return printJson(io, jsonOf(checks))
  printChecks(io, checks, fix)
  if (checks.some(({ status }) => status === 'error')) io.exit(1)
}

// In the order in which they are read; all at once, because some have to wait.
async function checkAll(context: DoctorContext): Promise<Check[]> {
  const [host, config, files, state, gateway, remote, tailscale, service, tls, security] = await Promise.all([
    import('../doctor/host.ts'),
    import('../doctor/config.ts'),
    import('../doctor/files.ts'),
    import('../doctor/state.ts'),
    import('../doctor/gateway.ts'),
    import('../doctor/remote.ts'),
    import('../doctor/tailscale.ts'),
    import('../doctor/service.ts'),
    import('../doctor/tls.ts'),
    import('../doctor/security.ts')
  ])
  const checks = await Promise.all([
    host.nodeCheck(),
    config.configChecks(context),
    config.startCheck(context),
    files.permissionChecks(context),
    state.stateChecks(context),
    files.databaseCheck(context),
    gateway.portCheck(context),
    gateway.gatewayCheck(context),
    service.serviceChecks(context),
    service.driftChecks(context),
    remote.remoteChecks(context),
    tailscale.tailscaleCheck(context),
    tls.tlsChecks(context.facts.certificate, Date.now()),
    security.securityCheck(context),
    host.clockCheck(context.facts),
    files.diskCheck(context)
  ])
  const client = isRemote(context)
  return checks.flat().map(({ fix, ...check }) => {
    return fix === undefined ? check : { ...check, fix: ownFix(context.io, fix, client) }
  })
}
