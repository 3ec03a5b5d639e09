import { networkInterfaces, platform, userInfo } from 'node:os'
import { checkSource, toIssues } from '../config/check.ts'
import { withDotenv } from '../config/env.ts'
import { ConfigError, formatIssue } from '../config/errors.ts'
import { resolveConfig } from '../config/load.ts'
import type { Env } from '../config/paths.ts'
import { type ConfigSource, readSource } from '../config/source.ts'
import type { Config, GatewayConfig, Paths, TrustedProxyConfig } from '../config/types.ts'
import type { CertificateFact } from './certificate.ts'
import { type ConfigFacts, configFacts } from './config-facts.ts'
import { type FileFact, lookAtFiles } from './files-facts.ts'
import { proxyFacts } from './proxy-facts.ts'
import { type SecretFact, secretFacts } from './secret-facts.ts'

/** The gateway's configuration without the secrets in it. */
export type Gateway = Omit<GatewayConfig, 'auth' | 'remote'> & {
  auth: Omit<GatewayConfig['auth'], 'token' | 'password'>
  remote: Omit<GatewayConfig['remote'], 'token' | 'password'>
}

/** What an audit looks at: plain values, and no secret among them. */
export interface Facts {
  platform: NodeJS.Platform
  /** Who runs the audit; undefined where the system has no numbers for users. */
  uid: number | undefined
  /** This host's own addresses, loopback left out. */
  addresses: readonly string[]
  stateDir: string
  configPath: string
  /** Why the configuration, or a part of it, cannot be used; one line each. */
  problems: readonly string[]
  /** Undefined when the file cannot be read or resolved. */
  gateway: Gateway | undefined
  secrets: { token?: SecretFact; password?: SecretFact }
  config: ConfigFacts
  files: readonly FileFact[]
  certificate: CertificateFact | undefined
  /** Why the URL of the remote gateway must not be used, as the client says it. */
  remoteProblem: { code: string; message: string } | undefined
}

/** Where an audit looks. */
export interface FactsInput {
  env: Env
  paths: Paths
  /** The client's own check of a gateway URL: throws an error with a code for one that it would refuse. */
  checkUrl(url: string): unknown
}

/** Gathers the facts from the configuration, the environment and the file system. Runs no program and asks no gateway. */
export async function gatherFacts({ env: given, paths, checkUrl }: FactsInput): Promise<Facts> {
  const env = withDotenv(given, paths.stateDir)
  const { source, config, problems } = await readConfig(env, paths)
  const gateway = config === undefined ? undefined : withoutSecrets(config.gateway, await proxyFacts(source, paths))
  const tls = gateway?.tls.enabled === true ? gateway.tls : undefined
  const written = source?.value ?? {}
  return {
    platform: platform(),
    uid: userId(),
    addresses: Object.values(networkInterfaces()).flatMap((each) =>
      (each ?? []).filter(({ internal }) => !internal).map(({ address }) => address)
    ),
    stateDir: paths.stateDir,
    configPath: paths.configPath,
    problems,
    gateway,
    secrets: config === undefined || source === undefined ? {} : await secretFacts(config, source),
    config: configFacts(source),
    files: await lookAtFiles({
      paths,
      includes: source?.included.map(({ path }) => path) ?? [],
      config: written,
      ...(tls === undefined ? {} : { tlsKey: tls.keyPath })
    }),
    certificate: tls === undefined ? undefined : await (await import('./certificate.ts')).readCertificate(tls),
    remoteProblem: problemOf(gateway?.remote.url, checkUrl)
  }
}

async function readConfig(
  env: Env,
  paths: Paths
): Promise<{ source: ConfigSource | undefined; config: Config | undefined; problems: string[] }> {
  let source: ConfigSource | undefined
  const problems: string[] = []
  try {
    source = readSource(paths, env)
    const wrong = checkSource(source).problems.filter(({ kind }) => kind !== 'missing-variable')
    problems.push(...toIssues(source, wrong).map((issue) => formatIssue(paths.configPath, issue)))
    return { source, config: await resolveConfig(source, { env, paths, client: true }), problems }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const said = error.issues.map((issue) => formatIssue(paths.configPath, issue))
    const more = (said.length > 0 ? said : [error.message]).filter((line) => !problems.includes(line))
    return { source, config: undefined, problems: [...problems, ...more] }
  }
}

function withoutSecrets({ auth, remote, ...rest }: GatewayConfig, proxy: TrustedProxyConfig | undefined): Gateway {
  const { token: _token, password: _password, ...publicAuth } = auth
  const { token: _remoteToken, password: _remotePassword, ...publicRemote } = remote
  return { ...rest, auth: { ...publicAuth, trustedProxy: proxy }, remote: publicRemote }
}

function userId(): number | undefined {
  const { uid } = userInfo()
  return uid === -1 ? undefined : uid
}

function problemOf(url: string | undefined, checkUrl: FactsInput['checkUrl']): Facts['remoteProblem'] {
  if (url === undefined) return undefined
  try {
    checkUrl(url)
    return undefined
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'URL_INVALID'
    return { code, message: error instanceof Error ? error.message : 'it is not a URL' }
  }
}
