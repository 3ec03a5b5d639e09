import { ConnectFailure } from '../../client/connect-failure.ts'
import { resolveCredentials } from '../../client/credentials.ts'
import { ClientError } from '../../client/errors.ts'
import { describeTarget } from '../../client/ssh/route.ts'
import { parsePins } from '../../client/tls-pin.ts'
import { isObject, valueAt } from '../../config/key-path.ts'
import type { SetupCode } from '../../node-host/setup-code.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable } from '../output.ts'
import { type Draft, draftOf, presentSource } from './draft.ts'
import type { Secret, SetupFlags } from './flags.ts'
import { mayTrustHost } from './host-key.ts'
import { describePlace, type Place, parsePlace } from './place.ts'
import type { Prompts } from './prompts.ts'
import type { Outcome } from './report.ts'
import { type Verified, verify } from './verify.ts'

/** What is to be written about a gateway elsewhere. */
interface Wanted {
  place: Exclude<Place, { kind: 'code' }>
  secret: Secret | undefined
  code: SetupCode | undefined
  tlsFingerprint: string | undefined
  sshIdentity: string | undefined
  remotePort: number | undefined
}

const USUAL_PORT = 18_789

/** Points this host's commands at a gateway elsewhere: tries it first, and writes it in one change when it works. */
export async function setUpRemote(io: Io, flags: SetupFlags, ask: Prompts | undefined): Promise<Outcome> {
  presentSource(io)
  let wanted = await wantedOf(flags, ask)
  for (;;) {
    const draft = await draftOf(io, patchFor(io, wanted))
    try {
      const verified = flags.verify === 'no' ? undefined : await tryOut(io, flags, wanted, draft)
      return await written(io, wanted, draft, { verified })
    } catch (error) {
      if (flags.verify === 'force' && error instanceof CliError && error.cause instanceof ConnectFailure) {
        io.stderr(`warning: written all the same, as --force says: ${printable(error.message)}`)
        return await written(io, wanted, draft, { verified: undefined })
      }
      wanted = await mended(io, flags, wanted, draft, error, ask)
    }
  }
}

async function written(
  io: Io,
  { place }: Wanted,
  draft: Draft,
  { verified }: { verified: Verified | undefined }
): Promise<Outcome> {
  await draft.write()
  const { paths, env } = placesOf(io)
  const warnings: string[] = []
  if (env.OPENCLAW_GATEWAY_URL?.trim()) warnings.push('OPENCLAW_GATEWAY_URL is set: commands go there instead')
  const borrowed = verified?.credential
  if (borrowed !== undefined && !/^(gateway\.remote\.|paired device)/.test(borrowed)) {
    warnings.push(
      `${borrowed} let this host in, and gateway.remote keeps no secret of its own: without it, nothing will`
    )
  }
  return {
    mode: 'remote',
    where: describePlace(place),
    configPath: paths.configPath,
    changed: draft.changed,
    verified,
    warnings,
    next: verified === undefined ? ['openclaw status --deep'] : ['openclaw status --deep', 'openclaw dashboard']
  }
}

async function wantedOf(flags: SetupFlags, ask: Prompts | undefined): Promise<Wanted> {
  const { tlsFingerprint, sshIdentity, remotePort } = flags
  const address =
    flags.remote ??
    (await ask?.text('Where is the gateway? (ssh://user@host, wss://host, or a setup code)', { check: parsePlace }))
  if (address === undefined) {
    throw new CliError('USAGE', 'the address of the gateway is missing', {
      fix: 'openclaw setup --remote ssh://user@gateway-host'
    })
  }
  if (tlsFingerprint !== undefined) parsePins(tlsFingerprint, '--tls-fingerprint')
  if (flags.secret !== undefined && 'tokenEnv' in flags.secret) throw new Error('unreachable: refused with the flags')
  const named = parsePlace(address)
  if (named.kind === 'code') {
    if (flags.verify === 'no') {
      throw new CliError('USAGE', 'a setup code is for a connection now, and --no-verify makes none', {
        fix: 'leave --no-verify out'
      })
    }
    const { code, url } = await readCode(named.text)
    const pin = tlsFingerprint ?? code.fingerprint
    const place = { kind: 'direct', url } as const
    return { place, secret: undefined, code, tlsFingerprint: pin, sshIdentity: undefined, remotePort: undefined }
  }
  if (named.kind === 'direct' && (sshIdentity !== undefined || remotePort !== undefined)) {
    const flag = sshIdentity === undefined ? '--remote-port' : '--ssh-identity'
    throw new CliError('USAGE', `${flag} is for ssh://`, { fix: 'put the port into the URL, or use ssh://user@host' })
  }
  if (named.kind === 'direct' && named.url.protocol === 'ws:' && tlsFingerprint !== undefined) {
    throw new CliError('USAGE', '--tls-fingerprint is for wss://, and ws:// is plaintext', {
      fix: `openclaw setup --remote wss://${named.url.host}`
    })
  }
  const secret = flags.secret ?? (ask && (await askSecret(ask)))
  return { place: named, secret, code: undefined, tlsFingerprint, sshIdentity, remotePort }
}

