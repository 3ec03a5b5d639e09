import { Command } from 'commander'
import type { Io } from '../io.ts'
import { buildInstall, buildRestart, buildStatus, buildUninstall } from './tunnel/service.ts'
import { buildUp } from './tunnel/up.ts'

/** `openclaw tunnel`: an SSH tunnel to the gateway, kept up here or by the system. */
export function build(io: Io): Command {
  return new Command('tunnel')
    .description('Keep an SSH tunnel to the gateway up, in this terminal or as a service')
    .usage('<command> [options]')
    .addCommand(buildUp(io))
    .addCommand(buildInstall(io))
    .addCommand(buildStatus(io))
    .addCommand(buildRestart(io))
    .addCommand(buildUninstall(io))
}
