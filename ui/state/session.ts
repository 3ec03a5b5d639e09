import {
  type ClientState,
  type DeviceSigner,
  GatewayClient,
  GatewayError,
  refusalDetails
} from '../../src/client/core.ts'
import type { AuthClaim, EventFrame, HelloOk } from '../../src/protocol/frames.ts'
import type { Scope } from '../../src/protocol/scopes.ts'
import { hex } from '../bytes.ts'
import { deviceKey } from '../device-key.ts'
import { browserName } from '../format.ts'
import { socketUrl } from '../place.ts'
import { deviceToken, type LaunchFragment, sharedSecret, takeLaunchFragment } from '../vault.ts'
import { isMissingCredential } from './refusal.ts'
import { Store } from './store.ts'

const SCOPES: Scope[] = [
  'operator.admin',
  'operator.read',
  'operator.write',
  'operator.approvals',
  'operator.questions',
  'operator.pairing'
]

/** Where the visitor stands. */
export type SessionPhase =
  | { name: 'connecting' }
  | { name: 'open' }
  | { name: 'lost'; retryAt: number; error: GatewayError }
  | { name: 'pairing'; retryAt: number; requestId: string | undefined; error: GatewayError }
  | { name: 'limited'; retryAt: number; error: GatewayError }
  | {
      name: 'signed-out'
      error: GatewayError | undefined
      busy: boolean
      /** True when nothing has to be typed to come back: somebody vouches for this visitor. */
      vouched?: boolean
    }

interface Credential {
  kind: 'launch' | 'secret' | 'device' | 'none'
  claim(): AuthClaim | undefined
}

/** The visitor's connection to the gateway that served this page, from the first visit to sign-out. */
export class Session extends Store {
  phase: SessionPhase = { name: 'connecting' }
  /** The last greeting; kept through a reconnect, gone after sign-out. */
  hello: HelloOk | undefined
  deviceId: string | undefined
  /** Tells this page's own entry of the presence list from all others. */
  readonly instanceId = hex(crypto.getRandomValues(new Uint8Array(12)))
  #client: GatewayClient | undefined
  #signer: DeviceSigner | undefined

  /** Takes whatever credential this visit came with, and tries each in turn. */
  async start(): Promise<void> {
    const launch = takeLaunchFragment()
    window.addEventListener('online', () => this.retry())
    // Someone may paste a fresh launch link into a tab that is already open.
    window.addEventListener('hashchange', () => {
      const fresh = launched(takeLaunchFragment())
      if (fresh) void this.#enter([fresh])
    })
    this.#signer = await deviceKey()
    this.deviceId = this.#signer.id
    const first = launched(launch)
    await this.#enter(first ? [first] : [])
  }

  /** Signs in with a pasted secret, be it the token or the password. */
  async signIn(secret: string): Promise<void> {
    sharedSecret.set(secret)
    this.#become({ name: 'signed-out', error: undefined, busy: true })
    await this.#enter([bySecret(secret)])
  }

  /** Comes back with nothing typed, as whoever a proxy or Tailscale says it is. */
  async signInAgain(): Promise<void> {
    this.#become({ name: 'connecting' })
    await this.#enter([])
  }

  /** Forgets every credential of this browser. The key stays: alone it opens nothing. */
  signOut(): void {
    deviceToken.clear()
    sharedSecret.clear()
    this.#client?.close()
    this.#client = undefined
    const vouched = ['tailscale', 'trusted-proxy', 'none'].includes(this.hello?.auth.method ?? '')
    this.hello = undefined
    this.#become({ name: 'signed-out', error: undefined, busy: false, vouched })
  }

  /** Cuts the wait for the next try short. */
  retry(): void {
    this.#client?.retry()
  }

