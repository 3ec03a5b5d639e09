const STEP_MS = 20

/** Something that must be over by a time, in milliseconds of the monotonic clock. */
export interface Timed {
  deadline: number
}

/** Many deadlines on one timer: adding one and taking it away cost no timer of their own. None comes early. */
export class Deadlines<T extends Timed> {
  readonly #due: (item: T) => void
  /** By the step in which they fall due. */
  readonly #steps = new Map<number, Set<T>>()
  #timer: NodeJS.Timeout | undefined
  #swept = 0
  #size = 0

  constructor(due: (item: T) => void) {
    this.#due = due
  }

  get size(): number {
    return this.#size
  }

  add(item: T): void {
    const step = stepOf(item.deadline)
    const items = this.#steps.get(step)
    if (items === undefined) this.#steps.set(step, new Set([item]))
    else items.add(item)
    this.#size++
    if (this.#timer !== undefined) return
    this.#swept = Math.floor(performance.now() / STEP_MS) - 1
    this.#timer = setInterval(() => this.#sweep(), STEP_MS).unref()
  }

  delete(item: T): void {
    const step = stepOf(item.deadline)
    const items = this.#steps.get(step)
    if (items === undefined || !items.delete(item)) return
    this.#size--
    if (items.size === 0) this.#steps.delete(step)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #sweep(): void {
    const now = Math.floor(performance.now() / STEP_MS)
    while (this.#swept < now) {
      const items = this.#steps.get(++this.#swept)
      if (items === undefined) continue
      this.#steps.delete(this.#swept)
      this.#size -= items.size
      for (const item of items) this.#due(item)
    }
    if (this.#size === 0) this.stop()
  }
}

function stepOf(deadline: number): number {
  return Math.ceil(deadline / STEP_MS)
}
