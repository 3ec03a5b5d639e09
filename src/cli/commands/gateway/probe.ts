import { Command } from 'commander'
import { loadConfig } from '../../../config/load.ts'
import { addTargetOptions, parseTimeout, placesOf, type TargetOptions } from '../../gateway-call.ts'
import type { Io } from '../../io.ts'
import { printJson, styleOf } from '../../output.ts'
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
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const looks = (await looksOf(io, options)).map(async ({ id, label, target, mode }) => {
    const report = await inspectGateway(io, target, { timeoutMs, deep: true, ...(mode === undefined ? {} : { mode }) })
    return { id, label, report }
  })
  const targets = await Promise.all(looks)
  const reached = targets.filter(({ report }) => report.reachable)
  io.exit(reached.length > 0 ? 0 : 1)
  if (options.json === true) {
    return printJson(io, {
      ok: reached.length > 0,
      degraded: reached.some(({ report }) => report.error !== undefined),
      capability: best(reached.map(({ report }) => report.capability)),
      primaryTargetId: reached[0]?.id ?? null,
      targets: targets.map(({ id, label, report }) => ({
        id,
        label,
        url: report.url,
        connect: { ok: report.reachable, rpcOk: report.reachable && report.error === undefined, ms: report.connectMs },
        auth: { ...report.auth, capability: report.capability },
        version: report.version,
        error: report.error
      }))
    })
  }
  io.stdout(`Reachable: ${reached.length > 0 ? 'yes' : 'no'}`)
  for (const { label, report } of targets) {
    io.stdout(`\n${styleOf(io).bold(label)}`)
    printReport(io, report)
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
  const order = ['admin_capable', 'write_capable', 'read_only', 'connected_no_operator_scope'] as const
  return order.find((capability) => capabilities.includes(capability)) ?? 'unknown'
}
