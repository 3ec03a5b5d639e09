import type { Connection } from '../../client/connect.ts'
import type { NodeEntry } from '../../client/node-entry.ts'
import type { Scope } from '../../protocol/scopes.ts'
import { findNode } from '../find-node.ts'
import { parseTimeout, type TargetOptions, withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'

/** How long these commands wait for a gateway, in milliseconds. */
export const TIMEOUT_MS = 10_000

/** Calls one method of the gateway. */
export type Ask = <T>(method: string, params?: object) => Promise<T>

/** Connects, and runs work that asks the gateway. */
export function withAsk<T>(
  io: Io,
  options: TargetOptions,
  scopes: readonly Scope[],
  work: (ask: Ask, connection: Connection) => Promise<T>
): Promise<T> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  return withGateway(io, options, { scopes, timeoutMs }, (connection) =>
    work((method, params = {}) => connection.client.request(method, params, { timeoutMs }), connection)
  )
}

/** Every node that the gateway knows. */
export async function nodesOf(ask: Ask): Promise<NodeEntry[]> {
  const { nodes = [] } = await ask<{ nodes?: NodeEntry[] }>('node.list')
  return nodes
}

/** The node that a person means; without a word, the only one that is connected and has a command. */
export async function pickNode(ask: Ask, which: string | undefined, command: string): Promise<NodeEntry> {
  const nodes = await nodesOf(ask)
  if (which !== undefined) return findNode(nodes, which)
  const able = nodes.filter((each) => each.connected === true && each.commands?.includes(command))
  if (able.length === 1) return able[0]!
  const names = able.map(nameOf).slice(0, 8).join(', ')
  throw able.length === 0
    ? new CliError('NODE_UNKNOWN', `no node is connected that may ${command}`, { fix: 'openclaw nodes status' })
    : new CliError('NODE_AMBIGUOUS', `${able.length} nodes may ${command}: ${names}`, { fix: 'add --node NAME' })
}

/** What a node is called; one line, so that it cannot pose as output of ours. */
export function nameOf({ displayName, nodeId }: { displayName?: string; nodeId: string }): string {
  return (displayName ?? shortId(nodeId)).replace(/\s+/g, ' ')
}

/** The start of an id: enough to tell two apart. */
export function shortId(id: string): string {
  return id.slice(0, 12)
}

/** Where a node stands, in one word or two. */
export function standing({ connected, approvalState }: NodeEntry): string {
  const state = connected === true ? 'connected' : 'away'
  if (approvalState === 'pending-approval' || approvalState === 'unapproved') return `${state}, not approved`
  return approvalState === 'pending-reapproval' ? `${state}, wants more` : state
}

/** Reads `24h`, `7d`, `30m`, `90s` or milliseconds. */
export function parseDuration(text: string, option: string): number {
  const [, digits, unit = 'ms'] = /^(\d{1,9})(ms|s|m|h|d|w)?$/.exec(text.trim()) ?? []
  if (digits !== undefined) return Number(digits) * UNITS[unit]!
  throw new CliError('USAGE', `${option} "${text}" is no duration; use a number with s, m, h, d or w`, {
    fix: `${option} 24h`
  })
}

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }
