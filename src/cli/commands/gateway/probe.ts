import { Command } from 'commander'
import { configuredLocalEnd, portOf, remoteUrl, type SshChoice } from '../../../client/ssh/endpoints.ts'
import { isLoopbackUrl } from '../../../client/url-policy.ts'
import { loadConfig } from '../../../config/load.ts'
import type { SshAuto } from '../../discovery/ssh-auto.ts'
import { addTargetOptions, parseTimeout, placesOf, type TargetOptions } from '../../gateway-call.ts'
import type { Io } from '../../io.ts'
import { printable, printJson, styleOf } from '../../output.ts'
import { parsePort } from '../../ports.ts'
import { isScopeLimited, type ProbeTarget, type ProbeWarning, warningsOf } from '../../probe-warnings.ts'
import { type GatewayReport, inspectGateway } from '../../status.ts'
import { printReport } from '../../status-text.ts'

const TIMEOUT_MS = 3_000

/** `openclaw gateway probe`: every gateway in sight, the explicit one first. */
export function buildProbe(io: Io): Command {
  const command = new Command('probe')
    .description(
      'Try every gateway in sight: --url, one behind SSH, the configured remote one, and the one on this host'
    )
    .option('--ssh <target>', 'A host to log in to, and reach the gateway on its loopback: user@host or user@host:port')
    .option('--ssh-auto', 'The same with the one host on which a gateway is announced; its host key must be known')
    .option('--ssh-identity <path>', 'The private key to log in with')
    .addHelpText(
      'after',
      `
Exits with 0 when a gateway answers, be it with a refusal.

Examples:
  openclaw gateway probe
  openclaw gateway probe --url wss://gateway.example.com --token TOKEN
  openclaw gateway probe --ssh user@gateway-host --token TOKEN`
    )
  return addTargetOptions(command, TIMEOUT_MS).action((options: ProbeOptions) => probe(io, options))
}

interface ProbeOptions extends TargetOptions {
  ssh?: string
  sshAuto?: boolean
  sshIdentity?: string
}

async function probe(io: Io, options: ProbeOptions): Promise<void> {
  const started = performance.now()
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const warnings: ProbeWarning[] = []
  const remote = await remoteOf(io)
  // A host that is given or configured needs no search.
  const searches = options.sshAuto === true && options.ssh === undefined && !remote.tunnelled
  const auto = searches ? await findSshHost(io, remote.domain, timeoutMs) : undefined
  if (auto?.reason !== undefined) {
    warnings.push({ code: 'ssh_auto_undecided', message: auto.reason, targetIds: [] })
  }
  const targets = (
    await Promise.all(looksOf(options, remote, auto?.found).map((look) => lookAt(io, look, timeoutMs, warnings)))
  ).filter((target) => target !== undefined)
  const reached = targets.filter(({ report }) => report.reachable)
  warnings.push(...warningsOf(targets))
  io.exit(reached.length > 0 ? 0 : 1)
  if (options.json === true) {
    return printJson(io, {
      ok: reached.length > 0,
      degraded: reached.some(({ report }) => report.error !== undefined),
      capability: best(reached.map(({ report }) => report.capability)),
      ts: Date.now(),
      durationMs: Math.round(performance.now() - started),
      timeoutMs,
      primaryTargetId: reached[0]?.id ?? null,
      ...(auto === undefined ? {} : { discovery: auto.discovery }),
      warnings,
      network: await networkOf(io),
      targets: targets.map(jsonOf)
    })
  }
  io.stdout(`Reachable: ${reached.length > 0 ? 'yes' : 'no'}`)
  for (const { label, report } of targets) {
    io.stdout(`\n${styleOf(io).bold(label)}`)
    printReport(io, report, { facts: true })
  }
  for (const { code, message } of warnings)
    io.stdout(`\n${styleOf(io).yellow('warning:')} ${printable(message)} (${code})`)
}

const UNREADABLE = 'local_tls_runtime_unavailable'

const KEPT_FROM_TRYING: Record<string, ProbeWarning['code']> = {
  CONFIG_SECRET_UNRESOLVED: 'auth_secretref_unresolved',
  SSH_MISSING: 'ssh_tunnel_failed'
}

// A credential that cannot be read, or an ssh that is not there, keeps one target from being tried, and says nothing of the others.
async function lookAt(
  io: Io,
  { id, label, target, mode, ssh }: Look,
  timeoutMs: number,
  warnings: ProbeWarning[]
): Promise<ProbeTarget | undefined> {
  try {
    const wants = { timeoutMs, deep: true, ...(mode === undefined ? {} : { mode }), ssh }
    const report = await inspectGateway(io, target, wants)
    const noted = report.warnings?.find((text) => text.startsWith(`${UNREADABLE}: `))
    if (noted !== undefined) {
      warnings.push({ code: UNREADABLE, message: noted.slice(UNREADABLE.length + 2), targetIds: [id] })
    }
    return { id, label, report }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error
    const code = KEPT_FROM_TRYING[String(error.code)]
    if (code === undefined) throw error
    warnings.push({ code, message: error.message, targetIds: [id] })
    return undefined
  }
}

