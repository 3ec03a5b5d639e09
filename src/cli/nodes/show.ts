import type { NodeEntry } from '../../client/node-entry.ts'
import { parseDuration } from '../duration.ts'
import { findNode, nodeName } from '../find-node.ts'
import type { Io } from '../io.ts'
import { printable, printJson, printRows, styleOf } from '../output.ts'
import { formatMoment, tableLayout } from '../table.ts'
import { indented } from '../wrap.ts'
import { ago, allNodes, allRequests, type NodeOptions, nodeWord, presence, withAsk } from './inventory.ts'
import { approveCommand, printRequests } from './requests.ts'
import { approvalTakes, meaningOf, permissionsOf, statsOf } from './words.ts'

/** Which nodes are shown. */
export interface FilterOptions extends NodeOptions {
  connected?: boolean
  lastConnected?: string
}

/** `nodes list` */
export function list(io: Io, options: FilterOptions): Promise<void> {
  const fits = filterOf(options)
  return withAsk(io, options, ['operator.read', 'operator.pairing'], async (ask) => {
    const [pending, nodes] = await Promise.all([allRequests(ask), allNodes(ask)])
    const paired = nodes.filter(({ paired }) => paired !== false).filter(fits)
    if (options.json === true) return printJson(io, { pending, paired })
    if (pending.length > 0) {
      io.stdout(styleOf(io).bold(`Waiting for approval (${pending.length})`))
      printRequests(io, pending)
      io.stdout('')
    }
    io.stdout(styleOf(io).bold(`Nodes (${paired.length})`))
    if (paired.length === 0) return io.stdout(none(options))
    const { head, line } = tableLayout<NodeEntry>(
      io,
      [
        { title: 'NAME', max: 24, text: nodeName },
        { title: 'ID', text: ({ nodeId }) => nodeId.slice(0, 12) },
        { title: 'ADDRESS', max: 39, text: ({ remoteIp = 'this host' }) => remoteIp },
        {
          title: 'LAST CONNECT',
          text: ({ connectedAtMs, lastConnectedAtMs }) => lastConnect(connectedAtMs ?? lastConnectedAtMs)
        },
        { title: 'STATE', text: stateOf, paint: paintState(io) }
      ],
      paired
    )
    io.stdout(head)
    for (const node of paired) io.stdout(line(node))
  })
}

/** `nodes status` */
export function status(io: Io, options: FilterOptions): Promise<void> {
  const fits = filterOf(options)
  return withAsk(io, options, ['operator.read', 'operator.pairing'], async (ask) => {
    const answer = await ask<{ nodes?: NodeEntry[] }>('node.list')
    const nodes = (answer.nodes ?? []).filter(fits)
    if (options.json === true) return printJson(io, { ...answer, nodes })
    if (nodes.length === 0) return io.stdout(none(options))
    const { head, line } = tableLayout<NodeEntry>(
      io,
      [
        { title: 'NAME', max: 24, text: nodeName },
        { title: 'STATE', text: stateOf, paint: paintState(io) },
        { title: 'PLATFORM', max: 10, text: ({ platform = '-' }) => platform },
        { title: 'VERSION', max: 12, text: ({ version = '-' }) => version },
        { title: 'CAN', text: ({ caps = [] }) => caps.join(', ') || '-' }
      ],
      nodes
    )
    const style = styleOf(io)
    io.stdout(head)
    for (const node of nodes) {
      io.stdout(line(node))
      const details = [statsOf(node.hostStats, node.connected), activityOf(node)].filter((each) => each !== undefined)
      if (details.length > 0) io.stdout(style.dim(`  ${printable(details.join(' · '))}`))
      if (node.pendingRequestId !== undefined) {
        io.stdout(style.yellow(`  waits for approval: ${approveCommand(io, node.pendingRequestId)}`))
      }
    }
  })
}

/** `nodes describe` */
export function describe(io: Io, word: string | undefined, options: NodeOptions): Promise<void> {
  const which = nodeWord(word, options, 'openclaw nodes describe NODE')
  return withAsk(io, options, ['operator.read', 'operator.pairing'], async (ask) => {
    const { nodeId } = findNode(await allNodes(ask), which)
    const node = await ask<NodeEntry>('node.describe', { nodeId })
    if (options.json === true) printJson(io, node)
    else printNode(io, node)
  })
}

