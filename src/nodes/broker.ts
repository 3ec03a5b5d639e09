import { randomUUID } from 'node:crypto'
import { invalidRequest, type RpcError } from '../protocol/errors.ts'
import { type Answer, Answers, fingerprint, weigh } from './answers.ts'
import { Deadlines } from './deadlines.ts'
import { ExecRuns, execRunOf } from './exec-runs.ts'
import type { Defer } from './foreground.ts'
import { Groups } from './groups.ts'
import type { Asker, Invocation, Invoke, InvokeResult, NodeResult, Outcome, Piece } from './invocation.ts'
import { InvokeStats } from './invoke-stats.ts'
import type { CommandPolicy } from './policy.ts'
import { failed, forbidden, type NodeError, notConnected, pairingChanged, tooMany } from './refusals.ts'
import type { NodeRegistry, NodeSession } from './registry.ts'

/** What the broker works with. */
export interface BrokerDeps {
  registry: NodeRegistry
  policy(): CommandPolicy
  /** Sends an event to one caller, if it is there and can keep up. */
  tell(connId: string, event: string, payload: unknown): void
  defer: Defer
}

/** Makes params what a node may be sent; throws when it may not. */
export type Prepare = (params: unknown) => unknown

/** Bounds of invocations. Sizes in UTF-16 units, times in milliseconds. */
export const INVOKE = {
  defaultMs: 30_000,
  /** The longest that anybody waits; also for those who say 0. */
  longestMs: 86_400_000,
  perCaller: 2_048,
  perNode: 256,
  params: 8_388_608,
  /** What a node may say in words when something went wrong. */
  words: 16_384,
  /** How often, and how far apart, a node that is not ready is asked again. */
  retries: 4,
  retryMs: 250
} as const

const GONE = 'the caller is gone'

/** Carries commands to nodes and results back. Nothing of it touches the disk. */
export class Broker {
  readonly stats = new InvokeStats()
  /** What each socket was told to run. */
  readonly runs = new ExecRuns()
  readonly #deps: BrokerDeps
  readonly #answers = new Answers<Invocation>()
  readonly #running = new Map<string, Invocation>()
  readonly #bySession = new Groups<NodeSession, Invocation>()
  readonly #byCaller = new Groups<string, Invocation>()
  /** What is not sent yet, by who asked for it. */
  readonly #preparing = new Groups<string, Invocation>()
  readonly #deadlines = new Deadlines<Invocation>((each) => this.#timeOut(each))

  constructor(deps: BrokerDeps) {
    this.#deps = deps
    deps.registry.listen({
      left: (session) => {
        this.#lost(session, ({ request: { command } }) => disconnected(command))
        this.runs.closed(session.link.id)
      },
      ended: (session) => this.#lost(session, () => pairingChanged())
    })
  }

  /** Invocations under way. */
  get size(): number {
    return this.#running.size
  }

