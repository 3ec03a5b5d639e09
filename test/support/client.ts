import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { once } from 'node:events'
import WebSocket, { type ClientOptions } from 'ws'
import type { ConnectParams, ErrorShape, EventFrame, HelloOk } from '../../src/protocol/frames.ts'

type Json = Record<string, unknown>

/** A raw protocol client: it sends exactly what a test says, and keeps everything it receives. */
export class RawClient {
  readonly socket: WebSocket
  readonly events: EventFrame<Json>[] = []
  readonly responses: Json[] = []
  /** Resolves with the close code and reason. */
  readonly closed: Promise<{ code: number; reason: string }>
  #listeners = new Set<() => void>()
  #id = 0

  constructor(url: string, options: ClientOptions = {}) {
    this.socket = new WebSocket(url, { perMessageDeflate: false, ...options })
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    this.socket.on('error', () => {})
    this.socket.on('message', (data) => {
      const frame = JSON.parse(data.toString()) as Json
      if (frame.type === 'event') this.events.push(frame as unknown as EventFrame<Json>)
      else this.responses.push(frame)
      for (const listener of [...this.#listeners]) listener()
    })
  }

  /** Opens a socket and waits for the challenge. */
  static async open(url: string, options?: ClientOptions): Promise<RawClient> {
    const client = new RawClient(url, options)
    await Promise.race([
      client.event('connect.challenge'),
      client.closed.then(({ code }) => Promise.reject(new Error(`closed ${code} before the challenge`)))
    ])
    return client
  }

  get nonce(): string {
    return this.events.find(({ event }) => event === 'connect.challenge')?.payload?.nonce as string
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame))
  }

  /** Waits for the n-th event of a name (from 1). */
  async event(name: string, n = 1): Promise<EventFrame<Json>> {
    return this.#when(() => this.events.filter(({ event }) => event === name)[n - 1])
  }

  /** Waits for the response with an id. */
  async response(id: unknown): Promise<{ ok: boolean; payload?: Json; error?: ErrorShape & { details?: Json } }> {
    return this.#when(() => this.responses.find((each) => each.id === id)) as never
  }

  /** Sends a request and waits for its response. */
  async call(
    method: string,
    params?: unknown
  ): Promise<{ ok: boolean; payload?: Json; error?: ErrorShape & { details?: Json } }> {
    const id = `${++this.#id}`
    this.send({ type: 'req', id, method, ...(params === undefined ? {} : { params }) })
    return this.response(id)
  }

  /** Connects; the answer may be a refusal. */
  async connect(
    params: Partial<ConnectParams> & Json = {},
    device?: TestDevice
  ): Promise<{ ok: boolean; payload?: HelloOk; error?: ErrorShape & { details?: Json } }> {
    const full = connectParams(params)
    if (device !== undefined) full.device = device.claim(full, this.nonce)
    return (await this.call('connect', full)) as never
  }

  async close(): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return
    this.socket.terminate()
    await this.closed
  }

  async #when<T>(find: () => T | undefined): Promise<T> {
    const found = find()
    if (found !== undefined) return found
    return new Promise((resolve, reject) => {
      const listener = () => {
        const value = find()
        if (value === undefined) return
        this.#listeners.delete(listener)
        resolve(value)
      }
      this.#listeners.add(listener)
      void this.closed.then(({ code, reason }) => {
        if (this.#listeners.delete(listener)) reject(new Error(`closed ${code} ${reason}`))
      })
    })
  }
}

/** Connect params of a helper back end of this host, with overrides. */
export function connectParams(more: Partial<ConnectParams> & Json = {}): ConnectParams {
  return {
    minProtocol: 4,
    maxProtocol: 4,
    client: { id: 'gateway-client', version: '1.0.0', platform: 'linux', mode: 'backend' },
    role: 'operator',
    scopes: ['operator.admin'],
    ...more
  } as ConnectParams
}

/** A device with a real Ed25519 key. */
export class TestDevice {
  readonly #key: KeyObject
  readonly publicKey: string
  readonly id: string

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
    this.#key = privateKey
    this.publicKey = raw.toString('base64url')
    this.id = createHash('sha256').update(raw).digest('hex')
  }

  /** Signs the payload of a connect, layout v3 unless told otherwise. */
  claim(
    params: ConnectParams,
    nonce: string,
    options: { version?: 'v2' | 'v3'; signedAt?: number } = {}
  ): NonNullable<ConnectParams['device']> {
    const { auth = {}, client } = params
    const signedAt = options.signedAt ?? Date.now()
    const token = auth.token || auth.deviceToken || auth.bootstrapToken || ''
    const fields = [
      this.id,
      client.id,
      client.mode,
      params.role ?? 'operator',
      (params.scopes ?? []).join(','),
      signedAt,
      token,
      nonce
    ]
    const tail =
      options.version === 'v2'
        ? []
        : [client.platform.trim().toLowerCase(), (client.deviceFamily ?? '').trim().toLowerCase()]
    const payload = [options.version ?? 'v3', ...fields, ...tail].join('|')
    return {
      id: this.id,
      publicKey: this.publicKey,
      signature: sign(null, Buffer.from(payload), this.#key).toString('base64url'),
      signedAt,
      nonce
    }
  }
}

/** The client block of the CLI. */
export const cli = { id: 'cli', version: '1.0.0', platform: 'linux', mode: 'cli' } as const
/** The client block of the Control UI. */
export const controlUi = { id: 'openclaw-control-ui', version: '1.0.0', platform: 'web', mode: 'webchat' } as const
/** The client block of the terminal UI. */
export const tui = { id: 'openclaw-tui', version: '1.0.0', platform: 'linux', mode: 'ui' } as const
/** The client block of a node host. */
export const nodeHost = { id: 'node-host', version: '1.0.0', platform: 'linux', mode: 'node' } as const

/** Waits for the socket of a refused upgrade; resolves with its status and body. */
export async function refusedUpgrade(
  url: string,
  options: ClientOptions = {}
): Promise<{ status: number; body: string }> {
  const socket = new WebSocket(url, options)
  socket.on('error', () => {})
  const [, response] = await once(socket, 'unexpected-response')
  let body = ''
  for await (const chunk of response) body += chunk
  socket.terminate()
  return { status: response.statusCode, body }
}
