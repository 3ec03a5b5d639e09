import type { Scope } from '../protocol/scopes.ts'

/** Where this gateway keeps its things. All absolute. */
export interface Paths {
  /** `~`, or `OPENCLAW_HOME`. */
  home: string
  /** State folder, mode 0700. */
  stateDir: string
  /** The JSON5 configuration file, mode 0600. */
  configPath: string
  /** The `local` listener's Unix socket. */
  localSocket: string
  /** The profile's name; undefined for the default profile. */
  profile?: string | undefined
  /** The port when nothing names one: 18789, or 19001 with `--dev`. */
  defaultPort?: number
}

/** A reference to a secret that lives elsewhere. */
export interface SecretRef {
  source: 'env' | 'file' | 'exec' | 'store'
  provider: string
  id: string
}

/** The auth modes of `gateway.auth.mode` (R4). */
export type AuthMode = 'token' | 'password' | 'trusted-proxy' | 'none'

/** The bind modes of `gateway.bind` (R2). */
export type BindMode = 'loopback' | 'lan' | 'tailnet' | 'custom' | 'auto'

/** Where a value came from; the order in which sources win is R1, R4 and R25. */
export type Source = 'flag' | 'env' | 'file' | 'default'

/** The server's own shared secret, resolved, with its source. Never logged. */
export interface SharedSecret {
  value: string
  source: Source
}

/** Failed-auth limits, `gateway.auth.rateLimit`. */
export interface RateLimitConfig {
  maxAttempts: number
  windowMs: number
  lockoutMs: number
  exemptLoopback: boolean
}

/** `gateway.auth.trustedProxy`. */
export interface TrustedProxyConfig {
  userHeader: string
  requiredHeaders: readonly string[]
  allowUsers: readonly string[]
  allowLoopback: boolean
  /** The Unix socket of a proxy on this host, absolute; when set, no other listener takes an identity header (S4). */
  socket: { path: string; mode: number; group: string | undefined } | undefined
  /** The proxy's signed assertion; when set, its claim is the identity. */
  jwt: AssertionConfig | undefined
  /** `default` tells an unset list from the same list written out: only the first is widened for older clients. */
  deviceAutoApprove: { enabled: boolean; scopes: readonly Scope[]; default: boolean }
}

/** `gateway.auth.trustedProxy.jwt`. */
export interface AssertionConfig {
  issuer: string
  audience: readonly string[]
  /** An https URL, or an absolute path. */
  jwks: string
  /** Lower-case name of the header that carries it. */
  header: string
  userClaim: string
}

/** `gateway.tls`; paths are absolute. What `caPath` holds completes the chain: no client is asked for a certificate. */
export interface TlsConfig {
  enabled: boolean
  autoGenerate: boolean
  certPath: string
  keyPath: string
  caPath: string | undefined
}

/** The `gateway` section: what the file, the environment and the flags add up to. */
export interface GatewayConfig {
  mode: 'local' | 'remote' | undefined
  port: number
  portSource: Source
  bind: BindMode
  customBindHost: string | undefined
  publicOrigin: string | undefined
  auth: {
    /** As configured or inferred; see `resolveConfig`. */
    mode: AuthMode
    /** False when `mode` was inferred. */
    modeExplicit: boolean
    token: SharedSecret | undefined
    password: SharedSecret | undefined
    /** Undefined when not written in the file: then on with `tailscale.mode: "serve"` only. */
    allowTailscale: boolean | undefined
    rateLimit: RateLimitConfig
    identityScopes: Readonly<Record<string, readonly Scope[]>>
    trustedProxy: TrustedProxyConfig | undefined
  }
  trustedProxies: readonly string[]
  allowRealIpFallback: boolean
  controlUi: { enabled: boolean; basePath: string; allowedOrigins: readonly string[] }
  tailscale: { mode: 'off' | 'serve' | 'funnel'; socket: string | undefined }
  tls: TlsConfig
  /** The header is sent where this gateway ends TLS; whoever ends it elsewhere decides there. */
  http: { securityHeaders: { strictTransportSecurity: string | false } }
  reload: { mode: 'off' | 'hybrid' }
  nodes: {
    pairing: { autoApproveLocal: boolean; autoApproveCidrs: readonly string[] }
    /** Commands beyond a platform's defaults, and commands that no node may run. */
    commands: { allow: readonly string[]; deny: readonly string[] }
  }
  /** Tools of `POST /tools/invoke`; what is denied stays denied. */
  tools: { allow: readonly string[]; deny: readonly string[] }
  remote: {
    url: string | undefined
    transport: 'ssh' | 'direct'
    token: string | undefined
    password: string | undefined
    tlsFingerprint: string | undefined
    /** The names of the headers that a proxy in front of the gateway wants; `Config.edgeAuth` has their values. */
    edgeAuth: readonly string[]
    sshTarget?: string | undefined
    sshIdentity?: string | undefined
    sshHostKeyPolicy?: 'strict' | 'openssh' | undefined
    remotePort?: number | undefined
  }
}

/** The secrets that a configuration file can hold for a client. */
export type ClientSecretKey =
  | 'gateway.auth.token'
  | 'gateway.auth.password'
  | 'gateway.remote.token'
  | 'gateway.remote.password'

/** The `discovery` section: whether the gateway announces itself, and where gateways are looked for. */
export interface DiscoveryConfig {
  /** Off unless it is asked for; `full` announces no more than `minimal` (S15). */
  mdns: { mode: 'off' | 'minimal' | 'full' }
  /** The domain of unicast DNS-SD that is asked beside the local network, as written. */
  wideArea: { domain: string | undefined }
}

/** One validated, deep-frozen configuration: file, environment and flags, resolved once. */
export interface Config {
  readonly profile: string | undefined
  readonly paths: Paths
  /** Reports whether the file existed, SHA-256 of its bytes, and the files it includes. */
  readonly file: { exists: boolean; hash: string; included: readonly string[] }
  readonly gateway: Readonly<GatewayConfig>
  readonly discovery: Readonly<DiscoveryConfig>
  readonly logLevel: string
  /** `plugins.entries["admin-http-rpc"].enabled`: every RPC method over HTTP, for admins. */
  readonly adminHttpRpc: boolean
  /** Things worth telling the owner that do not stop the start. */
  readonly warnings: readonly string[]
  /**
   * Reads one secret of the file, resolving a SecretRef when asked and not before; undefined when the file has none.
   * Rejects with a ConfigError when it is configured and does not resolve (R6). A client reads file secrets through
   * this alone: in `gateway.auth` and `gateway.remote` of a client's Config a SecretRef is left undefined.
   */
  readonly fileSecret: (key: ClientSecretKey) => Promise<string | undefined>
  /** Reads one header of `gateway.remote.edgeAuth`, as `fileSecret` reads a secret. */
  readonly edgeAuth: (header: string) => Promise<string | undefined>
}

/** What the command line may override. */
export interface ConfigFlags {
  port?: number
  bind?: BindMode
  auth?: AuthMode
  token?: string
  password?: string
  tailscale?: 'off' | 'serve' | 'funnel'
  allowUnconfigured?: boolean
  verbose?: boolean
}

/** One thing wrong with a configuration file. */
export interface ConfigIssue {
  /** Dot path of the key, empty for the file itself. */
  path: string
  message: string
  line?: number
  column?: number
  /** The included file the line belongs to; absent for the configuration file itself. */
  file?: string
}
