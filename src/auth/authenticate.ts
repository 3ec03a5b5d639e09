import type { AuthMode, GatewayConfig } from '../config/types.ts'
import type { Role, Scope } from '../protocol/scopes.ts'
import { limiterKey } from './addresses.ts'
import { Attempts, type GuessKind, LoopbackDelay } from './attempts.ts'
import type { Ingress } from './ingress.ts'
import type { Allowance } from './scopes.ts'
import { digest, hasSecret, secretMatches } from './secrets.ts'
import { type AuthMethod, accepts, type Surface } from './surfaces.ts'

/** Credentials as a caller sent them. */
export interface Presented {
  token?: string | undefined
  password?: string | undefined
  deviceToken?: string | undefined
  launchCode?: string | undefined
}

/** One caller asking to be let in. */
export interface AuthRequest {
  surface: Surface
  ingress: Ingress
  /** A passed Origin, when the caller is a browser. */
  origin: string | undefined
  presented: Presented
  /** The device that signed our challenge (WebSocket). HTTP has none: a bearer token stands for its device. */
  deviceId: string | undefined
  role: Role
}

/** Who got in, and how much the credential behind them allows. */
export interface Authenticated {
  ok: true
  method: AuthMethod
  allowance: Allowance
  /** The device a token belongs to, with the digest it was found by and when it was issued. */
  device: { deviceId: string; digest: Buffer; issuedAtMs: number } | undefined
  /** A launch code that the caller's device may spend. */
  launchCode: Buffer | undefined
}

/** Why nobody got in. */
export interface AuthFailure {
  ok: false
  reason:
    | 'token_missing'
    | 'token_mismatch'
    | 'password_missing'
    | 'password_mismatch'
    | 'device_token_mismatch'
    | 'bootstrap_token_invalid'
    | 'rate_limited'
    | 'unauthorized'
  retryAfterMs?: number
}

const BUSY_MS = 1_000

/** What `Authenticator` asks the store for; both by digest, so no secret leaves this file. */
export interface IssuedCredentials {
  findToken(digest: Buffer): Promise<{ deviceId: string; role: Role; scopes: Scope[]; createdAtMs: number } | undefined>
  findLaunchCode(digest: Buffer): Promise<Scope[] | undefined>
}

/** The one place that turns credentials into a caller, for HTTP and WebSocket alike (S21). */
export class Authenticator {
  readonly #mode: AuthMode
  readonly #secret: Buffer | undefined
  readonly #exemptLoopback: boolean
  readonly #attempts: Attempts
  readonly #delay = new LoopbackDelay()
  readonly #issued: IssuedCredentials

  constructor(auth: GatewayConfig['auth'], issued: IssuedCredentials) {
    this.#mode = auth.mode
    const secret = auth.mode === 'token' ? auth.token : auth.mode === 'password' ? auth.password : undefined
    // Blank text is no secret: a caller could send the same.
    this.#secret = hasSecret(secret) ? digest(secret.value.trim()) : undefined
    this.#exemptLoopback = auth.rateLimit.exemptLoopback
    this.#attempts = new Attempts(auth.rateLimit)
    this.#issued = issued
  }

