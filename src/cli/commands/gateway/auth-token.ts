import { Command } from 'commander'
import { placesOf } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'

/** `openclaw gateway auth-token --show`: the shared token, on a terminal and nowhere else. */
export function buildAuthToken(io: Io): Command {
  return new Command('auth-token')
    .description("Print the gateway's shared token, on a terminal only")
    .option('--show', 'Really print it')
    .action((options: { show?: boolean }) => authToken(io, options))
}

async function authToken(io: Io, options: { show?: boolean }): Promise<void> {
  if (options.show !== true) {
    throw new CliError('USAGE', 'the token is a secret and is printed only when asked for', {
      fix: 'openclaw gateway auth-token --show'
    })
  }
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
  throw new CliError('NO_TOKEN', 'no gateway.auth.token is configured', {
    fix: 'openclaw config set gateway.auth.token "$(openssl rand -hex 32)", then restart the gateway'
  })
}
