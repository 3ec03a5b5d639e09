import { startRefusal } from '../../auth/bind-policy.ts'
import { freshSecret } from '../../auth/secrets.ts'
import { changeConfig } from '../../config/change.ts'
import { setKey } from '../../config/edit.ts'
import { valueAt } from '../../config/key-path.ts'
import { envValue } from '../../config/paths.ts'
import { type ConfigSource, readSource } from '../../config/source.ts'
import { isReference } from '../../security/secret-facts.ts'
import { ownFix } from '../errors.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { authModeOf } from './config-repairs.ts'

/** `doctor --generate-gateway-token`: writes a fresh token, and nothing else; refuses where it would decide nothing. */
export async function generateToken(io: Io): Promise<void> {
  const { paths, env } = placesOf(io)
  const reason = refusal(readSource(paths, env), env)
  if (reason !== undefined) throw reason
  const path = ['gateway', 'auth', 'token']
  const token = freshSecret()
  await changeConfig({
    paths,
    env: io.env,
    check: startRefusal,
    edit: (raw) => setKey(raw, path, token),
    verify: async (after) => {
      if (valueAt(after.value, path) === token) return
      throw new CliError('CONFIG_INCLUDED', 'gateway.auth.token comes from an included file; change it there')
    }
  })
  const { command } = ownFix(io, { command: 'openclaw gateway auth-token --show', where: 'gateway host' }, false)
  io.stdout(`Wrote a new token to ${paths.configPath}. See it: ${command}`)
  io.stdout('Restart the gateway to apply. Clients that use the old token have to be given the new one.')
}

function refusal(source: ConfigSource, env: Readonly<Record<string, string | undefined>>): CliError | undefined {
  const refuse = (message: string, fix: string) => new CliError('TOKEN_NOT_DECIDED_HERE', message, { fix })
  if (envValue(env, 'OPENCLAW_GATEWAY_TOKEN') !== undefined) {
    return refuse(
      'OPENCLAW_GATEWAY_TOKEN decides the token, so one in the file would have no effect',
      'change OPENCLAW_GATEWAY_TOKEN where it is set, or unset it'
    )
  }
  if (isReference(valueAt(source.expanded, ['gateway', 'auth', 'token']))) {
    return refuse(
      'gateway.auth.token is a reference to a secret that is kept elsewhere',
      'change the secret there, or run: openclaw config unset gateway.auth.token'
    )
  }
  const mode = authModeOf(source.value, env)
  if (mode !== 'token') {
    return refuse(`gateway.auth.mode is "${mode}", which uses no token`, 'openclaw config get gateway.auth')
  }
  if (valueAt(source.value, ['gateway', 'mode']) === 'remote') {
    return refuse('gateway.mode is "remote": this host runs no gateway', 'run it on the gateway host')
  }
  return undefined
}
