import { CliError } from './io.ts'
import { printable } from './output.ts'

/** What tells one node from another, as `node.list` shows it. */
export interface NodeEntry {
  nodeId: string
  displayName?: string
  remoteIp?: string
  connected?: boolean
}

/** The start of an id is enough from here on: a shorter word may be the name of a node that is gone. */
const MIN_PREFIX = 6

/**
 * The node that a person means by its id, its address, its name, or the start of its id. Where several fit equally well,
 * `live` takes the one that is connected, if only one is: what is asked of a node can be asked of no other.
 */
export function findNode<T extends NodeEntry>(nodes: readonly T[], which: string, live = false): T {
  const word = which.trim()
  const ways: ((node: T) => boolean)[] = [
    ({ nodeId }) => nodeId === word,
    ({ remoteIp }) => remoteIp === word,
    ({ displayName }) => displayName?.toLowerCase() === word.toLowerCase(),
    ({ nodeId }) => word.length >= MIN_PREFIX && nodeId.startsWith(word.toLowerCase())
  ]
  for (const way of word === '' ? [] : ways) {
    const fitting = nodes.filter(way)
    const here = live ? fitting.filter(({ connected }) => connected === true) : []
    const [found, ...others] = here.length > 0 ? here : fitting
    if (found !== undefined && others.length === 0) return found
    if (found !== undefined) {
      const all = [found, ...others].map((each) => `${nodeName(each)} (${each.nodeId})`)
      throw new CliError(
        'NODE_AMBIGUOUS',
        `"${printable(which)}" may be any of ${all.length} nodes: ${all.join(', ')}`,
        {
          fix: 'name one of them by its id'
        }
      )
    }
  }
  const known = nodes.map(nodeName)
  throw new CliError('NODE_UNKNOWN', `there is no node "${printable(which)}"`, {
    fix: known.length === 0 ? 'openclaw nodes list' : `use any of ${known.slice(0, 8).join(', ')}`
  })
}

/** A node's name, or the start of its id; one line, so that it cannot pose as output of ours. */
export function nodeName({ displayName, nodeId }: NodeEntry): string {
  return printable(displayName?.trim() || nodeId.slice(0, 12)).replace(/\s+/g, ' ')
}
