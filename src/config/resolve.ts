import { join } from 'node:path'
import type { Scope } from '../protocol/scopes.ts'
import { DEFAULT_AUTO_APPROVE_SCOPES, DEFAULT_PORT, DEFAULT_RATE_LIMIT, DEFAULT_SOCKET_MODE } from './defaults.ts'
import type { EnvConfig } from './env.ts'
import { ConfigError } from './errors.ts'
import { expand } from './paths.ts'
import type { GatewayInput } from './schema.ts'
import type {
  AuthMode,
  ClientSecretKey,
  ConfigFlags,
  GatewayConfig,
  Paths,
  SharedSecret,
  Source,
  TrustedProxyConfig
} from './types.ts'

/** What a resolution starts from: the file's section, the environment and the flags, each already validated. */
export interface ResolveInput {
  file: GatewayInput
  fileExists: boolean
  env: EnvConfig
  flags: ConfigFlags
  paths: Paths
  client: boolean
  /** Reads a secret of the file; a client gets a SecretRef only when it asks for one. */
  fileSecret: (key: ClientSecretKey) => Promise<string | undefined>
}

/** Adds up file, environment and flags: flags win over the environment, the environment over the file. */
export async function resolveGateway(input: ResolveInput): Promise<GatewayConfig> {
  const { file, env, flags } = input
  if (!input.client) refuseUnlessLocal(input)
  const { port, source } = resolvePort(input)
  const { mode, explicit } = resolveAuthMode(input)
  const tailscale = flags.tailscale ?? file.tailscale?.mode ?? 'off'
  const remote = file.remote
  return {
    mode: file.mode,
    port,
    portSource: source,
    bind: flags.bind ?? file.bind ?? 'loopback',
    customBindHost: file.customBindHost?.trim() || undefined,
    publicOrigin: file.publicOrigin === undefined ? undefined : new URL(file.publicOrigin).origin,
    auth: {
      mode,
      modeExplicit: explicit,
      token: await resolveShared('token', flags.token, env.OPENCLAW_GATEWAY_TOKEN, mode, input),
      password: await resolveShared('password', flags.password, env.OPENCLAW_GATEWAY_PASSWORD, mode, input),
      allowTailscale: file.auth?.allowTailscale,
      rateLimit: { ...DEFAULT_RATE_LIMIT, ...file.auth?.rateLimit },
      identityScopes: identityScopes(file.auth?.identityScopes ?? {}),
      trustedProxy: input.client ? undefined : trustedProxy(file.auth?.trustedProxy, input)
    },
    trustedProxies: (file.trustedProxies ?? []).map((entry) => entry.trim()),
    allowRealIpFallback: file.allowRealIpFallback ?? false,
    controlUi: {
      enabled: file.controlUi?.enabled ?? true,
      basePath: basePath(file.controlUi?.basePath ?? ''),
      allowedOrigins: file.controlUi?.allowedOrigins ?? []
    },
    tailscale: { mode: tailscale, socket: path(file.tailscale?.socket, input) },
    tls: {
      enabled: file.tls?.enabled ?? false,
      autoGenerate: file.tls?.autoGenerate ?? true,
      certPath: path(file.tls?.certPath, input) ?? join(input.paths.stateDir, 'gateway/tls/gateway-cert.pem'),
      keyPath: path(file.tls?.keyPath, input) ?? join(input.paths.stateDir, 'gateway/tls/gateway-key.pem'),
      caPath: path(file.tls?.caPath, input)
    },
    http: { securityHeaders: { strictTransportSecurity: hsts(file.http) } },
    reload: { mode: file.reload?.mode ?? 'hybrid' },
    nodes: {
      pairing: {
        autoApproveLocal: file.nodes?.pairing?.autoApproveLocal ?? true,
        autoApproveCidrs: file.nodes?.pairing?.autoApproveCidrs ?? []
      },
      commands: { allow: file.nodes?.commands?.allow ?? [], deny: file.nodes?.commands?.deny ?? [] }
    },
    tools: { allow: file.tools?.allow ?? [], deny: file.tools?.deny ?? [] },
    remote: {
      url: remote?.url?.trim() || undefined,
      transport: remote?.transport ?? 'ssh',
      // R5: on a server these stay empty, so that nothing can mistake them for its own.
      token: input.client ? plain(remote?.token) : undefined,
      password: input.client ? plain(remote?.password) : undefined,
      tlsFingerprint: remote?.tlsFingerprint?.trim() || undefined,
      edgeAuth: Object.keys(remote?.edgeAuth ?? {}),
      sshTarget: remote?.sshTarget?.trim() || undefined,
      sshIdentity: remote?.sshIdentity?.trim() || undefined,
      sshHostKeyPolicy: remote?.sshHostKeyPolicy,
      remotePort: remote?.remotePort
    }
  }
}

function refuseUnlessLocal({ file, fileExists, flags }: ResolveInput): void {
  if (flags.allowUnconfigured === true || !fileExists || file.mode === 'local') return
  const fix = 'openclaw config set gateway.mode local'
  if (file.mode === 'remote') {
    const message = 'Gateway start blocked: set gateway.mode=local (current: remote) or pass --allow-unconfigured.'
    throw new ConfigError('CONFIG_MODE_REMOTE', message, { fix })
  }
  const message =
    'Gateway start blocked: existing config is missing gateway.mode. Treat this as suspicious or clobbered config. ' +
    'Set gateway.mode=local, or pass --allow-unconfigured.'
  throw new ConfigError('CONFIG_MODE_MISSING', message, { fix })
}

