import type { NodeRequest } from '../../client/node-entry.ts'
import { consent } from '../confirm.ts'
import { findNode } from '../find-node.ts'
import type { TargetOptions } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printable, printJson, styleOf } from '../output.ts'
import { nameOf, nodesOf, withAsk } from './inventory.ts'
import { pendingOf } from './show.ts'

const DECIDERS = ['operator.pairing', 'operator.write', 'operator.admin'] as const

/** `nodes approve`: allows what a node asks for. */
export function approve(io: Io, id: string, options: TargetOptions): Promise<void> {
  return withAsk(io, options, DECIDERS, async (ask) => {
    const request = findRequest(id, await pendingOf(ask))
    const result = await ask('node.pair.approve', { requestId: request.requestId })
    if (options.json === true) return printJson(io, result)
    const may = request.commands?.join(', ') || 'nothing but be connected'
    io.stdout(`${styleOf(io).green('Approved.')} ${printable(`${nameOf(request)} may: ${may}`)}`)
  })
}

/** `nodes reject`: turns down what a node asks for; it may ask again. */
export function reject(io: Io, id: string, options: TargetOptions): Promise<void> {
  return withAsk(io, options, DECIDERS, async (ask) => {
    const request = findRequest(id, await pendingOf(ask))
    const result = await ask('node.pair.reject', { requestId: request.requestId })
    if (options.json === true) return printJson(io, result)
    io.stdout(`Rejected what ${printable(nameOf(request))} asked for.`)
  })
}

/** `nodes rename`: gives a node a name that a person recognises, and calls it by. */
export function rename(io: Io, options: TargetOptions & { node: string; name: string }): Promise<void> {
  const displayName = options.name.trim()
  if (displayName === '' || displayName.length > 64) {
    throw new CliError('USAGE', 'a name has 1 to 64 characters', { fix: 'openclaw nodes rename --node ID --name NAME' })
  }
  return withAsk(io, options, ['operator.read', ...DECIDERS], async (ask) => {
    const { nodeId } = findNode(await nodesOf(ask), options.node)
    const result = await ask('node.rename', { nodeId, displayName })
    if (options.json === true) return printJson(io, result)
    io.stdout(`Named ${printable(displayName)}.`)
  })
}

/** `nodes remove`: disconnects a node and forgets what it was allowed. */
export function remove(io: Io, options: TargetOptions & { node: string; yes?: boolean }): Promise<void> {
  return withAsk(io, options, ['operator.read', ...DECIDERS], async (ask) => {
    const node = findNode(await nodesOf(ask), options.node)
    const name = printable(nameOf(node))
    if (options.yes !== true && options.json !== true && io.isTTY && !(await consent(`Remove ${name}?`))) {
      throw new CliError('NOT_CONFIRMED', 'nothing was removed', {
        fix: `openclaw nodes remove --node ${node.nodeId} --yes`
      })
    }
    const result = await ask('node.pair.remove', { nodeId: node.nodeId })
    if (options.json === true) return printJson(io, result)
    io.stdout(`Removed ${name}; to come back it has to be approved again.`)
  })
}

function findRequest(id: string, pending: readonly NodeRequest[]): NodeRequest {
  const word = id.trim()
  const exact = pending.find(({ requestId }) => requestId === word)
  if (exact !== undefined) return exact
  const starting = word.length < 4 ? [] : pending.filter(({ requestId }) => requestId.startsWith(word))
  if (starting.length === 1) return starting[0]!
  throw new CliError(
    starting.length === 0 ? 'REQUEST_UNKNOWN' : 'REQUEST_AMBIGUOUS',
    starting.length === 0 ? `no node waits with the request "${id}"` : `"${id}" is ${starting.length} requests`,
    { fix: 'openclaw nodes pending' }
  )
}
