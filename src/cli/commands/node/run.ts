import { Command } from 'commander'
import type { Trouble } from '../../../node-host/trouble.ts'
import { ownFix } from '../../errors.ts'
import type { Io } from '../../io.ts'
import { jsonText, printable } from '../../output.ts'
import { addNodeOptions, gatewayFlags, type NodeOptions } from './options.ts'
import { startNode } from './start.ts'

/** `openclaw node run`: the node host in the foreground. */
export function buildNodeRun(io: Io): Command {
  const command = new Command('run').description('Run the node host in this terminal').addHelpText(
    'after',
    `
The credential comes from OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD (the environment, or .env in the state
folder), else from the configuration; once paired, the node has one of its own.

Examples:
  openclaw node run --host 192.168.1.20 --display-name "Build box"
  openclaw node run --host gateway.example.com --port 443 --tls
  openclaw node run --pair oc-pair://CODE      (from "openclaw devices join-code", or the Control UI)`
  )
  return addNodeOptions(command)
    .option('--json', 'Print a line of JSON for each thing that happens')
    .action(({ json, ...options }: NodeOptions & { json?: boolean }) => runNode(io, options, json === true))
}

async function runNode(io: Io, options: NodeOptions, json: boolean): Promise<void> {
  gatewayFlags(options)
  // A stop that comes during the start is done as soon as there is something to stop.
  const { stopSignal } = await import('../../stop-signal.ts')
  const stopped = stopSignal()
  // Arguments can name hosts, and every user of the machine can read them.
  process.title = 'openclaw-node'
  const tell = (event: string, facts: object) => io.stdout(jsonText({ event, ts: Date.now(), ...facts }))
  const node = await startNode(
    io,
    options,
    newsOnly((trouble) => {
      if (!json) return trouble && print(io, trouble)
      if (trouble === undefined) tell('connected', {})
      else tell('not-connected', trouble)
    })
  )
  if (json) tell('started', { nodeId: node.nodeId, gateway: node.gateway })
  // A code that lets nobody in is said once, and not tried for ever.
  const refused = new Promise<never>((_, reject) => {
    node.paired.catch(reject)
  })
  await Promise.race([node.ended, stopped, refused]).finally(() => node.stop())
}

// Each trouble once, however often it is met.
function newsOnly(tell: (trouble: Trouble | undefined) => void): (trouble: Trouble | undefined) => void {
  let last: string | undefined
  return (trouble) => {
    if (trouble === undefined || trouble.message !== last) tell(trouble)
    last = trouble?.message
  }
}

function print(io: Io, { message, fix }: Trouble): void {
  io.stderr(printable(message))
  if (fix === undefined) return
  io.stderr(`fix: ${printable(ownFix(io, { command: fix, where: 'this client' }, true).command)}`)
}
