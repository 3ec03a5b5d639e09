import type { HostStats, NodeEntry, NodeRequest } from '../../client/node-entry.ts'
import type { TargetOptions } from '../gateway-call.ts'
import type { Io } from '../io.ts'
import { formatBytes, formatDuration, printable, printJson, printRows, styleOf } from '../output.ts'
import { type Column, tableLayout } from '../table.ts'
import { type Ask, nameOf, nodesOf, parseDuration, pickNode, shortId, standing, withAsk } from './inventory.ts'

/** Which nodes are shown. */
export interface ShowOptions extends TargetOptions {
  connected?: boolean
  lastConnected?: string
}

const BOTH = ['operator.read', 'operator.pairing'] as const

/** `nodes status`: every node in one table. */
export async function status(io: Io, options: ShowOptions): Promise<void> {
  const keep = filterOf(options)
  const nodes = await withAsk(io, options, ['operator.read'], nodesOf)
  const shown = nodes.filter(keep)
  if (options.json === true) return printJson(io, { nodes: shown })
  if (shown.length === 0) return io.stdout(nodes.length === 0 ? NONE : 'No node fits.')
  const style = styleOf(io)
  const { head, line } = tableLayout<NodeEntry>(io, columns(io), shown)
  io.stdout(head)
  for (const node of shown) {
    io.stdout(line(node))
    const stats = node.hostStats && statsOf(node.hostStats, node.connected === true)
    if (stats) io.stdout(style.dim(`  ${stats}`))
  }
}

/** `nodes list`: what waits, and what is there. */
export async function list(io: Io, options: ShowOptions): Promise<void> {
  const keep = filterOf(options)
  const { pending, nodes } = await withAsk(io, options, BOTH, async (ask) => {
    const [pending, nodes] = await Promise.all([pendingOf(ask), nodesOf(ask)])
    return { pending, nodes: nodes.filter(keep) }
  })
  if (options.json === true) return printJson(io, { pending, nodes })
  if (pending.length > 0) {
    printPending(io, pending)
    io.stdout('')
  }
  if (nodes.length === 0) return io.stdout(pending.length === 0 ? NONE : 'No node fits.')
  const { head, line } = tableLayout<NodeEntry>(io, columns(io), nodes)
  io.stdout(head)
  for (const node of nodes) io.stdout(line(node))
}

/** `nodes pending`: what nodes would like to be allowed. */
export async function pending(io: Io, options: TargetOptions): Promise<void> {
  const waiting = await withAsk(io, options, ['operator.pairing'], pendingOf)
  if (options.json === true) return printJson(io, { pending: waiting })
  if (waiting.length === 0) return io.stdout('No node waits for approval.')
  printPending(io, waiting)
}

/** `nodes describe`: everything that is known of one node. */
export async function describe(io: Io, options: TargetOptions & { node: string }): Promise<void> {
  const node = await withAsk(io, options, BOTH, async (ask) => {
    const { nodeId } = await pickNode(ask, options.node, '')
    return ask<NodeEntry>('node.describe', { nodeId })
  })
  if (options.json === true) return printJson(io, node)
  const { pendingDeclaredCommands, pendingDeclaredCaps, pendingRequestId } = node
  const more = pendingDeclaredCommands?.filter((name) => !node.commands?.includes(name))
  printRows(io, [
    ['Name', nameOf(node)],
    ['Id', node.nodeId],
    ['Status', standing(node)],
    ['Platform', words([node.platform, node.modelIdentifier, node.version])],
    ['Address', node.remoteIp ?? 'this host'],
    ['Last connect', node.lastConnectedAtMs === undefined ? 'never' : `${age(node.lastConnectedAtMs)} ago`],
    ['Stats', node.hostStats && statsOf(node.hostStats, node.connected === true)],
    ['Capabilities', listed(node.caps)],
    ['May', listed(node.commands)],
    [
      'Permissions',
      words(
        Object.entries(node.permissions ?? {}).map(([name, is]) => `${name}: ${is ? 'yes' : 'no'}`),
        ', '
      )
    ],
    ['Would get', more && listed([...more, ...(pendingDeclaredCaps ?? []).filter((cap) => !node.caps?.includes(cap))])],
    ['Approve with', pendingRequestId && `openclaw nodes approve ${pendingRequestId}`]
  ])
}

