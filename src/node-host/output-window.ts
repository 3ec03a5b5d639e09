/** How many bytes of output may be on their way that nobody has taken yet. */
const WINDOW = 262_144

/** Holds output back that comes faster than whoever follows it takes it. */
export class OutputWindow {
  #sent = 0
  #taken = 0
  #waiting: PromiseWithResolvers<void> | undefined

  /** Counts output that was sent; gives what to wait for before there is more, if anything. */
  sent(bytes: number): Promise<void> | undefined {
    this.#sent += bytes
    if (this.#sent - this.#taken < WINDOW) return undefined
    this.#waiting ??= Promise.withResolvers()
    return this.#waiting.promise
  }

  /** Holds nothing back any more: nobody follows. */
  open(): void {
    this.taken(Number.POSITIVE_INFINITY)
  }

  /** Hears how much was taken so far. */
  taken(bytes: number): void {
    this.#taken = Math.max(this.#taken, bytes)
    if (this.#sent - this.#taken >= WINDOW) return
    this.#waiting?.resolve()
    this.#waiting = undefined
  }
}
