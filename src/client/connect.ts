import { loadConfig } from '../config/load.ts'
import type { Config, Paths } from '../config/types.ts'
import type { AuthClaim, ClientInfo, EventFrame, HelloOk } from '../protocol/frames.ts'
import type { Scope } from '../protocol/scopes.ts'
import { ConnectFailure, type Tried } from './connect-failure.ts'
import { GatewayClient, GatewayError } from './core.ts'
import { type Credentials, given, type Purpose, resolveCredentials } from './credentials.ts'
import { ClientError } from './errors.ts'
import { type AcceptedTls, type GatewayTls, tlsFor } from './gateway-tls.ts'
import type { HostDevice } from './host-device.ts'
import { KnownGateways } from './known-gateways.ts'
import { openUnix, openUrl } from './node-socket.ts'
import { describeEndpoint, type Endpoint, resolveTargets } from './target.ts'
import type { SocketLike } from './types.ts'
import { isLoopbackUrl } from './url-policy.ts'

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
  /** A pin given by hand: the certificate that this one connection accepts (R34). */
  tlsFingerprint?: string | undefined
  /** The URL that the target must come to; anything else is refused before it is connected to. */
  expectUrl?: string | undefined
  /** Picks one side where the configuration would choose: a probe looks at both. */
  mode?: 'local' | 'remote' | undefined
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
  /** Undefined without TLS. */
  tls: AcceptedTls | undefined
  tried: Tried
}

/** Connects to the configured gateway: the owner's socket on its host, else the URL that flags, environment and file name. */
export async function connectConfigured(options: ConnectOptions): Promise<Connection> {
  const { config, problem } = await readConfig(options)
  const endpoints = expected(
    resolveTargets({
      url: options.url,
      port: options.port,
      hasCredential: [options.token, options.password, options.tlsFingerprint].some(given),
      envUrl: options.mode === undefined ? options.env.OPENCLAW_GATEWAY_URL : undefined,
      mode: options.mode ?? config?.gateway.mode,
      remoteUrl: config?.gateway.remote.url,
      localPort: config?.gateway.port ?? options.paths.defaultPort ?? 18789,
      localTls: config?.gateway.tls.enabled ?? false,
      localSocket: options.paths.localSocket
    }),
    options.expectUrl
  )
  const known = new KnownGateways(options.paths.stateDir)
  const tried: { endpoint: Endpoint; error: GatewayError }[] = []
  for (const endpoint of endpoints) {
    // A broken file must not lock the owner out: the socket needs nothing from it. Everything else does.
    if (problem !== undefined && endpoint.kind === 'url' && endpoint.destination !== 'explicit') throw problem
    const credentials = endpoint.kind === 'socket' ? undefined : await credentialsFor(endpoint, options, config, known)
    try {
      const connected = await connectTo(endpoint, { options, credentials, config, known })
      if (problem instanceof Error) options.onWarning?.(problem.message)
      return { ...connected, endpoint, credentials, tried }
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      if (endpoint === endpoints.at(-1) || !nobodyListens(error)) {
        throw new ConnectFailure(error, endpoint, credentials, tried)
      }
      tried.push({ endpoint, error })
    }
  }
  throw new Error('unreachable: there is always an endpoint')
}

function expected(endpoints: readonly Endpoint[], url: string | undefined): readonly Endpoint[] {
  if (url === undefined) return endpoints
  const same = endpoints.filter((endpoint) => describeEndpoint(endpoint) === url.trim().replace(/\/$/, ''))
  if (same.length > 0) return same
  const now = endpoints.map(describeEndpoint).join(' or ')
  throw new ClientError('TARGET_CHANGED', `the gateway is not the one that --expect-url names; it would be ${now}`, {
    fix: 'openclaw auth explain'
  })
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
  config: Config | undefined,
  known: KnownGateways
): Promise<Credentials> {
  const auth = config?.gateway.auth
  return resolveCredentials({
    destination: endpoint.destination,
    purpose: options.purpose,
    explicit: { token: options.token, password: options.password },
    env: options.env,
    fileSecret: async (key) => config?.fileSecret(key),
    authMode: auth?.modeExplicit === true ? auth.mode : undefined,
    deviceToken: async () => (await known.find(endpoint.url.origin))?.device?.token
  })
}

interface Attempt {
  options: ConnectOptions
  credentials: Credentials | undefined
  config: Config | undefined
  known: KnownGateways
}