function jsonOf({ id, label, report }: ProbeTarget): Record<string, unknown> {
  const { url, reachable, capability, connectMs, auth, version, tunnel, facts, health, error, self, status } = report
  return {
    id,
    kind: id,
    label,
    url,
    connect: {
      ok: reachable,
      rpcOk: facts.rpc.state === 'yes',
      scopeLimited: isScopeLimited(report),
      latencyMs: connectMs ?? null,
      error: error?.message ?? null
    },
    auth: {
      method: auth?.method,
      credential: auth?.credential,
      role: auth?.role ?? null,
      scopes: auth?.scopes ?? [],
      capability
    },
    server: { version: version ?? null },
    self: self ?? null,
    tunnel: tunnel ?? null,
    facts,
    health: health ?? null,
    summary: status ?? null,
    error
  }
}

// Where this host's own gateway is, whether or not it answers.
async function networkOf(io: Io) {
  const { hostFacts } = await import('../../host-facts.ts')
  const { gateway } = await hostFacts(io)
  return { localLoopbackUrl: gateway?.loopbackUrl ?? null }
}

interface Look {
  id: string
  label: string
  target: TargetOptions
  mode?: 'local' | 'remote'
  ssh?: SshChoice
}

function looksOf(options: ProbeOptions, remote: RemoteFacts, found: SshAuto['found']): Look[] {
  const { url, port, ssh: given, sshAuto: _auto, sshIdentity, ...rest } = options
  const ssh = given ?? found?.host
  const looks: Look[] = []
  // A credential given by hand belongs to the place given by hand, and then goes nowhere else.
  const { token: _token, password: _password, ...bare } = rest
  const others = url === undefined && ssh === undefined ? rest : bare
  if (url !== undefined) looks.push({ id: 'explicit', label: 'URL (explicit)', target: { ...rest, url } })
  const tunnelled = ssh !== undefined || (remote.tunnelled && port === undefined)
  if (tunnelled) {
    const label =
      ssh === undefined ? 'SSH tunnel (configured)' : found === undefined ? 'SSH tunnel' : 'SSH tunnel (found)'
    const choice: SshChoice = {
      only: 'own',
      target: ssh,
      found: found !== undefined,
      identity: sshIdentity,
      port: port === undefined ? found?.port : parsePort(port)
    }
    looks.push({ id: 'sshTunnel', label, target: ssh === undefined ? others : rest, mode: 'remote', ssh: choice })
  }
  if (remote.named && port === undefined) {
    const label = remote.active ? 'Remote (configured)' : 'Remote (configured, inactive)'
    const standing: { ssh?: SshChoice } = remote.tunnelled ? { ssh: { only: 'standing' } } : {}
    looks.push({ id: 'configRemote', label, target: others, mode: 'remote', ...standing })
  }
  if (remote.here && port === undefined) return looks
  const local = port === undefined ? others : { ...others, port }
  looks.push({ id: 'localLoopback', label: 'Local loopback', target: local, mode: 'local' })
  return looks
}

async function findSshHost(io: Io, domain: string | undefined, timeoutMs: number): Promise<SshAuto> {
  const { sshAuto } = await import('../../discovery/ssh-auto.ts')
  return sshAuto(io, domain, timeoutMs)
}

interface RemoteFacts {
  /** A URL is configured, or a host that stands in for one. */
  named: boolean
  tunnelled: boolean
  active: boolean
  /** It stands at the port of this host's own gateway, which is then not looked for there: who listens may be no tunnel. */
  here: boolean
  /** The domain of unicast DNS in which gateways are looked for. */
  domain: string | undefined
}

async function remoteOf(io: Io): Promise<RemoteFacts> {
  const { paths, env } = placesOf(io)
  const { gateway, discovery } = await loadConfig({ env, paths, client: true })
  const { url, sshTarget } = gateway.remote
  const end = URL.parse(remoteUrl(gateway.remote) ?? '')
  const active = gateway.mode === 'remote'
  const tunnelled = sshTarget !== undefined && configuredLocalEnd(gateway.remote) !== undefined
  return {
    named: url !== undefined || tunnelled,
    tunnelled,
    active,
    here: active && end !== null && isLoopbackUrl(end) && portOf(end) === gateway.port,
    domain: discovery.wideArea.domain
  }
}

function best(capabilities: readonly GatewayReport['capability'][]): GatewayReport['capability'] {
  const order = [
    'admin_capable',
    'write_capable',
    'read_only',
    'pairing_pending',
    'connected_no_operator_scope'
  ] as const
  return order.find((capability) => capabilities.includes(capability)) ?? 'unknown'
}
