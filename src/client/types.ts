import type { AuthClaim, ClientInfo, ConnectParams, EventFrame, HelloOk } from '../protocol/frames.ts'
import type { Role } from '../protocol/scopes.ts'
import type { GatewayError } from './gateway-error.ts'

/** The part of the WHATWG WebSocket that the client uses; the browser's, Node's and `ws`'s all fit. */
export interface SocketLike {
  readonly readyState: number
  /** Bytes that were sent and are not on their way yet. */
  readonly bufferedAmount?: number
  send(data: string): void
  close(code?: number, reason?: string): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void
  addEventListener(type: 'error', listener: (event: object) => void): void
}

/** A device key: its identity, and a way to sign with it. */
export interface DeviceSigner {
  /** Lowercase hex SHA-256 of the raw public key. */
  id: string
  /** Base64url of the raw 32 bytes. */
  publicKey: string
  /** Base64url Ed25519 signature of the UTF-8 bytes. */
  sign(payload: string): Promise<string> | string
}

/** Where the connection stands. */
export type ClientState =
  | { phase: 'connecting' }
  | { phase: 'open'; hello: HelloOk }
  | { phase: 'waiting'; retryAt: number; error: GatewayError }
  | { phase: 'refused'; error: GatewayError }
  | { phase: 'stopped'; error?: GatewayError }

/** How a client connects, and what it wants to hear. */
export interface GatewayClientOptions {
  /** Opens the socket of each try; a promise settles first what has to be found out anew. */
  createSocket(): SocketLike | Promise<SocketLike>
  client: ClientInfo
  role?: Role
  scopes?: string[]
  caps?: string[]
  /** Further `connect` params: a node's commands, a browser's locale. */
  params?: Partial<Pick<ConnectParams, 'commands' | 'permissions' | 'pathEnv' | 'locale' | 'userAgent'>>
  /** Asked before each connect, so that a retry uses the newest credential. */
  auth?: () => AuthClaim | undefined | Promise<AuthClaim | undefined>
  device?: DeviceSigner | undefined
  /** Default false: one connection, as a command wants. */
  reconnect?: boolean
  /** Milliseconds until the next try after an error, or undefined to give up; default `retryDelay`. */
  retry?(error: GatewayError, attempt: number): number | undefined
  /** Probes may accept protocol 3. */
  minProtocol?: number
  handshakeTimeoutMs?: number
  requestTimeoutMs?: number
  onHello?(hello: HelloOk): void
  onEvent?(frame: EventFrame): void
  onGap?(info: { expected: number; received: number }): void
  onState?(state: ClientState): void
  /** Hears of a listener of `subscribe` that threw. */
  onListenerError?(error: unknown, frame: EventFrame): void
  /** Hears that the gateway refused the call of a `subscribe`, which the connection survives. */
  onSubscribeError?(error: GatewayError, method: string): void
}
