import { VERSION } from '../package.ts'
import { tunnelText } from './connection-words.ts'
import type { Status } from './health.ts'
import type { HostFacts, portFacts, systemFacts } from './host-facts.ts'
import type { Io } from './io.ts'
import { formatDuration, printable, printRows, styleOf } from './output.ts'
import type { GatewayReport } from './status.ts'

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
  const texts = [
    ...announced.map(({ name, network }) => `${name} on ${network}`),
    ...problems.map(({ reason }) => `${word}: ${reason}`)
  ]
  return texts.join('; ') || undefined
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
  io.stdout(`${style.red('Problem:')} ${printable(error.message)}`)
  if (error.fix !== undefined) io.stdout(`${style.green('Fix:')} ${printable(error.fix)}`)
}

/** The places of this host, and whether its configuration holds. */
export function hostRows({
  config,
  stateDir,
  localSocket,
  logFile,
  gateway
}: HostFacts): [string, string | undefined][] {
  const state = config.exists
    ? config.valid
      ? ''
      : ` (${config.problems.length} wrong: ${config.problems[0]})`
    : ' (missing)'
  return [
    ['Config', `${config.path}${state}`],
    ['State', stateDir],
    ['Socket', localSocket],
    ['Log', logFile],
    [
      'Listens',
      gateway?.mode === 'local' ? `${gateway.bindMode}, port ${gateway.port} (${gateway.portSource})` : undefined
    ],
    ['Dashboard', gateway?.mode === 'local' ? gateway.controlUi?.httpUrl : undefined]
  ]
}

/** Whose a port is. */
export function portText({ port, status, listeners: [owner] }: Awaited<ReturnType<typeof portFacts>>): string {
  if (status === 'free') return `${port} is free`
  return owner === undefined
    ? `${port} is taken; whose it is cannot be told`
    : `${port} is held by pid ${owner.pid} (${owner.command})`
}

/** The system, as a report has to name it. */
export function systemRows({ label, node }: ReturnType<typeof systemFacts>): [string, string][] {
  return [
    ['System', label],
    ['Command', `openclaw-gateway ${VERSION}, node ${node}`]
  ]
}
