import type { Destination } from './credentials.ts'
import { ClientError } from './errors.ts'
import type { SshRoute } from './ssh/route.ts'
import { checkGatewayUrl } from './url-policy.ts'

/** One place to connect to. */
export type Endpoint =
  | { kind: 'socket'; path: string; source: 'local socket' }
  | { kind: 'url'; url: URL; source: UrlSource; destination: Destination; tunnel?: Tunnel }

/** A way through ssh: over the tunnel that is up at the URL, or over one that is opened for this connection alone. */
export interface Tunnel {
  route: SshRoute
  opens: boolean
}

/** How a URL was chosen, in the reference's words. */
export type UrlSource =
  | 'cli --url'
  | 'cli --port'
  | 'env OPENCLAW_GATEWAY_URL'
  | 'cli --ssh'
  | 'config gateway.remote.url'
  | 'config gateway.remote.sshTarget'
  | 'local loopback'

/** What a choice of target starts from. */
export interface TargetInput {
  /** `--url` */
  url?: string | undefined
  /** `--port` */
  port?: number | undefined
  /** Reports whether a credential was given by hand: then it is to be used, so the socket that needs none is not. */
  hasCredential: boolean
  /** `OPENCLAW_GATEWAY_URL` */
  envUrl?: string | undefined
  mode: 'local' | 'remote' | undefined
  remoteUrl: string | undefined
  /** The port of the gateway on this host. */
  localPort: number
  /** Reports whether the gateway on this host speaks TLS. */
  localTls: boolean
  localSocket: string
}

/** The places to try, in order: one, or in local mode the owner's socket and then loopback. */
export function resolveTargets(input: TargetInput): [Endpoint, ...Endpoint[]] {
  if (input.url !== undefined && input.port !== undefined) {
    throw new ClientError('TARGET_INVALID', 'use either --url or --port, not both')
  }
  if (input.url !== undefined) return [urlEndpoint(input.url, 'cli --url', 'explicit')]
  const scheme = input.localTls ? 'wss' : 'ws'
  if (input.port !== undefined) return [urlEndpoint(`${scheme}://127.0.0.1:${input.port}`, 'cli --port', 'local')]
  if (input.envUrl !== undefined && input.envUrl.trim() !== '') {
    return [urlEndpoint(input.envUrl, 'env OPENCLAW_GATEWAY_URL', 'environment')]
  }
  if (input.mode === 'remote') {
    if (input.remoteUrl === undefined) {
      throw new ClientError('TARGET_INVALID', 'gateway.mode is "remote", but gateway.remote.url is not set', {
        fix: 'openclaw config set gateway.remote.url ws://127.0.0.1:18789'
      })
    }
    return [urlEndpoint(input.remoteUrl, 'config gateway.remote.url', 'remote')]
  }
  const loopback = urlEndpoint(`${scheme}://127.0.0.1:${input.localPort}`, 'local loopback', 'local')
  return input.hasCredential
    ? [loopback]
    : [{ kind: 'socket', path: input.localSocket, source: 'local socket' }, loopback]
}

/** How a person reads an endpoint. */
export function describeEndpoint(endpoint: Endpoint): string {
  return endpoint.kind === 'socket' ? `unix:${endpoint.path}` : endpoint.url.href.replace(/\/$/, '')
}

/** One URL to connect to, checked; a refusal names where it came from. */
export function urlEndpoint(text: string, source: UrlSource, destination: Destination): Endpoint & { kind: 'url' } {
  try {
    return { kind: 'url', url: checkGatewayUrl(text), source, destination }
  } catch (error) {
    if (!(error instanceof ClientError) || source === 'cli --url') throw error
    const options = { cause: error, ...(error.fix === undefined ? {} : { fix: error.fix }) }
    throw new ClientError(error.code, `${source}: ${error.message}`, options)
  }
}
