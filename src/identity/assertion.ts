import { readFile, stat } from 'node:fs/promises'
import type { JWTVerifyGetKey } from 'jose'
import { digest } from '../auth/secrets.ts'
import type { AssertionConfig } from '../config/types.ts'

/** What a verifier tells the log. */
export interface AssertionLog {
  warn(fields: object, message: string): void
}

// Signatures alone: with a shared key, whoever can check an assertion could write one.
const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519']
const CLOCK_TOLERANCE_S = 30
const FETCH_MS = 5_000
/** A proxy sends the same assertion with every request of a session: it is verified once a minute. */
const REMEMBER_MS = 60_000
const MAX_REMEMBERED = 1_000

/** Verifies the signed assertion of an identity-aware proxy, and reads its user out of it. */
export class AssertionVerifier {
  readonly #config: AssertionConfig
  readonly #log: AssertionLog
  readonly #remembered = new Map<string, { user: string; until: number }>()
  #keys: Promise<JWTVerifyGetKey> | undefined
  /** When the key file was last changed, as far as it has been read. */
  #readMs = 0

  constructor(config: AssertionConfig, log: AssertionLog) {
    this.#config = config
    this.#log = log
  }

  /** Resolves with the user that a good assertion names; undefined for any other. */
  async verify(assertion: string): Promise<string | undefined> {
    const id = digest(assertion).toString('base64')
    const known = this.#remembered.get(id)
    if (known !== undefined && known.until > Date.now()) return known.user
    this.#remembered.delete(id)
    try {
      const { user, expiresAtMs } = await this.#check(assertion)
      this.#remembered.set(id, { user, until: Math.min(expiresAtMs, Date.now() + REMEMBER_MS) })
      if (this.#remembered.size > MAX_REMEMBERED) this.#remembered.delete(this.#remembered.keys().next().value!)
      return user
    } catch (error) {
      // Never the assertion itself: for as long as it is good, whoever reads it could use it.
      const { code, message } = error as { code?: string; message: string }
      this.#log.warn({ code, reason: message, jwks: this.#config.jwks }, 'proxy assertion refused')
      return undefined
    }
  }

  async #check(assertion: string): Promise<{ user: string; expiresAtMs: number }> {
    const { issuer, audience, userClaim } = this.#config
    const { jwtVerify } = await import('jose')
    const { payload } = await jwtVerify(assertion, await this.#currentKeys(), {
      issuer,
      audience: [...audience],
      algorithms: ALGORITHMS,
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['exp', userClaim]
    })
    const user = payload[userClaim]
    if (typeof user !== 'string' || user.trim() === '') throw new Error(`claim "${userClaim}" is no text`)
    return { user: user.trim(), expiresAtMs: payload.exp! * 1000 }
  }

  async #currentKeys(): Promise<JWTVerifyGetKey> {
    const { jwks } = this.#config
    const { createLocalJWKSet, createRemoteJWKSet } = await import('jose')
    if (/^https?:/i.test(jwks)) {
      this.#keys ??= Promise.resolve(createRemoteJWKSet(new URL(jwks), { timeoutDuration: FETCH_MS }))
      return this.#keys
    }
    const { mtimeMs } = await stat(jwks)
    if (mtimeMs !== this.#readMs) {
      this.#readMs = mtimeMs
      this.#keys = readFile(jwks, 'utf8').then((text) => createLocalJWKSet(JSON.parse(text)))
      // A file that is no key set is read again when it changes, and refuses everyone until then.
      this.#keys.catch(() => {})
    }
    return this.#keys!
  }
}
