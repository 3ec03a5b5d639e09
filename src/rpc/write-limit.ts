import { limiterKey } from '../auth/addresses.ts'
import { RpcError } from '../protocol/errors.ts'
import type { Caller } from './method.ts'

const CALLS = 30
const WINDOW_MS = 60_000
const MAX_KEYS = 5_000

/**
 * Slows writes of the control plane: 30 a minute, by method and caller. Whoever calls may do all of this; a client that
 * runs in a loop must not rewrite the configuration for ever.
 */
export class WriteLimit {
  readonly #now: () => number
  /** When the calls of each key were made, oldest first. */
  readonly #calls = new Map<string, number[]>()

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** Counts one call; throws when there were too many. */
  take(method: string, { deviceId, token, address }: Pick<Caller, 'deviceId' | 'token' | 'address'>): void {
    const key = `${method} ${deviceId ?? token?.id ?? ''} ${limiterKey(address)}`
    const now = this.#now()
    const recent = (this.#calls.get(key) ?? []).filter((at) => at > now - WINDOW_MS)
    if (recent.length >= CALLS) throw tooMany(method, recent[0]! + WINDOW_MS - now)
    recent.push(now)
    this.#calls.delete(key)
    this.#calls.set(key, recent)
    if (this.#calls.size > MAX_KEYS) this.#calls.delete(this.#calls.keys().next().value!)
  }
}

function tooMany(method: string, retryAfterMs: number): RpcError {
  const message = `rate limit exceeded for ${method}; retry after ${Math.ceil(retryAfterMs / 1000)}s`
  return new RpcError('UNAVAILABLE', message, {
    retryable: true,
    retryAfterMs,
    details: { method, limit: `${CALLS} per ${WINDOW_MS / 1000}s` }
  })
}
