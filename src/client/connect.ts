import { loadConfig } from '../config/load.ts'
import type { Config, Paths } from '../config/types.ts'
import type { AuthClaim, ClientInfo, EventFrame, HelloOk } from '../protocol/frames.ts'
import type { Scope } from '../protocol/scopes.ts'
import { ConnectFailure, type Tried } from './connect-failure.ts'
import { GatewayClient, GatewayError } from './core.ts'
import { type Credentials, given, type Purpose, resolveCredentials } from './credentials.ts'
import { ClientError } from './errors.ts'
import { type AcceptedTls, pinByHand } from './gateway-tls.ts'
import type { HostDevice } from './host-device.ts'
import { KnownGateways } from './known-gateways.ts'
import { openUnix } from './node-socket.ts'
import type { SshChoice } from './ssh/endpoints.ts'
import type { TunnelFacts } from './ssh/tunnel.ts'
import { describeEndpoint, type Endpoint, resolveTargets, type TargetInput } from './target.ts'
import { isLoopbackUrl } from './url-policy.ts'
import { type Way, wayTo } from './way.ts'

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
  /** The one-time token of a setup code, in the place of every other credential. */
  bootstrapToken?: string | undefined
  /** The configuration to go by, where it is not, or not yet, the file's. */
  config?: Config | undefined
  /** The URL that the target must come to; anything else is refused before it is connected to. */
  expectUrl?: string | undefined
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
  /** Undefined without TLS. */
  tls: AcceptedTls | undefined
  /** The tunnel that it goes through; undefined without one. */
  tunnel: TunnelFacts | undefined
  tried: Tried
}

/** Connects to the configured gateway: the owner's socket on its host, else the URL that flags, environment and file name. */
export async function connectConfigured(options: ConnectOptions): Promise<Connection> {
  const { config, problem } = await readConfig(options)
  const targets = targetsOf(options, config)
  const endpoints = expected(
    (await tunnelEndpoints(options, config, targets)) ?? resolveTargets(targets),
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
    hasCredential: [options.token, options.password, options.tlsFingerprint].some(given),
    envUrl: options.mode === undefined ? options.env.OPENCLAW_GATEWAY_URL : undefined,
    mode: options.mode ?? config?.gateway.mode,
    remoteUrl: config?.gateway.remote.url,
    localPort: config?.gateway.port ?? options.paths.defaultPort ?? 18789,
    localTls: config?.gateway.tls.enabled ?? false,
    localSocket: options.paths.localSocket
  }
}

async function tunnelEndpoints(
  { ssh, token, password, paths }: ConnectOptions,
  config: Config | undefined,
  { url, port, envUrl, mode }: TargetInput
): Promise<readonly Endpoint[] | undefined> {
  const remote = config?.gateway.remote
  if (ssh?.target === undefined && remote?.sshTarget === undefined) return undefined
  const elsewhere = url !== undefined || port !== undefined || given(envUrl) || mode !== 'remote'
  if (elsewhere && ssh === undefined) return undefined
  // Most connections go through none.
  const { sshEndpoints } = await import('./ssh/endpoints.ts')
  const endpoints = sshEndpoints(remote, paths.home, ssh)
  const foreign = endpoints?.some((endpoint) => endpoint.destination === 'explicit')
  if (foreign !== true || given(token) || given(password)) return endpoints
  const message = 'missing credentials: a host given by hand never gets the credentials of the configured one'
  throw new ClientError('CREDENTIALS_MISSING', message, { fix: 'pass --token or --password with --ssh' })
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
  if (options.config !== undefined) return { config: options.config, problem: undefined }
  try {
    return { config: await loadConfig({ env: options.env, paths: options.paths, client: true }), problem: undefined }
  } catch (problem) {
    return { config: undefined, problem }
  }
}

async function credentialsFor(
  endpoint: Endpoint & { kind: 'url' },
  options: ConnectOptions,
  config: Config | undefined,
  known: KnownGateways
): Promise<Credentials> {
  if (options.bootstrapToken !== undefined) return NO_CREDENTIALS
  const auth = config?.gateway.auth
  return resolveCredentials({
    destination: endpoint.destination,
    purpose: options.purpose,
    besideRemote: options.mode === 'local' && config?.gateway.mode === 'remote',
    explicit: { token: options.token, password: options.password },
    env: options.env,
    fileSecret: async (key) => config?.fileSecret(key),
    authMode: auth?.modeExplicit === true ? auth.mode : undefined,
    deviceToken: async () => (await known.find(endpoint.url.origin))?.device?.token
  })
}

