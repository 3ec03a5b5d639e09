import type { Role, Scope } from '../protocol/scopes.ts'
import type { SetupAccess } from '../protocol/setup.ts'
import { type Access, identityScopes } from './access.ts'
import { compileCidrs } from './addresses.ts'
import { Attempts, LoopbackDelay } from './attempts.ts'
import { Guesses } from './guesses.ts'
import type { Ingress } from './ingress.ts'
import { type Allowance, STANDARD_SCOPES } from './scopes.ts'
import { digest, fingerprint, secretMatches, TOKEN_PREFIX } from './secrets.ts'
import { type AuthMethod, accepts, type Surface } from './surfaces.ts'
import { type TailscaleWitness, tailscaleIdentity } from './tailscale.ts'
import { type ProxyWitness, proxyIdentity } from './trusted-proxy.ts'

/** Credentials as a caller sent them. */
export interface Presented {
  token?: string | undefined
  password?: string | undefined
  deviceToken?: string | undefined
  setupCode?: string | undefined
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
  /** What the caller narrowed itself to, where its scopes come from no secret. */
  cap: readonly string[] | undefined
  /** Who a verified front end says it is. */
  user: { id: string; name: string | undefined } | undefined
  /** The device a token belongs to, with the digest it was found by and when it was issued. */
  device: { deviceId: string; digest: Buffer; issuedAtMs: number } | undefined
  /** The named token that was shown. */
  token: { id: string; name: string; expiresAtMs: number | undefined } | undefined
  /** A one-time code that the caller's device may spend, and what it was made for. */
  code: { digest: Buffer; access: SetupAccess } | undefined
}

/** Why nobody got in. */
export interface AuthFailure {
  ok: false
  reason:
    | 'token_missing'
    | 'token_mismatch'
    | 'token_expired'
    | 'token_revoked'
    | 'password_missing'
    | 'password_mismatch'
    | 'device_token_mismatch'
    | 'bootstrap_token_invalid'
    | 'rate_limited'
    | 'unauthorized'
  /** The protocol's word for why a trusted proxy's caller was not believed. */
  detail?: string
  retryAfterMs?: number
  /** For the server's own log alone: where the secret that did not match comes from, and its fingerprint. */
  expected?: { source: string; fingerprint: string }
}

/** A named token as the store knows it, whether it is still good or not. */
export interface NamedTokenRecord {
  id: string
  name: string
  scopes: Scope[]
  cidrs: string[]
  expiresAtMs: number | undefined
  revokedAtMs: number | undefined
}

/** What `Authenticator` asks the stores for; all by digest, so no secret leaves this file. */
export interface IssuedCredentials {
  findToken(digest: Buffer): Promise<{ deviceId: string; role: Role; scopes: Scope[]; createdAtMs: number } | undefined>
  /** Looks a one-time code up for the device that presents it; undefined where there is no such code. */
  presentCode(
    digest: Buffer,
    deviceId: string
  ): Promise<{ access: SetupAccess; scopes: Scope[] } | { refused: string } | undefined>
  findNamedToken(digest: Buffer): Promise<NamedTokenRecord | undefined>
  /** Hears of each use of a named token. */
  namedTokenUsed(id: string, address: string): void
}

/** What `Authenticator` asks of the world: whom front ends speak for. */
export type Witness = TailscaleWitness & Pick<ProxyWitness, 'verifyAssertion'>

type Found = Authenticated | AuthFailure | undefined

/** The one place that turns credentials into a caller, for HTTP and WebSocket alike (S21). */
export class Authenticator {
  readonly #access: () => Access
  readonly #attempts: Attempts
  readonly #delay = new LoopbackDelay()
  readonly #issued: IssuedCredentials
  readonly #witness: Witness

  constructor(access: () => Access, issued: IssuedCredentials, witness: Witness) {
    this.#access = access
    this.#attempts = new Attempts(() => access().gateway.auth.rateLimit)
    this.#issued = issued
    this.#witness = witness
  }

