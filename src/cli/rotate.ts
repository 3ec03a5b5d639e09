import { startRefusal } from '../auth/bind-policy.ts'
import { freshSecret } from '../auth/secrets.ts'
import { changeConfig } from '../config/change.ts'
import { setKey } from '../config/edit.ts'
import { valueAt } from '../config/key-path.ts'
import { loadConfig } from '../config/load.ts'
import { envValue } from '../config/paths.ts'
import { applyNow } from './apply.ts'
import { placesOf } from './gateway-call.ts'
import { CliError, type Io } from './io.ts'

const KEY = ['gateway', 'auth', 'token']

/**
 * Puts a fresh random token into the configuration, and into force where a gateway runs. Refuses where another place
 * decides the token: a new one in the file would change nothing but what people believe.
 */
export async function rotateToken(io: Io): Promise<{ path: string; running: boolean }> {
  const { paths, env } = placesOf(io)
  if (envValue(env, 'OPENCLAW_GATEWAY_TOKEN') !== undefined) {
    throw elsewhere('OPENCLAW_GATEWAY_TOKEN', 'change it where it is set, then restart the gateway')
  }
  const { gateway } = await loadConfig({ env, paths, client: true })
  if (gateway.mode === 'remote') {
    throw new CliError('TOKEN_NOT_DECIDED_HERE', 'gateway.mode is "remote": this host runs no gateway', {
      fix: 'openclaw gateway auth-token --rotate (on the gateway host)'
    })
  }
  if (gateway.auth.mode !== 'token') {
    throw new CliError('TOKEN_NOT_DECIDED_HERE', `gateway.auth.mode is "${gateway.auth.mode}", which uses no token`, {
      fix:
        gateway.auth.mode === 'password'
          ? 'openclaw config set gateway.auth.password "…"'
          : 'openclaw config get gateway.auth'
    })
  }
  const token = freshSecret()
  await changeConfig({
    paths,
    env: io.env,
    check: startRefusal,
    edit(raw, source) {
      const written = valueAt(source.expanded, KEY)
      // A reference of any kind: the secret is kept where that points.
      if (written !== undefined && (typeof written !== 'string' || /^\$|\$\{/.test(written))) {
        throw elsewhere(
          'a reference in gateway.auth.token',
          'change the secret there, then: openclaw gateway call secrets.reload'
        )
      }
      return setKey(raw, KEY, token)
    },
    async verify(after) {
      if (valueAt(after.value, KEY) === token) return
      throw new CliError('CONFIG_INCLUDED', 'gateway.auth.token comes from an included file; change it there')
    }
  })
  const applied = await applyNow(io, { force: true })
  if (applied !== undefined && applied.secretSource !== 'gateway.auth.token') {
    throw new CliError(
      'TOKEN_NOT_APPLIED',
      `the file has a new token, but the running gateway takes its own from ${applied.secretSource ?? 'nowhere'}`,
      { fix: 'restart the gateway without it' }
    )
  }
  return { path: paths.configPath, running: applied !== undefined }
}

function elsewhere(what: string, fix: string): CliError {
  return new CliError('TOKEN_NOT_DECIDED_HERE', `${what} decides the token; one in the file would have no effect`, {
    fix
  })
}
