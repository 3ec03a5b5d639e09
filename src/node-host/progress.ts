/** What a progress frame may hold, in UTF-16 units. */
const MAX_CHUNK = 16_384
const PAUSE_MS = 100

/**
 * Streams output as numbered chunks: pieces that come close together travel together. A command that is over within the
 * first pause streams nothing, because its result says it all.
 */
export class Progress {
  readonly #send: (seq: number, chunk: string) => void
  #held = ''
  #seq = 0
  #timer: NodeJS.Timeout | undefined

  constructor(send: (seq: number, chunk: string) => void) {
    this.#send = send
  }

  /** Takes a piece of output. */
  add(text: string): void {
    this.#held += text
    while (this.#held.length >= MAX_CHUNK) this.#flush()
    if (this.#held !== '') this.#timer ??= setTimeout(() => this.#flush(), PAUSE_MS)
  }

  /** Sends what is held back, if anything was streamed before. */
  end(): void {
    clearTimeout(this.#timer)
    if (this.#seq > 0) while (this.#held !== '') this.#flush()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    // Never between the halves of a character.
    const cut = /[\uD800-\uDBFF]/.test(this.#held[MAX_CHUNK - 1] ?? '') ? MAX_CHUNK - 1 : MAX_CHUNK
    const chunk = this.#held.slice(0, cut)
    this.#held = this.#held.slice(cut)
    this.#send(this.#seq++, chunk)
  }
}
