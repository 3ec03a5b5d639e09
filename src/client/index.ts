import type { Connection, ConnectOptions } from './connect.ts'
import { GatewayClient, type GatewayClientOptions } from './core.ts'
import { ClientError } from './errors.ts'
import { openUnix, openUrl } from './node-socket.ts'
import type { TlsOptions } from './open-tls.ts'
import { parsePins } from './tls-pin.ts'
import { checkGatewayUrl } from './url-policy.ts'

export type { Connection } from './connect.ts'
export { ConnectFailure } from './connect-failure.ts'
export * from './public.ts'
export { checkGatewayUrl } from './url-policy.ts'

/** Where a Node program finds its gateway: a `ws://` or `wss://` URL, or the Unix socket of the gateway on this host. */
export type NodeEndpoint =
  | {
      url: string
      /** The certificate that a `wss://` gateway must show: `sha256:HEX`, or `sha256/BASE64` of its key; two with a comma. */
      tlsFingerprint?: string
      /** What a proxy in front of a `wss://` gateway wants to see; it goes to no other place. */
      headers?: Readonly<Record<string, string>>
    }
  | { socketPath: string }

const TLS_TIMEOUT_MS = 15_000

/**
 * A client for Node programs, not yet connected: call `connect()`. Throws a ClientError when the URL may not be used
 * (R33), before anything is sent.
 */
export function nodeClient(endpoint: NodeEndpoint, options: Omit<GatewayClientOptions, 'createSocket'>): GatewayClient {
  if ('socketPath' in endpoint)
    return new GatewayClient({ ...options, createSocket: () => openUnix(endpoint.socketPath) })
  const { headers, tlsFingerprint } = endpoint
  const url = checkGatewayUrl(endpoint.url)
  if (url.protocol !== 'wss:' && (headers !== undefined || tlsFingerprint !== undefined)) {
    const what = headers === undefined ? 'a fingerprint' : 'headers'
    throw new ClientError('URL_INSECURE', `${what} can only be used with wss://, and ${url.origin} is plaintext`)
  }
  const timeoutMs = options.handshakeTimeoutMs ?? TLS_TIMEOUT_MS
  const tls = tlsFingerprint === undefined ? undefined : pinned(tlsFingerprint, timeoutMs)
  return new GatewayClient({ ...options, createSocket: () => openUrl(url, { tls, headers }) })
}

function pinned(fingerprint: string, timeoutMs: number): TlsOptions {
  const source = 'tlsFingerprint'
  const fix = 'compare it with the fingerprint that "openclaw status" prints on the gateway host'
  return { trust: { by: 'pin', pins: parsePins(fingerprint, source), source, fix }, timeoutMs }
}

/** What `connectConfigured` may be told; everything else is in the configuration. */
export type ConfiguredOptions = Pick<ConnectOptions, 'client' | 'scopes'> &
  Partial<Pick<ConnectOptions, 'url' | 'port' | 'token' | 'password' | 'tlsFingerprint' | 'timeoutMs' | 'onEvent'>> & {
    /** The environment; it names the state folder, and may name the gateway and its credential. */
    env: Readonly<Record<string, string | undefined>>
  }

/** Connects to the gateway that the command line would reach, with the credential that it would send. */
export async function connectConfigured(options: ConfiguredOptions): Promise<Connection> {
  const [{ connectConfigured: connect }, { resolvePaths }, { withDotenv }] = await Promise.all([
    import('./connect.ts'),
    import('../config/paths.ts'),
    import('../config/env.ts')
  ])
  const paths = resolvePaths(options.env)
  const env = withDotenv(options.env, paths.stateDir)
  return connect({ purpose: 'call', timeoutMs: TLS_TIMEOUT_MS, ...options, env, paths })
}
