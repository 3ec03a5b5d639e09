import { setTimeout as delay } from 'node:timers/promises'
import { type Check, checker } from '../protocol/validate.ts'
import { CommandError, inputOverflow, type NodeCommand } from './command.ts'
import { Progress } from './progress.ts'

/** A way to the gateway that an invocation came from. */
export interface Replies {
  /** Sends a request; rejects when the gateway refuses it or is gone. */
  request(method: string, params: unknown): Promise<unknown>
}

interface Running {
  abort(reason: CommandError): void
  /** Takes input, once the command takes any. */
  input?: ((payload: unknown) => void) | undefined
  /** The number of the last piece of input. */
  inputSeq: number
  /** Input that came before the command took any. */
  early: unknown[]
  earlyLength: number
}

const MAX_RUNNING = 64
/** What a timer can wait. */
const LONGEST_MS = 2_147_483_647
const MAX_PARAMS = 4 * 1024 * 1024
const MAX_EARLY = 1024 * 1024

/** What the gateway has asked this node to do and waits for. */
export class Invocations {
  readonly #nodeId: string
  readonly #commands: ReadonlyMap<string, { command: NodeCommand; check: Check }>
  readonly #running = new Map<string, Running>()
  readonly #served = new Set<Promise<void>>()
  readonly #warn: (facts: object, message: string) => void

  constructor(nodeId: string, commands: readonly NodeCommand[], warn: (facts: object, message: string) => void) {
    this.#nodeId = nodeId
    this.#commands = new Map(
      commands.map((command) => [command.name, { command, check: checker(command.params) }] as const)
    )
    this.#warn = warn
  }

  /** Resolves once none runs any more, or after a time. */
  async settled(timeoutMs: number): Promise<void> {
    const patience = new AbortController()
    const all = Promise.allSettled(this.#served)
    await Promise.race([all, delay(timeoutMs, undefined, patience).catch(() => {})])
    patience.abort()
  }

  /** Takes a `node.invoke.request`. */
  request(payload: unknown, replies: Replies): void {
    const { id, nodeId, command, paramsJSON, timeoutMs } = payload as Record<string, unknown>
    if (typeof id !== 'string' || id === '' || typeof command !== 'string') return
    // A node answers for itself alone, and an id that runs already is the same request again.
    if (nodeId !== this.#nodeId || this.#running.has(id)) return
    const budgetMs = typeof timeoutMs === 'number' && timeoutMs > 0 ? Math.min(timeoutMs, LONGEST_MS) : undefined
    const served = this.#serve({ id, name: command, paramsJSON, budgetMs }, replies)
    this.#served.add(served)
    void served.finally(() => this.#served.delete(served))
  }

  /** Takes a `node.invoke.cancel`. */
  cancel(payload: unknown): void {
    const { invokeId } = payload as Record<string, unknown>
    this.#running.get(String(invokeId))?.abort(new CommandError('CANCELLED', 'the caller gave up'))
  }

  /** Takes a `node.invoke.input`; a piece that was handed over already is not handed over again. */
  input(payload: unknown): void {
    const { id, seq, payloadJSON } = payload as Record<string, unknown>
    const running = this.#running.get(String(id))
    if (running === undefined || typeof seq !== 'number' || seq <= running.inputSeq) return
    running.inputSeq = seq
    const data = parse(payloadJSON)
    if (data === BROKEN) return
    if (running.input !== undefined) running.input(data)
    else {
      running.earlyLength += String(payloadJSON).length
      if (running.earlyLength <= MAX_EARLY) running.early.push(data)
      else running.abort(inputOverflow())
    }
  }

  /** Ends all of them: nobody is there to hear of their results. */
  abandon(reason: string): void {
    for (const running of this.#running.values()) running.abort(new CommandError('CANCELLED', reason))
  }

  async #serve(
    request: { id: string; name: string; paramsJSON: unknown; budgetMs: number | undefined },
    replies: Replies
  ): Promise<void> {
    const { id } = request
    const outcome = await this.#run(request, replies).then(
      (payload) => ({ ok: true, payloadJSON: JSON.stringify(payload ?? null) }),
      (error: unknown) => ({ ok: false, error: this.#told(error, request.name) })
    )
    await replies
      .request('node.invoke.result', { id, nodeId: this.#nodeId, ...outcome })
      .catch((err) => this.#warn({ err, id, command: request.name }, 'result not delivered'))
  }

  async #run(
    { id, name, paramsJSON, budgetMs }: { id: string; name: string; paramsJSON: unknown; budgetMs: number | undefined },
    replies: Replies
  ): Promise<unknown> {
    const entry = this.#commands.get(name)
    if (entry === undefined) throw new CommandError('UNAVAILABLE', 'command not supported')
    if (this.#running.size >= MAX_RUNNING) throw new CommandError('BUSY', `${MAX_RUNNING} invocations are running`)
    const params = paramsOf(paramsJSON, name, entry.check)
    const controller = new AbortController()
    const abort = (reason: CommandError) => controller.abort(reason)
    const running: Running = { abort, inputSeq: -1, early: [], earlyLength: 0 }
    this.#running.set(id, running)
    const unheard = new AbortController()
    const progress = new Progress((seq, piece) => {
      const about = { invokeId: id, nodeId: this.#nodeId, seq, ...piece }
      // Whoever does not know the method follows nothing.
      replies.request('node.invoke.progress', about).catch(() => unheard.abort())
    })
    try {
      const payload = await entry.command.run(params, {
        signal: controller.signal,
        budgetMs,
        progress: (chunk, stream) => progress.add(chunk, stream),
        unheard: unheard.signal,
        onInput: (listener) => {
          running.input = listener
          for (const piece of running.early.splice(0)) listener(piece)
        },
        emit: async (event, payload) => {
          await replies
            .request('node.event', { event, payloadJSON: JSON.stringify(payload) })
            .catch((err) => this.#warn({ err, event }, 'event not delivered'))
        }
      })
      controller.signal.throwIfAborted()
      return payload
    } finally {
      progress.end()
      this.#running.delete(id)
    }
  }

  // What went wrong in here is for this node's log.
  #told(error: unknown, command: string): { code: string; message: string } {
    if (error instanceof CommandError) return { code: error.code, message: error.message }
    this.#warn({ err: error, command }, 'command failed')
    return { code: 'UNAVAILABLE', message: 'the command failed on the node; its log says why' }
  }
}

const BROKEN = Symbol('broken')

function parse(json: unknown): unknown {
  try {
    return typeof json === 'string' ? JSON.parse(json) : undefined
  } catch {
    return BROKEN
  }
}

function paramsOf(json: unknown, command: string, check: Check): unknown {
  if (typeof json === 'string' && json.length > MAX_PARAMS) throw invalid(command, 'they are too large')
  const params = json === undefined ? {} : parse(json)
  if (params === BROKEN) throw invalid(command, 'paramsJSON malformed JSON')
  const wrong = check(params)
  if (wrong !== undefined) throw invalid(command, wrong)
  return params
}

function invalid(command: string, what: string): CommandError {
  return new CommandError('INVALID_REQUEST', `invalid ${command} params: ${what}`)
}