async function connectTo(
  endpoint: Endpoint,
  attempt: Attempt
): Promise<{ client: GatewayClient; hello: HelloOk; tls: AcceptedTls | undefined }> {
  const { options, credentials } = attempt
  const auth = claimOf(credentials)
  const device = await deviceFor(endpoint, attempt)
  const way = await wayTo(endpoint, attempt)
  const client = new GatewayClient({
    createSocket: way.open,
    ...introduction(endpoint, attempt, device),
    device: device?.signer,
    handshakeTimeoutMs: options.timeoutMs,
    auth: () => auth,
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent })
  })
  const hello = await client.connect()
  // What is learned is for the next time; that it cannot be kept does not undo this one.
  await Promise.all([way.tls?.remember(), device?.remember(hello)]).catch((error: Error) =>
    options.onWarning?.(error.message)
  )
  return { client, hello, tls: way.tls?.accepted() }
}

function claimOf(credentials: Credentials | undefined): AuthClaim | undefined {
  const { token, password, deviceToken } = credentials ?? {}
  const claim = {
    ...(token === undefined ? {} : { token: token.value }),
    ...(password === undefined ? {} : { password: password.value }),
    ...(deviceToken === undefined ? {} : { deviceToken: deviceToken.value })
  }
  return Object.keys(claim).length === 0 ? undefined : claim
}

// To a gateway elsewhere a shared secret alone says too little: it grants nothing to whoever is no paired device. Nothing
// is begun by those who only look.
async function deviceFor(
  endpoint: Endpoint,
  { options, credentials, known }: Attempt
): Promise<HostDevice | undefined> {
  if (endpoint.kind === 'socket' || isLoopbackUrl(endpoint.url) || claimOf(credentials) === undefined) return undefined
  const { hostDevice } = await import('./host-device.ts')
  return hostDevice(endpoint.url.origin, known, !onlyLooks(options))
}

function onlyLooks({ purpose }: ConnectOptions): boolean {
  return purpose === 'probe' || purpose === 'status'
}

function introduction(
  endpoint: Endpoint,
  { options, credentials }: Attempt,
  device: HostDevice | undefined
): { client: ClientInfo; scopes: string[] } {
  const { client, scopes } = options
  // Without a credential only a backend keeps its scopes (`gateway.auth.mode: "none"`).
  if (endpoint.kind === 'url' && claimOf(credentials) === undefined) {
    return { client: { ...client, id: 'gateway-client', mode: 'backend' }, scopes: [...scopes] }
  }
  if (device === undefined || !onlyLooks(options)) return { client, scopes: [...scopes] }
  // To ask for more than a device has would ask its gateway's owner for it.
  return { client: { ...client, mode: 'probe' }, scopes: [...(device.scopes.length > 0 ? device.scopes : scopes)] }
}

interface Way {
  open(): SocketLike
  tls?: GatewayTls | undefined
}

async function wayTo(endpoint: Endpoint, { options, config, known }: Attempt): Promise<Way> {
  if (endpoint.kind === 'socket') return { open: () => openUnix(endpoint.path) }
  const { url } = endpoint
  const { timeoutMs, tlsFingerprint, onWarning } = options
  const tls = await tlsFor(endpoint, {
    gateway: config?.gateway,
    known,
    fingerprint: tlsFingerprint,
    timeoutMs,
    onWarning
  })
  const headers = await headersFor(endpoint, config, onWarning)
  return { open: () => openUrl(url, { tls: tls?.options, headers }), tls }
}

async function headersFor(
  { url, destination }: Endpoint & { kind: 'url' },
  config: Config | undefined,
  onWarning: ConnectOptions['onWarning']
): Promise<Record<string, string>> {
  if (destination !== 'remote' || config === undefined || config.gateway.remote.edgeAuth.length === 0) return {}
  if (url.protocol !== 'wss:') {
    onWarning?.(`gateway.remote.edgeAuth goes over wss:// alone; none of it is sent to ${url.origin}`)
    return {}
  }
  const { edgeHeaders } = await import('./edge-auth.ts')
  return edgeHeaders(url, config)
}

/** Reports whether nobody answered at a place, so that the next one may be tried. */
export function nobodyListens(error: GatewayError): boolean {
  return error.code === 'CONNECTION_FAILED' && NOBODY.has(systemCode(error.cause) ?? '')
}

const NOBODY = new Set(['ENOENT', 'ENOTDIR', 'ECONNREFUSED', 'EACCES', 'EPERM', 'ENOTSOCK'])

function systemCode(cause: unknown): string | undefined {
  if (typeof cause !== 'object' || cause === null) return undefined
  if ('code' in cause && typeof cause.code === 'string') return cause.code
  return 'errors' in cause && Array.isArray(cause.errors) ? systemCode(cause.errors[0]) : undefined
}
