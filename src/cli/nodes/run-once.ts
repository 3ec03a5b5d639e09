import { randomUUID } from 'node:crypto'
import type { GatewayClient } from '../../client/core.ts'
import type { EventFrame } from '../../protocol/frames.ts'
import { nodeName } from '../find-node.ts'
import type { Interrupt } from './interrupt.ts'
import type { Node } from './inventory.ts'
import { RunInput } from './run-input.ts'
import type { Piece, RunOutput } from './run-output.ts'

/** A command to run on a node. */
export interface RunSpec {
  argv: readonly string[]
  cwd: string | undefined
  env: Readonly<Record<string, string>>
  /** Undefined: for as long as it takes. */
  timeoutMs: number | undefined
  stdin: boolean
}

/** What became of it, as the node tells it. */
export interface RunResult {
  exitCode?: number | null
  signal?: string
  timedOut?: boolean
  stdout?: string
  stderr?: string
  truncated?: boolean
  error?: string | null
}

/** What this process gives to a command that runs elsewhere. */
export interface RunEnds {
  client: GatewayClient
  /** Sets who hears the gateway's events. */
  hear(listener: (frame: EventFrame) => void): void
  output: RunOutput | undefined
  interrupt: Interrupt
}

/** The node ends the command; the gateway gives up later, so that what was written until then arrives. */
const GRACE_MS = 10_000
const LONGEST_MS = 86_400_000

/** Has a node run a command, its output and input streamed meanwhile. */
export async function runOnce(
  { client, hear, output, interrupt }: RunEnds,
  node: Node,
  spec: RunSpec,
  approved: Readonly<Record<string, unknown>> = {}
): Promise<RunResult> {
  const { nodeId } = node
  const whose = { nodeId, idempotencyKey: randomUUID() }
  const { argv, cwd, env, timeoutMs, stdin } = spec
  const input = stdin
    ? new RunInput(process.stdin, (piece) => client.request('node.invoke.input', { ...whose, ...piece }))
    : undefined
  hear(({ event, payload }) => {
    const piece = payload as Piece & { idempotencyKey?: string }
    if (event !== 'node.invoke.progress' || piece.idempotencyKey !== whose.idempotencyKey) return
    if (piece.stream === 'stdin') input?.taken(Number(piece.chunk))
    output?.take(piece)
  })
  const waitMs = timeoutMs === undefined ? LONGEST_MS : timeoutMs + GRACE_MS
  const params = {
    command: argv,
    ...(cwd === undefined ? {} : { cwd }),
    ...(Object.keys(env).length === 0 ? {} : { env }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(stdin ? { stdin: 'pipe' } : {}),
    streams: 'apart',
    // Whoever runs it sees how it ends.
    suppressNotifyOnExit: true,
    ...approved
  }
  try {
    const work = client.request<{ payload: RunResult }>(
      'node.invoke',
      { ...whose, command: 'system.run', params, timeoutMs: waitMs },
      { timeoutMs: waitMs + GRACE_MS }
    )
    const giveUp = () => client.request('node.invoke.cancel', whose)
    return (await interrupt.during(work, giveUp, `ended what ran on ${nodeName(node)}`)).payload ?? {}
  } finally {
    input?.close()
  }
}
