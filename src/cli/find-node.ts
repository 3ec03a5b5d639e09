import { CliError } from './io.ts'

/** What tells one node from another, as `node.list` shows it. */
export interface NodeEntry {
  nodeId: string
  displayName?: string
  remoteIp?: string
}

/** The node that a person means by its id, its name, its address, or the start of its id. */
export function findNode<T extends NodeEntry>(nodes: readonly T[], which: string): T {
  const word = which.trim()
  const ways: ((node: T) => boolean)[] = [
    ({ nodeId }) => nodeId === word,
    ({ displayName }) => displayName?.toLowerCase() === word.toLowerCase(),
    ({ remoteIp }) => remoteIp === word,
    ({ nodeId }) => nodeId.startsWith(word)
  ]
  for (const way of word === '' ? [] : ways) {
    const [found, ...others] = nodes.filter(way)
    if (found !== undefined && others.length === 0) return found
    if (found !== undefined) {
      const ids = [found, ...others].map(({ nodeId }) => nodeId)
      throw new CliError('NODE_AMBIGUOUS', `"${which}" is ${ids.length} nodes: ${ids.join(', ')}`, {
        fix: 'name one of them by its id'
      })
    }
  }
  const known = nodes.map(({ displayName, nodeId }) => displayName ?? nodeId)
  throw new CliError('NODE_UNKNOWN', `there is no node "${which}"`, {
    fix: known.length === 0 ? 'openclaw nodes list' : `use any of ${known.slice(0, 8).join(', ')}`
  })
}
