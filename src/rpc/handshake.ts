import { type Access, footing } from '../auth/access.ts'
import { isLoopback } from '../auth/addresses.ts'
import type { Authenticated, Authenticator } from '../auth/authenticate.ts'
import { verifyDevice } from '../auth/device-signature.ts'
import type { Ingress } from '../auth/ingress.ts'
import { checkOrigin } from '../auth/origin.ts'
import { grant } from '../auth/scopes.ts'
import { digest } from '../auth/secrets.ts'
import type { Admission, Arrival, HandedToken, IssuedToken } from '../devices/arrival.ts'
import type { PairingNews } from '../devices/news.ts'
import { admitDevice } from '../devices/pairing.ts'
import type { Declared } from '../nodes/surface.ts'
import { PROTOCOL } from '../protocol/codes.ts'
import { invalidRequest } from '../protocol/errors.ts'
import { ConnectParams } from '../protocol/frames.ts'
import type { Role, Scope } from '../protocol/scopes.ts'
import type { SetupOutcome } from '../protocol/setup.ts'
import { checker } from '../protocol/validate.ts'
import type { DeviceStore } from '../store/devices.ts'
import { type Connection, HandshakeRefusal } from './connection.ts'
import type { Caller } from './method.ts'
import { deviceRequired, isOperatorUi, refusedCredential, refusedOrigin } from './refusals.ts'

/** What the handshake asks of the rest of the gateway. */
export interface HandshakeDeps {
  authenticator: Authenticator
  devices: DeviceStore
  news: PairingNews
  access(): Access
}

/** A caller let in, and what its hello must say about how. */
export interface Admitted {
  caller: Caller
  auth: Authenticated
  /** The token to return: a fresh one, or the caller's own echoed (D15). */
  deviceToken: IssuedToken | undefined
  /** Tokens for other roles of its device. */
  handed: readonly HandedToken[]
  /** What to tell the operators once the caller has its tokens: a setup code let it in. */
  setup: SetupOutcome | undefined
}

const checkParams = checker(ConnectParams)

/** Decides a `connect`. The order of the steps is the security argument, and clients can see it (§1.3). */
export async function admit(raw: unknown, connection: Connection, deps: HandshakeDeps): Promise<Admitted> {
  const params = checkedParams(raw)
  checkProtocol(params)
  const role = checkedRole(params)
  const { ingress } = connection
  const access = deps.access()
  const verdict = checkOrigin({
    origin: connection.origin,
    host: ingress.host,
    ingress,
    required: isBrowser(params),
    allowed: access.origins
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
    presented: {
      token,
      password,
      deviceToken,
      // A code is spent by what it lets in, and a probe only looks.
      setupCode: params.client.mode === 'probe' ? undefined : bootstrapToken
    },
    deviceId: device?.deviceId,
    role
  })
  if (!auth.ok) throw sentNothing ? deviceRequired(params) : refusedCredential(auth, params, ingress)

  const requested = capped(params.scopes ?? [], auth)
  const trusted = isTrustedPair(params) && ingress.local && verdict.origin === undefined
  const identity = device !== undefined && !isOwnAuthority(params, role, auth, trusted) ? device : undefined
  const admission: Admission =
    identity !== undefined
      ? await admitDevice(
          {
            device: identity,
            params,
            role,
            auth,
            ingress,
            requested,
            page: isBrowser(params),
            silent: silently(params, role, auth, ingress, verdict.origin, access),
            trustedAddress: atTrustedAddress(params, role, auth, ingress, verdict.origin, access),
            autoApprove: autoApproved(params, role, auth, access)
          },
          deps.devices,
          deps.news
        )
      : {
          scopes:
            device === undefined
              ? deviceLessScopes(params, role, auth, trusted, requested)
              : grant(requested, auth.allowance)
        }
  const entry = { method: auth.method, user: auth.user?.id, ingress, origin: verdict.origin }
  const caller: Caller = {
    connId: connection.id,
    surface: 'websocket',
    role,
    scopes: new Set(admission.scopes),
    client: params.client,
    declared: role === 'node' ? declaredBy(params) : undefined,
    owner: auth.method === 'owner',
    method: auth.method,
    deviceId: identity?.deviceId,
    token: auth.token,
    user: auth.user,
    address: ingress.client,
    entry,
    footing: footing(access, entry)
  }
  return {
    caller,
    auth,
    deviceToken: admission.token ?? ownToken(auth, [deviceToken, token]),
    handed: admission.handed ?? [],
    setup: admission.setup
  }
}

