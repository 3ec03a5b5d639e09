import type { Authenticated, Authenticator } from '../auth/authenticate.ts'
import { verifyDevice } from '../auth/device-signature.ts'
import type { Ingress } from '../auth/ingress.ts'
import { checkOrigin } from '../auth/origin.ts'
import { grant } from '../auth/scopes.ts'
import { digest } from '../auth/secrets.ts'
import { type Admission, admitDevice, type IssuedToken, type PairingEvents } from '../devices/pairing.ts'
import { PROTOCOL } from '../protocol/codes.ts'
import { invalidRequest } from '../protocol/errors.ts'
import { ConnectParams } from '../protocol/frames.ts'
import type { Role, Scope } from '../protocol/scopes.ts'
import { checker } from '../protocol/validate.ts'
import type { DeviceStore } from '../store/devices.ts'
import { type Connection, HandshakeRefusal } from './connection.ts'
import type { Caller } from './method.ts'
import { deviceRequired, isOperatorUi, refusedCredential, refusedOrigin } from './refusals.ts'

/** What the handshake asks of the rest of the gateway. */
export interface HandshakeDeps {
  authenticator: Authenticator
  devices: DeviceStore
  events: PairingEvents
  allowedOrigins: ReadonlySet<string>
  autoApproveLocal: boolean
}

/** A caller let in, and what its hello must say about how. */
export interface Admitted {
  caller: Caller
  auth: Authenticated
  /** The token to return: a fresh one, or the caller's own echoed (D15). */
  deviceToken: IssuedToken | undefined
}

const checkParams = checker(ConnectParams)

/** Decides a `connect`. The order of the steps is the security argument, and clients can see it (§1.3). */
export async function admit(raw: unknown, connection: Connection, deps: HandshakeDeps): Promise<Admitted> {
  const params = checkedParams(raw)
  checkProtocol(params)
  const role = checkedRole(params)
  const { ingress } = connection
  const verdict = checkOrigin({
    origin: connection.origin,
    host: connection.hostHeader,
    ingress,
    required: isBrowser(params),
    allowed: deps.allowedOrigins
  })
  if (!verdict.ok) throw refusedOrigin(verdict)

  const device = params.device && verifyDevice(params, params.device, { nonce: connection.nonce, now: Date.now() })
  if (device !== undefined && 'reason' in device) {
    throw invalidRequest(device.message, { code: device.code, reason: device.reason })
  }
  // Whoever sends nothing at all has nothing to be told about credentials (D13).
  const { token, password, deviceToken, bootstrapToken } = params.auth ?? {}
  const sentNothing = device === undefined && !token && !password
  const auth = await deps.authenticator.authenticate({
    surface: 'websocket',
    ingress,
    origin: verdict.origin,
    presented: { token, password, deviceToken, launchCode: bootstrapToken },
    deviceId: device?.deviceId,
    role
  })
  if (!auth.ok) throw sentNothing ? deviceRequired(params) : refusedCredential(auth, params, ingress)

  const trusted = isTrustedPair(params) && ingress.local && verdict.origin === undefined
  const identity = device !== undefined && !(trusted && isHelper(params, role, auth)) ? device : undefined
  const admission: Admission =
    identity !== undefined
      ? await admitDevice(
          {
            device: identity,
            params,
            role,
            auth,
            ingress,
            silent: isSilent(params, role, ingress, verdict.origin, deps)
          },
          deps.devices,
          deps.events
        )
      : { scopes: device === undefined ? deviceLessScopes(params, role, auth, trusted) : asked(params, auth) }
  const caller: Caller = {
    connId: connection.id,
    role,
    scopes: new Set(admission.scopes),
    client: params.client,
    owner: auth.method === 'owner',
    method: auth.method,
    deviceId: identity?.deviceId,
    token: undefined,
    user: undefined,
    address: ingress.client
  }
  return { caller, auth, deviceToken: admission.token ?? ownToken(auth, [deviceToken, token]) }
}

function checkedParams(raw: unknown): ConnectParams {
  const wrong = checkParams(raw)
  if (wrong !== undefined) throw invalidRequest(`invalid connect params: ${wrong}`)
  return raw as ConnectParams
}

function checkProtocol({ minProtocol, maxProtocol, client, role }: ConnectParams): void {
  const probe = client.mode === 'probe' || (role === 'node' && client.mode === 'node')
  const lowest = probe ? PROTOCOL.minimumProbe : PROTOCOL.version
  if (minProtocol <= PROTOCOL.version && maxProtocol >= lowest && minProtocol <= maxProtocol) return
  const error = invalidRequest('protocol mismatch', {
    code: 'PROTOCOL_MISMATCH',
    clientMinProtocol: minProtocol,
    clientMaxProtocol: maxProtocol,
    expectedProtocol: PROTOCOL.version,
    minimumProbeProtocol: PROTOCOL.minimumProbe
  })
  throw new HandshakeRefusal(error.toShape(), 'protocolMismatch')
}

function checkedRole({ role = 'operator' }: ConnectParams): Role {
  if (role === 'operator' || role === 'node') return role
  if (role === 'worker') throw new HandshakeRefusal(undefined, 'policy', 'invalid-handshake')
  throw invalidRequest('invalid role')
}

function isBrowser({ client }: ConnectParams): boolean {
  return client.id === 'openclaw-control-ui' || client.id === 'webchat-ui' || client.id === 'webchat'
}

// The two clients that keep their scopes without a device: the owner's own CLI and helpers, on this host (§3).
function isTrustedPair({ client }: ConnectParams): boolean {
  return (client.id === 'cli' && client.mode === 'cli') || (client.id === 'gateway-client' && client.mode === 'backend')
}

// Helper processes of this host come with the shared secret and a throw-away key: nothing to remember.
function isHelper({ client }: ConnectParams, role: Role, auth: Authenticated): boolean {
  return client.id === 'gateway-client' && role === 'operator' && !auth.device && !auth.launchCode
}

function deviceLessScopes(params: ConnectParams, role: Role, auth: Authenticated, trusted: boolean): Scope[] {
  // A node is its device, whoever vouches for it.
  if (role === 'node') throw deviceRequired(params)
  if (auth.method === 'owner') return asked(params, auth)
  if (isOperatorUi(params)) throw deviceRequired(params)
  if (auth.method === 'none' && !(trusted && params.client.id === 'gateway-client')) throw deviceRequired(params)
  return trusted ? asked(params, auth) : []
}

function asked(params: ConnectParams, auth: Authenticated): Scope[] {
  return grant(params.scopes ?? [], auth.allowance)
}

// Paired without asking: someone on this host who knows the secret. A page only as one of our own UIs; a node only
// while it asks for no scopes.
function isSilent(
  params: ConnectParams,
  role: Role,
  ingress: Ingress,
  origin: string | undefined,
  deps: HandshakeDeps
): boolean {
  if (!ingress.local || !deps.autoApproveLocal) return false
  if (origin !== undefined && !isBrowser(params)) return false
  return role === 'operator' || (params.scopes ?? []).length === 0
}

// The one of the caller's texts that let it in as a device; the other may be anything.
function ownToken({ device }: Authenticated, texts: (string | undefined)[]): IssuedToken | undefined {
  const value = device && texts.map((text) => text?.trim()).find((text) => text && digest(text).equals(device.digest))
  return value ? { value, issuedAtMs: device.issuedAtMs } : undefined
}
