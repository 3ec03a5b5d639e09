import { expand } from '../../config/paths.ts'
import type { Config } from '../../config/types.ts'
import type { Destination } from '../credentials.ts'
import { type Endpoint, type UrlSource, urlEndpoint } from '../target.ts'
import { isLoopbackUrl } from '../url-policy.ts'
import { describeTarget, parseSshTarget, type SshRoute } from './route.ts'

type UrlEndpoint = Endpoint & { kind: 'url' }
type Remote = Config['gateway']['remote']

/** One way through ssh alone: the tunnel that is up, or one of its own, to the configured host or to one given by hand. */
export interface SshChoice {
  only: 'standing' | 'own'
  /** `--ssh` */
  target?: string | undefined
  /** Nobody named the target: it was found on a network. */
  found?: boolean
  /** `--ssh-identity` */
  identity?: string | undefined
  /** The gateway's port on that host. */
  port?: number | undefined
}

const LOCAL_END = 'ws://127.0.0.1:18789'

/** Where the local end of the tunnel is that the configuration means; undefined when it means none (R32). */
export function configuredLocalEnd({ url, transport, sshTarget }: Remote): URL | undefined {
  if (transport !== 'ssh' || (url === undefined && sshTarget === undefined)) return undefined
  const end = URL.parse(url ?? LOCAL_END)
  return end !== null && isLoopbackUrl(end) ? end : undefined
}

/** Where a tunnel begins: the configured local end, else the usual one. */
export function tunnelEnd(remote: Remote): URL {
  return configuredLocalEnd(remote) ?? new URL(LOCAL_END)
}

/** The URL of the remote gateway: the configured one, or where its tunnel begins. */
export function remoteUrl(remote: Remote): string | undefined {
  return remote.url ?? (remote.sshTarget === undefined ? undefined : configuredLocalEnd(remote)?.href)
}

/** The port of a tunnel's local end. */
export function portOf(url: URL): number {
  return Number(url.port || (url.protocol === 'wss:' ? 443 : 80))
}

/** The way that the configuration and what was given by hand name; undefined without a host. */
export function sshRoute(remote: Remote | undefined, home: string, given?: SshChoice): SshRoute | undefined {
  const text = given?.target ?? remote?.sshTarget
  if (text === undefined) return undefined
  const identity = given?.identity ?? remote?.sshIdentity
  const end = remote === undefined ? undefined : configuredLocalEnd(remote)
  return {
    target: parseSshTarget(text, given?.target === undefined ? 'gateway.remote.sshTarget' : '--ssh'),
    identity: identity === undefined ? undefined : expand(identity, home),
    hostKeyPolicy: remote?.sshHostKeyPolicy ?? 'strict',
    // Both ends have the same port unless something says otherwise.
    remotePort: given?.port ?? remote?.remotePort ?? (end === undefined ? 18_789 : portOf(end))
  }
}

/**
 * The ways to the remote gateway by SSH: the tunnel that is up, then one of its own. Undefined when it is not reached by SSH,
 * or no host is known.
 */
export function sshEndpoints(remote: Remote | undefined, home: string, choice?: SshChoice): UrlEndpoint[] | undefined {
  const end = remote === undefined ? undefined : configuredLocalEnd(remote)
  const route = sshRoute(remote, home, choice)
  if (route === undefined || (end === undefined && choice?.target === undefined)) return undefined
  if (choice?.only === 'own') {
    const source: UrlSource = choice.target === undefined ? 'config gateway.remote.sshTarget' : 'cli --ssh'
    const url = `${end?.protocol ?? 'ws:'}//127.0.0.1:${route.remotePort}`
    return [{ ...urlEndpoint(url, source, destinationOf(remote, choice)), tunnel: { route, opens: true } }]
  }
  const source: UrlSource = remote?.url === undefined ? 'config gateway.remote.sshTarget' : 'config gateway.remote.url'
  const endpoint = urlEndpoint(remote?.url ?? LOCAL_END, source, 'remote')
  const standing = { ...endpoint, tunnel: { route, opens: false } }
  return choice === undefined ? [standing, { ...endpoint, tunnel: { route, opens: true } }] : [standing]
}

// The configured credentials are for the configured gateway: a host given by hand is that one, or gets none of them. One
// that was found gets none at all (S15).
function destinationOf(remote: Remote | undefined, { target, found }: SshChoice): Destination {
  if (found === true) return 'explicit'
  if (target === undefined) return 'remote'
  if (remote === undefined || configuredLocalEnd(remote) === undefined) return 'explicit'
  const { sshTarget } = remote
  const same =
    sshTarget === undefined || describeTarget(parseSshTarget(sshTarget)) === describeTarget(parseSshTarget(target))
  return same ? 'remote' : 'explicit'
}
