import { Command } from 'commander'
import type { Io } from '../io.ts'
import { buildControl, buildInstall } from './gateway/service.ts'
import { buildStatus } from './gateway/status.ts'

/** `openclaw daemon`: the older name of what `gateway` does with its service, for scripts. */
export function build(io: Io): Command {
  return new Command('daemon')
    .description('The older name of: gateway status, install, start, stop, restart, uninstall')
    .usage('<command> [options]')
    .addCommand(buildStatus(io))
    .addCommand(buildInstall(io))
    .addCommand(buildControl(io, 'start'))
    .addCommand(buildControl(io, 'stop'))
    .addCommand(buildControl(io, 'restart'))
    .addCommand(buildControl(io, 'uninstall'))
}
