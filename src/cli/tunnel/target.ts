import { portOf, type SshChoice, sshRoute, tunnelEnd } from '../../client/ssh/endpoints.ts'
import type { SshRoute } from '../../client/ssh/route.ts'
import { loadConfig } from '../../config/load.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { parsePort } from '../ports.ts'

/** The options that say where a tunnel leads; the configuration says the rest. */
export interface TunnelOptions {
  ssh?: string
  sshIdentity?: string
  localPort?: string
  remotePort?: string
  json?: boolean
}

/** Where a tunnel begins and where it leads. */
export interface TunnelTarget {
  route: SshRoute
  localPort: number
}

/** The tunnel that options and configuration name. Throws a CliError without a host. */
export async function tunnelTarget(io: Io, options: TunnelOptions): Promise<TunnelTarget> {
  const target = await configuredTunnel(io, options)
  if (target.route !== undefined) return { ...target, route: target.route }
  throw new CliError('SSH_TARGET_MISSING', 'no host is named to open a tunnel to', {
    fix: 'openclaw config set gateway.remote.sshTarget user@gateway-host'
  })
}

/** The same, with no route where no host is named. */
export async function configuredTunnel(
  io: Io,
  options: TunnelOptions
): Promise<{ route: SshRoute | undefined; localPort: number }> {
  const { paths, env } = placesOf(io)
  const { gateway } = await loadConfig({ env, paths, client: true })
  const choice: SshChoice = {
    only: 'own',
    target: options.ssh,
    identity: options.sshIdentity,
    port: options.remotePort === undefined ? undefined : parsePort(options.remotePort, '--remote-port')
  }
  const localPort =
    options.localPort === undefined ? portOf(tunnelEnd(gateway.remote)) : parsePort(options.localPort, '--local-port')
  return { route: sshRoute(gateway.remote, paths.home, choice), localPort }
}
