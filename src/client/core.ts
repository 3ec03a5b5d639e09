import type { ConnectParams, EventFrame, HelloOk, ResponseFrame } from '../protocol/frames.ts'
import type { MethodName, MethodParams, MethodResult } from '../protocol/methods.ts'
import { retryDelay } from './backoff.ts'
import { devicePayload } from './device-payload.ts'
import { GatewayError } from './gateway-error.ts'
import { type Listener, type SubscribeCall, Subscriptions } from './subscriptions.ts'
import type { GatewayClientOptions, SocketLike } from './types.ts'

export { GatewayError, type RefusalDetails, refusalDetails } from './gateway-error.ts'
export type { ClientState, DeviceSigner, GatewayClientOptions, SocketLike } from './types.ts'

const PROTOCOL = 4
const MAX_PENDING = 1_024
// More than this waits only for a gateway that does not read.
const MAX_BUFFERED = 16 * 1024 * 1024
const CLOSE_NORMAL = 1000
const CLOSE_TICK_TIMEOUT = 4000
const OPEN = 1

/** How one call is made. */
export interface RequestOptions {
  timeoutMs?: number
  /** Waits past the answer that says "accepted" for the one that says what came of it. */
  expectFinal?: boolean
  signal?: AbortSignal
}

interface Pending {
  expectFinal: boolean
  settle(outcome: { payload: unknown } | { error: unknown }): void
}

/** One logical connection to a gateway: handshake, calls, events, and coming back after a loss. */
export class GatewayClient {
  readonly #options: GatewayClientOptions
  readonly #pending = new Map<string, Pending>()
  readonly #subscriptions = new Subscriptions()
  #socket: SocketLike | undefined
  #open = false
  #started = false
  #stopped = false
  #wake: (() => void) | undefined
  #nextId = 0

  constructor(options: GatewayClientOptions) {
    this.#options = options
  }

