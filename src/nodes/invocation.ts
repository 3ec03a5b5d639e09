import type { Answer } from './answers.ts'
import type { Timed } from './deadlines.ts'
import type { ExecRun } from './exec-runs.ts'
import type { NodeSession } from './registry.ts'

/** What a caller asks of a node. */
export interface Invoke {
  nodeId: string
  command: string
  params: unknown
  timeoutMs: number | undefined
  idempotencyKey: string
}

/** Who asks: by which socket or request, and as whom, so that a request that comes again is known for one. */
export interface Asker {
  connId: string
  name: string
}

/** What the caller of `node.invoke` gets. */
export interface InvokeResult {
  ok: true
  nodeId: string
  command: string
  payload: unknown
  payloadJSON: string | null
}

/** A piece of output, and of which stream where the node tells them apart; of `stdin`, how much of it was taken. */
export interface Piece {
  chunk: string
  stream?: 'stdin' | 'stdout' | 'stderr' | undefined
}

/** What a node says that came of a command. */
export interface NodeResult {
  ok: boolean
  payload?: unknown
  payloadJSON?: string | null
  error?: { code?: string; message?: string } | null
}

/** One command that a node was sent, until it is over. */
export interface Invocation extends Timed {
  readonly id: string
  readonly request: Invoke
  readonly asker: string
  readonly startedAt: number
  /** The socket that it was sent on. */
  session: NodeSession
  paramsJSON: string | null
  /** The command of the node's own machine that it is about, where it is. */
  run: ExecRun | undefined
  /** Whoever waits for it, by socket. */
  readonly waiting: Set<string>
  readonly answer: Answer<Invocation> | undefined
  readonly resolve: (result: InvokeResult) => void
  readonly reject: (error: Error) => void
  /** Nobody waits any more for what has not been sent yet. */
  abandoned: boolean
  /** The node has said what it has to say, and something else is waited for: a while, or a place in a queue. */
  answered: boolean
  /** How often the node said that it was not ready. */
  attempts: number
  /** The last piece of output that was passed on, and of input that was sent. */
  progressSeq: number
  inputSeq: number
}

/** How an invocation ended. */
export const OUTCOMES = ['ok', 'failed', 'timeout', 'disconnected', 'cancelled', 'refused'] as const

/** One way for an invocation to end. */
export type Outcome = (typeof OUTCOMES)[number]
