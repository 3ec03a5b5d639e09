import type { NodeEntry, NodeRequest } from '../../client/node-entry.ts'
import type { Scope } from '../../protocol/scopes.ts'
import { findNode, nodeName } from '../find-node.ts'
import { parseTimeout, type TargetOptions, withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { formatDuration } from '../output.ts'

/** Which node a command is about. */
export interface NodeOptions extends TargetOptions {
  node?: string
}

/** Calls a method and resolves with its result. */
export type Ask = <T>(method: string, params?: object) => Promise<T>

/** How long these commands wait for a gateway, in milliseconds. */
export const TIMEOUT_MS = 10_000

/** Runs work that calls methods of the gateway that flags, environment and file name; it hears the scopes it has. */
export function withAsk<T>(
  io: Io,
  options: TargetOptions,
  scopes: readonly Scope[],
  work: (ask: Ask, held: ReadonlySet<Scope>, owner: boolean) => Promise<T>
): Promise<T> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  return withGateway(io, options, { scopes, timeoutMs }, ({ client, hello, endpoint }) => {
    const ask: Ask = (method, params = {}) => client.request(method, params, { timeoutMs })
    return work(ask, new Set((hello.auth?.scopes ?? []) as Scope[]), endpoint.kind === 'socket')
  })
}

/** Every node that the gateway knows. */
export async function allNodes(ask: Ask): Promise<NodeEntry[]> {
  return (await ask<{ nodes?: NodeEntry[] }>('node.list')).nodes ?? []
}

/** Every request of a node that waits, the newest first. */
export async function allRequests(ask: Ask): Promise<NodeRequest[]> {
  const { pending = [] } = await ask<{ pending?: NodeRequest[] }>('node.pair.list')
  return pending.toSorted((a, b) => b.ts - a.ts)
}

/** The word that names a node: an argument, or `--node`. */
export function nodeWord(word: string | undefined, { node }: NodeOptions, usage: string): string {
  const named = word ?? node
  if (word !== undefined && node !== undefined) {
    throw new CliError('USAGE', 'name the node once: as an argument, or with --node', { fix: usage })
  }
  if (named === undefined || named.trim() === '') {
    throw new CliError('USAGE', 'which node? Name it by its id, its name, its address, or the start of its id', {
      fix: usage
    })
  }
  return named
}

/** The node that is to do something: the one that is named, or the only one here that can. */
export function workingNode(nodes: readonly NodeEntry[], which: string | undefined, command: string): NodeEntry {
  const can = (node: NodeEntry) => node.connected === true && node.commands?.includes(command) === true
  if (which !== undefined) {
    const node = findNode(nodes, which, true)
    if (!can(node)) throw cannot(node, command)
    return node
  }
  const able = nodes.filter(can)
  if (able.length === 1) return able[0]!
  if (able.length > 1) {
    const names = able.slice(0, 8).map(nodeName)
    throw new CliError('NODE_AMBIGUOUS', `${able.length} nodes that are connected can do this: ${names.join(', ')}`, {
      fix: `name one: --node ${quoted(names[0]!)}`
    })
  }
  const [only, ...others] = nodes
  if (only !== undefined && others.length === 0) throw cannot(only, command)
  throw new CliError('NODE_MISSING', `no node is connected that can do ${command}`, {
    fix: nodes.length === 0 ? 'openclaw node run --host GATEWAY (on the machine to lend)' : 'openclaw nodes status'
  })
}

function cannot(node: NodeEntry, command: string): CliError {
  const { connected, pendingRequestId, pendingDeclaredCommands = [] } = node
  const name = nodeName(node)
  if (connected !== true) {
    return new CliError('NODE_OFFLINE', `${name} is not connected (${presence(node)})`, {
      fix: 'openclaw node run (on that machine)'
    })
  }
  if (pendingRequestId !== undefined && pendingDeclaredCommands.includes(command)) {
    return new CliError('NODE_UNAPPROVED', `${name} may not do ${command} until somebody approves it`, {
      fix: `openclaw nodes approve ${pendingRequestId}`
    })
  }
  return new CliError('NODE_INCAPABLE', `${name} cannot do ${command}, or may not`, {
    fix: `openclaw nodes describe ${quoted(name)}`
  })
}

/** Whether a node is here, or when it was. */
export function presence({ connected, lastDisconnectedAtMs, lastSeenAtMs, lastConnectedAtMs }: NodeEntry): string {
  if (connected === true) return 'connected'
  const times = [lastDisconnectedAtMs, lastSeenAtMs, lastConnectedAtMs].filter((each) => each !== undefined)
  return times.length === 0 ? 'never seen' : `seen ${ago(Math.max(...times))}`
}

/** How long ago something was, in one unit. */
export function ago(ts: number): string {
  const seconds = Math.max(1, Math.round((Date.now() - ts) / 1_000))
  return `${formatDuration(seconds * 1_000).split(' ')[0]!} ago`
}

/** A name as a word of a command line. */
export function quoted(name: string): string {
  return /^[\w.:-]+$/.test(name) ? name : `"${name.replace(/["$`\\]/g, '\\$&')}"`
}
