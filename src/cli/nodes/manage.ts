import type { NodeEntry } from '../../client/node-entry.ts'
import { consent } from '../confirm.ts'
import { findNode, nodeName } from '../find-node.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson } from '../output.ts'
import { allNodes, type NodeOptions, nodeWord, withAsk } from './inventory.ts'

/** What a node is to be called. */
export interface RenameOptions extends NodeOptions {
  name?: string
}

/** How a node is ended. */
export interface RemoveOptions extends NodeOptions {
  yes?: boolean
}

/** `nodes rename` */
export function rename(io: Io, words: readonly string[], options: RenameOptions): Promise<void> {
  const usage = 'openclaw nodes rename --node NODE --name NAME'
  const [first, second, ...rest] = words
  // With --node, the only word left is the name.
  const [word, name] = options.node === undefined ? [first, options.name ?? second] : [undefined, options.name ?? first]
  const used = [word, name].filter((each) => each !== undefined && each !== options.name).length
  const which = nodeWord(word, options, usage)
  if (name === undefined || name.trim() === '' || rest.length > 0 || used !== words.length) {
    throw new CliError('USAGE', 'which name? Give the node, and then one name', { fix: usage })
  }
  return withNode(io, which, options, async (ask, { nodeId }) => {
    const result = await ask('node.rename', { nodeId, displayName: name.trim() })
    if (options.json === true) printJson(io, result)
    else io.stdout(printable(`Renamed to ${name.trim()}.`))
  })
}

/** `nodes remove` */
export function remove(io: Io, word: string | undefined, options: RemoveOptions): Promise<void> {
  const which = nodeWord(word, options, 'openclaw nodes remove NODE')
  return withNode(io, which, options, async (ask, node) => {
    const asks = options.yes !== true && options.json !== true && io.isTTY
    if (asks && !(await consent(`Remove ${nodeName(node)}?`))) {
      throw new CliError('NOT_CONFIRMED', 'nothing was removed', { fix: `openclaw nodes remove ${node.nodeId} --yes` })
    }
    const result = await ask('node.pair.remove', { nodeId: node.nodeId })
    if (options.json === true) printJson(io, result)
    else io.stdout(`Removed ${nodeName(node)}. It has to be let in and approved again to come back.`)
  })
}

type Work = Parameters<typeof withAsk<void>>[3]

function withNode(
  io: Io,
  which: string,
  options: NodeOptions,
  work: (ask: Parameters<Work>[0], node: NodeEntry) => Promise<void>
): Promise<void> {
  return withAsk(io, options, ['operator.read', 'operator.pairing', 'operator.admin'], async (ask) =>
    work(ask, findNode(await allNodes(ask), which))
  )
}
