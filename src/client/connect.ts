import { loadConfig } from '../config/load.ts'
import type { Config, Paths } from '../config/types.ts'
import type { ClientInfo, EventFrame, HelloOk } from '../protocol/frames.ts'
import type { Scope } from '../protocol/scopes.ts'
import { GatewayClient, GatewayError } from './core.ts'
import { type Credentials, type Purpose, resolveCredentials } from './credentials.ts'
import { ClientError } from './errors.ts'
import { openPinned, openUnix, openUrl } from './node-socket.ts'
import type { SshChoice } from './ssh/endpoints.ts'
import type { TunnelFacts } from './ssh/tunnel.ts'
import { describeEndpoint, type Endpoint, resolveTargets, type TargetInput, type Tunnel } from './target.ts'
import type { SocketLike } from './types.ts'

/** What one configured connection is told. */
export interface ConnectOptions {
  /** The environment, with what the state folder's `.env` adds. */
  env: Readonly<Record<string, string | undefined>>
  paths: Paths
  client: ClientInfo
  scopes: readonly Scope[]
  purpose: Purpose
  url?: string | undefined
  port?: number | undefined
  token?: string | undefined
  password?: string | undefined
  /** Picks one side where the configuration would choose: a probe looks at both. */
  mode?: 'local' | 'remote' | undefined
  /** Picks one way through ssh where the configuration would try two. */
  ssh?: SshChoice | undefined
  /** For the handshake, in milliseconds. */
  timeoutMs: number
  onEvent?: (frame: EventFrame) => void
  /** Hears of the configuration's problems that do not stop this connection. */
  onWarning?: (text: string) => void
}

/** An open connection, and how it came about. */
export interface Connection {
  client: GatewayClient
  hello: HelloOk
  endpoint: Endpoint
  /** Undefined on the owner's socket, which needs none. */
  credentials: Credentials | undefined
  /** The tunnel that it goes through; undefined without one. */
  tunnel: TunnelFacts | undefined
  /** Places that were tried before, with what happened there. */
  tried: readonly { endpoint: Endpoint; error: GatewayError }[]
}

/** A connection that did not come about: the last place that was tried, and why it failed there. */
export class ConnectFailure extends Error {
  readonly reason: GatewayError
  readonly endpoint: Endpoint
  readonly credentials: Credentials | undefined
  readonly tried: Connection['tried']

  constructor(
    reason: GatewayError,
    endpoint: Endpoint,
    credentials: Credentials | undefined,
    tried: Connection['tried']
  ) {
    super(`${describeEndpoint(endpoint)}: ${reason.message}`, { cause: reason })
    this.name = 'ConnectFailure'
    this.reason = reason
    this.endpoint = endpoint
    this.credentials = credentials
    this.tried = tried
  }
}

/** Connects to the configured gateway: the owner's socket on its host, else the URL that flags, environment and file name. */
export async function connectConfigured(options: ConnectOptions): Promise<Connection> {
  const { config, problem } = await readConfig(options)
  const endpoints = (await tunnelEndpoints(options, config)) ?? resolveTargets(targetsOf(options, config))
  const tried: { endpoint: Endpoint; error: GatewayError }[] = []
  for (const endpoint of endpoints) {
    // A broken file must not lock the owner out: the socket needs nothing from it. Everything else does.
    if (problem !== undefined && endpoint.kind === 'url' && endpoint.destination !== 'explicit') throw problem
    const credentials = endpoint.kind === 'socket' ? undefined : await credentialsFor(endpoint, options, config)
    try {
      const connected = await connectTo(endpoint, options, credentials, config)
      if (problem instanceof Error) options.onWarning?.(problem.message)
      return { ...connected, endpoint, credentials, tried }
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      if (endpoint === endpoints.at(-1) || !(nobodyListens(error) || standingFailed(error, endpoint))) {
        throw new ConnectFailure(error, endpoint, credentials, tried)
      }
      tried.push({ endpoint, error })
    }
  }
  throw new Error('unreachable: there is always an endpoint')
}

function targetsOf(options: ConnectOptions, config: Config | undefined): TargetInput {
  return {
    url: options.url,
    port: options.port,
    hasCredential: given(options.token) || given(options.password),
    envUrl: options.mode === undefined ? options.env.OPENCLAW_GATEWAY_URL : undefined,
    mode: options.mode ?? config?.gateway.mode,
    remoteUrl: config?.gateway.remote.url,
    localPort: config?.gateway.port ?? options.paths.defaultPort ?? 18789,
    localTls: config?.gateway.tls.enabled ?? false,
    localSocket: options.paths.localSocket
  }
}

async function tunnelEndpoints(
  options: ConnectOptions,
  config: Config | undefined
): Promise<readonly Endpoint[] | undefined> {
  const remote = config?.gateway.remote
  const named = options.ssh?.target ?? remote?.sshTarget
  if (named === undefined) return undefined
  const { url, port, envUrl, mode } = targetsOf(options, config)
  const elsewhere = url !== undefined || port !== undefined || given(envUrl) || mode !== 'remote'
  if (elsewhere && options.ssh === undefined) return undefined
  // Most connections go through none.
  const { sshEndpoints } = await import('./ssh/endpoints.ts')
  const endpoints = sshEndpoints(remote, options.paths.home, options.ssh)
  const foreign = endpoints?.some((endpoint) => endpoint.destination === 'explicit')
  if (foreign !== true || given(options.token) || given(options.password)) return endpoints
  const message = 'missing credentials: a host given by hand never gets the credentials of the configured one'
  throw new ClientError('CREDENTIALS_MISSING', message, { fix: 'pass --token or --password with --ssh' })
}