async function readCode(text: string): Promise<{ code: SetupCode; url: URL }> {
  const [{ firstReachable, readSetupCode }, { isLoopbackUrl }] = await Promise.all([
    import('../../node-host/setup-code.ts'),
    import('../../client/url-policy.ts')
  ])
  const code = await readSetupCode(text)
  const url = await firstReachable(code.urls)
  if (!isLoopbackUrl(url)) return { code, url }
  throw new CliError('SETUP_CODE_LOOPBACK', `this setup code leads to ${url.host}, which is this very host`, {
    fix: 'openclaw qr --url wss://GATEWAY (on the gateway host), or: openclaw setup --remote ssh://user@gateway-host'
  })
}

async function askSecret(ask: Prompts): Promise<Secret | undefined> {
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

/** The merge patch. What is kept for another gateway goes to none but that one. */
function patchFor(
  io: Io,
  { place, secret, tlsFingerprint, sshIdentity, remotePort, code }: Wanted
): Record<string, unknown> {
  const before = valueAt(presentSource(io).authored, ['gateway', 'remote'])
  const same = isSame(isObject(before) ? before : {}, place)
  const token = secret !== undefined && 'token' in secret ? secret.token : undefined
  const password = secret !== undefined && 'password' in secret ? secret.password : undefined
  const keeps = same && secret === undefined && code === undefined
  const pin = tlsFingerprint ?? (same ? undefined : null)
  const common = {
    ...(keeps ? {} : { token: token ?? null, password: password ?? null }),
    ...(pin === undefined ? {} : { tlsFingerprint: pin }),
    ...(same ? {} : { edgeAuth: null, sshHostKeyPolicy: null })
  }
  const remote =
    place.kind === 'direct'
      ? { url: hrefOf(place.url), transport: 'direct', sshTarget: null, sshIdentity: null, remotePort: null, ...common }
      : {
          // The local end of the tunnel; the gateway's own port is another matter.
          url: `${tlsFingerprint === undefined ? 'ws' : 'wss'}://127.0.0.1:${USUAL_PORT}`,
          transport: 'ssh',
          sshTarget: describeTarget(place.target),
          ...(same && sshIdentity === undefined ? {} : { sshIdentity: sshIdentity ?? null }),
          ...(same && remotePort === undefined ? {} : { remotePort: remotePort ?? null }),
          ...common
        }
  return { gateway: { mode: 'remote', remote } }
}

function isSame({ url, transport, sshTarget }: Record<string, unknown>, place: Wanted['place']): boolean {
  if (place.kind === 'ssh') return transport !== 'direct' && sshTarget === describeTarget(place.target)
  return transport === 'direct' && url === hrefOf(place.url)
}

function hrefOf(url: URL): string {
  return url.href.replace(/\/$/, '')
}

async function tryOut(io: Io, flags: SetupFlags, { code }: Wanted, { config }: Draft): Promise<Verified> {
  const options = {
    config,
    timeoutMs: flags.timeoutMs,
    waitMs: flags.waitMs,
    onPairing: (requestId: string) => {
      io.stderr('The gateway knows the secret, and has to let this host in. On the gateway host, within five minutes:')
      io.stderr(`  openclaw devices approve ${printable(requestId)}`)
      io.stderr('Waiting …')
    }
  }
  if (code === undefined) return verify(io, options)
  await refuseShadowed(io, config)
  const { bootstrapToken } = code
  return verify(io, { ...options, bootstrapToken })
}

// A code works once: it must not be spent on a pairing that no command would use.
async function refuseShadowed(io: Io, config: Draft['config']): Promise<void> {
  const { token, password } = await resolveCredentials({
    destination: 'remote',
    purpose: 'call',
    explicit: {},
    env: placesOf(io).env,
    fileSecret: config.fileSecret
  })
  const source = (token ?? password)?.source
  if (source === undefined) return
  throw new CliError(
    'SETUP_CODE_SHADOWED',
    `commands would send ${source} instead of what the setup code is good for`,
    {
      fix: source.startsWith('gateway.') ? `openclaw config unset ${source}` : `unset ${source}`
    }
  )
}

/** What to try next, as a person decides; without one, and for what nobody can mend here, the error is thrown. */
async function mended(
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
