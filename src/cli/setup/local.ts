import { freshSecret } from '../../auth/secrets.ts'
import { DEFAULT_PORT } from '../../config/defaults.ts'
import { valueAt } from '../../config/key-path.ts'
import { envValue } from '../../config/paths.ts'
import type { ConfigSource } from '../../config/source.ts'
import type { AuthMode, BindMode } from '../../config/types.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { parsePort } from '../ports.ts'
import { type Draft, draftOf, presentSource } from './draft.ts'
import type { Secret, SetupFlags } from './flags.ts'
import type { Prompts } from './prompts.ts'
import type { Outcome } from './report.ts'
import { foundRunning, type Started, startInBackground } from './start.ts'
import { verify } from './verify.ts'

/** What is to be written about the gateway of this host; what is undefined stays as it is. */
interface Wanted {
  port: number | undefined
  bind: BindMode | undefined
  auth: AuthMode | undefined
  secret: Secret | undefined
  tailscale: SetupFlags['tailscale']
}

/** Sets up the gateway of this host: one change of the configuration, then a gateway that runs with it and answers. */
export async function setUpLocal(io: Io, flags: SetupFlags, ask: Prompts | undefined): Promise<Outcome> {
  const source = presentSource(io)
  const wanted = ask === undefined ? flags : await askWanted(io, flags, source, ask)
  const { draft, generated } = await draftFor(io, wanted)
  const running = await foundRunning(io)
  const run = running === undefined && flags.run === undefined && ask ? await askRun(io, ask) : flags.run
  await draft.write()
  const { paths, env } = placesOf(io)
  const { gateway } = draft.config
  const warnings: string[] = []
  const outcome = {
    mode: 'local' as const,
    where: `${gateway.tls.enabled ? 'wss' : 'ws'}://127.0.0.1:${gateway.port}, bind ${gateway.bind}, auth ${gateway.auth.mode}`,
    configPath: paths.configPath,
    changed: draft.changed,
    ...(generated === undefined ? {} : { generated }),
    warnings
  }
  if (secretInEnvironment(env, gateway.auth.mode)) {
    warnings.push(
      `the secret comes from ${secretInEnvironment(env, gateway.auth.mode)}; a gateway that is started elsewhere needs it too`
    )
  }
  const now = running === undefined ? undefined : await applied(io, running, draft, warnings)
  const state = run === 'service' || now === undefined ? await bringUp(io, run) : now
  if (state === undefined || flags.verify === 'no') {
    const next = state === undefined ? ['openclaw gateway run', 'openclaw dashboard'] : ['openclaw dashboard']
    if (state === undefined && run === undefined && flags.verify === 'yes') {
      throw new CliError('GATEWAY_UNREACHABLE', `${paths.configPath} is written, and no gateway runs with it yet`, {
        fix: 'openclaw gateway run, or this command with --start, --install-daemon or --skip-daemon',
        extra: { ...outcome, written: true, next }
      })
    }
    return { ...outcome, gateway: state ?? { state: 'stopped' }, verified: undefined, next }
  }
  const { config } = draft
  const verified = await verify(io, { config, timeoutMs: flags.timeoutMs, waitMs: 0, onPairing: () => {} })
  return { ...outcome, gateway: state, verified, next: ['openclaw dashboard', 'openclaw status'] }
}

async function draftFor(io: Io, wanted: Wanted): Promise<{ draft: Draft; generated: string | undefined }> {
  const { exists, authored } = presentSource(io)
  const { env } = placesOf(io)
  const written = valueAt(authored, ['gateway', 'auth'])
  const has = (kind: string): boolean => valueAt(written, [kind]) !== undefined
  const named = kindOf(wanted.secret)
  // A first configuration says how clients prove themselves, so that no variable changes it by being there.
  const inferred = has('password') && !has('token') ? 'password' : 'token'
  const mode = wanted.auth ?? named ?? (valueAt(written, ['mode']) as AuthMode | undefined) ?? inferred
  if (named !== undefined && named !== mode) {
    throw new CliError('USAGE', `a ${named} is given, and gateway.auth.mode is to be ${mode}`, {
      fix: `openclaw setup --gateway-auth ${named}`
    })
  }
  const needs = (mode === 'token' || mode === 'password') && !has(mode) && secretInEnvironment(env, mode) === undefined
  const made = needs && wanted.secret === undefined
  const secret = made ? { [mode]: freshSecret() } : asWritten(wanted.secret)
  const authMode = wanted.auth !== undefined || named !== undefined || !exists || made ? { mode } : {}
  const patch = {
    mode: 'local',
    ...(wanted.port === undefined ? {} : { port: wanted.port }),
    ...(wanted.bind === undefined ? {} : { bind: wanted.bind }),
    ...(Object.keys({ ...authMode, ...secret }).length === 0 ? {} : { auth: { ...authMode, ...secret } }),
    ...(wanted.tailscale === undefined ? {} : { tailscale: { mode: wanted.tailscale } })
  }
  return { draft: await draftOf(io, { gateway: patch }), generated: made ? `gateway.auth.${mode}` : undefined }
}

function kindOf(secret: Secret | undefined): 'token' | 'password' | undefined {
  if (secret === undefined) return undefined
  return 'password' in secret ? 'password' : 'token'
}

function asWritten(secret: Secret | undefined): Record<string, unknown> {
  if (secret === undefined) return {}
  return 'tokenEnv' in secret ? { token: { source: 'env', provider: 'default', id: secret.tokenEnv } } : { ...secret }
}

