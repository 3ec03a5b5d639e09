import type { Command } from 'commander'

/** Adds the options that say where a tunnel leads. */
export function addTunnelOptions(command: Command): Command {
  return command
    .option('--ssh <target>', 'The host to log in to: user@host or user@host:port (default: gateway.remote.sshTarget)')
    .option('--ssh-identity <path>', 'The private key to log in with (default: gateway.remote.sshIdentity)')
    .option('--local-port <port>', 'Where the tunnel begins here (default: the port of gateway.remote.url, 18789)')
    .option('--remote-port <port>', "The gateway's port on that host (default: gateway.remote.remotePort)")
}
