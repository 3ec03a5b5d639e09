import type { Static, TSchema } from 'typebox'
import type { Entry } from '../auth/access.ts'
import type { Surface } from '../auth/surfaces.ts'
import type { Declared } from '../nodes/surface.ts'
import type { ClientInfo } from '../protocol/frames.ts'
import type { Role, Scope } from '../protocol/scopes.ts'

/** Who is calling, as the handshake settled it. */
export interface Caller {
  connId: string
  /** What the caller came through: a socket, or one request over HTTP. */
  surface: Surface
  role: Role
  scopes: ReadonlySet<Scope>
  client: ClientInfo
  /** What a node says that it can do; undefined for operators. */
  declared: Declared | undefined
  /** True on the `local` listener: the caller owns the host's files. */
  owner: boolean
  /** How the caller authenticated. */
  method: string
  deviceId: string | undefined
  /** The named token that the caller came with. */
  token: { id: string; name: string; expiresAtMs: number | undefined } | undefined
  /** The verified identity, when an identity-aware front end named one. */
  user: { id: string; name: string | undefined } | undefined
  /** Client address for people: an IP, or `local`. */
  address: string
  /** How the caller came in, and what that rested on: when it no longer does, the socket ends (S14). */
  entry: Entry
  footing: string | undefined
}

/** What may call a method: operators with a scope, nodes, or everyone who is connected. */
export type Access = Scope | 'node' | 'any'

/** One RPC method: declared once, listed in `hello-ok`, refused by the registry without a scope. */
export interface Method {
  name: string
  scope: Access
  params: TSchema | undefined
  result: TSchema | undefined
  /** True for a write of the control plane, of which a caller has a few a minute. */
  write: boolean
  /** True for a method that waits for somebody else and bounds its calls itself: they leave room for other calls. */
  waits: boolean
  /** True for a method that does something to the caller's own socket, so that a caller without one has no use for it. */
  socket: boolean
  handler(params: never, caller: Caller, interim?: Interim): unknown
}

/** Sends an answer before the answer, where the caller's transport can carry two. */
export type Interim = (payload: unknown) => void

/** Declares a method; its handler's types are inferred from the params schema. */
export function defineMethod<P extends TSchema>(method: {
  name: string
  scope: Access
  params: P
  result?: TSchema
  write?: boolean
  waits?: boolean
  socket?: boolean
  handler(params: Static<P>, caller: Caller, interim?: Interim): unknown
}): Method {
  return { result: undefined, write: false, waits: false, socket: false, ...method } as Method
}

/** Reports whether a caller without a socket has a use for a method. */
export function worksOverHttp({ scope, socket }: Pick<Method, 'scope' | 'socket'>): boolean {
  return scope !== 'node' && !socket
}

/** Publishes an event; the broadcaster filters by the event's scope and numbers it per socket. */
export type Publish = (event: string, payload: unknown) => void
