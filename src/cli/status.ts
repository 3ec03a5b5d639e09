import type { Connection, ConnectOptions } from '../client/connect.ts'
import type { TunnelFacts } from '../client/ssh/tunnel.ts'
import { describeEndpoint } from '../client/target.ts'
import { type TargetOptions, withGateway } from './gateway-call.ts'
import { clientCount, type Status } from './health.ts'
import { CliError, type Io } from './io.ts'
import { formatDuration, printRows, styleOf } from './output.ts'

/** What can be said of one gateway; without `error` it was reached. */
export interface GatewayReport {
  url: string
  urlSource: string
  reachable: boolean
  capability: 'admin_capable' | 'write_capable' | 'read_only' | 'connected_no_operator_scope' | 'unknown'
  connectMs?: number
  version?: string
  uptimeMs?: number
  clients?: number
  auth?: { method: string; role: string; scopes: readonly string[]; credential: string }
  tunnel?: TunnelFacts
  status?: Status
  health?: unknown
  error?: { code: string; message: string; fix?: string | undefined }
}

/** Looks at one gateway, strictly by R28, and reports; only a mistake in the command line is thrown. */
export async function inspectGateway(
  io: Io,
  options: TargetOptions,
  wants: { timeoutMs: number; deep?: boolean; mode?: 'local' | 'remote'; ssh?: ConnectOptions['ssh'] }
): Promise<GatewayReport> {
  const started = performance.now()
  try {
    const { timeoutMs } = wants
    return await withGateway(
      io,
      options,
      {
        // All, so that the answer shows what the credential is good for.
        scopes: ['operator.admin', 'operator.write', 'operator.read'],
        purpose: 'probe',
        timeoutMs,
        ...(wants.mode === undefined ? {} : { mode: wants.mode }),
        ssh: wants.ssh
      },
      async (connection) => {
        const report = reportOf(connection, performance.now() - started)
        const { client } = connection
        try {
          const status = await client.request<Status>('status', {}, { timeoutMs })
          report.status = status
          const clients = clientCount(status ?? {})
          if (clients !== undefined) report.clients = clients
          if (wants.deep === true) report.health = await client.request('health', {}, { timeoutMs })
        } catch (error) {
          report.error = { code: codeOf(error), message: (error as Error).message }
        }
        return report
      }
    )
  } catch (error) {
    if (!(error instanceof CliError) || error.code === 'USAGE') throw error
    const gateway = error.extra.gateway as { url: string; urlSource: string } | undefined
    if (gateway === undefined) throw error
    return {
      ...gateway,
      reachable: false,
      capability: 'unknown',
      error: { code: error.code, message: error.message, fix: error.fix }
    }
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'UNEXPECTED'
}

function reportOf({ hello, endpoint, credentials, tunnel }: Connection, connectMs: number): GatewayReport {
  const { method, role, scopes } = hello.auth
  const credential = credentials?.token?.source ?? credentials?.password?.source
  return {
    url: describeEndpoint(endpoint),
    urlSource: endpoint.source,
    reachable: true,
    capability: capabilityOf(scopes),
    connectMs: Math.round(connectMs),
    ...(tunnel === undefined ? {} : { tunnel }),
    version: hello.server.version,
    uptimeMs: hello.snapshot.uptimeMs,
    auth: {
      method,
      role,
      scopes,
      credential: endpoint.kind === 'socket' ? 'owner of this host’s files' : (credential ?? 'none')
    }
  }
}

function capabilityOf(scopes: readonly string[]): GatewayReport['capability'] {
  if (scopes.includes('operator.admin')) return 'admin_capable'
  if (scopes.includes('operator.write')) return 'write_capable'
  return scopes.includes('operator.read') ? 'read_only' : 'connected_no_operator_scope'
}

function healthWord(health: unknown): string | undefined {
  if (typeof health !== 'object' || health === null || !('ok' in health)) return undefined
  return health.ok === true ? 'ok' : 'not ok'
}

type Part<Key extends 'tls' | 'tailscale'> = NonNullable<Status['gateway']>[Key]

function tlsText(tls: Part<'tls'>): string | undefined {
  if (tls?.enabled !== true) return undefined
  const until = tls.notAfter === undefined ? '' : `, until ${tls.notAfter.slice(0, 10)}`
  return `${tls.fingerprint}${until}${tls.problem === undefined ? '' : ` (${tls.problem})`}`
}

function tunnelText(tunnel: TunnelFacts | undefined): string | undefined {
  if (tunnel === undefined) return undefined
  const { target, remotePort, localPort, pid } = tunnel
  const how = localPort === undefined ? 'for this command alone' : `that is up on port ${localPort}`
  return `ssh ${target}, ${how}${pid === undefined ? '' : ` (pid ${pid})`}, to port ${remotePort} there`
}

function tailscaleText(tailscale: Part<'tailscale'>): string | undefined {
  const { mode, phase, url, error, fix } = tailscale ?? {}
  if (mode === undefined || mode === 'off') return undefined
  if (phase === 'active') return `${mode}, ${url}`
  return `${mode}, not reachable there: ${error ?? phase}${fix?.command === undefined ? '' : ` (${fix.command})`}`
}

/** Prints one report for a person. */
export function printReport(io: Io, report: GatewayReport): void {
  const style = styleOf(io)
  const { auth, error, status: { gateway, configReload } = {} } = report
  const { problem, restart } = configReload ?? {}
  printRows(io, [
    ['Gateway', `${report.url} (${report.urlSource})`],
    ['Reachable', report.reachable ? `yes, in ${report.connectMs}ms` : 'no'],
    ['Tunnel', tunnelText(report.tunnel)],
    ['Version', report.version],
    ['Uptime', report.uptimeMs === undefined ? undefined : formatDuration(report.uptimeMs)],
    ['Clients', report.clients === undefined ? undefined : String(report.clients)],
    ['TLS', tlsText(gateway?.tls)],
    ['Tailscale', tailscaleText(gateway?.tailscale)],
    ['Configuration', problem === undefined ? undefined : `not applied: ${problem.replaceAll('\n', ' ')}`],
    ['Needs a restart', restart?.join(', ') || undefined],
    ['Signed in', auth === undefined ? undefined : `${auth.method} (${auth.credential})`],
    ['Capability', report.capability.replaceAll('_', '-')],
    ['Health', healthWord(report.health)]
  ])
  if (error === undefined) return
  io.stdout(`${style.red('Problem:')} ${error.message}`)
  if (error.fix !== undefined) io.stdout(`${style.green('Fix:')} ${error.fix}`)
}
