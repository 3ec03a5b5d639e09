import type { Duplex } from 'node:stream'
import type { FastifyBaseLogger } from 'fastify'
import type { RawData, WebSocket } from 'ws'
import type { Ingress } from '../auth/ingress.ts'
import { CLOSE } from '../protocol/codes.ts'
import type { ErrorShape } from '../protocol/frames.ts'
import { RequestFrame } from '../protocol/frames.ts'
import { checker } from '../protocol/validate.ts'
import { errorShape, resolveMethod, run } from './dispatch.ts'
import { LIMITS } from './limits.ts'
import type { Caller } from './method.ts'
import type { Registry } from './registry.ts'
import type { Stability } from './stability.ts'
import { writeTogether } from './write-together.ts'

/** The first frame's outcome: the caller and the hello to send, or a thrown `HandshakeRefusal`. */
export type Handshake = (
  params: unknown,
  connection: Connection
) => Promise<{
  caller: Caller
  hello: unknown
  /** Hears whether the hello left this process, or the socket ended before; where somebody wants to know. */
  delivered: ((ok: boolean) => void) | undefined
}>

/** What every connection of a gateway shares. */
export interface ConnectionHost {
  registry: Registry
  handshake: Handshake
  log: FastifyBaseLogger
  stability: Pick<Stability, 'record'>
  opened(connection: Connection): void
  closed(connection: Connection): void
}

/** A refusal of `connect`: the error to answer with (if any) and the close that follows. */
export class HandshakeRefusal extends Error {
  readonly error: ErrorShape | undefined
  readonly close: keyof typeof CLOSE
  readonly reason: string

  constructor(error: ErrorShape | undefined, close: keyof typeof CLOSE = 'policy', reason = reasonOf(error)) {
    super(reason)
    this.error = error
    this.close = close
    this.reason = reason
  }
}

const checkFrame = checker(RequestFrame)

/** One socket's life: challenge, handshake, then calls until it closes. */
export class Connection {
  readonly id: string
  readonly nonce: string
  readonly ingress: Ingress
  readonly origin: string | undefined
  caller: Caller | undefined
  /** False from one ping until its pong; a pong still missing at the next ping ends the socket. */
  alive = true
  inFlight = 0
  /** Calls under way that wait for somebody else. */
  waiting = 0
  readonly #socket: WebSocket
  /** What the WebSocket writes to. */
  readonly #raw: Duplex
  readonly #host: ConnectionHost
  #handshaking = false
  #seq = 0

