import type { Trouble } from '../../../node-host/trouble.ts'
import { placesOf } from '../../gateway-call.ts'
import { CliError, type Io } from '../../io.ts'
import type { OpenedNode } from '../../node-process.ts'
import { printable } from '../../output.ts'
import { gatewayFlags, type NodeOptions, setupCodeOf } from './options.ts'

/** Starts the node host that the options describe, unless somebody runs it already. */
export async function startNode(
  io: Io,
  options: NodeOptions,
  onTrouble: (trouble: Trouble | undefined) => void
): Promise<OpenedNode> {
  const { paths, env } = placesOf(io)
  const { openNode } = await import('../../node-process.ts')
  const node = await openNode({
    paths,
    env,
    ownEnv: io.env,
    cwd: process.cwd(),
    flags: gatewayFlags(options),
    pair: await setupCodeOf(options),
    instanceId: options.nodeId?.trim(),
    displayName: options.displayName?.trim(),
    say: (text) => io.stderr(printable(text)),
    onTrouble
  })
  if (!('heldBy' in node)) return node
  const who = node.heldBy === undefined ? 'another process' : `another process (pid ${node.heldBy})`
  throw new CliError('NODE_RUNNING', `${who} already runs this node for ${node.gateway}`, { fix: 'openclaw node stop' })
}