  /** Decides one request. The limiter stands in front of every comparison (S19). */
  async authenticate(request: AuthRequest): Promise<Authenticated | AuthFailure> {
    const access = this.#access()
    const { mode } = access.gateway.auth
    const { surface, ingress, presented } = request
    const may = (method: AuthMethod) => accepts(surface, method)
    if (ingress.listener === 'local' && may('owner')) return admit('owner', 'all')
    // Without auth only this machine gets in, and nothing durable is issued for it (S6, S11, D16).
    if (mode === 'none' && ingress.local && may('none')) return admit('none', 'all', { cap: ingress.cap })

    const proxied = mode === 'trusted-proxy' && may('trusted-proxy') ? await this.#proxied(request, access) : undefined
    if (proxied?.ok || proxied?.final) return proxied

    const guess = this.#guesses(request)
    const shown = await this.#shown(request, access, guess)
    if (shown?.ok) return shown
    // A credential that a person typed is answered for, whoever else speaks for the caller. What a browser remembers of
    // an earlier pairing keeps nobody out.
    const vouched = typed(presented) ? undefined : await this.#vouched(request, access)
    if (vouched !== undefined) return vouched

    if (guess.wrong && ingress.local) await this.#delay.failed()
    if (guess.lockedForMs > 0) return { ok: false, reason: 'rate_limited', retryAfterMs: guess.lockedForMs }
    return shown ?? proxied ?? missing(mode)
  }

  async #proxied(request: AuthRequest, access: Access): Promise<Authenticated | (AuthFailure & { final: boolean })> {
    const { surface, ingress } = request
    const { auth } = access.gateway
    const verdict = await proxyIdentity(ingress, auth.trustedProxy!, {
      isOwnAddress: access.isOwnAddress,
      trustedProxies: access.ingress.trustedProxies,
      verifyAssertion: (assertion) => this.#witness.verifyAssertion(assertion)
    })
    if ('reason' in verdict) return { ok: false, reason: 'unauthorized', detail: verdict.reason, final: verdict.final }
    // An API call has no device to be approved: it may do what an operator does, a socket what its identity is granted.
    const allowance = surface === 'websocket' ? identityScopes(access.gateway, verdict.user) : STANDARD_SCOPES
    return admit('trusted-proxy', allowance, { cap: ingress.cap, user: { id: verdict.user, name: undefined } })
  }

  async #vouched({ surface, ingress }: AuthRequest, access: Access): Promise<Authenticated | undefined> {
    if (!access.tailscale || !accepts(surface, 'tailscale')) return undefined
    const identity = await tailscaleIdentity(ingress, this.#witness)
    if (identity === undefined) return undefined
    const { login, name, owner } = identity
    const allowance = owner ? 'all' : identityScopes(access.gateway, login)
    return admit('tailscale', allowance, { cap: ingress.cap, user: { id: login, name } })
  }

  /** What came along as a credential: good, wrong, or (undefined) nothing that this surface takes. */
  async #shown(request: AuthRequest, access: Access, guess: Guesses): Promise<Found> {
    const { surface, presented } = request
    const text = sharedText(access, request)
    const shared = text === undefined ? undefined : this.#sharedSecret(text, access, guess)
    if (shared?.ok) return shared
    // The same text is compared once more as each kind of token, and counts once.
    const counted = shared !== undefined && text === presented.token
    const named = accepts(surface, 'named-token') ? await this.#namedToken(request, guess, counted) : undefined
    if (named?.ok) return named
    const device = accepts(surface, 'device-token') ? await this.#deviceToken(request, guess, counted) : undefined
    if (device?.ok) return device
    const code = accepts(surface, 'setup-code') ? await this.#setupCode(request, guess) : undefined
    return code?.ok ? code : (device ?? code ?? named ?? shared)
  }

  #sharedSecret(text: string, { secret, gateway }: Access, guess: Guesses): Found {
    if (secret === undefined || guess.locked('shared-secret')) return undefined
    const method = gateway.auth.mode === 'token' ? 'token' : 'password'
    if (secretMatches(text.trim(), secret.digest)) {
      guess.right('shared-secret')
      this.#delay.succeeded()
      return admit(method, 'all')
    }
    guess.count('shared-secret')
    const expected = { source: secret.source, fingerprint: fingerprint(secret.digest) }
    return { ok: false, reason: `${method}_mismatch`, expected }
  }

  async #namedToken({ presented, ingress }: AuthRequest, guess: Guesses, counted: boolean): Promise<Found> {
    const text = presented.token?.trim()
    if (!text?.startsWith(TOKEN_PREFIX) || guess.locked('named-token')) return undefined
    // Counted before the store is asked, so that guesses made side by side cannot outrun the count.
    if (!counted) guess.count('named-token')
    const token = await this.#issued.findNamedToken(digest(text))
    if (token === undefined) return undefined
    // Whoever holds the token itself is no guesser, good as it may be or not.
    guess.forgive(counted ? 'shared-secret' : 'named-token')
    const { id, name, scopes, cidrs, expiresAtMs, revokedAtMs } = token
    if (revokedAtMs !== undefined) return { ok: false, reason: 'token_revoked', detail: name }
    if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) {
      return { ok: false, reason: 'token_expired', detail: name }
    }
    if (!comesFrom(cidrs, ingress))
      return { ok: false, reason: 'token_mismatch', detail: `${name}: outside of its CIDRs` }
    guess.right('named-token')
    this.#issued.namedTokenUsed(id, ingress.client)
    return admit('named-token', new Set(scopes), { token: { id, name, expiresAtMs } })
  }

  // A device token comes in its own field, or (as older clients do) as the token; only its own device may use it.
  async #deviceToken(request: AuthRequest, guess: Guesses, counted: boolean): Promise<Found> {
    const { presented, deviceId, surface, role } = request
    if (surface === 'websocket' && deviceId === undefined) return undefined
    for (const [text, already] of [
      [presented.deviceToken, false],
      [presented.token, counted]
    ] as const) {
      if (!text || guess.locked('device-token')) continue
      if (!already) guess.count('device-token')
      const hash = digest(text.trim())
      const token = await this.#issued.findToken(hash)
      if (token === undefined || token.role !== role || (deviceId ?? token.deviceId) !== token.deviceId) continue
      guess.right('device-token')
      if (already) guess.forgive('shared-secret')
      const device = { deviceId: token.deviceId, digest: hash, issuedAtMs: token.createdAtMs }
      return admit('device-token', new Set(token.scopes), { device })
    }
    // A wrong token alone is not known to have been meant as a device's.
    return presented.deviceToken ? { ok: false, reason: 'device_token_mismatch' } : undefined
  }

  async #setupCode({ presented, deviceId }: AuthRequest, guess: Guesses): Promise<Found> {
    const { setupCode } = presented
    if (!setupCode || deviceId === undefined || guess.locked('bootstrap-token')) return undefined
    guess.count('bootstrap-token')
    const hash = digest(setupCode.trim())
    const code = await this.#issued.presentCode(hash, deviceId)
    if (code === undefined) return { ok: false, reason: 'bootstrap_token_invalid' }
    if ('refused' in code) return { ok: false, reason: 'bootstrap_token_invalid', detail: code.refused }
    guess.forgive('bootstrap-token')
    return admit('setup-code', new Set(code.scopes), { code: { digest: hash, access: code.access } })
  }

  /** Reports whether a client is locked out of shared-secret checks, for answers that carry no credential at all. */
  lockedForMs(ingress: Ingress, origin: string | undefined): number {
    const guess = this.#guesses({ ingress, origin })
    return guess.locked('shared-secret') ? guess.lockedForMs : 0
  }

  #guesses(from: { ingress: Ingress; origin: string | undefined }): Guesses {
    return new Guesses(this.#attempts, this.#delay, from, this.#access().gateway.auth.rateLimit.exemptLoopback)
  }
}

