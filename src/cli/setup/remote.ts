import { ConnectFailure } from '../../client/connect-failure.ts'
import { resolveCredentials } from '../../client/credentials.ts'
import { parsePins } from '../../client/tls-pin.ts'
import { valueAt } from '../../config/key-path.ts'
import type { SetupCode } from '../../node-host/setup-code.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable } from '../output.ts'
import { type Draft, draftOf, presentSource } from './draft.ts'
import type { SetupFlags } from './flags.ts'
import { askSecret, mended } from './mend.ts'
import { describePlace, parsePlace } from './place.ts'
import type { Prompts } from './prompts.ts'
import { remotePatch, type Wanted } from './remote-patch.ts'
import type { Outcome } from './report.ts'
import { type Verified, verify } from './verify.ts'

/** Points this host's commands at a gateway elsewhere: tries it first, and writes it in one change when it works. */
export async function setUpRemote(io: Io, flags: SetupFlags, ask: Prompts | undefined): Promise<Outcome> {
  const before = presentSource(io)
  let wanted = await wantedOf(flags, ask)
  for (;;) {
    const draft = await draftOf(io, remotePatch(valueAt(before.authored, ['gateway', 'remote']), wanted))
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