  /** Resolves with the first hello-ok, or rejects with the refusal; with `reconnect`, keeps the connection up after that. */
  connect(): Promise<HelloOk> {
    if (this.#started) return Promise.reject(new GatewayError('CLOSED', 'connect is called once per client'))
    this.#started = true
    return new Promise((resolve, reject) => void this.#run(resolve, reject))
  }

  /**
   * Hears an event (`*`: every one) until the returned function is called, over every connection that is to come. With
   * `call`, the gateway is asked for the event, now and after every reconnection. Of events that were missed in between
   * nothing is known: `onHello` is the place to read anew.
   */
  subscribe(event: string, listener: Listener, call?: SubscribeCall): () => void {
    const end = this.#subscriptions.add(event, listener, call)
    if (this.#open && call !== undefined) this.#ask(call)
    return end
  }

  /**
   * Calls a method and resolves with its payload. Rejects at once, as retryable, while nobody is connected, too many calls
   * wait, or the gateway does not read what it is sent.
   */
  request<M extends MethodName>(method: M, params?: MethodParams<M>, options?: RequestOptions): Promise<MethodResult<M>>
  request<T = unknown>(method: string, params?: unknown, options?: RequestOptions): Promise<T>
  request(method: string, params?: unknown, options: RequestOptions = {}): Promise<unknown> {
    const socket = this.#socket
    if (!this.#open || socket?.readyState !== OPEN) {
      return Promise.reject(new GatewayError('CONNECTION_LOST', 'not connected to the gateway', { retryable: true }))
    }
    if ((socket.bufferedAmount ?? 0) > MAX_BUFFERED) {
      const message = 'the gateway does not read what it is sent'
      return Promise.reject(new GatewayError('UNAVAILABLE', message, { retryable: true }))
    }
    if (this.#pending.size >= MAX_PENDING) {
      return Promise.reject(new GatewayError('UNAVAILABLE', 'too many calls in flight', { retryable: true }))
    }
    const { signal, expectFinal = false, timeoutMs = this.#options.requestTimeoutMs ?? 30_000 } = options
    if (signal?.aborted) return Promise.reject(signal.reason)
    const id = `r${++this.#nextId}`
    return new Promise((resolve, reject) => {
      const abort = () => settle({ error: signal?.reason })
      const timer = setTimeout(
        () => settle({ error: new GatewayError('TIMEOUT', `${method} was not answered within ${timeoutMs} ms`) }),
        timeoutMs
      )
      const settle: Pending['settle'] = (outcome) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        this.#pending.delete(id)
        if ('error' in outcome) reject(outcome.error)
        else resolve(outcome.payload)
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#pending.set(id, { expectFinal, settle })
      socket.send(JSON.stringify({ type: 'req', id, method, params }))
    })
  }

  /** Cuts the wait for the next try short. */
  retry(): void {
    this.#wake?.()
  }

  /** Ends the connection for good and rejects every call in flight. */
  close(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#rejectPending(new GatewayError('CLOSED', 'the client was closed'))
    this.#socket?.close(CLOSE_NORMAL)
    this.#wake?.()
  }

  async #run(resolve: (hello: HelloOk) => void, reject: (error: GatewayError) => void): Promise<void> {
    let failures = 0
    while (!this.#stopped) {
      this.#options.onState?.({ phase: 'connecting' })
      let opened = false
      const error = await this.#session((hello) => {
        opened = true
        failures = 0
        resolve(hello)
      })
      if (this.#stopped) break
      const { reconnect, retry = retryDelay } = this.#options
      const delay = reconnect ? retry(error, failures++) : undefined
      if (delay === undefined) {
        this.#stopped = true
        this.#options.onState?.(opened ? { phase: 'stopped', error } : { phase: 'refused', error })
        return reject(error)
      }
      this.#options.onState?.({ phase: 'waiting', retryAt: Date.now() + delay, error })
      await this.#sleep(delay)
    }
    this.#options.onState?.({ phase: 'stopped' })
    reject(new GatewayError('CLOSED', 'the client was closed'))
  }

  /** One socket from its creation to its end; resolves with the reason it ended. */
  async #session(onOpen: (hello: HelloOk) => void): Promise<GatewayError> {
    let socket: SocketLike
    try {
      const made = this.#options.createSocket()
      // What is at hand is listened to at once.
      socket = made instanceof Promise ? await made : made
    } catch (cause) {
      return asGatewayError(cause)
    }
    this.#socket = socket
    if (!this.#stopped) return this.#converse(socket, onOpen)
    // That it never came to be open is an error to it, and one that nobody heard would end the process.
    socket.addEventListener('error', () => {})
    socket.close(CLOSE_NORMAL)
    return new GatewayError('CLOSED', 'the client was closed')
  }

  #converse(socket: SocketLike, onOpen: (hello: HelloOk) => void): Promise<GatewayError> {
    return new Promise((resolve) => {
      let ended = false
      let seq: number | undefined
      let heardAt = Date.now()
      let watchdog: ReturnType<typeof setInterval> | undefined

      const end = (error: GatewayError) => {
        if (ended) return
        ended = true
        clearTimeout(deadline)
        clearInterval(watchdog)
        this.#open = false
        // A socket that no longer answers takes its time to close; nobody waits for it.
        if (error.closeCode === CLOSE_TICK_TIMEOUT) socket.close(CLOSE_TICK_TIMEOUT, error.message)
        else socket.close(CLOSE_NORMAL)
        this.#rejectPending(error)
        resolve(error)
      }
      const deadline = setTimeout(
        () => end(new GatewayError('TIMEOUT', 'the gateway did not complete the handshake in time')),
        this.#options.handshakeTimeoutMs ?? 15_000
      )
      const welcome = (payload: unknown) => {
        const hello = payload as HelloOk
        if (hello?.type !== 'hello-ok') return end(new GatewayError('PROTOCOL', 'the gateway did not answer hello-ok'))
        clearTimeout(deadline)
        this.#open = true
        const silence = 2 * (hello.policy?.tickIntervalMs ?? 30_000)
        watchdog = setInterval(() => {
          if (Date.now() - heardAt <= silence) return
          end(new GatewayError('CONNECTION_LOST', 'tick timeout', { closeCode: CLOSE_TICK_TIMEOUT }))
        }, silence / 4)
        for (const call of this.#subscriptions.calls()) this.#ask(call)
        this.#options.onHello?.(hello)
        this.#options.onState?.({ phase: 'open', hello })
        onOpen(hello)
      }
      const answerChallenge = async (nonce: string) => {
        try {
          const params = await this.#connectParams(nonce)
          if (ended) return
          const settle: Pending['settle'] = (outcome) => {
            this.#pending.delete('connect')
            if ('payload' in outcome) welcome(outcome.payload)
            else end(asGatewayError(outcome.error))
          }
          this.#pending.set('connect', { expectFinal: false, settle })
          socket.send(JSON.stringify({ type: 'req', id: 'connect', method: 'connect', params }))
        } catch (cause) {
          end(asGatewayError(cause))
        }
      }

      socket.addEventListener('message', ({ data }) => {
        if (ended) return
        heardAt = Date.now()
        const frame = parseFrame(data)
        if (frame?.type === 'res') return this.#answer(frame)
        if (frame?.type !== 'event') return
        if (frame.event === 'connect.challenge') {
          const nonce = (frame.payload as { nonce?: unknown } | undefined)?.nonce
          if (!this.#open && typeof nonce === 'string') void answerChallenge(nonce)
          return
        }
        if (typeof frame.seq === 'number') {
          if (seq !== undefined && frame.seq > seq + 1)
            this.#options.onGap?.({ expected: seq + 1, received: frame.seq })
          seq = frame.seq
        }
        this.#options.onEvent?.(frame)
        this.#subscriptions.tell(frame, (error) => this.#options.onListenerError?.(error, frame))
      })
      // The close event follows and ends the session; this one only knows why.
      let failure: unknown
      socket.addEventListener('error', (event) => {
        failure ??= 'error' in event ? event.error : undefined
      })
      socket.addEventListener('close', ({ code, reason }) => {
        const why = reason || (failure instanceof Error ? failure.message : '')
        end(
          new GatewayError(
            this.#open ? 'CONNECTION_LOST' : 'CONNECTION_FAILED',
            why || `the connection ended (${code})`,
            { closeCode: code, cause: failure }
          )
        )
      })
    })
  }

  #ask({ method, params }: SubscribeCall): void {
    this.request(method, params).catch((error) => this.#options.onSubscribeError?.(error, method))
  }

  async #connectParams(nonce: string): Promise<ConnectParams> {
    const { client, role = 'operator', scopes = [], caps = [], device, params, minProtocol = PROTOCOL } = this.#options
    const auth = await this.#options.auth?.()
    const connect: ConnectParams = { minProtocol, maxProtocol: PROTOCOL, client, role, scopes, caps, ...params }
    if (auth) connect.auth = auth
    if (device) {
      const signedAt = Date.now()
      const signature = await device.sign(
        devicePayload({
          deviceId: device.id,
          clientId: client.id,
          clientMode: client.mode,
          role,
          scopes,
          signedAtMs: signedAt,
          token: auth?.token || auth?.deviceToken || auth?.bootstrapToken || '',
          nonce,
          platform: client.platform,
          deviceFamily: client.deviceFamily
        })
      )
      connect.device = { id: device.id, publicKey: device.publicKey, signature, signedAt, nonce }
    }
    return connect
  }

  #answer(frame: ResponseFrame): void {
    const pending = this.#pending.get(frame.id)
    if (!pending) return
    if (!frame.ok) pending.settle({ error: GatewayError.from(frame.error) })
    else if (!pending.expectFinal || !isAccepted(frame.payload)) pending.settle({ payload: frame.payload })
  }

  #rejectPending(error: GatewayError): void {
    for (const pending of [...this.#pending.values()]) pending.settle({ error })
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** Reports whether a payload only says that the work has begun; the final answer follows under the same id. */
function isAccepted(payload: unknown): boolean {
  return (payload as { status?: unknown } | null | undefined)?.status === 'accepted'
}

function parseFrame(data: unknown): EventFrame | ResponseFrame | undefined {
  try {
    return JSON.parse(String(data)) as EventFrame | ResponseFrame
  } catch {
    return undefined
  }
}

function asGatewayError(cause: unknown): GatewayError {
  if (cause instanceof GatewayError) return cause
  return new GatewayError('PROTOCOL', cause instanceof Error ? cause.message : String(cause), { cause })
}
