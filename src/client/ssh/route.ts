import { ClientError } from '../errors.ts'

/** A host that ssh can reach: its name, or an alias of the user's ssh configuration. */
export interface SshTarget {
  user: string | undefined
  host: string
  port: number | undefined
}

/** How a gateway is reached through ssh. */
export interface SshRoute {
  target: SshTarget
  /** Path of a private key; undefined leaves the choice to ssh. */
  identity: string | undefined
  hostKeyPolicy: 'strict' | 'openssh'
  /** Where the gateway listens on that host's loopback. */
  remotePort: number
}

/**
 * Takes `user@host` or `user@host:port` apart. Throws a ClientError for anything that ssh, or a command of the user's ssh
 * configuration, could read as something else than a name.
 */
export function parseSshTarget(text: string, source = 'gateway.remote.sshTarget'): SshTarget {
  const trimmed = text.trim()
  const at = trimmed.lastIndexOf('@')
  const user = at === -1 ? undefined : trimmed.slice(0, at)
  const { host, port } = splitPort(trimmed.slice(at + 1))
  const valid = HOST.test(host) && (user === undefined || USER.test(user)) && (port === undefined || isPort(port))
  if (valid) return { user, host, port: port === undefined ? undefined : Number(port) }
  throw new ClientError(
    'SSH_TARGET_INVALID',
    `${source} is not a host for ssh; it must be user@host or user@host:port`,
    {
      fix:
        source === 'gateway.remote.sshTarget'
          ? 'openclaw config set gateway.remote.sshTarget user@gateway-host'
          : `${source}${source.endsWith('/') ? '' : ' '}user@gateway-host`
    }
  )
}

// A dash in front would be an option; what a shell would read never reaches a ProxyCommand (%h, %r).
const HOST = /^[\p{L}\p{N}_:][\p{L}\p{N}._:%-]{0,253}$/u
const USER = /^[\p{L}\p{N}_.+][\p{L}\p{N}_.+@\\-]{0,253}$/u

function splitPort(text: string): { host: string; port: string | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text)
  if (bracketed !== null) return { host: bracketed[1] ?? '', port: bracketed[2] }
  const colon = text.indexOf(':')
  // More than one colon is an IPv6 address without a port.
  if (colon === -1 || text.includes(':', colon + 1)) return { host: text, port: undefined }
  return { host: text.slice(0, colon), port: text.slice(colon + 1) }
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535
}

/** `user@host`, as ssh takes it; its port is an option. */
export function sshDestination({ user, host }: SshTarget): string {
  return user === undefined ? host : `${user}@${host}`
}

/** How a person writes a target: `user@host:port`. */
export function describeTarget(target: SshTarget): string {
  const { port, host } = target
  if (port === undefined) return sshDestination(target)
  return `${sshDestination({ ...target, host: host.includes(':') ? `[${host}]` : host })}:${port}`
}