  /** Decides one request. The limiter stands in front of every comparison (S19). */
  async authenticate(request: AuthRequest): Promise<Authenticated | AuthFailure> {
    const { surface, ingress } = request
    const may = (method: AuthMethod) => accepts(surface, method)
    if (ingress.listener === 'local' && may('owner')) return admit('owner', 'all')
    // Without auth only this machine gets in, and nothing durable is issued for it (S6, S11, D16).
    if (this.#mode === 'none' && ingress.local && may('none')) return admit('none', 'all')

    const guess = this.#guesses(request)
    const shared = may(this.#mode) ? this.#sharedSecret(request.presented, guess) : 'absent'
    if (shared === 'match') {
      guess.succeed('shared-secret')
      this.#delay.succeeded()
      return admit(this.#mode, 'all')
    }
    const device = may('device-token') ? await this.#deviceToken(request, guess, shared === 'mismatch') : undefined
    // What was sent as the shared secret is this device's own good token.
    if (shared === 'mismatch' && device?.byToken) guess.forgive('shared-secret')
    if (device?.found !== undefined) return device.found
    const code = may('launch-code') ? await this.#launchCode(request, guess) : undefined
    if (code?.found !== undefined) return code.found

    const failure = this.#failure(request.presented, shared, device !== undefined, code !== undefined, guess)
    if (guess.wrong && ingress.local) await this.#delay.failed()
    return failure
  }

  #sharedSecret(presented: Presented, guess: Guesses): 'absent' | 'match' | 'mismatch' | 'locked' {
    const [first, second] =
      this.#mode === 'password' ? [presented.password, presented.token] : [presented.token, presented.password]
    const secret = first || second
    if (this.#secret === undefined || !secret) return 'absent'
    if (guess.locked('shared-secret')) return 'locked'
    if (secretMatches(secret.trim(), this.#secret)) return 'match'
    guess.fail('shared-secret')
    return 'mismatch'
  }

  // A device token comes in its own field, or (as older clients do) as the token; only its own device may use it.
  async #deviceToken(
    request: AuthRequest,
    guess: Guesses,
    countedAsShared: boolean
  ): Promise<{ found: Authenticated | undefined; byToken: boolean } | undefined> {
    const { presented, deviceId, surface } = request
    if (surface === 'websocket' && deviceId === undefined) return undefined
    for (const [field, text] of [
      ['deviceToken', presented.deviceToken],
      ['token', presented.token]
    ] as const) {
      if (!text || guess.locked('device-token')) continue
      // Counted before the store is asked, so that guesses made side by side cannot outrun the count.
      if (field === 'deviceToken' || !countedAsShared) guess.fail('device-token')
      const hash = digest(text.trim())
      const token = await this.#issued.findToken(hash)
      const own =
        token !== undefined && (deviceId === undefined || token.deviceId === deviceId) && token.role === request.role
      if (own) {
        guess.succeed('device-token')
        const found = admit('device-token', new Set(token.scopes), {
          device: { deviceId: token.deviceId, digest: hash, issuedAtMs: token.createdAtMs }
        })
        return { found, byToken: field === 'token' }
      }
    }
    return presented.deviceToken ? { found: undefined, byToken: false } : undefined
  }

  async #launchCode(request: AuthRequest, guess: Guesses): Promise<{ found: Authenticated | undefined } | undefined> {
    const code = request.presented.launchCode
    if (!code || request.deviceId === undefined) return undefined
    if (guess.locked('bootstrap-token')) return { found: undefined }
    guess.fail('bootstrap-token')
    const hash = digest(code.trim())
    const scopes = await this.#issued.findLaunchCode(hash)
    if (scopes === undefined) return { found: undefined }
    guess.forgive('bootstrap-token')
    return { found: admit('launch-code', new Set(scopes), { launchCode: hash }) }
  }

  #failure(presented: Presented, shared: string, device: boolean, code: boolean, guess: Guesses): AuthFailure {
    const retryAfterMs = guess.lockedForMs
    if (retryAfterMs > 0) return { ok: false, reason: 'rate_limited', retryAfterMs }
    if (device) return { ok: false, reason: 'device_token_mismatch' }
    if (code) return { ok: false, reason: 'bootstrap_token_invalid' }
    if (this.#mode !== 'token' && this.#mode !== 'password') return { ok: false, reason: 'unauthorized' }
    const sent = shared !== 'absent' || presented.token || presented.password
    return { ok: false, reason: `${this.#mode}_${sent ? 'mismatch' : 'missing'}` }
  }

  /** Reports whether a client is locked out of shared-secret checks, for answers that carry no credential at all. */
  lockedForMs(ingress: Ingress, origin: string | undefined): number {
    const guess = this.#guesses({ ingress, origin })
    return guess.locked('shared-secret') ? guess.lockedForMs : 0
  }

  #guesses(from: { ingress: Ingress; origin: string | undefined }): Guesses {
    return new Guesses(this.#attempts, this.#delay, from, this.#exemptLoopback)
  }
}

// The guesses of one request: their key, and what the limiter said.
class Guesses {
  /** Never locked, only slowed down: a process of this machine that is no page. */
  readonly #exempt: boolean
  readonly #key: string
  readonly #attempts: Attempts
  readonly #delay: LoopbackDelay | undefined
  lockedForMs = 0
  wrong = false

  constructor(
    attempts: Attempts,
    delay: LoopbackDelay,
    { ingress, origin }: { ingress: Ingress; origin: string | undefined },
    exemptLoopback: boolean
  ) {
    this.#attempts = attempts
    this.#delay = ingress.local ? delay : undefined
    this.#exempt = exemptLoopback && ingress.local && origin === undefined
    // A page of this machine is counted by its Origin: one bad page must not lock the others, or the owner (§8, S2).
    this.#key = ingress.local && origin !== undefined ? `origin ${origin.slice(0, 256)}` : limiterKey(ingress.client)
  }

  locked(kind: GuessKind): boolean {
    if (this.#delay?.full) return this.#lockFor(BUSY_MS)
    if (this.#exempt) return false
    const standing = this.#attempts.standing(kind, this.#key)
    return standing.locked && this.#lockFor(standing.retryAfterMs)
  }

  fail(kind: GuessKind): void {
    this.wrong = true
    if (!this.#exempt) this.#attempts.fail(kind, this.#key)
  }

  forgive(kind: GuessKind): void {
    if (!this.#exempt) this.#attempts.forgive(kind, this.#key)
  }

  succeed(kind: GuessKind): void {
    if (!this.#exempt) this.#attempts.succeed(kind, this.#key)
  }

  #lockFor(ms: number): true {
    this.lockedForMs = Math.max(this.lockedForMs, ms)
    return true
  }
}

function admit(
  method: AuthMethod,
  allowance: Allowance,
  more: { device?: { deviceId: string; digest: Buffer; issuedAtMs: number }; launchCode?: Buffer } = {}
): Authenticated {
  return { ok: true, method, allowance, device: more.device, launchCode: more.launchCode }
}