  /** Has a node run a command. The same request, made again with the same key, does not run again. */
  invoke(request: Invoke, asker: Asker, prepare?: Prepare): Promise<InvokeResult> {
    const paramsJSON = textOf(request.params)
    const key = keyOf(asker, request.nodeId, request.idempotencyKey)
    const print = fingerprint(request.command, paramsJSON)
    const known = this.#answers.find(key)
    if (known !== undefined) return this.#again(known, print, asker)
    if (this.#byCaller.count(asker.connId) >= INVOKE.perCaller) throw tooMany('this caller', INVOKE.perCaller)
    const { promise, resolve, reject } = Promise.withResolvers<InvokeResult>()
    const answer = this.#answers.add(key, print, promise)
    const settle = { answer, resolve, reject }
    answer.begun = this.#start(request, asker, paramsJSON, prepare, settle).catch((error) => {
      // Nothing was sent, so nothing is remembered.
      this.#answers.drop(answer)
      this.stats.ended('refused', 0)
      reject(error)
    })
    return promise
  }

  /** Has a node run a command for the gateway itself; gives what the node answered. */
  async ask(nodeId: string, command: string, params: unknown, timeoutMs: number): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<InvokeResult>()
    const request = { nodeId, command, params, timeoutMs, idempotencyKey: randomUUID() }
    const asker = { connId: '', name: '' }
    await this.#start(request, asker, textOf(params), undefined, { answer: undefined, resolve, reject })
    return (await promise).payload
  }

  /** Takes what a node says that came of an invocation; reports whether anybody waited for it. */
  result(connId: string, id: string, result: NodeResult): boolean {
    const invocation = this.#of(connId, id)
    if (invocation === undefined) return false
    const error = result.error ?? undefined
    if (!result.ok && error?.code === 'NODE_NOT_READY' && this.#retry(invocation)) return true
    if (result.ok) this.#succeed(invocation, result)
    else this.#fellShort(invocation, error && short(error))
    return true
  }

  /** Passes a piece of output on to whoever waits; reports whether anybody does. */
  progress(connId: string, invokeId: string, seq: number, piece: Piece): boolean {
    const invocation = this.#of(connId, invokeId)
    if (invocation === undefined) return false
    // A piece that comes late would be out of order.
    if (seq <= invocation.progressSeq) return true
    invocation.progressSeq = seq
    const { nodeId, idempotencyKey } = invocation.request
    const payload = { idempotencyKey, invokeId, nodeId, seq, ...piece }
    for (const each of invocation.waiting) this.#deps.tell(each, 'node.invoke.progress', payload)
    return true
  }

  /** Ends when a request of this caller that is being made ready is on its way: only then has it something to give up. */
  begun(nodeId: string, idempotencyKey: string, asker: Asker): Promise<void> | undefined {
    return this.#answers.find(keyOf(asker, nodeId, idempotencyKey))?.begun
  }

  /** Gives up an invocation: its node is told, its callers get an error. Reports whether there was one. */
  cancel(nodeId: string, idempotencyKey: string, asker: Asker, anybodys: boolean): boolean {
    const invocation = this.#find(nodeId, idempotencyKey, asker, anybodys)
    if (invocation !== undefined) this.#cancel(invocation, 'node invoke cancelled')
    return invocation !== undefined
  }

  /** Sends input to an invocation under way; reports whether there was one. */
  input(nodeId: string, idempotencyKey: string, asker: Asker, anybodys: boolean, piece: unknown): boolean {
    const invocation = this.#find(nodeId, idempotencyKey, asker, anybodys)
    if (invocation === undefined) return false
    const { id, session } = invocation
    const payload = { id, nodeId, seq: invocation.inputSeq++, payloadJSON: JSON.stringify(piece) }
    session.link.send({ type: 'event', event: 'node.invoke.input', payload })
    return true
  }

  /** Gives up what nobody waits for any more. */
  callerLeft(connId: string): void {
    for (const invocation of this.#preparing.of(connId)) invocation.abandoned = true
    for (const invocation of this.#byCaller.of(connId)) {
      this.#byCaller.delete(connId, invocation)
      invocation.waiting.delete(connId)
      if (invocation.waiting.size === 0) this.#cancel(invocation, GONE)
    }
  }

  stop(): void {
    this.#deadlines.stop()
  }

  #again({ outcome, print, run }: Answer<Invocation>, same: string, asker: Asker): Promise<InvokeResult> {
    if (print !== same) throw invalidRequest('idempotencyKey was used for a different request')
    if (run !== undefined) this.#waits(run, asker.connId)
    return outcome as Promise<InvokeResult>
  }

  async #start(
    request: Invoke,
    asker: Asker,
    paramsJSON: string | null,
    prepare: Prepare | undefined,
    settle: Pick<Invocation, 'answer' | 'resolve' | 'reject'>
  ): Promise<void> {
    const startedAt = performance.now()
    const limit = request.timeoutMs === 0 ? INVOKE.longestMs : (request.timeoutMs ?? INVOKE.defaultMs)
    const deadline = startedAt + Math.min(limit, INVOKE.longestMs)
    const session = this.#admit(request) ?? (await this.#absent(request.nodeId))
    const invocation: Invocation = {
      id: randomUUID(),
      request,
      asker: asker.name,
      startedAt,
      deadline,
      session,
      paramsJSON,
      run: undefined,
      waiting: new Set(),
      ...settle,
      abandoned: false,
      answered: false,
      attempts: 0,
      progressSeq: -1,
      inputSeq: 0
    }
    if (prepare !== undefined) {
      this.#preparing.add(asker.connId, invocation)
      try {
        const params = await prepare(request.params)
        invocation.paramsJSON = textOf(params)
        invocation.run = execRunOf(params)
      } finally {
        this.#preparing.delete(asker.connId, invocation)
      }
      if (invocation.abandoned) throw failed({ code: 'CANCELLED', message: GONE })
      // It may have taken a while.
      invocation.session = this.#admit(request) ?? (await this.#absent(request.nodeId))
    }
    if (settle.answer !== undefined) settle.answer.run = invocation
    this.#running.set(invocation.id, invocation)
    this.#bySession.add(invocation.session, invocation)
    this.#waits(invocation, asker.connId)
    this.#deadlines.add(invocation)
    this.#send(invocation)
  }

  // The socket of a node that may run this, which is the common case; undefined when the node is not here.
  #admit({ nodeId, command }: Invoke): NodeSession | undefined {
    const { registry, policy } = this.#deps
    const session = registry.serving(nodeId)
    if (session === undefined) return undefined
    const approval = registry.approval(nodeId)
    if (approval === undefined) throw pairingChanged()
    const named = approval.commands.includes(command)
    const refusal = forbidden(command, registry.effective(session), session.offer, named, policy())
    if (refusal !== undefined) throw refusal
    if (this.#bySession.count(session) >= INVOKE.perNode) throw tooMany('this node', INVOKE.perNode)
    return session
  }

  async #absent(nodeId: string): Promise<never> {
    const record = await this.#deps.registry.record(nodeId)
    throw record?.approved === undefined ? pairingChanged() : notConnected()
  }

  #send({ id, request, session, paramsJSON, run, deadline }: Invocation): void {
    if (run !== undefined) this.runs.dispatched(session.link.id, run)
    const { nodeId, command, idempotencyKey } = request
    const timeoutMs = Math.max(1, Math.round(deadline - performance.now()))
    const payload = { id, nodeId, command, paramsJSON, timeoutMs, idempotencyKey }
    session.link.send({ type: 'event', event: 'node.invoke.request', payload })
  }

  #retry(invocation: Invocation): boolean {
    if (invocation.attempts >= INVOKE.retries || invocation.progressSeq >= 0) return false
    invocation.attempts++
    invocation.answered = true
    setTimeout(() => {
      if (this.#running.get(invocation.id) !== invocation) return
      try {
        const session = this.#admit(invocation.request)
        if (session === undefined) throw disconnected(invocation.request.command)
        this.#bySession.delete(invocation.session, invocation)
        invocation.session = session
        this.#bySession.add(session, invocation)
        invocation.answered = false
        this.#send(invocation)
      } catch (error) {
        this.#fail(invocation, 'failed', error as RpcError)
      }
    }, INVOKE.retryMs * invocation.attempts).unref()
    return true
  }

  #waits(invocation: Invocation, connId: string): void {
    if (connId === '') return
    this.#byCaller.add(connId, invocation)
    invocation.waiting.add(connId)
  }

  // A node answers on the socket that it was asked on, or on the one that serves it now; an older one is out of date.
  #of(connId: string, id: string): Invocation | undefined {
    const { registry } = this.#deps
    const invocation = this.#running.get(id)
    const sender = registry.session(connId)
    if (invocation === undefined || sender === undefined || invocation.request.nodeId !== sender.nodeId)
      return undefined
    if (invocation.answered) return undefined
    if (invocation.session === sender || registry.serving(sender.nodeId) === sender) return invocation
    throw pairingChanged('node pairing changed before request dispatch')
  }

  #find(nodeId: string, idempotencyKey: string, asker: Asker, anybodys: boolean): Invocation | undefined {
    const matches = this.#deps.registry
      .sessions(nodeId)
      .flatMap((session) => this.#bySession.of(session))
      .filter(({ request }) => request.idempotencyKey === idempotencyKey)
    return matches.find((each) => each.asker === asker.name) ?? (anybodys ? matches[0] : undefined)
  }

  #succeed(invocation: Invocation, { payload, payloadJSON = null }: NodeResult): void {
    const { nodeId, command } = invocation.request
    const result = payloadJSON === null ? payload : parsed(payloadJSON)
    invocation.resolve({ ok: true, nodeId, command, payload: result, payloadJSON })
    this.#end(invocation, 'ok', payloadJSON === null ? weigh(payload) : payloadJSON.length * 2)
  }

  #fellShort(invocation: Invocation, error: NodeError | undefined): void {
    const end = (refusal: RpcError | undefined) => this.#fail(invocation, 'failed', refusal ?? failed(error))
    const deferred = error && this.#deps.defer(invocation, error)
    if (deferred === undefined) end(undefined)
    else {
      // It waits elsewhere from now on.
      invocation.answered = true
      this.#deadlines.delete(invocation)
      deferred.then(end, () => end(undefined))
    }
  }

  #fail(invocation: Invocation, outcome: Outcome, error: Error): void {
    invocation.reject(error)
    this.#end(invocation, outcome, 1_024 + error.message.length * 2)
  }

  #timeOut(invocation: Invocation): void {
    this.#abort(invocation)
    this.#fail(invocation, 'timeout', failed({ code: 'TIMEOUT', message: 'node invoke timed out' }))
  }

  #cancel(invocation: Invocation, message: string): void {
    this.#abort(invocation)
    this.#fail(invocation, 'cancelled', failed({ code: 'CANCELLED', message }))
  }

  #abort({ id, session, request: { nodeId } }: Invocation): void {
    session.link.send({ type: 'event', event: 'node.invoke.cancel', payload: { invokeId: id, nodeId } })
  }

  #lost(session: NodeSession, why: (invocation: Invocation) => RpcError): void {
    for (const each of this.#bySession.of(session)) this.#fail(each, 'disconnected', why(each))
  }

  #end(invocation: Invocation, outcome: Outcome, size: number): void {
    const { id, session, waiting, answer, startedAt } = invocation
    if (!this.#running.delete(id)) return
    this.#deadlines.delete(invocation)
    this.#bySession.delete(session, invocation)
    for (const connId of waiting) this.#byCaller.delete(connId, invocation)
    if (answer !== undefined) this.#answers.keep(answer, size)
    this.stats.ended(outcome, performance.now() - startedAt)
  }
}

function keyOf({ name }: Asker, nodeId: string, idempotencyKey: string): string {
  return `${name}\n${nodeId}\n${idempotencyKey}`
}

function textOf(params: unknown): string | null {
  if (params === undefined) return null
  const text = JSON.stringify(params)
  if (text.length > INVOKE.params) throw invalidRequest('params are too large for a node')
  return text
}

function parsed(payloadJSON: string): unknown {
  try {
    return JSON.parse(payloadJSON)
  } catch {
    return { payloadJSON }
  }
}

function short({ code, message }: NodeError): NodeError {
  return {
    ...(code === undefined ? {} : { code: code.slice(0, 128) }),
    ...(message === undefined ? {} : { message: message.slice(0, INVOKE.words) })
  }
}

function disconnected(command: string): RpcError {
  return failed({ code: 'DISCONNECTED', message: `node disconnected (${command})` })
}
