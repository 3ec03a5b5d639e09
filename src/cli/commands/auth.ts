import { Command } from 'commander'
import { PURPOSES } from '../../client/credentials.ts'
import { type Explained, explainCredentials } from '../../client/explain-credentials.ts'
import { KnownGateways } from '../../client/known-gateways.ts'
import { remoteUrl } from '../../client/ssh/endpoints.ts'
import { describeEndpoint, type Endpoint, resolveTargets } from '../../client/target.ts'
import { loadConfig } from '../../config/load.ts'
import type { Config } from '../../config/types.ts'
import { addTargetOptions, placesOf, type TargetOptions } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printJson, printRows, styleOf } from '../output.ts'
import { parsePort } from '../ports.ts'

interface ExplainOptions extends TargetOptions {
  for: string
}

/** `openclaw auth`: which credential a command would send, and why. */
export function build(io: Io): Command {
  const command = new Command('auth').description('Explain which credential is sent where').usage('<command> [options]')
  const explain = command
    .command('explain')
    .description('Show every place a credential is looked for, which one wins, and its fingerprint; never a value')
    .option('--for <purpose>', `What the connection is for: ${PURPOSES.join(', ')}`, 'call')
    .addHelpText(
      'after',
      `
A fingerprint is the first 8 hex digits of the SHA-256 of a secret. When the gateway refuses a token, its log names the
fingerprint of the one that it expects: equal fingerprints, equal secrets.

Examples:
  openclaw auth explain
  openclaw auth explain --url wss://gateway.example --token "$TOKEN"`
    )
  addTargetOptions(explain, 10_000).action((options: ExplainOptions) => explainAction(io, options))
  return command
}

async function explainAction(io: Io, options: ExplainOptions): Promise<void> {
  const purpose = PURPOSES.find((each) => each === options.for)
  if (purpose === undefined) {
    const quoted = PURPOSES.map((each) => `"${each}"`).join(', ')
    throw new CliError('USAGE', `Invalid --for. Use one of ${quoted}.`)
  }
  const { paths, env } = placesOf(io)
  const config = await loadConfig({ env, paths, client: true })
  const { gateway } = config
  const endpoints = resolveTargets({
    url: options.url,
    port: options.port === undefined ? undefined : parsePort(options.port),
    hasCredential: Boolean(options.token || options.password || options.tlsFingerprint),
    envUrl: env.OPENCLAW_GATEWAY_URL,
    mode: gateway.mode,
    remoteUrl: remoteUrl(gateway.remote),
    localPort: gateway.port,
    localTls: gateway.tls.enabled,
    localSocket: paths.localSocket
  })
  const known = new KnownGateways(paths.stateDir)
  const targets = await Promise.all(
    endpoints.map(async (endpoint) => {
      const where = { url: describeEndpoint(endpoint), source: endpoint.source }
      if (endpoint.kind === 'socket') return { ...where, steps: [] as Explained[], headers: [], trust: undefined }
      const { certificate, device } = (await known.find(endpoint.url.origin)) ?? {}
      const steps = await explainCredentials({
        destination: endpoint.destination,
        purpose,
        explicit: { token: options.token, password: options.password },
        env,
        fileSecret: config.fileSecret,
        authMode: gateway.auth.modeExplicit ? gateway.auth.mode : undefined,
        deviceToken: async () => device?.token
      })
      const trust = trustWords(endpoint, options, config, certificate?.sha256)
      return { ...where, steps, headers: await edgeHeadersOf(endpoint, config), trust }
    })
  )
  if (options.json === true) return printJson(io, { ok: true, for: purpose, targets })
  for (const [index, { url, source, steps, headers, trust }] of targets.entries()) {
    if (index > 0) io.stdout('')
    io.stdout(`${styleOf(io).bold(url)} (${source})`)
    if (steps.length === 0) {
      const owner = url.startsWith('unix:')
      io.stdout(
        owner
          ? '  needs no credential: it belongs to the owner of this host’s files'
          : '  nothing is sent, and commands refuse: a URL given by hand needs --token or --password beside it'
      )
    }
    printRows(
      io,
      steps.map((step) => [`  ${step.credential}`, `${step.source}: ${wordsOf(step)}`] as const)
    )
    printRows(io, [
      ...headers.map(({ name, outcome }) => ['  header', `gateway.remote.edgeAuth ${name}: ${outcome}`] as const),
      ['  certificate', trust]
    ])
  }
}

type UrlEndpoint = Endpoint & { kind: 'url' }

// The names alone: the values are secrets.
async function edgeHeadersOf(
  { url, destination }: UrlEndpoint,
  { gateway, edgeAuth }: Config
): Promise<{ name: string; outcome: string }[]> {
  const sent = destination === 'remote' && url.protocol === 'wss:'
  return Promise.all(
    gateway.remote.edgeAuth.map(async (name) => {
      if (!sent) return { name, outcome: 'not sent: it is for the configured wss:// gateway' }
      const problem = await edgeAuth(name).then(
        (value) => (value === undefined ? 'it is empty' : undefined),
        (error: Error) => error.message
      )
      return { name, outcome: problem === undefined ? 'sent' : `does not resolve: ${problem}` }
    })
  )
}

function trustWords(
  { url, destination }: UrlEndpoint,
  { tlsFingerprint }: ExplainOptions,
  { gateway }: Config,
  seen: string | undefined
): string | undefined {
  if (url.protocol !== 'wss:') return undefined
  if (tlsFingerprint !== undefined) return 'must match --tls-fingerprint'
  if (destination === 'local') return `must be ${gateway.tls.certPath}`
  const { tlsFingerprint: pinned, url: configured } = gateway.remote
  const same = destination === 'remote' || (configured !== undefined && URL.parse(configured)?.origin === url.origin)
  if (same && pinned !== undefined) return `must match gateway.remote.tlsFingerprint (${pinned})`
  if (seen !== undefined) return `must be trusted by this system, and the one of the first use (sha256:${seen})`
  return 'must be trusted by this system; the first use pins it'
}

function wordsOf({ outcome, fingerprint, reason }: Explained): string {
  const shown = fingerprint === undefined ? '' : ` (${fingerprint})`
  switch (outcome) {
    case 'used':
      return `sent${shown}`
    case 'set':
      return `set${shown}, not sent: an earlier one wins`
    case 'unset':
      return 'not set'
    case 'skipped':
      return `not looked at: ${reason}`
    case 'unresolved':
      return `does not resolve: ${reason}`
  }
}