function printNode(io: Io, node: NodeEntry): void {
  const { commands = [], caps = [], remoteIp = 'this host', platform, deviceFamily, modelIdentifier } = node
  const approved = node.approvalState === 'approved' || node.approvalState === 'pending-reapproval'
  io.stdout(styleOf(io).bold(nodeName(node)))
  printRows(io, [
    ['Id', node.nodeId],
    ['State', stateOf(node)],
    ['Connected', node.connectedAtMs === undefined ? undefined : `since ${formatMoment(node.connectedAtMs)}`],
    ['Address', remoteIp],
    ['Platform', [platform, deviceFamily, modelIdentifier].filter(Boolean).join(', ')],
    ['Client', [node.clientId, node.version].filter(Boolean).join(' ')],
    ['Stats', statsOf(node.hostStats, node.connected)],
    ['Activity', activityOf(node)],
    ['Approved', approved && node.approvedAtMs !== undefined ? formatMoment(node.approvedAtMs) : undefined],
    ['Capabilities', caps.join(', ') || 'none'],
    ['Permissions', permissionsOf(node.permissions)]
  ])
  const style = styleOf(io)
  io.stdout('')
  say(io, style.bold, commands.length === 0 ? 'Operators may not use it' : `Operators may ${meaningOf(commands)}`)
  if (commands.length > 0) io.stdout(indented(printable(commands.join(', ')), 2, 100))
  if (node.pendingRequestId !== undefined) printPending(io, node, node.pendingRequestId)
}

// What is new of it is what a person decides about; what is approved already stays so.
function printPending(io: Io, node: NodeEntry, requestId: string): void {
  const { pendingDeclaredCommands: asked = [], pendingDeclaredCaps = [], commands = [], caps = [] } = node
  const style = styleOf(io)
  const fresh = asked.filter((name) => !commands.includes(name))
  const freshCaps = pendingDeclaredCaps.filter((name) => !caps.includes(name))
  io.stdout('')
  say(io, style.yellow, `Approval would let operators ${meaningOf(fresh)}`)
  if (fresh.length > 0) io.stdout(indented(printable(fresh.join(', ')), 2, 100))
  printRows(io, [
    ['  Capabilities', freshCaps.length === 0 ? undefined : freshCaps.join(', ')],
    ['  Permissions', permissionsOf(node.pendingDeclaredPermissions)],
    ['  Takes', approvalTakes(asked)],
    ['  Approve', approveCommand(io, requestId)]
  ])
}

function say(io: Io, paint: (text: string) => string, text: string): void {
  io.stdout(paint(indented(printable(text), 0, 100)))
}

function filterOf({ connected, lastConnected }: FilterOptions): (node: NodeEntry) => boolean {
  const since = lastConnected === undefined ? undefined : Date.now() - parseDuration(lastConnected, '--last-connected')
  return (node) =>
    (connected !== true || node.connected === true) &&
    (since === undefined || (node.connectedAtMs ?? node.lastConnectedAtMs ?? Number.NEGATIVE_INFINITY) >= since)
}

function none({ connected, lastConnected }: FilterOptions): string {
  return connected === true || lastConnected !== undefined
    ? 'No such nodes.'
    : 'No nodes. Lend a machine: openclaw node run --host GATEWAY (there), then openclaw devices list (here).'
}

function stateOf(node: NodeEntry): string {
  const words = { 'pending-approval': 'unapproved', 'pending-reapproval': 'asks for more', unapproved: 'unapproved' }
  const state = words[node.approvalState as keyof typeof words]
  return [presence(node), state].filter((each) => each !== undefined).join(', ')
}

function paintState(io: Io): (node: NodeEntry) => (text: string) => string {
  const style = styleOf(io)
  return ({ connected, approvalState }) =>
    connected !== true ? style.dim : approvalState === 'approved' ? style.green : style.yellow
}

function lastConnect(ts: number | undefined): string {
  return ts === undefined ? 'never' : ago(ts)
}

function activityOf({ lastActiveAtMs, active }: NodeEntry): string | undefined {
  if (lastActiveAtMs === undefined) return undefined
  return `${active === true ? 'active, ' : ''}last input ${ago(lastActiveAtMs)}`
}
