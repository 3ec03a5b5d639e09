import { ConnectFailure } from '../../client/connect-failure.ts'
import { ClientError } from '../../client/errors.ts'
import { CliError, type Io } from '../io.ts'
import type { Draft } from './draft.ts'
import type { Secret, SetupFlags } from './flags.ts'
import { mayTrustHost } from './host-key.ts'
import type { Prompts } from './prompts.ts'
import type { Wanted } from './remote-patch.ts'

/** What to try next, as a person decides; without one, and for what nobody can mend here, the error is thrown. */
export async function mended(
  io: Io,
  flags: SetupFlags,
  wanted: Wanted,
  draft: Draft,
  error: unknown,
  ask: Prompts | undefined
): Promise<Wanted> {
  if (!(error instanceof CliError) || !(error.cause instanceof ConnectFailure)) throw error
  const { reason } = error.cause
  const { code, fingerprint } =
    reason.cause instanceof ClientError ? reason.cause : { code: error.code, fingerprint: undefined }
  if (code === 'SSH_HOST_KEY_UNKNOWN') {
    await mayTrustHost(io, draft.config, flags.timeoutMs, error, ask)
    return wanted
  }
  const missing = code === 'DEVICE_IDENTITY_REQUIRED' || /^AUTH_(TOKEN|PASSWORD)_/.test(code)
  if (ask === undefined) {
    if (missing) throw withFix(error, SECRET_FIX)
    throw fingerprint === undefined ? error : withFix(error, `${COMPARE_FIX} --tls-fingerprint ${fingerprint}`)
  }
  if (code === 'TLS_UNTRUSTED' && fingerprint !== undefined) {
    const compare = 'Compare it with the fingerprint that "openclaw status", or its start, prints on the gateway host.'
    ask.note(`${error.message}\n\n${compare}`, 'The certificate')
    if (await ask.confirm('Is it the same?', false)) return { ...wanted, tlsFingerprint: fingerprint }
    throw error
  }
  const fix = missing ? SHOW_TOKEN : error.fix
  ask.note(fix === undefined ? error.message : `${error.message}\nfix: ${fix}`, 'It does not work yet')
  if (missing && wanted.code === undefined) return { ...wanted, secret: await askSecret(ask) }
  if (await ask.confirm('Try again?', true)) return wanted
  throw error
}

const SHOW_TOKEN = 'read the token with "openclaw gateway auth-token --show" on the gateway host'

const SECRET_FIX = `${SHOW_TOKEN}, then add --token-file FILE, or --token-file - and write it to standard input`

const COMPARE_FIX = 'compare it with the fingerprint that "openclaw status" prints on the gateway host, then add'

// Nothing is configured yet: what mends a command that goes by the configuration does not mend this one.
function withFix({ code, message, type, extra, told }: CliError, fix: string): CliError {
  return new CliError(code, message, { fix, type, extra, told })
}

/** Asks how this host proves itself; undefined where with nothing new. */
export async function askSecret(ask: Prompts): Promise<Secret | undefined> {
  const way = await ask.choose('How does this host prove itself there?', [
    { value: 'token', label: 'With its token', hint: '"openclaw gateway auth-token --show" on its host prints it' },
    { value: 'password', label: 'With its password' },
    { value: 'known', label: 'With nothing new', hint: 'what is configured, or this host is paired already' }
  ])
  if (way === 'known') return undefined
  const text = await ask.secret(way === 'token' ? 'The token' : 'The password')
  if (text.trim() === '') return undefined
  return way === 'token' ? { token: text.trim() } : { password: text }
}
