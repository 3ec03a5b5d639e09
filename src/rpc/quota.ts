import { limiterKey } from '../auth/addresses.ts'
import { RpcError } from '../protocol/errors.ts'
import type { Caller } from './method.ts'

/** How many of something each caller has at once, and all callers together. */
export class Quota {
  readonly #each: number
  readonly #all: number
  readonly #taken = new Map<string, number>()
  #total = 0

  constructor(each: number, all: number) {
    this.#each = each
    this.#all = all
  }

  get total(): number {
    return this.#total
  }

  /** Takes one for a caller; the result gives it back, once. Undefined when there is none left. */
  take(caller: Caller): (() => void) | undefined {
    const key = keyOf(caller)
    const mine = this.#taken.get(key) ?? 0
    if (mine >= this.#each || this.#total >= this.#all) return undefined
    this.#taken.set(key, mine + 1)
    this.#total++
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#total--
      const left = this.#taken.get(key)! - 1
      if (left === 0) this.#taken.delete(key)
      else this.#taken.set(key, left)
    }
  }

  /** Does something that takes one while it lasts; throws when there is none left. */
  async run<T>(caller: Caller, work: () => T | Promise<T>): Promise<T> {
    const release = this.take(caller)
    if (release === undefined) throw busy()
    try {
      return await work()
    } finally {
      release()
    }
  }
}

const busy = () =>
  new RpcError('UNAVAILABLE', 'The server is busy. Please try again in a moment.', {
    retryable: true,
    retryAfterMs: 1_000
  })

// A credential of its own is a caller; a secret that many know is one at each address.
function keyOf({ token, deviceId, user, method, address }: Caller): string {
  return token?.id ?? deviceId ?? user?.id ?? `${method} ${limiterKey(address)}`
}
