import { startRefusal } from '../auth/bind-policy.ts'
import { freshSecret } from '../auth/secrets.ts'
import { changeConfig } from '../config/change.ts'
import { setKey } from '../config/edit.ts'
import { valueAt } from '../config/key-path.ts'
import { envValue } from '../config/paths.ts'
import { type ConfigSource, readSource } from '../config/source.ts'
import { isReference } from '../security/secret-facts.ts'
import { applyNow } from './apply.ts'
import { authModeOf } from './doctor/config-repairs.ts'
import { placesOf } from './gateway-call.ts'
import { CliError, type Io } from './io.ts'

const KEY = ['gateway', 'auth', 'token']

/**
 * Puts a fresh random token into the configuration, and into force where a gateway runs. Refuses where another place
 * decides the token: a new one in the file would change nothing but what people believe.
 */
export async function rotateToken(io: Io): Promise<{ path: string; running: boolean }> {
  const { paths, env } = placesOf(io)
  const reason = refusal(readSource(paths, env), env)
  if (reason !== undefined) throw reason
  const token = freshSecret()
  await changeConfig({
    paths,
    env: io.env,
    check: startRefusal,
    edit: (raw) => setKey(raw, KEY, token),
    verify: async (after) => {
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

function refusal(source: ConfigSource, env: Readonly<Record<string, string | undefined>>): CliError | undefined {
  const refuse = (message: string, fix: string) => new CliError('TOKEN_NOT_DECIDED_HERE', message, { fix })
  if (envValue(env, 'OPENCLAW_GATEWAY_TOKEN') !== undefined) {
    return refuse(
      'OPENCLAW_GATEWAY_TOKEN decides the token, so one in the file would have no effect',
      'change OPENCLAW_GATEWAY_TOKEN where it is set, then restart the gateway'
    )
  }
  if (isReference(valueAt(source.expanded, KEY))) {
    return refuse(
      'gateway.auth.token is a reference to a secret that is kept elsewhere',
      'change the secret there, then: openclaw gateway call secrets.reload'
    )
  }
  const mode = authModeOf(source.value, env)
  if (mode !== 'token') {
    const fix =
      mode === 'password' ? 'openclaw config set gateway.auth.password "…"' : 'openclaw config get gateway.auth'
    return refuse(`gateway.auth.mode is "${mode}", which uses no token`, fix)
  }
  if (valueAt(source.value, ['gateway', 'mode']) === 'remote') {
    return refuse('gateway.mode is "remote": this host runs no gateway', 'run it on the gateway host')
  }
  return undefined
}
