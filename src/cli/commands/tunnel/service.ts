import { Command } from 'commander'
import type { Io } from '../../io.ts'
import type { ServiceOptions } from '../../tunnel/install.ts'
import type { TunnelOptions } from '../../tunnel/target.ts'
import { addTunnelOptions } from './options.ts'

/** `openclaw tunnel install`: keeps the tunnel up, now and after a restart of this machine. */
export function buildInstall(io: Io): Command {
  const command = new Command('install').description(
    'Keep the tunnel up as a service of this user: shows the ssh entry and the service, then writes both'
  )
  return addTunnelOptions(command)
    .option('--print', 'Show what would be written, and write nothing')
    .option('--json', 'Print JSON')
    .action(async (options: ServiceOptions) => (await import('../../tunnel/install.ts')).installTunnel(io, options))
}

/** `openclaw tunnel status`: whether the tunnel is up, and who keeps it up. */
export function buildStatus(io: Io): Command {
  const command = new Command('status').description(
    'Show whether the tunnel is up, who keeps it up, and what stands in its way'
  )
  return addTunnelOptions(command)
    .option('--json', 'Print JSON')
    .action(async (options: TunnelOptions) => (await import('../../tunnel/status.ts')).showTunnel(io, options))
}

/** `openclaw tunnel restart`. */
export function buildRestart(io: Io): Command {
  return new Command('restart')
    .description('Stop the service and start it again')
    .option('--print', 'Show the command of the system that does it, and do nothing')
    .option('--json', 'Print JSON')
    .action(async (options: ServiceOptions) => (await import('../../tunnel/install.ts')).restartTunnel(io, options))
}

/** `openclaw tunnel uninstall`. */
export function buildUninstall(io: Io): Command {
  return new Command('uninstall')
    .description('Stop the service, and remove it and its ssh entry')
    .option('--print', 'Show what would be done, and do nothing')
    .option('--json', 'Print JSON')
    .action(async (options: ServiceOptions) => (await import('../../tunnel/install.ts')).uninstallTunnel(io, options))
}
