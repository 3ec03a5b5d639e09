import { randomUUID } from 'node:crypto'
import type { GatewayClient } from '../../client/core.ts'
import { ownFix } from '../errors.ts'
import { nodeName } from '../find-node.ts'
import { CliError, type Io } from '../io.ts'
import { formatDuration, printable } from '../output.ts'
import type { Interrupt } from './interrupt.ts'
import type { Node } from './inventory.ts'
import { INVOKE_MS } from './invoke.ts'
import { nodeFailure } from './refusal.ts'
import type { RunSpec } from './run-once.ts'

/** How long a person has to answer. */
const ANSWER_MS = 30 * 60_000

/** Exit codes of commands that did not run: nobody allowed it, and it was refused. */
export const UNANSWERED = 125
export const REFUSED = 126

interface Plan {
  argv: string[]
  cwd: string | null
  commandText: string
}

/** A command that a person allowed: as it will run, and what shows that it may. */
export interface Allowed {
  spec: RunSpec
  approved: Readonly<Record<string, unknown>>
}

/** Reports whether a node refused a command only because it wants a person to allow it first. */
export function wantsApproval(error: unknown): boolean {
  const failure = nodeFailure(error)
  return (
    /^SYSTEM_RUN_DENIED/.test(failure?.code ?? failure?.message ?? '') && /approval required/.test(failure!.message)
  )
}

/** Has a node prepare a command, asks people about it, and waits for the answer. */
export async function askFor(
  io: Io,
  client: GatewayClient,
  { node, spec, interrupt }: { node: Node; spec: RunSpec; interrupt: Interrupt }
): Promise<Allowed> {
  const { nodeId } = node
  const name = nodeName(node)
  const { argv, cwd, env } = spec
  const added = Object.keys(env).length === 0 ? {} : { env }
  const { payload } = await client.request<{ payload: { plan: Plan; execPolicy?: object } }>(
    'node.invoke',
    {
      nodeId,
      command: 'system.run.prepare',
      params: { command: argv, ...(cwd === undefined ? {} : { cwd }), ...added },
      timeoutMs: INVOKE_MS,
      idempotencyKey: randomUUID()
    },
    { timeoutMs: INVOKE_MS * 2 }
  )
  const { plan, execPolicy } = payload
  const id = randomUUID()
  const request = { id, nodeId, host: 'node', systemRunPlan: plan, cwd: plan.cwd, ...added, ...execPolicy }
  await client.request('exec.approval.request', { ...request, timeoutMs: ANSWER_MS, twoPhase: true })
  tell(io, name, id)
  const { decision } = await interrupt.during(
    client.request<{ decision: string | null }>('exec.approval.waitDecision', { id }, { timeoutMs: ANSWER_MS * 2 }),
    () => client.request('exec.approval.resolve', { id, decision: 'deny' }),
    `nobody is asked any more; nothing ran on ${name}`
  )
  if (decision === 'deny') {
    throw new CliError('APPROVAL_DENIED', `somebody refused this; nothing ran on ${name}`, { exitCode: REFUSED })
  }
  if (decision !== 'allow-once' && decision !== 'allow-always') {
    throw new CliError('APPROVAL_EXPIRED', `nobody answered in time; nothing ran on ${name}`, {
      fix: 'run it again, and answer with "openclaw approvals resolve ID allow-once"',
      exitCode: UNANSWERED
    })
  }
  // What was approved is what the node made of it, word for word.
  return {
    spec: { ...spec, argv: plan.argv, cwd: plan.cwd ?? undefined },
    approved: { rawCommand: plan.commandText, runId: id, approved: true, approvalDecision: decision }
  }
}

function tell(io: Io, name: string, id: string): void {
  const command = (decision: string) =>
    ownFix(io, { command: `openclaw approvals resolve ${id} ${decision}`, where: 'gateway host' }, false).command
  io.stderr(`${name} wants a person to allow this; waiting up to ${formatDuration(ANSWER_MS)}. On the gateway host:`)
  io.stderr(printable(`  ${command('allow-once')}`))
  io.stderr(printable(`  ${command('deny')}`))
}
