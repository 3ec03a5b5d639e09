import { GatewayError } from './gateway-error.ts'

type Json = Record<string, unknown>

/** The part of a client that a run needs. */
export interface Requester {
  request<T>(method: string, params: object, options?: { timeoutMs?: number; expectFinal?: boolean }): Promise<T>
}

/** A program to run on a node. */
export interface NodeRun {
  nodeId: string
  command: readonly string[]
  cwd?: string | undefined
  env?: Readonly<Record<string, string>> | undefined
  /** When to end it, in milliseconds; without it, it takes its time. */
  timeoutMs?: number | undefined
  /** Keeps its standard input open for `node.invoke.input`. */
  input?: boolean | undefined
}

/** What a program on a node came to. */
export interface NodeRunResult {
  exitCode?: number | null
  timedOut: boolean
  success: boolean
  stdout: string
  stderr: string
  error: string | null
  truncated?: boolean
}

/** What a run tells of itself. */
export interface NodeRunEvents {
  /** The invocation is under way by this key, until the next one. */
  started(idempotencyKey: string): void
  /** A person has to allow it first; the approval has this id. */
  waits(approvalId: string): void
}

/** As long as a gateway waits for anything, and a little longer. */
const LONGEST_MS = 86_400_000
const ANSWER_MS = 15_000

/**
 * Runs a program on a node. Where the node's policy wants a person to allow it, the run waits for that, and then is for
 * exactly what was allowed. What the program prints meanwhile comes as `node.invoke.progress`.
 */
export async function runOnNode(
  client: Requester,
  run: NodeRun,
  { started, waits }: NodeRunEvents
): Promise<NodeRunResult> {
  const { nodeId, command, cwd, env, timeoutMs, input } = run
  const limits = { ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(input === true ? { stdin: 'pipe' } : {}) }
  const about = { command, ...(cwd === undefined ? {} : { cwd }), ...(env === undefined ? {} : { env }) }
  try {
    return await invoke<NodeRunResult>('system.run', { ...about, ...limits }, LONGEST_MS)
  } catch (error) {
    if (!wantsApproval(error)) throw error
  }
  const { plan } = await invoke<{ plan: Json }>('system.run.prepare', about, ANSWER_MS)
  const id = randomId()
  waits(id)
  const { commandText, argv, ...rest } = plan
  const asked = { nodeId, host: 'node', systemRunPlan: plan, command: commandText, commandArgv: argv, cwd: rest.cwd }
  const { decision } = await client.request<{ decision: string | null }>(
    'exec.approval.request',
    { id, ...asked, ...(env === undefined ? {} : { env }), twoPhase: true },
    { timeoutMs: LONGEST_MS, expectFinal: true }
  )
  if (decision !== 'allow-once' && decision !== 'allow-always') {
    const message = decision === 'deny' ? 'this command was denied' : 'nobody allowed this command in time'
    throw new GatewayError('UNAVAILABLE', message, { details: { code: 'APPROVAL_DENIED' } })
  }
  const allowed = { approved: true, approvalDecision: decision, runId: id, systemRunPlan: plan }
  const same = { command: argv, rawCommand: commandText, cwd: rest.cwd, ...(env === undefined ? {} : { env }) }
  return invoke<NodeRunResult>('system.run', { ...same, ...limits, ...allowed }, LONGEST_MS)

  async function invoke<T>(name: string, params: Json, waitMs: number): Promise<T> {
    const idempotencyKey = randomId()
    started(idempotencyKey)
    const { payload } = await client.request<{ payload: T }>(
      'node.invoke',
      // 0 is no deadline of the gateway's own.
      { nodeId, command: name, params, idempotencyKey, timeoutMs: waitMs === LONGEST_MS ? 0 : waitMs },
      { timeoutMs: waitMs + ANSWER_MS }
    )
    return payload
  }
}

function wantsApproval(error: unknown): boolean {
  return error instanceof GatewayError && /^SYSTEM_RUN_DENIED: approval required/.test(error.message)
}

// A page without TLS has no `randomUUID`.
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
