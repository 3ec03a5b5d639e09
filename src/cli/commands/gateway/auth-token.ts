import { Command } from 'commander'
import { placesOf } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'
import { printJson } from '../../output.ts'

interface AuthTokenOptions {
  show?: boolean
  rotate?: boolean
  json?: boolean
}

/** `openclaw gateway auth-token`: shows the shared token, on a terminal and nowhere else, or puts a new one in its place. */
export function buildAuthToken(io: Io): Command {
  return new Command('auth-token')
    .description("Show the gateway's shared token, on a terminal only, or replace it")
    .option('--show', 'Print it')
    .option('--rotate', 'Replace it now: the old one stops working, and what is connected with it has to come again')
    .option('--json', 'Print JSON; never the token')
    .addHelpText(
      'after',
      `
Examples:
  openclaw gateway auth-token --show
  openclaw gateway auth-token --rotate`
    )
    .action((options: AuthTokenOptions) => authToken(io, options))
}

async function authToken(io: Io, options: AuthTokenOptions): Promise<void> {
  if (options.rotate === true) {
    const { rotateToken } = await import('../../rotate.ts')
    const outcome = await rotateToken(io)
    if (options.json === true) return printJson(io, { ok: true, ...outcome })
    io.stdout(outcome.running ? 'The token was replaced; the old one no longer works.' : 'The token was replaced.')
    if (options.show !== true) io.stdout('Show it: openclaw gateway auth-token --show')
  }
  if (options.show === true) return show(io)
  if (options.rotate === true) return
  throw new CliError('USAGE', 'the token is a secret and is printed only when asked for', {
    fix: 'openclaw gateway auth-token --show'
  })
}

async function show(io: Io): Promise<void> {
  if (!io.isTTY) {
    throw new CliError(
      'NOT_A_TERMINAL',
      'the token is not printed outside an interactive terminal, where it could end in a log',
      {
        fix: 'run "openclaw gateway auth-token --show" directly in a terminal on the gateway host'
      }
    )
  }
  const { loadConfig } = await import('../../../config/load.ts')
  const { paths, env } = placesOf(io)
  const { gateway, fileSecret } = await loadConfig({ env, paths, client: true })
  // The same order as the server's own: environment, then file (R4).
  const token = gateway.auth.token?.source === 'env' ? gateway.auth.token.value : await fileSecret('gateway.auth.token')
  if (token !== undefined) return io.stdout(token)
  if (gateway.auth.mode === 'password') throw new CliError('NO_TOKEN', 'this gateway uses a password, not a token')
  throw new CliError('NO_TOKEN', 'no gateway.auth.token is configured', { fix: 'openclaw gateway auth-token --rotate' })
}
