import type { RateLimitConfig } from '../config/types.ts'

/** Which secret a guess was aimed at; each has its own count. */
export type GuessKind = 'shared-secret' | 'named-token' | 'device-token' | 'bootstrap-token'

/** What stands against a key right now. */
export type Standing = { locked: false } | { locked: true; retryAfterMs: number }

interface Record {
  failures: number[]
  lockedUntil: number
}

const MAX_KEYS = 20_000
const MAX_KNOWN = 10_000
// Wrong guesses that all strangers together have, in multiples of what one of them has; beyond the bound nobody wanted a limit.
const EVERYONE = 30
const MAX_EVERYONE = 100_000
const DELAYS_MS = [300, 500, 1000, 2000, 4000, 5000]
const MAX_WAITING = 64
const QUIET_MS = 60_000

/**
 * Counts failed guesses by kind and client key, over HTTP and WebSocket together (§8, S19). A key that reaches
 * the limit is locked: even the right secret is refused until the lock ends. All strangers together have a budget
 * too, so that a thousand addresses do not guess a thousand times as fast; it never counts against an address whose
 * caller has been let in before. Bounded: the oldest key goes first.
 */
export class Attempts {
  readonly #limit: () => RateLimitConfig
  readonly #now: () => number
  readonly #records = new Map<string, Record>()
  /** When the latest guesses of everyone failed, oldest first. */
  readonly #everyone: number[] = []
  readonly #known = new Set<string>()

  constructor(limit: () => RateLimitConfig, now: () => number = Date.now) {
    this.#limit = limit
    this.#now = now
  }

  /** Reports whether a key may be verified at all. Ask before every comparison. */
  standing(kind: GuessKind, key: string): Standing {
    const now = this.#now()
    const own = (this.#records.get(`${kind} ${key}`)?.lockedUntil ?? 0) - now
    const left = own > 0 || this.#known.has(key) ? own : this.#exhaustedFor(now)
    return left > 0 ? { locked: true, retryAfterMs: left } : { locked: false }
  }

  /** Counts a guess as wrong. Guesses made while locked do not extend the lock. */
  fail(kind: GuessKind, key: string): void {
    const id = `${kind} ${key}`
    const now = this.#now()
    const { maxAttempts, windowMs, lockoutMs } = this.#limit()
    const record = this.#records.get(id) ?? { failures: [], lockedUntil: 0 }
    if (record.lockedUntil > now) return
    const since = Math.max(record.lockedUntil, now - windowMs)
    record.lockedUntil = 0
    record.failures = record.failures.filter((at) => at > since)
    record.failures.push(now)
    const budget = maxAttempts * EVERYONE
    if (budget <= MAX_EVERYONE) this.#everyone.push(now)
    while (this.#everyone.length > budget) this.#everyone.shift()
    if (record.failures.length >= maxAttempts) record.lockedUntil = now + lockoutMs
    this.#records.delete(id)
    this.#records.set(id, record)
    if (this.#records.size > MAX_KEYS) this.#records.delete(this.#records.keys().next().value!)
  }

  /** Takes one counted guess back: it was wrong as what it was compared with first, and right as something else. */
  forgive(kind: GuessKind, key: string): void {
    const record = this.#records.get(`${kind} ${key}`)
    if (record === undefined || record.failures.length === 0) return
    record.failures.pop()
    this.#everyone.pop()
    if (record.failures.length < this.#limit().maxAttempts) record.lockedUntil = 0
  }

  /** Forgets the failures of a key after a success, and remembers its caller. */
  succeed(kind: GuessKind, key: string): void {
    this.#records.delete(`${kind} ${key}`)
    this.#known.delete(key)
    this.#known.add(key)
    if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.keys().next().value!)
  }

  #exhaustedFor(now: number): number {
    const { maxAttempts, windowMs } = this.#limit()
    const oldest = this.#everyone.at(-(maxAttempts * EVERYONE))
    return oldest === undefined ? 0 : oldest + windowMs - now
  }
}

/**
 * Slows wrong guesses from loopback instead of locking it: the owner must not be locked out of their own machine,
 * and a local process must not guess at full speed. While too many answers wait, nothing is compared at all: guesses
 * made side by side would else be as fast as if there were no delay.
 */
export class LoopbackDelay {
  #failures = 0
  #waiting = 0
  #lastFailure = 0

  /** Reports whether so many answers wait that the next credential must be refused unread. */
  get full(): boolean {
    return this.#waiting >= MAX_WAITING
  }

  /** Resolves when the answer to a wrong guess may be sent. */
  async failed(): Promise<void> {
    const now = Date.now()
    if (now - this.#lastFailure > QUIET_MS) this.#failures = 0
    this.#lastFailure = now
    const delay = DELAYS_MS[Math.min(this.#failures, DELAYS_MS.length - 1)]!
    this.#failures++
    this.#waiting++
    await new Promise((resolve) => setTimeout(resolve, delay).unref())
    this.#waiting--
  }

  /** Starts over after a success. */
  succeeded(): void {
    this.#failures = 0
  }
}
