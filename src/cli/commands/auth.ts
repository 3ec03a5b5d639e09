import { Command } from 'commander'
import { PURPOSES } from '../../client/credentials.ts'
import { type Explained, explainCredentials } from '../../client/explain-credentials.ts'
import { describeEndpoint, resolveTargets } from '../../client/target.ts'
import { loadConfig } from '../../config/load.ts'
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
    hasCredential: Boolean(options.token || options.password),
    envUrl: env.OPENCLAW_GATEWAY_URL,
    mode: gateway.mode,
    remoteUrl: gateway.remote.url,
    localPort: gateway.port,
    localTls: gateway.tls.enabled,
    localSocket: paths.localSocket
  })
  const targets = await Promise.all(
    endpoints.map(async (endpoint) => {
      const where = { url: describeEndpoint(endpoint), source: endpoint.source }
      if (endpoint.kind === 'socket') return { ...where, steps: [] }
      const steps = await explainCredentials({
        destination: endpoint.destination,
        purpose,
        explicit: { token: options.token, password: options.password },
        env,
        fileSecret: config.fileSecret,
        authMode: gateway.auth.modeExplicit ? gateway.auth.mode : undefined
      })
      return { ...where, steps }
    })
  )
  if (options.json === true) return printJson(io, { ok: true, for: purpose, targets })
  for (const [index, { url, source, steps }] of targets.entries()) {
    if (index > 0) io.stdout('')
    io.stdout(`${styleOf(io).bold(url)} (${source})`)
    if (steps.length === 0) {
      const owner = url.startsWith('unix:')
      io.stdout(owner ? '  needs no credential: it belongs to the owner of this host’s files' : '  nothing is sent')
    }
    printRows(
      io,
      steps.map((step) => [`  ${step.credential}`, `${step.source}: ${wordsOf(step)}`] as const)
    )
  }
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
