const MAX_LINES = 20
const MAX_CHARS = 2_000
const MAX_SOURCES = 1_000
const PER_MINUTE = 30
const MINUTE_MS = 60_000

/** What happened that a person may want to know, in a few lines: shown by `status`, newest last. */
export class SystemEvents {
  readonly #now: () => number
  #lines: string[] = []
  /** How much each source has said in its current minute. */
  readonly #said = new Map<string, { since: number; lines: number }>()

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  get lines(): readonly string[] {
    return this.#lines
  }

  /** Adds a line, cut to size, and returns it; one that was just said, or whose source says too much, is not added. */
  add(source: string, text: string): string | undefined {
    const line = printable(text).slice(0, MAX_CHARS)
    if (line === this.#lines.at(-1) || !this.#mayTalk(source)) return undefined
    this.#lines = [...this.#lines, line].slice(-MAX_LINES)
    return line
  }

  #mayTalk(source: string): boolean {
    const now = this.#now()
    const said = this.#said.get(source)
    if (said !== undefined && said.since > now - MINUTE_MS) return ++said.lines <= PER_MINUTE
    this.#said.delete(source)
    this.#said.set(source, { since: now, lines: 1 })
    if (this.#said.size > MAX_SOURCES) this.#said.delete(this.#said.keys().next().value!)
    return true
  }
}

// Lines end up in terminals and logs: whatever could steer them goes.
function printable(text: string): string {
  return text.replaceAll(/[^\P{C}\n]/gu, '').trim()
}
