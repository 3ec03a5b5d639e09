import type { Authenticated } from '../auth/authenticate.ts'
import type { ProvenDevice } from '../auth/device-signature.ts'
import type { Ingress } from '../auth/ingress.ts'
import { freshSecret } from '../auth/secrets.ts'
import type { EventKind } from '../protocol/audit.ts'
import type { ConnectParams } from '../protocol/frames.ts'
import type { Role, Scope } from '../protocol/scopes.ts'
import type { SetupOutcome } from '../protocol/setup.ts'
import type { DeviceFacts } from '../store/devices.ts'
import type { AuthEvent } from '../store/trail.ts'

/** A device asking to come in, its key already proven and its credential already accepted. */
export interface Arrival {
  device: ProvenDevice
  params: ConnectParams
  role: Role
  auth: Authenticated
  ingress: Ingress
  /** The scopes asked for, already narrowed where the caller is. */
  requested: readonly string[]
  /** True for one of our UIs in a browser. */
  page: boolean
  /** By what the arrival may be paired, or widened, without asking anyone (§2.3); undefined where a person decides. */
  silent: 'owner' | 'silent' | undefined
  /** True where the configuration pairs a new node from this address (`autoApproveCidrs`). */
  trustedAddress: boolean
  /** The scopes with which a trusted proxy's user enrols this device by itself; undefined where it may not (§9). */
  autoApprove: readonly Scope[] | undefined
}

/** A fresh device token: the only time its text exists here. */
export interface IssuedToken {
  value: string
  issuedAtMs: number
}

/** A token for another role of the same device, handed over together with its own. */
export interface HandedToken extends IssuedToken {
  role: Role
  scopes: Scope[]
}

/** What a caller was let in with: its scopes for this connection, and its device's tokens where any are due. */
export interface Admission {
  scopes: Scope[]
  token?: IssuedToken
  handed?: HandedToken[]
  /** What the setup code that let it in led to, once the caller has its tokens. */
  setup?: SetupOutcome
}

/** A token for the device, where one is due. */
export function freshToken(arrival: Arrival): IssuedToken | undefined {
  const { auth, page } = arrival
  // A front end that vouches for every request needs no token in the browser; a native app comes back without one.
  if (auth.method === 'tailscale' || (auth.method === 'trusted-proxy' && page) || isProbe(arrival)) return undefined
  return { value: freshSecret(), issuedAtMs: Date.now() }
}

/** What the trail says of an arrival that changed something. */
export function changeBy(arrival: Arrival, kind: EventKind, detail: string): AuthEvent {
  const { auth, device, ingress, params } = arrival
  return {
    kind,
    outcome: 'changed',
    method: auth.method,
    who: auth.user?.id ?? device.deviceId,
    address: ingress.client,
    listener: ingress.listener,
    client: params.client.id,
    surface: 'websocket',
    detail
  }
}

/** What an arrival says of itself, as it is kept. */
export function factsOf({ device, params, ingress }: Arrival): DeviceFacts {
  return {
    deviceId: device.deviceId,
    publicKey: device.publicKey,
    platform: params.client.platform,
    deviceFamily: params.client.deviceFamily,
    clientId: params.client.id,
    clientMode: params.client.mode,
    displayName: params.client.displayName?.slice(0, 200),
    remoteIp: ingress.local ? undefined : ingress.client
  }
}

/** Reports whether an arrival only asks whether the gateway answers: it must leave nothing behind. */
export function isProbe({ params }: Arrival): boolean {
  return params.client.mode === 'probe'
}

/** Reports whether a client is the terminal UI. */
export function isTui({ client }: ConnectParams): boolean {
  return client.id === 'openclaw-tui'
}
