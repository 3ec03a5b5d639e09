import type { Connection, ConnectOptions } from '../client/connect.ts'
import type { TunnelFacts } from '../client/ssh/tunnel.ts'
import { describeEndpoint } from '../client/target.ts'
import type { Facts } from './facts.ts'
import { placesOf, type TargetOptions, withGateway } from './gateway-call.ts'
import { clientCount, type Status } from './health.ts'
import { CliError, type Io } from './io.ts'
import { formatDuration, printRows, styleOf } from './output.ts'

/** What can be said of one gateway; without `error` it let this host in and answered. */
export interface GatewayReport {
  url: string
  urlSource: string
  /** A gateway answered there, be it with a refusal. */
  reachable: boolean
  capability:
    | 'admin_capable'
    | 'write_capable'
    | 'read_only'
    | 'pairing_pending'
    | 'connected_no_operator_scope'
    | 'unknown'
  facts: Facts
  connectMs?: number
  version?: string
  /** Tells one life of a gateway process from every other. */
  bootId?: string
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
        // Here and not above: help and mistakes need no WebSocket.
        const { factsOf, no, yes } = await import('./facts.ts')
        const report = reportOf(connection, performance.now() - started, factsOf)
        const { client } = connection
        try {
          const asked = performance.now()
          const status = await client.request<Status>('status', {}, { timeoutMs })
          report.status = status
          report.facts.rpc = yes(`status answered in ${Math.round(performance.now() - asked)}ms`)
          const clients = clientCount(status ?? {})
          if (clients !== undefined) report.clients = clients
          if (wants.deep === true) report.health = await client.request('health', {}, { timeoutMs })
        } catch (error) {
          const { message } = error as Error
          report.error = { code: codeOf(error), message }
          report.facts.rpc = no(message)
        }
        return report
      }
    )
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    const [{ ConnectFailure }, { factsOfFailure, wasReached }] = await Promise.all([
      import('../client/connect-failure.ts'),
      import('./facts.ts')
    ])
    if (!(error.cause instanceof ConnectFailure)) throw error
    const { reason, endpoint } = error.cause
    const { code, message, fix } = error
    const report: GatewayReport = {
      url: describeEndpoint(endpoint),
      urlSource: endpoint.source,
      reachable: wasReached(reason),
      capability: code === 'PAIRING_REQUIRED' ? 'pairing_pending' : 'unknown',
      facts: factsOfFailure(reason, endpoint),
      error: { code, message, fix }
    }
    if (endpoint.kind === 'socket' || endpoint.destination === 'local') await lookForProcess(io, report)
    return report
  }
}

// What does not answer may run all the same: the state folder knows.
async function lookForProcess(io: Io, { facts }: GatewayReport): Promise<void> {
  if (facts.process.state === 'yes') return
  const [{ runningGateway }, { no, yes }] = await Promise.all([import('./doctor/running.ts'), import('./facts.ts')])
  const { running, pid } = await runningGateway(placesOf(io).paths)
  facts.process = running
    ? yes(`${pid === undefined ? 'a process' : `pid ${pid}`} holds the state folder`)
    : no('no process holds the state folder')
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'UNEXPECTED'
}

function reportOf(
  connection: Connection,
  connectMs: number,
  factsOf: typeof import('./facts.ts').factsOf
): GatewayReport {
  const { hello, endpoint, credentials, tunnel } = connection
  const { method, role, scopes } = hello.auth
  const { token, password, deviceToken } = credentials ?? {}
  const credential =
    endpoint.kind === 'socket' ? 'owner of this host’s files' : (token ?? password ?? deviceToken)?.source
  return {
    url: describeEndpoint(endpoint),
    urlSource: endpoint.source,
    reachable: true,
    capability: capabilityOf(scopes),
    connectMs: Math.round(connectMs),
    ...(tunnel === undefined ? {} : { tunnel }),
    version: hello.server.version,
    bootId: hello.server.bootId,
    uptimeMs: hello.snapshot.uptimeMs,
    auth: { method, role, scopes, credential: credential ?? 'none' },
    facts: factsOf(connection, credential ?? 'none', connectMs)
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

type Part<Key extends 'tls' | 'tailscale' | 'discovery'> = NonNullable<Status['gateway']>[Key]

function tlsText(tls: Part<'tls'>): string | undefined {
  if (tls?.enabled !== true) return undefined
  const until = tls.notAfter === undefined ? '' : `, until ${tls.notAfter.slice(0, 10)}`
  return `${tls.fingerprint}${until}${tls.problem === undefined ? '' : ` (${tls.problem})`}`
}

function announcedText(discovery: Part<'discovery'>): string | undefined {
  const { announced = [], problems = [] } = discovery ?? {}
  const word = announced.length === 0 ? 'nowhere' : 'not everywhere'
  return (
    [
      ...announced.map(({ name, network }) => `${name} on ${network}`),
      ...problems.map(({ reason }) => `${word}: ${reason}`)
    ].join('; ') || undefined
  )
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

/** Prints one report for a person; `facts` adds how each part of it is known. */
export function printReport(io: Io, report: GatewayReport, { facts = false } = {}): void {
  const style = styleOf(io)
  const { auth, error, status: { gateway, configReload } = {} } = report
  const { problem, restart } = configReload ?? {}
  printRows(io, [
    ['Gateway', `${report.url} (${report.urlSource})`],
    ['Reachable', report.reachable ? `yes${report.connectMs === undefined ? '' : `, in ${report.connectMs}ms`}` : 'no'],
    ['Tunnel', tunnelText(report.tunnel)],
    ['Version', report.version],
    ['Uptime', report.uptimeMs === undefined ? undefined : formatDuration(report.uptimeMs)],
    ['Clients', report.clients === undefined ? undefined : String(report.clients)],
    ['TLS', tlsText(gateway?.tls)],
    ['Tailscale', tailscaleText(gateway?.tailscale)],
    ['Announced', announcedText(gateway?.discovery)],
    ['Configuration', problem === undefined ? undefined : `not applied: ${problem.replaceAll('\n', ' ')}`],
    ['Needs a restart', restart?.join(', ') || undefined],
    ['Signed in', auth === undefined ? undefined : `${auth.method} (${auth.credential})`],
    ['Capability', report.capability.replaceAll('_', '-')],
    ['Health', healthWord(report.health)]
  ])
  if (facts)
    printRows(
      io,
      Object.entries(report.facts).map(([name, fact]) => [name, `${fact.state}: ${fact.evidence}`])
    )
  if (error === undefined) return
  io.stdout(`${style.red('Problem:')} ${error.message}`)
  if (error.fix !== undefined) io.stdout(`${style.green('Fix:')} ${error.fix}`)
}