  /** Calls a method of the gateway. */
  request<T>(method: string, params?: unknown, options?: { timeoutMs?: number; expectFinal?: boolean }): Promise<T> {
    if (!this.#client) return Promise.reject(new GatewayError('CLOSED', 'not signed in'))
    return this.#client.request<T>(method, params, options)
  }

  /** Reports whether this session may do what a scope guards. */
  can(scope: Scope): boolean {
    const granted = this.hello?.auth.scopes ?? []
    return granted.includes('operator.admin') || granted.includes(scope)
  }

  /** Calls `listener` for each event of the gateway with that name. */
  on<P>(event: string, listener: (payload: P) => void): void {
    this.addEventListener(`gateway:${event}`, (frame) => listener((frame as CustomEvent<P>).detail))
  }

  /** Tries the credentials in turn, then what this browser has kept; shows the sign-in when none is accepted. */
  async #enter(brought: Credential[], reproach?: GatewayError): Promise<void> {
    this.#client?.close()
    const tried = new Set<Credential['kind']>()
    const following = () => brought.shift() ?? kept().find(({ kind }) => !tried.has(kind))
    for (let next = following(); next; next = following()) {
      tried.add(next.kind)
      const client = this.#connectWith(next)
      try {
        await client.connect()
        return
      } catch (cause) {
        if (this.#client !== client) return
        const error = asError(cause)
        spent(error)
        // What the visitor brought first deserves the explanation, not the bare tries after it.
        if (!isMissingCredential(error)) reproach ??= error
      }
    }
    this.hello = undefined
    this.#become({ name: 'signed-out', error: reproach, busy: false })
  }

  #connectWith(credential: Credential): GatewayClient {
    let entered = false
    const client: GatewayClient = new GatewayClient({
      createSocket: () => new WebSocket(socketUrl()),
      client: {
        id: 'openclaw-control-ui',
        mode: 'webchat',
        version: 'bundled',
        platform: navigator.platform || 'web',
        displayName: browserName(navigator.userAgent),
        instanceId: this.instanceId,
        timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone
      },
      role: 'operator',
      scopes: SCOPES,
      device: this.#signer,
      // Once the gateway gave this browser a token of its own, that is what it comes back with.
      auth: () => (this.hello?.auth.deviceToken && byDeviceToken()?.claim()) || credential.claim(),
      reconnect: true,
      params: { locale: navigator.language, userAgent: navigator.userAgent },
      onHello: (hello) => {
        entered = true
        this.hello = hello
        if (hello.auth.deviceToken) deviceToken.set(hello.auth.deviceToken)
      },
      onEvent: (frame: EventFrame) => {
        this.dispatchEvent(new CustomEvent(`gateway:${frame.event}`, { detail: frame.payload }))
      },
      onState: (state) => {
        if (this.#client === client) this.#follow(state, entered)
      }
    })
    this.#client = client
    return client
  }

  #follow(state: ClientState, entered: boolean): void {
    if (state.phase === 'open') this.#become({ name: 'open' })
    else if (state.phase === 'waiting') this.#become(waiting(state.error, state.retryAt))
    else if (entered && (state.phase === 'refused' || state.phase === 'stopped') && state.error) {
      // Access ended while the page was open; something else that is stored may still let us in.
      spent(state.error)
      void this.#enter([], state.error)
    }
  }

  #become(phase: SessionPhase): void {
    this.phase = phase
    this.changed()
  }
}

function waiting(error: GatewayError, retryAt: number): SessionPhase {
  const { code, requestId } = refusalDetails(error)
  if (code === 'AUTH_RATE_LIMITED') return { name: 'limited', retryAt, error }
  if (error.code === 'NOT_PAIRED') return { name: 'pairing', retryAt, requestId, error }
  return { name: 'lost', retryAt, error }
}

function launched({ bootstrapToken, token }: LaunchFragment): Credential | undefined {
  if (bootstrapToken) return { kind: 'launch', claim: () => ({ bootstrapToken }) }
  if (!token) return undefined
  sharedSecret.set(token)
  return bySecret(token)
}

/** What this browser holds, best first; last of all nothing, which an identity-aware front may turn into a welcome. */
function kept(): Credential[] {
  const secret = sharedSecret.get()
  const own = byDeviceToken()
  return [...(own ? [own] : []), ...(secret ? [bySecret(secret)] : []), { kind: 'none', claim: () => undefined }]
}

/** Forgets the stored credential that a refusal was about. */
function spent(error: GatewayError): void {
  const { code } = refusalDetails(error)
  if (code === 'AUTH_TOKEN_MISMATCH' || code === 'AUTH_PASSWORD_MISMATCH') sharedSecret.clear()
  if (code === 'AUTH_DEVICE_TOKEN_MISMATCH' || code === 'AUTH_SCOPE_MISMATCH') deviceToken.clear()
}

function byDeviceToken(): Credential | undefined {
  const token = deviceToken.get()
  return token ? { kind: 'device', claim: () => ({ deviceToken: token }) } : undefined
}

// One field for the visitor, two for the gateway: it looks at the one its mode calls for.
function bySecret(secret: string): Credential {
  return { kind: 'secret', claim: () => ({ token: secret, password: secret }) }
}

function asError(cause: unknown): GatewayError {
  return cause instanceof GatewayError ? cause : new GatewayError('PROTOCOL', String(cause), { cause })
}
