import { type Static, Type } from 'typebox'
import type { ErrorCode } from './codes.ts'
import type { Role, Scope } from './scopes.ts'

const text = Type.String({ minLength: 1 })
const closed = { additionalProperties: false } as const

/** Client ids the protocol knows. */
const CLIENT_IDS = [
  'webchat-ui',
  'openclaw-control-ui',
  'openclaw-browser-copilot',
  'openclaw-tui',
  'webchat',
  'cli',
  'gateway-client',
  'openclaw-macos',
  'openclaw-linux',
  'openclaw-ios',
  'openclaw-watchos',
  'openclaw-android',
  'node-host',
  'openclaw-worker',
  'test',
  'fingerprint',
  'openclaw-probe'
] as const

/** Client modes the protocol knows. */
const CLIENT_MODES = ['webchat', 'cli', 'ui', 'backend', 'node', 'worker', 'probe', 'test'] as const

/** How a client introduces itself. */
export const ClientInfo = Type.Object(
  {
    id: Type.Enum(CLIENT_IDS),
    displayName: Type.Optional(text),
    version: text,
    buildId: Type.Optional(Type.String({ minLength: 1, maxLength: 96 })),
    platform: text,
    deviceFamily: Type.Optional(text),
    modelIdentifier: Type.Optional(text),
    timeZone: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    mode: Type.Enum(CLIENT_MODES),
    instanceId: Type.Optional(text)
  },
  closed
)
export type ClientInfo = Static<typeof ClientInfo>

/** A signed device identity: Ed25519 over the layouts of `auth/device-signature.ts`. */
export const DeviceClaim = Type.Object(
  {
    id: text,
    publicKey: text,
    signature: text,
    signedAt: Type.Integer({ minimum: 0 }),
    nonce: text
  },
  closed
)
export type DeviceClaim = Static<typeof DeviceClaim>

/** Credentials a client may send in `connect`. */
export const AuthClaim = Type.Object(
  {
    token: Type.Optional(Type.String()),
    bootstrapToken: Type.Optional(Type.String()),
    deviceToken: Type.Optional(Type.String()),
    password: Type.Optional(Type.String()),
    approvalRuntimeToken: Type.Optional(Type.String()),
    agentRuntimeIdentityToken: Type.Optional(Type.String())
  },
  closed
)
export type AuthClaim = Static<typeof AuthClaim>

/** Params of the `connect` request, the first frame of every socket. */
export const ConnectParams = Type.Object(
  {
    minProtocol: Type.Integer({ minimum: 1 }),
    maxProtocol: Type.Integer({ minimum: 1 }),
    client: ClientInfo,
    caps: Type.Optional(Type.Array(text)),
    commands: Type.Optional(Type.Array(text)),
    computerUse: Type.Optional(Type.Unknown()),
    workerRuns: Type.Optional(Type.Unknown()),
    modelCatalog: Type.Optional(Type.Unknown()),
    permissions: Type.Optional(Type.Record(Type.String(), Type.Boolean())),
    pathEnv: Type.Optional(Type.String()),
    role: Type.Optional(text),
    scopes: Type.Optional(Type.Array(text)),
    device: Type.Optional(DeviceClaim),
    auth: Type.Optional(AuthClaim),
    locale: Type.Optional(Type.String()),
    userAgent: Type.Optional(Type.String())
  },
  closed
)
export type ConnectParams = Static<typeof ConnectParams>

/** A call from a client. */
export const RequestFrame = Type.Object(
  {
    type: Type.Literal('req'),
    id: text,
    method: text,
    params: Type.Optional(Type.Unknown()),
    traceparent: Type.Optional(Type.String({ maxLength: 128 })),
    expectedProfileId: Type.Optional(text)
  },
  closed
)
export type RequestFrame = Static<typeof RequestFrame>

/** An error as it goes over the wire. */
export interface ErrorShape {
  code: ErrorCode
  message: string
  details?: unknown
  retryable?: boolean
  retryAfterMs?: number
}

/** The answer to one call. */
export type ResponseFrame =
  | { type: 'res'; id: string; ok: true; payload?: unknown }
  | { type: 'res'; id: string; ok: false; error: ErrorShape }

/** Versions of the two documents that events replace as a whole. */
export interface StateVersion {
  presence: number
  health: number
}

/** Something that happened. `seq` counts broadcast events of this socket, without holes. */
export interface EventFrame<P = unknown> {
  type: 'event'
  event: string
  payload?: P
  seq?: number
  stateVersion?: StateVersion
}

/** One entry of the presence list. */
export interface PresenceEntry {
  ts: number
  host?: string
  ip?: string
  version?: string
  platform?: string
  deviceFamily?: string
  mode?: string
  reason?: string
  text?: string
  instanceId?: string
  clientId?: string
  deviceId?: string
  roles?: string[]
  scopes?: string[]
  user?: { id: string; name: string; email?: string }
  onlineSince?: number
}

/** The answer to `connect`. */
export interface HelloOk {
  type: 'hello-ok'
  protocol: number
  server: { version: string; buildId: string; bootId: string; controlUiBuildSource: 'bundled'; connId: string }
  features: { methods: string[]; events: string[]; capabilities: string[] }
  snapshot: Record<string, unknown> & {
    presence: PresenceEntry[]
    health: unknown
    stateVersion: StateVersion
    uptimeMs: number
  }
  auth: {
    method: string
    role: Role
    scopes: Scope[]
    deviceToken?: string
    issuedAtMs?: number
    /** Tokens for other roles of the same device. */
    deviceTokens?: { deviceToken: string; role: Role; scopes: Scope[]; issuedAtMs: number }[]
  }
  policy: { maxPayload: number; maxBufferedBytes: number; tickIntervalMs: number }
}
