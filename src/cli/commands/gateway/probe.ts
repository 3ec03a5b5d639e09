import { Command } from 'commander'
import { loadConfig } from '../../../config/load.ts'
import { addTargetOptions, parseTimeout, placesOf, type TargetOptions } from '../../gateway-call.ts'
import type { Io } from '../../io.ts'
import { printable, printJson, styleOf } from '../../output.ts'
import { isScopeLimited, type ProbeTarget, type ProbeWarning, warningsOf } from '../../probe-warnings.ts'
import { type GatewayReport, inspectGateway, printReport } from '../../status.ts'

const TIMEOUT_MS = 3_000

/** `openclaw gateway probe`: every gateway in sight, the explicit one first. */
export function buildProbe(io: Io): Command {
  const command = new Command('probe').description(
    'Try every gateway in sight: --url, the configured remote one, and the one on this host'
  )
  return addTargetOptions(command, TIMEOUT_MS).action((options: TargetOptions) => probe(io, options))
}

async function probe(io: Io, options: TargetOptions): Promise<void> {
  const started = performance.now()
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const warnings: ProbeWarning[] = []
  const targets = (
    await Promise.all((await looksOf(io, options)).map((look) => lookAt(io, look, timeoutMs, warnings)))
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
      warnings,
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

// A credential that cannot be read keeps one target from being tried, and says nothing of the others.
async function lookAt(
  io: Io,
  { id, label, target, mode }: Look,
  timeoutMs: number,
  warnings: ProbeWarning[]
): Promise<ProbeTarget | undefined> {
  try {
    const report = await inspectGateway(io, target, { timeoutMs, deep: true, ...(mode === undefined ? {} : { mode }) })
    return { id, label, report }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'CONFIG_SECRET_UNRESOLVED')) throw error
    warnings.push({ code: 'auth_secretref_unresolved', message: error.message, targetIds: [id] })
    return undefined
  }
}

function jsonOf({ id, label, report }: ProbeTarget): Record<string, unknown> {
  const { url, reachable, capability, connectMs, auth, version, facts, health, error } = report
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
    facts,
    health: health ?? null,
    error
  }
}

interface Look {
  id: string
  label: string
  target: TargetOptions
  mode?: 'local' | 'remote'
}

async function looksOf(io: Io, options: TargetOptions): Promise<Look[]> {
  const { url, port, ...rest } = options
  const looks: Look[] = []
  // A credential given by hand belongs to the URL given by hand, and then goes nowhere else.
  const { token: _token, password: _password, ...bare } = rest
  const local = url === undefined ? rest : bare
  if (url !== undefined) looks.push({ id: 'explicit', label: 'URL (explicit)', target: { ...rest, url } })
  if (port === undefined) {
    const remote = await remoteUrl(io)
    if (remote !== undefined) {
      const label = remote.active ? 'Remote (configured)' : 'Remote (configured, inactive)'
      looks.push({ id: 'configRemote', label, target: local, mode: 'remote' })
    }
    looks.push({ id: 'localLoopback', label: 'Local loopback', target: local, mode: 'local' })
  } else looks.push({ id: 'localLoopback', label: 'Local loopback', target: { ...local, port } })
  return looks
}

async function remoteUrl(io: Io): Promise<{ active: boolean } | undefined> {
  const { paths, env } = placesOf(io)
  const { gateway } = await loadConfig({ env, paths, client: true })
  return gateway.remote.url === undefined ? undefined : { active: gateway.mode === 'remote' }
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