async function readConfig(options: ConnectOptions): Promise<{ config: Config | undefined; problem: unknown }> {
  try {
    return { config: await loadConfig({ env: options.env, paths: options.paths, client: true }), problem: undefined }
  } catch (problem) {
    return { config: undefined, problem }
  }
}

function credentialsFor(
  endpoint: Endpoint & { kind: 'url' },
  options: ConnectOptions,
  config: Config | undefined
): Promise<Credentials> {
  const auth = config?.gateway.auth
  return resolveCredentials({
    destination: endpoint.destination,
    purpose: options.purpose,
    explicit: { token: options.token, password: options.password },
    env: options.env,
    fileSecret: async (key) => config?.fileSecret(key),
    authMode: auth?.modeExplicit === true ? auth.mode : undefined
  })
}

async function connectTo(
  endpoint: Endpoint,
  options: ConnectOptions,
  credentials: Credentials | undefined,
  config: Config | undefined
): Promise<Pick<Connection, 'client' | 'hello' | 'tunnel'>> {
  const auth = {
    ...(credentials?.token === undefined ? {} : { token: credentials.token.value }),
    ...(credentials?.password === undefined ? {} : { password: credentials.password.value })
  }
  const way = await socketFactory(endpoint, options, config)
  // Without a credential only a backend keeps its scopes (`gateway.auth.mode: "none"`).
  const anonymous = endpoint.kind === 'url' && Object.keys(auth).length === 0
  const client = new GatewayClient({
    createSocket: way.open,
    client: anonymous ? { ...options.client, id: 'gateway-client', mode: 'backend' } : options.client,
    scopes: [...options.scopes],
    handshakeTimeoutMs: options.timeoutMs,
    auth: () => (Object.keys(auth).length === 0 ? undefined : auth),
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent })
  })
  return { client, hello: await client.connect(), tunnel: way.tunnel }
}

interface Way {
  open(): SocketLike
  tunnel?: TunnelFacts | undefined
}

async function socketFactory(endpoint: Endpoint, options: ConnectOptions, config: Config | undefined): Promise<Way> {
  if (endpoint.kind === 'socket') return { open: () => openUnix(endpoint.path) }
  const { url, tunnel } = endpoint
  const { timeoutMs } = options
  const pin = url.protocol === 'wss:' && config !== undefined ? await pinFor(endpoint, config) : undefined
  if (tunnel !== undefined && url.protocol === 'wss:' && pin === undefined) {
    throw new ClientError(
      'TLS_PIN_MISMATCH',
      `${url.origin} at the end of a tunnel shows the gateway's own certificate`,
      {
        fix: 'openclaw config set gateway.remote.tlsFingerprint sha256:… ("openclaw status" on the gateway host prints it)'
      }
    )
  }
  const through = tunnel === undefined ? undefined : await throughTunnel(url, tunnel, options)
  if (pin === undefined) return { open: () => openUrl(url, through?.stream), tunnel: through?.facts }
  try {
    const verified = await openPinned(url, pin.fingerprint, timeoutMs, pin.fix, through?.stream)
    return { open: () => openUrl(url, verified), tunnel: through?.facts }
  } catch (error) {
    if (error instanceof Error && !('fix' in error)) {
      throw new GatewayError('CONNECTION_FAILED', error.message, { cause: error })
    }
    throw error
  }
}

async function throughTunnel(url: URL, tunnel: Tunnel, { env, timeoutMs }: ConnectOptions) {
  const { openTunnel } = await import('./ssh/tunnel.ts')
  return openTunnel(url, tunnel, { env, timeoutMs })
}

// Whoever can read the certificate of this host's gateway needs nobody to vouch for it.
async function pinFor(
  { destination }: Endpoint & { kind: 'url' },
  { gateway }: Config
): Promise<{ fingerprint: string; fix?: string } | undefined> {
  if (destination === 'local') {
    const { certificatePin } = await import('./certificate-pin.ts')
    const fingerprint = await certificatePin(gateway.tls.certPath)
    if (fingerprint === undefined) return undefined
    return { fingerprint, fix: `compare "openclaw status" with ${gateway.tls.certPath}, or restart the gateway` }
  }
  const fingerprint = destination === 'remote' ? gateway.remote.tlsFingerprint : undefined
  return fingerprint === undefined ? undefined : { fingerprint }
}

/** Reports whether nobody answered at a place, so that the next one may be tried. */
export function nobodyListens(error: GatewayError): boolean {
  return error.code === 'CONNECTION_FAILED' && NOBODY.has(systemCode(error.cause) ?? '')
}

// The tunnel that is up may be nobody's, or may lead nowhere any more.
function standingFailed({ code }: GatewayError, endpoint: Endpoint): boolean {
  if (endpoint.kind === 'socket' || endpoint.tunnel?.opens !== false) return false
  return code === 'CONNECTION_FAILED' || code === 'CONNECTION_LOST' || code === 'TIMEOUT'
}

const NOBODY = new Set(['ENOENT', 'ENOTDIR', 'ECONNREFUSED', 'EACCES', 'EPERM', 'ENOTSOCK'])

function systemCode(cause: unknown): string | undefined {
  if (typeof cause !== 'object' || cause === null) return undefined
  if ('code' in cause && typeof cause.code === 'string') return cause.code
  return 'errors' in cause && Array.isArray(cause.errors) ? systemCode(cause.errors[0]) : undefined
}

function given(value: string | undefined): boolean {
  return value !== undefined && value.trim() !== ''
}
