import { Command } from 'commander'
import type { Io } from '../io.ts'
import { buildAuthToken } from './gateway/auth-token.ts'
import { buildCall } from './gateway/call.ts'
import { buildDiscover } from './gateway/discover.ts'
import { buildHealth } from './gateway/health.ts'
import { buildProbe } from './gateway/probe.ts'
import { buildRun } from './gateway/run.ts'
import { buildControl, buildInstall } from './gateway/service.ts'
import { buildStability } from './gateway/stability.ts'
import { buildStatus } from './gateway/status.ts'

/** `openclaw gateway`: runs the gateway, and asks a running one. */
export function build(io: Io): Command {
  return new Command('gateway')
    .description(
      'Run and query the gateway, here or as a service; without a command it runs in this terminal, like "gateway run"'
    )
    .addCommand(buildRun(io), { isDefault: true })
    .addCommand(buildInstall(io))
    .addCommand(buildControl(io, 'start'))
    .addCommand(buildControl(io, 'stop'))
    .addCommand(buildControl(io, 'restart'))
    .addCommand(buildControl(io, 'uninstall'))
    .addCommand(buildHealth(io))
    .addCommand(buildStatus(io))
    .addCommand(buildProbe(io))
    .addCommand(buildDiscover(io))
    .addCommand(buildCall(io))
    .addCommand(buildStability(io))
    .addCommand(buildAuthToken(io))
}
