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

  /** Reports whether one more socket from this address may wait for its caller. */
  admits(address: string): boolean {
    return this.#since.size < LIMITS.preauthTotal && (this.#perAddress.get(address) ?? 0) < LIMITS.preauthPerAddress
  }

  add(connection: Connection): void {
    const { client } = connection.ingress
    this.#since.set(connection, Date.now())
    this.#perAddress.set(client, (this.#perAddress.get(client) ?? 0) + 1)
  }

  delete(connection: Connection): void {
    if (!this.#since.delete(connection)) return
    const { client } = connection.ingress
    const left = this.#perAddress.get(client)! - 1
    if (left === 0) this.#perAddress.delete(client)
    else this.#perAddress.set(client, left)
  }

  stop(): void {
    clearInterval(this.#sweeper)
  }

  #sweep(): void {
    const old = Date.now() - this.#deadlineMs
    for (const [connection, since] of this.#since) {
      if (since > old) return
      this.delete(connection)
      connection.close('normal', '')
    }
  }
}