function declaredBy({ caps = [], commands = [], permissions = {}, pathEnv }: ConnectParams): Declared {
  return { caps, commands, permissions, pathEnv }
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

// Whose authority is the credential's own, device or not: nothing is paired and nothing remembered. Helper processes of
// this host come with the shared secret and a throw-away key; a named token says itself what it is good for.
function isOwnAuthority({ client }: ConnectParams, role: Role, auth: Authenticated, trusted: boolean): boolean {
  if (role !== 'operator') return false
  if (auth.token !== undefined) return true
  return trusted && client.id === 'gateway-client' && !auth.device && !auth.code
}

function deviceLessScopes(
  params: ConnectParams,
  role: Role,
  auth: Authenticated,
  trusted: boolean,
  requested: readonly string[]
): Scope[] {
  // A node is its device, whoever vouches for it.
  if (role === 'node') throw deviceRequired(params)
  if (auth.method === 'owner' || auth.token !== undefined) return grant(requested, auth.allowance)
  // A trusted proxy knows its users; a client that can make no key is let in on its word, and no further.
  if (auth.method === 'trusted-proxy') return grant(requested, auth.allowance)
  if (isOperatorUi(params) || auth.method === 'tailscale') throw deviceRequired(params)
  if (auth.method === 'none' && !(trusted && params.client.id === 'gateway-client')) throw deviceRequired(params)
  return trusted ? grant(requested, auth.allowance) : []
}

/** What is asked for, cut to `x-openclaw-scopes` where it narrows this caller: by name, so that nothing is read into it. */
function capped(requested: readonly string[], { cap }: Authenticated): readonly string[] {
  return cap === undefined ? requested : requested.filter((scope) => cap.includes(scope))
}

// Paired without asking: someone on this host who knows the secret. A page only as one of our own UIs; a node only
// while it asks for no scopes. A named token is for what it names, and pairs nobody.
function silently(
  params: ConnectParams,
  role: Role,
  auth: Authenticated,
  ingress: Ingress,
  origin: string | undefined,
  { gateway }: Access
): Arrival['silent'] {
  if (!ingress.local || !gateway.nodes.pairing.autoApproveLocal || auth.token !== undefined) return undefined
  if (origin !== undefined && !isBrowser(params)) return undefined
  if (role === 'node' && (params.scopes ?? []).length > 0) return undefined
  return auth.method === 'owner' ? 'owner' : 'silent'
}

// `autoApproveCidrs`: a node that knows the shared secret, asks for no scopes, and is no page. What a proxy of this
// host says of an address does not count: any process of this host could say it.
function atTrustedAddress(
  params: ConnectParams,
  role: Role,
  auth: Authenticated,
  ingress: Ingress,
  origin: string | undefined,
  { autoApproveCidrs }: Access
): boolean {
  if (role !== 'node' || (params.scopes ?? []).length > 0 || origin !== undefined || isBrowser(params)) return false
  if (auth.method !== 'token' && auth.method !== 'password') return false
  const hearsay = ingress.listener === 'main' && ingress.forwarded && isLoopback(ingress.peer)
  return !hearsay && autoApproveCidrs.has(ingress.client)
}

const NATIVE_UIS: ReadonlySet<string> = new Set([
  'openclaw-macos',
  'openclaw-linux',
  'openclaw-ios',
  'openclaw-android'
])

// `deviceAutoApprove`: a trusted proxy's user enrols a browser or a native UI by itself, within the configured scopes.
function autoApproved(
  params: ConnectParams,
  role: Role,
  auth: Authenticated,
  { gateway }: Access
): readonly Scope[] | undefined {
  const policy = gateway.auth.trustedProxy?.deviceAutoApprove
  if (auth.method !== 'trusted-proxy' || policy?.enabled !== true || role !== 'operator') return undefined
  const ui = isBrowser(params) || (params.client.mode === 'ui' && NATIVE_UIS.has(params.client.id))
  if (!ui) return undefined
  const scopes = policy.scopes.filter((scope) => {
    // Clients older than `operator.questions` do not ask for it.
    return params.scopes?.includes(scope) !== false || (policy.default && scope === 'operator.questions')
  })
  return capped(scopes, auth) as readonly Scope[]
}

// The one of the caller's texts that let it in as a device; the other may be anything.
function ownToken({ device }: Authenticated, texts: (string | undefined)[]): IssuedToken | undefined {
  const value = device && texts.map((text) => text?.trim()).find((text) => text && digest(text).equals(device.digest))
  return value ? { value, issuedAtMs: device.issuedAtMs } : undefined
}
