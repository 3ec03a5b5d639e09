import type { EventRule } from './events.ts'

/** An event as streams carry it; its number is the same for all of them. */
export interface StreamEvent {
  number: number
  name: string
  rule: EventRule
  /** What a later event with the same key replaces; undefined for what stays. */
  key: string | undefined
  frame: Buffer
}

/** How far back the record reaches, in events and in bytes. */
export const REPLAY = { events: 10_000, bytes: 8_388_608 } as const

/**
 * The latest events, for streams that are behind or come back. All streams read from here, so however many are slow,
 * they cost no more than this. Of events that replace each other only the newest is kept.
 */
export class Replay {
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

  add(facts: Pick<StreamEvent, 'name' | 'rule' | 'key'>, frameOf: (number: number) => Buffer): StreamEvent {
    const number = ++this.#last
    const event = { ...facts, number, frame: frameOf(number) }
    const { key } = event
    if (key !== undefined) {
      this.#forget(this.#newest.get(key))
      this.#newest.set(key, number)
    }
    this.#events.set(number, event)
    this.#bytes += event.frame.length
    while (number - this.#lost > REPLAY.events || this.#bytes > REPLAY.bytes) this.#forget(++this.#lost)
    return event
  }

  /** The events after a number, oldest first. */
  *after(number: number): Generator<StreamEvent> {
    for (let next = Math.max(number, this.#lost) + 1; next <= this.#last; next++) {
      const event = this.#events.get(next)
      if (event !== undefined) yield event
    }
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
    if (event.key !== undefined) this.#newest.delete(event.key)
    this.#bytes -= event.frame.length
  }
}
