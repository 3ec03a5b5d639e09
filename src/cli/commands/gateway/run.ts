import { Command, Option } from 'commander'
import type { AuthMode, BindMode, ConfigFlags } from '../../../config/types.ts'
import { CliError, type Io } from '../../io.ts'
import { parsePort } from '../../ports.ts'
import { readSecret } from '../../read-secret.ts'

interface RunOptions {
  port?: string
  bind?: string
  auth?: string
  token?: string
  password?: string
  passwordFile?: string
  tailscale?: string
  allowUnconfigured?: boolean
  verbose?: boolean
  force?: boolean
}

const BINDS = ['loopback', 'lan', 'tailnet', 'auto', 'custom'] as const satisfies BindMode[]
const AUTHS = ['none', 'token', 'password', 'trusted-proxy'] as const satisfies AuthMode[]
const EXPOSURES = ['off', 'serve', 'funnel'] as const

// Not `choices`: what is refused is said in the reference's words.
function oneOfThese(flags: string, what: string, values: readonly string[]): Option {
  const option = new Option(flags, what)
  option.argChoices = [...values]
  return option
}

/** `openclaw gateway run`: the gateway in the foreground. */
export function buildRun(io: Io): Command {
  return new Command('run')
    .description('Run the gateway in this terminal')
    .option('--port <port>', 'Port to listen on (default: OPENCLAW_GATEWAY_PORT, gateway.port, 18789)')
    .addOption(oneOfThese('--bind <mode>', 'Where to listen (default: gateway.bind, loopback)', BINDS))
    .addOption(oneOfThese('--auth <mode>', 'How clients prove themselves', AUTHS))
    .option('--token <token>', 'The shared token (default: OPENCLAW_GATEWAY_TOKEN, gateway.auth.token)')
    .option('--password <password>', 'The shared password; prefer --password-file, other users can read arguments')
    .option('--password-file <path>', 'Read the shared password from a file')
    .addOption(oneOfThese('--tailscale <mode>', 'Expose through Tailscale', EXPOSURES))
    .option('--allow-unconfigured', 'Start without gateway.mode=local in the configuration')
    .option('--verbose', 'Log more')
    .option('--force', 'Stop whatever listens on the port first')
    .action((options: RunOptions) => runAction(io, options))
}

async function runAction(io: Io, options: RunOptions): Promise<void> {
  const flags = parseRunFlags(options)
  if (options.force === true) {
    const { freePort } = await import('../../free-port.ts')
    await freePort(io, flags)
  }
  const { runGateway } = await import('../../../main.ts')
  io.exit(
    await runGateway({
      env: io.env,
      flags,
      profile: io.profile,
      dev: io.dev,
      force: options.force === true,
      stdout: io.stdout,
      stderr: io.stderr
    })
  )
}

/** Turns the words of the command line into what the configuration layer takes; refuses what is not in the lists. */
function parseRunFlags(options: RunOptions): ConfigFlags {
  const flags: ConfigFlags = {}
  if (options.port !== undefined) flags.port = parsePort(options.port)
  if (options.bind !== undefined) {
    flags.bind = oneOf(options.bind, BINDS, '--bind')
  }
  if (options.auth !== undefined) {
    flags.auth = oneOf(options.auth, AUTHS, '--auth')
  }
  if (options.tailscale !== undefined) {
    flags.tailscale = oneOf(options.tailscale, EXPOSURES, '--tailscale')
  }
  if (options.token !== undefined) flags.token = secret(options.token, '--token')
  if (options.password !== undefined && options.passwordFile !== undefined) {
    throw new CliError('USAGE', 'Use either --password or --password-file, not both.')
  }
  if (options.password !== undefined) flags.password = secret(options.password, '--password')
  if (options.passwordFile !== undefined) flags.password = readSecret(options.passwordFile, '--password-file')
  if (options.allowUnconfigured === true) flags.allowUnconfigured = true
  if (options.verbose === true) flags.verbose = true
  return flags
}

function oneOf<T extends string>(value: string, allowed: readonly T[], flag: string): T {
  const found = allowed.find((candidate) => candidate === value)
  if (found !== undefined) return found
  const quoted = allowed.map((candidate) => `"${candidate}"`)
  throw new CliError('USAGE', `Invalid ${flag}. Use ${quoted.slice(0, -1).join(', ')}, or ${quoted.at(-1)}.`)
}

function secret(value: string, flag: string): string {
  // An empty variable in `--token "$TOKEN"` must not quietly become "no token".
  if (value.trim() === '') throw new CliError('USAGE', `${flag} is empty.`)
  return value
}
