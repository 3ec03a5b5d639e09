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
  /** Streams all output as bytes, each piece with the name of its stream, as far as `taken` goes; and how much input was. */
  apart?: boolean | undefined
  /** Tells nobody else how it ended. */
  quiet?: boolean | undefined
}

/** What a program on a node came to. */
export interface NodeRunResult {
  exitCode?: number | null
  /** What ended it, where no exit code says so. */
  signal?: string
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
/** How long a person has to answer. */
const DECISION_MS = 30 * 60_000

/**
 * Runs a program on a node. Where the node's policy wants a person to allow it, the run waits for that, and then is for
 * exactly what was allowed. What the program prints meanwhile comes as `node.invoke.progress`.
 */
export async function runOnNode(
  client: Requester,
  run: NodeRun,
  { started, waits }: NodeRunEvents
): Promise<NodeRunResult> {
  const { nodeId, command, cwd, env, timeoutMs, input, apart, quiet } = run
  const manner = {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(input === true ? { stdin: 'pipe' } : {}),
    ...(apart === true ? { streams: 'apart' } : {}),
    ...(quiet === true ? { suppressNotifyOnExit: true } : {})
  }
  // The node ends it; the gateway gives up later, so that what it wrote until then arrives.
  const waitMs = timeoutMs === undefined ? LONGEST_MS : Math.min(timeoutMs + ANSWER_MS, LONGEST_MS)
  const about = { command, ...(cwd === undefined ? {} : { cwd }), ...(env === undefined ? {} : { env }) }
  try {
    return await invoke<NodeRunResult>('system.run', { ...about, ...manner }, waitMs)
  } catch (error) {
    if (!wantsApproval(error)) throw error
  }
  const { plan, execPolicy, allowAlwaysCoverage } = await invoke<{
    plan: Json
    execPolicy?: Json
    allowAlwaysCoverage?: { complete: boolean }
  }>('system.run.prepare', about, ANSWER_MS)
  const id = randomId()
  const { commandText, argv, ...rest } = plan
  const asked = { nodeId, host: 'node', systemRunPlan: plan, command: commandText, commandArgv: argv, cwd: rest.cwd }
  const once = allowAlwaysCoverage?.complete === false ? { unavailableDecisions: ['allow-always'] } : {}
  const more = { ...execPolicy, ...once, ...(env === undefined ? {} : { env }), timeoutMs: DECISION_MS, twoPhase: true }
  await client.request('exec.approval.request', { id, ...asked, ...more })
  // Only now is there something to answer.
  waits(id)
  const { decision } = await client.request<{ decision: string | null }>(
    'exec.approval.waitDecision',
    { id },
    { timeoutMs: DECISION_MS + ANSWER_MS }
  )
  if (decision !== 'allow-once' && decision !== 'allow-always') {
    const denied = decision === 'deny'
    const message = denied ? 'this command was denied' : 'nobody allowed this command in time'
    throw new GatewayError('UNAVAILABLE', message, {
      details: { code: denied ? 'APPROVAL_DENIED' : 'APPROVAL_EXPIRED' }
    })
  }
  const allowed = { approved: true, approvalDecision: decision, runId: id, systemRunPlan: plan }
  const same = { command: argv, rawCommand: commandText, cwd: rest.cwd, ...(env === undefined ? {} : { env }) }
  return invoke<NodeRunResult>('system.run', { ...same, ...manner, ...allowed }, waitMs)

  async function invoke<T>(name: string, params: Json, waitMs: number): Promise<T> {
    const idempotencyKey = randomId()
    started(idempotencyKey)
    const { payload } = await client.request<{ payload: T }>(
      'node.invoke',
      { nodeId, command: name, params, idempotencyKey, timeoutMs: waitMs },
      { timeoutMs: waitMs + ANSWER_MS }
    )
    return payload
  }
}

function wantsApproval(error: unknown): boolean {
  return error instanceof GatewayError && /^(SYSTEM_RUN_DENIED: )+approval required/.test(error.message)
}

// A page without TLS has no `randomUUID`.
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