/** The text that is compared with the shared secret, where this surface and mode take one. */
function sharedText({ gateway }: Access, { surface, presented, ingress }: AuthRequest): string | undefined {
  const { token, password } = presented
  switch (gateway.auth.mode) {
    case 'token':
      return accepts(surface, 'token') ? token || password || undefined : undefined
    case 'password':
      return accepts(surface, 'password') ? password || token || undefined : undefined
    case 'trusted-proxy':
      // For callers of this machine that the proxy does not stand before, and in its own field.
      return accepts(surface, 'password') && ingress.local ? password || undefined : undefined
    case 'none':
      return undefined
  }
}

function typed({ token, password, setupCode }: Presented): boolean {
  return Boolean(token || password || setupCode)
}

function missing(mode: Access['gateway']['auth']['mode']): AuthFailure {
  return { ok: false, reason: mode === 'token' || mode === 'password' ? `${mode}_missing` : 'unauthorized' }
}

function comesFrom(cidrs: readonly string[], { client, local }: Ingress): boolean {
  if (cidrs.length === 0) return true
  const nets = compileCidrs(cidrs)
  return 'has' in nets && nets.has(local ? '127.0.0.1' : client)
}

function admit(
  method: AuthMethod,
  allowance: Allowance,
  more: Partial<Pick<Authenticated, 'cap' | 'user' | 'device' | 'token' | 'code'>> = {}
): Authenticated {
  return {
    ok: true,
    method,
    allowance,
    cap: undefined,
    user: undefined,
    device: undefined,
    token: undefined,
    code: undefined,
    ...more
  }
}
