import { checkSource, type Problem, toIssues } from './check.ts'
import { resolveDiscovery } from './discovery.ts'
import { readEnv, withDotenv } from './env.ts'
import { ConfigError, formatIssue, invalidConfig } from './errors.ts'
import { formatKeyPath, isObject, type KeyPath, valueAt } from './key-path.ts'
import type { Env } from './paths.ts'
import { resolveGateway } from './resolve.ts'
import type { GatewayInput } from './schema.ts'
import { resolveSecret } from './secrets.ts'
import { type ConfigSource, readSource } from './source.ts'
import type { ClientSecretKey, Config, ConfigFlags, Paths } from './types.ts'

/** What `loadConfig` is told. */
export interface LoadOptions {
  env: Env
  paths: Paths
  flags?: ConfigFlags
  /** The light variant for commands: no server-only refusal, no secret resolved before it is asked for. */
  client?: boolean
}

/** Reads file, environment and flags once, and returns the one frozen Config; throws a ConfigError that names key and fix. */
export async function loadConfig(options: LoadOptions): Promise<Config> {
  const env = withDotenv(options.env, options.paths.stateDir)
  return resolveConfig(readSource(options.paths, env), { ...options, env })
}

/** The Config that a source amounts to: what `loadConfig` does once the file is read. */
export async function resolveConfig(source: ConfigSource, options: LoadOptions): Promise<Config> {
  const { paths, flags = {}, client = false } = options
  const { file, warnings } = checkedGateway(source, paths, client)
  const env = await readEnv(options.env, client)
  const secret = secretReader(source, paths)
  const fileSecret = (key: ClientSecretKey) => secret(key.split('.'))
  const gateway = await resolveGateway({
    file,
    fileExists: source.exists,
    env,
    flags,
    paths,
    client,
    fileSecret
  })
  const level = valueAt(source.value, ['logging', 'level'])
  const config: Config = {
    profile: paths.profile,
    paths: { ...paths },
    file: { exists: source.exists, hash: source.hash, included: source.included.map(({ path }) => path) },
    gateway,
    discovery: resolveDiscovery(source.value, options.env),
    logLevel: flags.verbose === true ? 'debug' : (env.OPENCLAW_LOG_LEVEL ?? (isLevel(level) ? level : 'info')),
    adminHttpRpc: valueAt(source.value, ['plugins', 'entries', 'admin-http-rpc', 'enabled']) === true,
    warnings,
    fileSecret,
    edgeAuth: (header) => secret(['gateway', 'remote', 'edgeAuth', header])
  }
  if (!client) warnings.push(...cautions(config))
  return deepFreeze(config)
}

// What a server does as it is told, though its owner may not have meant it.
function cautions({ gateway: { auth, http, tls }, discovery }: Config): string[] {
  const found: string[] = []
  if (http.securityHeaders.strictTransportSecurity !== false && !tls.enabled) {
    found.push(
      'gateway.http.securityHeaders.strictTransportSecurity: not sent, because TLS ends elsewhere; set it there'
    )
  }
  const { enabled, scopes } = auth.trustedProxy?.deviceAutoApprove ?? { enabled: false, scopes: [] }
  if (enabled && scopes.includes('operator.admin')) {
    found.push('gateway.auth.trustedProxy.deviceAutoApprove: new devices become administrators by themselves')
  }
  if (discovery.mdns.mode === 'full') {
    found.push(
      'discovery.mdns.mode: "full" announces no more than "minimal"; a path or another port is never announced'
    )
  }
  if (discovery.wideArea.domain !== undefined) {
    found.push(
      'discovery.wideArea.domain: this gateway publishes no zone; "openclaw gateway discover --zone" prints its records'
    )
  }
  return found
}

function checkedGateway(source: ConfigSource, paths: Paths, client: boolean) {
  const { problems, warnings } = checkSource(source)
  const stops = client ? stopsClient : stopsServer
  const fatal = problems.filter(stops)
  if (fatal.length > 0) throw invalidConfig(paths.configPath, toIssues(source, fatal))
  let file: unknown = isObject(source.value.gateway) ? source.value.gateway : {}
  for (const problem of problems) {
    warnings.push(`${problem.path}: ${problem.message}`)
    if (problem.kind === 'invalid' && problem.at[0] === 'gateway') file = without(file, problem.at.slice(1))
  }
  return { file: file as GatewayInput, warnings }
}

const SECRET_KEYS: ReadonlySet<string> = new Set<ClientSecretKey>([
  'gateway.auth.token',
  'gateway.auth.password',
  'gateway.remote.token',
  'gateway.remote.password'
])

// A missing variable in a secret stops whoever needs that secret, and nobody else.
function stopsServer(problem: Problem): boolean {
  if (problem.kind !== 'missing-variable') return true
  return !isSecret(problem) && problem.at[1] !== 'remote'
}

function isSecret({ path, at }: Problem): boolean {
  return SECRET_KEYS.has(path) || (at[1] === 'remote' && at[2] === 'edgeAuth')
}

// What a client reads of the section. Anything else in it that is wrong is for the server to refuse.
function stopsClient(problem: Problem): boolean {
  if (problem.kind === 'unknown' || (problem.kind === 'missing-variable' && isSecret(problem))) return false
  return /^gateway($|\.(mode|port|remote)\b|\.auth($|\.(token|password)\b))/.test(problem.path)
}

// A copy without what is wrong at a path.
function without(value: unknown, path: KeyPath): unknown {
  const [key, ...rest] = path
  if (key === undefined || value === null || typeof value !== 'object') return undefined
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string | number, unknown>
  const child = rest.length === 0 ? undefined : without(copy[key], rest)
  if (child === undefined) delete copy[key]
  else copy[key] = child
  return copy
}

function secretReader(source: ConfigSource, paths: Paths): (at: KeyPath) => Promise<string | undefined> {
  const answers = new Map<string, Promise<string | undefined>>()
  return (at) => {
    const key = formatKeyPath(at)
    const answer = answers.get(key) ?? readSecret(key, at, source, paths)
    answers.set(key, answer)
    return answer
  }
}

async function readSecret(key: string, at: KeyPath, source: ConfigSource, paths: Paths): Promise<string | undefined> {
  const { problems } = checkSource(source)
  const wrong = problems.filter((problem) => problem.path === key && problem.kind === 'missing-variable')
  if (wrong.length > 0) {
    const issues = toIssues(source, wrong)
    const lines = issues.map((issue) => formatIssue(paths.configPath, issue)).join('\n')
    throw new ConfigError('CONFIG_SECRET_UNRESOLVED', `Invalid config at ${paths.configPath}:\n${lines}`, { issues })
  }
  return resolveSecret(key, valueAt(source.expanded, at), { config: source.value, env: source.env, home: paths.home })
}

function isLevel(value: unknown): value is string {
  return typeof value === 'string' && /^(silent|fatal|error|warn|info|debug|trace)$/.test(value)
}

/** Freezes a value and everything in it. */
export function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const child of Object.values(value)) deepFreeze(child)
  }
  return value
}
