import { Command } from 'commander'
import type { Io } from '../io.ts'
import { buildIdentity } from './node/identity.ts'
import { buildNodeRun } from './node/run.ts'
import { buildInstall, buildServiceCommand } from './node/service.ts'
import { buildServiceStatus } from './node/status.ts'

/** `openclaw node`: lends this machine to a gateway, as a node without a screen. */
export function build(io: Io): Command {
  return new Command('node')
    .description('Let a gateway run commands on this machine: a headless node')
    .usage('<command> [options]')
    .addCommand(buildNodeRun(io))
    .addCommand(buildIdentity(io))
    .addCommand(buildInstall(io))
    .addCommand(buildServiceStatus(io))
    .addCommand(buildServiceCommand(io, 'start'))
    .addCommand(buildServiceCommand(io, 'stop'))
    .addCommand(buildServiceCommand(io, 'restart'))
    .addCommand(buildServiceCommand(io, 'uninstall'))
}
