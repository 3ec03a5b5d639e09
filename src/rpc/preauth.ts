import { limiterKey } from '../auth/addresses.ts'
import type { Connection } from './connection.ts'
import { LIMITS } from './limits.ts'

/** Sockets that have no caller yet: few from one address, few in all, none for long (S18). */
export class PreauthSockets {
  // In order of arrival, so that the sweep stops at the first socket that still has time.
  readonly #since = new Map<Connection, number>()
  readonly #perAddress = new Map<string, number>()
  readonly #deadlineMs: number
  readonly #sweeper: NodeJS.Timeout

  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(250, deadlineMs)).unref()
  }

  get size(): number {
    return this.#since.size
  }

  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#since.keys()
  }

  /** Reports whether one more socket from this address may wait for its caller. */
  admits(address: string): boolean {
    const here = this.#perAddress.get(limiterKey(address)) ?? 0
    return this.#since.size < LIMITS.preauthTotal && here < LIMITS.preauthPerAddress
  }

  add(connection: Connection): void {
    const key = limiterKey(connection.ingress.client)
    this.#since.set(connection, Date.now())
    this.#perAddress.set(key, (this.#perAddress.get(key) ?? 0) + 1)
  }

  delete(connection: Connection): void {
    if (!this.#since.delete(connection)) return
    const key = limiterKey(connection.ingress.client)
    const left = this.#perAddress.get(key)! - 1
    if (left === 0) this.#perAddress.delete(key)
    else this.#perAddress.set(key, left)
  }

  stop(): void {
    clearInterval(this.#sweeper)
  }

  #sweep(): void {
    const old = Date.now() - this.#deadlineMs
    for (const [connection, since] of this.#since) {
      if (since > old) return
      // It counts until it is gone, so that the caps hold for sockets that do not answer the close either.
      connection.close('normal', '')
    }
  }
}
