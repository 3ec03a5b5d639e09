import { hash } from 'node:crypto'

/** One request and what became of it. */
export interface Answer<Run> {
  readonly key: string
  /** Tells whether another request with the same key is the same request. */
  readonly print: string
  readonly outcome: Promise<unknown>
  /** Ends when it is on its way or refused; undefined until it has begun. */
  begun: Promise<void> | undefined
  /** What is under way; undefined before and after. */
  run: Run | undefined
  settledAt: number | undefined
  size: number
}

/** How many answers are remembered, how long, and how much memory they may take. */
const MEMORY = { answers: 8_192, ageMs: 10 * 60_000, bytes: 8_388_608, one: 262_144 } as const

/**
 * What became of requests, by their idempotency keys, so that a request that comes again does not run again (D14). What
 * is under way is always known; what is over, as long as there is room.
 */
export class Answers<Run> {
  readonly #answers = new Map<string, Answer<Run>>()
  /** A ring of those that are over; the oldest makes room. */
  readonly #over: (Answer<Run> | undefined)[] = []
  #next = 0
  #oldest = 0
  #bytes = 0

  get size(): number {
    return this.#answers.size
  }

  get bytes(): number {
    return this.#bytes
  }

  find(key: string): Answer<Run> | undefined {
    const answer = this.#answers.get(key)
    if (answer?.settledAt === undefined || performance.now() - answer.settledAt < MEMORY.ageMs) return answer
    this.#forget(answer)
    return undefined
  }

  add(key: string, print: string, outcome: Promise<unknown>): Answer<Run> {
    const answer: Answer<Run> = { key, print, outcome, begun: undefined, run: undefined, settledAt: undefined, size: 0 }
    this.#answers.set(key, answer)
    return answer
  }

  /** Keeps an answer that is over; a very large one only for those who wait for it already. */
  keep(answer: Answer<Run>, size: number): void {
    answer.run = undefined
    if (size > MEMORY.one) {
      this.#forget(answer)
      return
    }
    answer.settledAt = performance.now()
    answer.size = size
    this.#bytes += size
    const slot = this.#next++ % MEMORY.answers
    const evicted = this.#over[slot]
    if (evicted !== undefined) this.#evictTo(this.#next - MEMORY.answers)
    this.#over[slot] = answer
    while (this.#bytes > MEMORY.bytes) this.#evictTo(this.#oldest + 1)
  }

  /** Forgets a request that never reached a node: it may be made again. */
  drop(answer: Answer<Run>): void {
    this.#forget(answer)
  }

  #evictTo(end: number): void {
    for (; this.#oldest < end; this.#oldest++) {
      const slot = this.#oldest % MEMORY.answers
      const answer = this.#over[slot]
      this.#over[slot] = undefined
      if (answer !== undefined) this.#forget(answer)
    }
  }

  #forget(answer: Answer<Run>): void {
    if (this.#answers.get(answer.key) === answer) this.#answers.delete(answer.key)
    this.#bytes -= answer.size
    answer.size = 0
  }
}

/** Tells requests with the same key apart. */
export function fingerprint(command: string, paramsJSON: string | null): string {
  return hash('sha256', `${command}\n${paramsJSON ?? ''}`, 'base64')
}

/** About how much memory a value takes; looks no further than `limit`. */
export function weigh(value: unknown, limit: number = MEMORY.one): number {
  let weight = 0
  const waiting: unknown[] = [value]
  while (waiting.length > 0 && weight <= limit) {
    const next = waiting.pop()
    weight += 16
    if (typeof next === 'string') weight += next.length
    else if (Array.isArray(next)) for (const each of next) waiting.push(each)
    else if (typeof next === 'object' && next !== null) {
      for (const name in next) {
        weight += name.length + 16
        waiting.push((next as Record<string, unknown>)[name])
      }
    }
  }
  return weight
}