const NO_CREDENTIALS: Credentials = { token: undefined, password: undefined, deviceToken: undefined, chain: [] }

interface Attempt {
  options: ConnectOptions
  credentials: Credentials | undefined
  config: Config | undefined
  known: KnownGateways
}

async function connectTo(
  endpoint: Endpoint,
  attempt: Attempt
): Promise<Pick<Connection, 'client' | 'hello' | 'tls' | 'tunnel'>> {
  const { options } = attempt
  const auth = claimOf(attempt)
  const device = await deviceFor(endpoint, attempt)
  const way = await wayOf(endpoint, attempt)
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
  return { client, hello, tls: way.tls?.accepted(), tunnel: way.tunnel }
}

function claimOf({ options: { bootstrapToken }, credentials }: Attempt): AuthClaim | undefined {
  if (bootstrapToken !== undefined) return { bootstrapToken }
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
async function deviceFor(endpoint: Endpoint, attempt: Attempt): Promise<HostDevice | undefined> {
  if (endpoint.kind === 'socket' || isLoopbackUrl(endpoint.url) || claimOf(attempt) === undefined) return undefined
  const { options, known } = attempt
  const { hostDevice } = await import('./host-device.ts')
  return hostDevice(endpoint.url.origin, known, !onlyLooks(options))
}

function onlyLooks({ purpose }: ConnectOptions): boolean {
  return purpose === 'probe' || purpose === 'status'
}

function introduction(
  endpoint: Endpoint,
  attempt: Attempt,
  device: HostDevice | undefined
): { client: ClientInfo; scopes: string[] } {
  const { options } = attempt
  const { client, scopes } = options
  // Without a credential only a backend keeps its scopes (`gateway.auth.mode: "none"`).
  if (endpoint.kind === 'url' && claimOf(attempt) === undefined) {
    return { client: { ...client, id: 'gateway-client', mode: 'backend' }, scopes: [...scopes] }
  }
  if (device === undefined || !onlyLooks(options)) return { client, scopes: [...scopes] }
  // To ask for more than a device has would ask its gateway's owner for it.
  return { client: { ...client, mode: 'probe' }, scopes: [...(device.scopes.length > 0 ? device.scopes : scopes)] }
}

async function wayOf(endpoint: Endpoint, { options, config, known }: Attempt): Promise<Way> {
  if (endpoint.kind === 'socket') return { open: () => openUnix(endpoint.path) }
  const { env, timeoutMs, tlsFingerprint, onWarning } = options
  const pin = tlsFingerprint === undefined ? undefined : pinByHand(tlsFingerprint)
  return wayTo(endpoint, { env, config, known, pin, timeoutMs, onWarning })
}

/** Reports whether nobody answered at a place, so that the next one may be tried. */
export function nobodyListens(error: GatewayError): boolean {
  return error.code === 'CONNECTION_FAILED' && NOBODY.has(systemCode(error.cause) ?? '')
}

// The tunnel that is up may be nobody's, or may lead nowhere any more.
function standingFailed({ code, cause }: GatewayError, endpoint: Endpoint): boolean {
  if (endpoint.kind === 'socket' || endpoint.tunnel?.opens !== false || cause instanceof ClientError) return false
  return code === 'CONNECTION_FAILED' || code === 'CONNECTION_LOST' || code === 'TIMEOUT'
}

const NOBODY = new Set(['ENOENT', 'ENOTDIR', 'ECONNREFUSED', 'EACCES', 'EPERM', 'ENOTSOCK'])

function systemCode(cause: unknown): string | undefined {
  if (typeof cause !== 'object' || cause === null) return undefined
  if ('code' in cause && typeof cause.code === 'string') return cause.code
  return 'errors' in cause && Array.isArray(cause.errors) ? systemCode(cause.errors[0]) : undefined
}