function resolvePort({ flags, env, file, paths }: ResolveInput): { port: number; source: Source } {
  if (flags.port !== undefined) return { port: flags.port, source: 'flag' }
  if (env.OPENCLAW_GATEWAY_PORT !== undefined) return { port: env.OPENCLAW_GATEWAY_PORT, source: 'env' }
  if (file.port !== undefined) return { port: file.port, source: 'file' }
  return { port: paths.defaultPort ?? DEFAULT_PORT, source: 'default' }
}

function resolveAuthMode({ flags, env, file, client }: ResolveInput): { mode: AuthMode; explicit: boolean } {
  const named = flags.auth ?? file.auth?.mode
  if (named !== undefined) return { mode: named, explicit: true }
  const token = flags.token ?? env.OPENCLAW_GATEWAY_TOKEN ?? file.auth?.token
  const password = flags.password ?? env.OPENCLAW_GATEWAY_PASSWORD ?? file.auth?.password
  if (token !== undefined && password !== undefined && !client) {
    const message =
      'Invalid config: gateway.auth.token and gateway.auth.password are both configured, but gateway.auth.mode is ' +
      'unset. Set gateway.auth.mode to token or password.'
    throw new ConfigError('CONFIG_AUTH_AMBIGUOUS', message, { fix: 'openclaw config set gateway.auth.mode token' })
  }
  return { mode: token === undefined && password !== undefined ? 'password' : 'token', explicit: false }
}

// The mode decides which secrets must be there; a reference that the mode never reads is not worth running a program
// for. `trusted-proxy` reads both: its direct fallback is the password, and a token beside it is refused.
async function resolveShared(
  name: 'token' | 'password',
  flag: string | undefined,
  env: string | undefined,
  mode: AuthMode,
  input: ResolveInput
): Promise<SharedSecret | undefined> {
  if (flag !== undefined) {
    if (flag.trim() !== '') return { value: flag, source: 'flag' }
    throw new ConfigError('CONFIG_INVALID', `--${name} is empty.`, { fix: `openclaw gateway run --${name} VALUE` })
  }
  if (env !== undefined) return { value: env, source: 'env' }
  const written = input.file.auth?.[name]
  if (input.client || (mode !== name && mode !== 'trusted-proxy')) {
    const value = plain(written)
    return value === undefined ? undefined : { value, source: 'file' }
  }
  const value = await input.fileSecret(`gateway.auth.${name}`)
  return value === undefined ? undefined : { value, source: 'file' }
}

// A secret that needs no resolving. `$NAME` and what is left of a missing `${NAME}` are references, not secrets.
function plain(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.trim() === '' || /^\$|\$\{[A-Z_][A-Z0-9_]*\}/.test(value)) return undefined
  return value
}

function identityScopes(input: Readonly<Record<string, readonly Scope[]>>): Record<string, readonly Scope[]> {
  // Email addresses are compared without case, other identities exactly. Without a prototype: a login is any text.
  const grants: Record<string, readonly Scope[]> = Object.create(null)
  for (const [identity, scopes] of Object.entries(input)) {
    grants[identity.includes('@') ? identity.toLowerCase() : identity] = [...scopes]
  }
  return grants
}

function trustedProxy(
  input: NonNullable<GatewayInput['auth']>['trustedProxy'],
  places: ResolveInput
): TrustedProxyConfig | undefined {
  if (input === undefined) return undefined
  const { jwt } = input
  const socket = path(input.socket, places)
  return {
    userHeader: input.userHeader.trim().toLowerCase(),
    requiredHeaders: (input.requiredHeaders ?? [])
      .map((name) => name.trim().toLowerCase())
      .filter((name) => name !== ''),
    allowUsers: input.allowUsers ?? [],
    allowLoopback: input.allowLoopback ?? false,
    socket:
      socket === undefined
        ? undefined
        : {
            path: socket,
            mode: Number.parseInt(input.socketMode ?? DEFAULT_SOCKET_MODE, 8),
            group: input.socketGroup?.trim() || undefined
          },
    jwt:
      jwt === undefined
        ? undefined
        : {
            issuer: jwt.issuer.trim(),
            audience: [jwt.audience].flat().map((each) => each.trim()),
            jwks: /^https?:/i.test(jwt.jwks) ? jwt.jwks.trim() : expand(jwt.jwks, places.paths.home),
            header: jwt.header.trim().toLowerCase(),
            userClaim: jwt.userClaim?.trim() || 'email'
          },
    deviceAutoApprove: {
      enabled: input.deviceAutoApprove?.enabled ?? false,
      scopes: input.deviceAutoApprove?.scopes ?? DEFAULT_AUTO_APPROVE_SCOPES,
      default: input.deviceAutoApprove?.scopes === undefined
    }
  }
}

function path(text: string | undefined, { paths }: ResolveInput): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : expand(text, paths.home)
}

function hsts(http: GatewayInput['http']): string | false {
  const value = http?.securityHeaders?.strictTransportSecurity
  return typeof value === 'string' ? value.trim() || false : false
}

function basePath(text: string): string {
  const trimmed = text.trim().replace(/^\/+|\/+$/g, '')
  return trimmed === '' ? '' : `/${trimmed}`
}