  constructor(
    socket: WebSocket,
    raw: Duplex,
    host: ConnectionHost,
    facts: Pick<Connection, 'id' | 'nonce' | 'ingress' | 'origin'>
  ) {
    this.#socket = socket
    this.#raw = raw
    this.#host = host
    this.id = facts.id
    this.nonce = facts.nonce
    this.ingress = facts.ingress
    this.origin = facts.origin
    limitPayload(socket, LIMITS.preauthPayload)
    socket.on('message', (data) => this.#message(data))
    socket.on('pong', () => {
      this.alive = true
    })
    socket.on('close', () => host.closed(this))
    // A protocol error (too big, bad UTF-8, bad mask): `ws` closes with the right code by itself.
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') this.#tooLarge()
    })
    this.send({
      type: 'event',
      event: 'connect.challenge',
      payload: { nonce: this.nonce, ts: Date.now(), capabilities: [] }
    })
  }

  /** Reports whether frames can still be sent. */
  get open(): boolean {
    return this.#socket.readyState === 1
  }

  /** Reports whether the peer reads more slowly than it is sent to: what may be left out is. */
  get behind(): boolean {
    return this.#socket.bufferedAmount > LIMITS.softBuffer
  }

  send(frame: unknown, sent?: ((ok: boolean) => void) | undefined): void {
    if (!this.#keepsUp()) {
      sent?.(false)
      return
    }
    writeTogether(this.#raw)
    this.#socket.send(JSON.stringify(frame), sent && ((error) => sent(!error)))
  }

  /**
   * Sends a broadcast event, whose text after the number is already made. A droppable one skips a socket that is
   * behind, and takes no number: the socket sees no hole.
   */
  sendNumbered(tail: string, droppable: boolean): void {
    if (!this.#keepsUp() || (droppable && this.behind)) return
    writeTogether(this.#raw)
    this.#socket.send(`{"type":"event","seq":${++this.#seq}${tail}`)
  }

  ping(): void {
    if (this.alive && this.open) this.#socket.ping()
    else this.terminate()
    this.alive = false
  }

  terminate(): void {
    this.#socket.terminate()
  }

  close(code: keyof typeof CLOSE, reason: string): void {
    if (!this.open) return
    this.#socket.close(CLOSE[code], closeReason(reason))
    // A peer that does not read, or does not answer the close frame, keeps its buffers no longer than this.
    setTimeout(() => this.terminate(), LIMITS.closeMs).unref()
  }

  // Answers count like events: whoever asks without reading fills our memory just the same.
  #keepsUp(): boolean {
    if (!this.open) return false
    if (this.#socket.bufferedAmount <= LIMITS.hardBuffer) return true
    this.#host.stability.record('connection.slow', { surface: 'websocket', limitBytes: LIMITS.hardBuffer })
    this.close('policy', 'slow consumer')
    return false
  }

  #tooLarge(): void {
    const limitBytes = this.caller === undefined ? LIMITS.preauthPayload : LIMITS.payload
    this.#host.stability.record('payload.large', { surface: 'websocket', action: 'rejected', limitBytes })
  }

  #message(data: RawData): void {
    let frame: unknown
    try {
      frame = JSON.parse(data.toString())
    } catch {
      if (this.caller === undefined) this.close('policy', 'invalid request frame')
      else this.#fail('invalid', { code: 'INVALID_REQUEST', message: 'invalid request frame: not JSON' })
      return
    }
    if (this.caller === undefined) void this.#first(frame)
    else this.#next(frame, this.caller)
  }

  #next(frame: unknown, caller: Caller): void {
    const wrong = frameError(frame)
    if (wrong === undefined) {
      this.#call(frame as RequestFrame, caller)
      return
    }
    const id = (frame as { id?: unknown } | null)?.id
    const echoed = (typeof id === 'string' && id !== '') || typeof id === 'number' ? id : 'invalid'
    this.#fail(echoed, { code: 'INVALID_REQUEST', message: `invalid request frame: ${wrong}` })
  }

  async #first(frame: unknown): Promise<void> {
    if (this.#handshaking || frameError(frame) !== undefined) {
      this.close('policy', 'invalid request frame')
      return
    }
    const { id, method, params } = frame as RequestFrame
    this.#handshaking = true
    try {
      if (method !== 'connect') {
        throw new HandshakeRefusal({
          code: 'INVALID_REQUEST',
          message: 'invalid handshake: first request must be connect'
        })
      }
      const { caller, hello, delivered } = await this.#host.handshake(params, this)
      if (!this.open) return delivered?.(false)
      limitPayload(this.#socket, LIMITS.payload)
      this.caller = caller
      this.send({ type: 'res', id, ok: true, payload: hello }, delivered)
      this.#host.opened(this)
    } catch (error) {
      const refusal = error instanceof HandshakeRefusal ? error : new HandshakeRefusal(errorShape(error))
      if (!(error instanceof HandshakeRefusal) && refusal.error?.message === 'internal error')
        this.#host.log.error({ err: error }, 'connect failed')
      if (refusal.error !== undefined) this.#fail(id, refusal.error)
      this.close(refusal.close, refusal.reason)
    }
  }

  #call(frame: RequestFrame, caller: Caller): void {
    if (frame.expectedProfileId !== undefined && frame.expectedProfileId !== caller.user?.id) {
      this.#fail(frame.id, otherProfile)
      return
    }
    const { registry } = this.#host
    try {
      const method = resolveMethod(registry, frame.method, caller)
      if (this.inFlight >= LIMITS.inFlight && !method.waits) {
        this.#fail(frame.id, busy)
        return
      }
      const result = run(registry, method, frame.params, caller, (payload) => this.#respond(frame.id, payload))
      if (result instanceof Promise) void this.#settle(frame, result, method.waits ? 'waiting' : 'inFlight')
      else this.#respond(frame.id, result)
    } catch (error) {
      this.#failed(frame, error)
    }
  }

  async #settle(frame: RequestFrame, result: Promise<unknown>, count: 'waiting' | 'inFlight'): Promise<void> {
    this[count]++
    try {
      this.#respond(frame.id, await result)
    } catch (error) {
      this.#failed(frame, error)
    } finally {
      this[count]--
    }
  }

  #failed(frame: RequestFrame, error: unknown): void {
    const shape = errorShape(error)
    if (shape.message === 'internal error') this.#host.log.error({ err: error, method: frame.method }, 'call failed')
    this.#fail(frame.id, shape)
  }

  #respond(id: string, payload: unknown): void {
    this.send({ type: 'res', id, ok: true, payload })
  }

  #fail(id: string | number, error: ErrorShape): void {
    this.send({ type: 'res', id, ok: false, error })
  }
}

const busy: ErrorShape = {
  code: 'UNAVAILABLE',
  message: 'The server is busy. Please try again in a moment.',
  retryable: true
}

const otherProfile: ErrorShape = {
  code: 'INVALID_REQUEST',
  message: 'Selected account changed or is unavailable. Select the account again before retrying.',
  details: { reason: 'EXPECTED_PROFILE_MISMATCH', execution: 'not_started' }
}

const frameKeys = new Set(['type', 'id', 'method', 'params', 'traceparent', 'expectedProfileId'])

// The common case is checked by hand; only a frame that looks wrong pays for the schema and its words.
function frameError(frame: unknown): string | undefined {
  const { type, id, method, traceparent, expectedProfileId } = (frame ?? {}) as Partial<RequestFrame>
  const plain = type === 'req' && typeof id === 'string' && id !== '' && typeof method === 'string' && method !== ''
  if (plain && traceparent === undefined && expectedProfileId === undefined) {
    let known = true
    for (const key in frame as object) known &&= frameKeys.has(key)
    if (known) return undefined
  }
  return checkFrame(frame)
}

// The close reason is all that some clients show; it names the request that a person has to approve.
function reasonOf(error: ErrorShape | undefined): string {
  const { requestId } = (error?.details ?? {}) as { requestId?: string }
  return requestId === undefined ? (error?.message ?? '') : `${error?.message} (requestId: ${requestId})`
}

/** A close reason holds 123 bytes at most; the reference stops at 120. */
function closeReason(text: string): string {
  const bytes = Buffer.from(text)
  return bytes.length <= 120
    ? text
    : bytes
        .subarray(0, 120)
        .toString()
        .replace(/\uFFFD+$/, '')
}

// `ws` takes one limit for a whole server; ours rises once the socket has a caller. Guarded by a test.
function limitPayload(socket: WebSocket, bytes: number): void {
  const { _receiver: receiver } = socket as unknown as { _receiver: { _maxPayload: number } }
  receiver._maxPayload = bytes
}
