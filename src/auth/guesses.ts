import { limiterKey } from './addresses.ts'
import type { Attempts, GuessKind, LoopbackDelay } from './attempts.ts'
import type { Ingress } from './ingress.ts'

const BUSY_MS = 1_000

/** The guesses of one request: the key they count under, and what the limiter said. */
export class Guesses {
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
    // Never locked, only slowed down: a process of this machine that is no page.
    this.#exempt = exemptLoopback && ingress.local && origin === undefined
    // A page of this machine is counted by its Origin: one bad page must not lock the others, or the owner (§8, S2).
    this.#key = ingress.local && origin !== undefined ? `origin ${origin.slice(0, 256)}` : limiterKey(ingress.client)
  }

  /** Reports whether nothing may be compared now. Ask before each comparison. */
  locked(kind: GuessKind): boolean {
    if (this.#delay?.full) return this.#lockFor(BUSY_MS)
    if (this.#exempt) return false
    const standing = this.#attempts.standing(kind, this.#key)
    return standing.locked && this.#lockFor(standing.retryAfterMs)
  }

  /** Counts a guess, which is wrong until it proves right. */
  count(kind: GuessKind): void {
    this.wrong = true
    if (!this.#exempt) this.#attempts.fail(kind, this.#key)
  }

  /** Takes a counted guess back. */
  forgive(kind: GuessKind): void {
    this.wrong = false
    if (!this.#exempt) this.#attempts.forgive(kind, this.#key)
  }

  /** Starts the count of a key over, after a success. */
  right(kind: GuessKind): void {
    if (!this.#exempt) this.#attempts.succeed(kind, this.#key)
  }

  #lockFor(ms: number): true {
    this.lockedForMs = Math.max(this.lockedForMs, ms)
    return true
  }
}