/** The variable that already holds the secret of a mode. */
function secretInEnvironment(env: Readonly<Record<string, string | undefined>>, mode: AuthMode): string | undefined {
  const name = mode === 'token' ? 'OPENCLAW_GATEWAY_TOKEN' : mode === 'password' ? 'OPENCLAW_GATEWAY_PASSWORD' : ''
  return name !== '' && envValue(env, name) !== undefined ? name : undefined
}

async function askWanted(io: Io, flags: SetupFlags, { exists, value }: ConfigSource, ask: Prompts): Promise<Wanted> {
  const { paths } = placesOf(io)
  const at = (...path: string[]) => valueAt(value, ['gateway', ...path])
  if (exists && at('mode') === 'local') {
    const now = `port ${at('port') ?? DEFAULT_PORT}, bind ${at('bind') ?? 'loopback'}, auth ${at('auth', 'mode') ?? 'token'}`
    const keep = await ask.confirm(`${paths.configPath} has a gateway (${now}). Keep it as it is?`, true)
    if (keep) return flags
  }
  const port =
    flags.port ??
    parsePort(
      await ask.text('Which port?', {
        initial: String(at('port') ?? paths.defaultPort ?? DEFAULT_PORT),
        check: (text) => void parsePort(text, 'port')
      })
    )
  const bind = flags.bind ?? (await askBind(ask, at('bind') as BindMode | undefined))
  const auth =
    flags.auth ??
    kindOf(flags.secret) ??
    (await ask.choose<AuthMode>(
      'How do clients prove themselves?',
      [
        { value: 'token', label: 'With a token', hint: 'recommended; one is made when there is none' },
        { value: 'password', label: 'With a password', hint: 'one that a person types' }
      ],
      at('auth', 'mode') === 'password' ? 'password' : 'token'
    ))
  const asked = flags.secret === undefined && auth === 'password' && at('auth', 'password') === undefined
  const password = asked ? await ask.secret('The password (nothing: a random one is made)') : ''
  const secret = flags.secret ?? (password.trim() === '' ? undefined : { password })
  const tailscale =
    flags.tailscale ?? (bind === 'loopback' ? await askTailscale(io, at('tailscale', 'mode'), ask) : undefined)
  return { port, bind, auth, secret, tailscale }
}

function askBind(ask: Prompts, now: BindMode | undefined): Promise<BindMode> {
  return ask.choose<BindMode>(
    'From where may it be reached?',
    [
      { value: 'loopback', label: 'From this host', hint: 'recommended; SSH and Tailscale Serve still lead there' },
      { value: 'lan', label: 'From the network', hint: 'every interface, plaintext; needs the secret' },
      { value: 'tailnet', label: 'From the tailnet', hint: "this host's Tailscale address; needs the secret" }
    ],
    now === 'lan' || now === 'tailnet' ? now : 'loopback'
  )
}

async function askTailscale(io: Io, now: unknown, ask: Prompts): Promise<'off' | 'serve' | undefined> {
  const { TailscaleDaemon } = await import('../../tailscale/daemon.ts')
  const status = await new TailscaleDaemon({ env: io.env, socket: undefined }).status().catch(() => undefined)
  if (status?.state !== 'Running' || status.dnsName === undefined) return undefined
  const serve = await ask.confirm(`Serve it in the tailnet, at https://${status.dnsName}?`, now === 'serve')
  // What was not there need not be written.
  return serve ? 'serve' : now === undefined ? undefined : 'off'
}

async function askRun(io: Io, ask: Prompts): Promise<NonNullable<SetupFlags['run']>> {
  const service = { value: 'service', label: 'As a service', hint: 'now, and whenever this host starts' } as const
  return ask.choose<NonNullable<SetupFlags['run']>>('Start it now?', [
    ...((await takesServices(io)) ? [service] : []),
    { value: 'background', label: 'In the background', hint: 'until it is stopped, or this host restarts' },
    { value: 'later', label: 'Not now', hint: '"openclaw gateway run" starts it' }
  ])
}

async function takesServices(io: Io): Promise<boolean> {
  const { serviceManager } = await import('../service/service.ts')
  try {
    await (await serviceManager(io.env, 'openclaw gateway run')).check()
    return true
  } catch (error) {
    if (error instanceof CliError) return false
    throw error
  }
}

async function bringUp(io: Io, run: SetupFlags['run']): Promise<Started | undefined> {
  if (run === 'background') return startInBackground(io)
  if (run !== 'service') return undefined
  const { installGateway } = await import('../service/control.ts')
  // What it prints is its own report; here it is one line of another.
  await installGateway({ ...io, stdout: () => {} }, {})
  const { pid } = (await foundRunning(io)) ?? {}
  return { state: 'installed', pid }
}

/** Lets the gateway that runs take the change; what it cannot take while it runs becomes a warning. */
async function applied(io: Io, running: Started, { changed }: Draft, warnings: string[]): Promise<Started> {
  if (changed.length === 0) return running
  const { applyNow } = await import('../apply.ts')
  const restart = await applyNow(io).then(
    (outcome) => outcome?.restart ?? [],
    (error: Error) => [error.message]
  )
  if (restart.length > 0) warnings.push(`the running gateway takes this at its next start: ${restart.join(', ')}`)
  return running
}