/** What waits, the newest first. */
export async function pendingOf(ask: Ask): Promise<NodeRequest[]> {
  const { pending = [] } = await ask<{ pending?: NodeRequest[] }>('node.pair.list')
  return pending
}

/** Prints what nodes would like, and how to decide. */
export function printPending(io: Io, pending: readonly NodeRequest[]): void {
  const style = styleOf(io)
  const { head, line } = tableLayout<NodeRequest>(
    io,
    [
      { title: 'REQUEST', max: 8, text: ({ requestId }) => requestId.slice(0, 8) },
      { title: 'NODE', max: 24, text: nameOf },
      { title: 'KEY', max: 12, text: ({ nodeId }) => shortId(nodeId) },
      { title: 'AGE', max: 4, text: ({ ts }) => age(ts) },
      { title: 'FROM', text: ({ remoteIp = 'this host' }) => remoteIp }
    ],
    pending
  )
  io.stdout(head)
  for (const request of pending) {
    io.stdout(line(request))
    // On lines of their own, because they must never be cut.
    io.stdout(`  would be allowed ${style.yellow(printable(wouldBeAllowed(request)))}`)
    io.stdout(style.dim(`  openclaw nodes approve ${printable(request.requestId)}`))
  }
}

/** What approval would allow, in one line. */
export function wouldBeAllowed({ commands = [], requiredApproveScopes = [] }: NodeRequest): string {
  if (commands.length === 0) return 'nothing but being connected'
  const reach = requiredApproveScopes.includes('operator.admin') ? ' (reaches into the machine: an admin approves)' : ''
  return commands.join(', ') + reach
}

const NONE = 'No node is paired. On the machine that is to be one: openclaw node run --host THIS_HOST'

function columns(io: Io): Column<NodeEntry>[] {
  const style = styleOf(io)
  return [
    { title: 'NAME', max: 24, text: nameOf },
    { title: 'ID', max: 12, text: ({ nodeId }) => shortId(nodeId) },
    {
      title: 'STATUS',
      text: standing,
      paint: (node) =>
        standing(node) === 'connected' ? style.green : node.connected === true ? style.yellow : style.dim
    },
    { title: 'PLATFORM', max: 10, text: ({ platform = '-' }) => platform },
    { title: 'VERSION', max: 12, text: ({ version = '-' }) => version },
    {
      title: 'LAST CONNECT',
      text: ({ lastConnectedAtMs }) => (lastConnectedAtMs === undefined ? 'never' : `${age(lastConnectedAtMs)} ago`)
    },
    { title: 'CAPABILITIES', text: ({ caps }) => listed(caps) ?? '-' }
  ]
}

function filterOf({ connected, lastConnected }: ShowOptions): (node: NodeEntry) => boolean {
  const within = lastConnected === undefined ? undefined : parseDuration(lastConnected, '--last-connected')
  const since = within === undefined ? Number.NEGATIVE_INFINITY : Date.now() - within
  return (node) =>
    (connected !== true || node.connected === true) &&
    (within === undefined || (node.lastConnectedAtMs ?? Number.NEGATIVE_INFINITY) >= since)
}

function statsOf(stats: HostStats, here: boolean): string | undefined {
  const { cpuCount, loadAverage, memoryTotalBytes, memoryFreeBytes, diskAvailableBytes, updatedAtMs } = stats
  const load = loadAverage && cpuCount ? `load ${loadAverage[0]}/${cpuCount}` : undefined
  const memory =
    memoryTotalBytes !== undefined && memoryFreeBytes !== undefined
      ? `mem ${formatBytes(memoryTotalBytes - memoryFreeBytes)} of ${formatBytes(memoryTotalBytes)}`
      : undefined
  const disk = diskAvailableBytes === undefined ? undefined : `disk ${formatBytes(diskAvailableBytes)} free`
  const text = words([load, memory, disk], ' · ')
  return text && !here && updatedAtMs !== undefined ? `${text} (last known ${age(updatedAtMs)} ago)` : text
}

function age(ts: number): string {
  return formatDuration(Math.max(1_000, Math.round((Date.now() - ts) / 1_000) * 1_000)).split(' ')[0]!
}

function listed(values: readonly string[] | undefined): string | undefined {
  return words(values ?? [], ', ')
}

function words(parts: readonly (string | undefined)[], between = ' '): string | undefined {
  return parts.filter((part) => part !== undefined && part !== '').join(between) || undefined
}
