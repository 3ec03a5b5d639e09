import type { EventRule } from './events.ts'

/** An event as streams carry it; its number is the same for all of them. */
export interface StreamEvent {
  number: number
  name: string
  rule: EventRule
  frame: Buffer
}

/** How much is kept, in events and in bytes. */
export const REPLAY = { events: 10_000, bytes: 8_388_608 } as const

/**
 * The latest events, for streams that are behind or come back. All streams read from here, so however many are slow,
 * they cost no more than this. Of events that replace each other only the newest is kept.
 */
export class Replay {
  // In order of their numbers.
  readonly #events = new Map<number, StreamEvent>()
  readonly #newest = new Map<string, number>()
  #bytes = 0
  #last = 0
  #lost = 0

  /** The number of the newest event. */
  get last(): number {
    return this.#last
  }

  /** The number of the newest event that had to go: whoever has not got as far has missed something. */
  get lost(): number {
    return this.#lost
  }

  add(name: string, rule: EventRule, frameOf: (number: number) => Buffer): StreamEvent {
    const number = ++this.#last
    const event = { number, name, rule, frame: frameOf(number) }
    if (rule.droppable) {
      this.#forget(this.#newest.get(name))
      this.#newest.set(name, number)
    }
    this.#events.set(number, event)
    this.#bytes += event.frame.length
    while (this.#events.size > REPLAY.events || this.#bytes > REPLAY.bytes) {
      const [oldest] = this.#events.keys()
      this.#forget(oldest)
      this.#lost = oldest!
    }
    return event
  }

  /** The events after a number, oldest first. */
  *after(number: number): Generator<StreamEvent> {
    for (const event of this.#events.values()) if (event.number > number) yield event
  }

  /** Forgets everything; whoever comes back has missed something, even if nothing happened. */
  clear(): void {
    this.#events.clear()
    this.#newest.clear()
    this.#bytes = 0
    this.#lost = ++this.#last
  }

  #forget(number: number | undefined): void {
    const event = number === undefined ? undefined : this.#events.get(number)
    if (event === undefined) return
    this.#events.delete(event.number)
    this.#bytes -= event.frame.length
  }
}
