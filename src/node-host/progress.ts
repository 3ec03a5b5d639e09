/** What a progress frame may hold, in UTF-16 units. */
const MAX_CHUNK = 16_384
const PAUSE_MS = 100

/** A piece of output, and of which stream where they are to be told apart; of `stdin`, how much of it was taken. */
export interface Piece {
  chunk: string
  stream?: 'stdin' | 'stdout' | 'stderr'
}

/**
 * Streams output as numbered chunks: pieces that come close together travel together. A command that is over within the
 * first pause streams nothing, because its result says it all.
 */
export class Progress {
  readonly #send: (seq: number, piece: Piece) => void
  /** Held back, in the order it came; two that follow each other are of different streams. */
  #held: Piece[] = []
  #seq = 0
  #timer: NodeJS.Timeout | undefined

  constructor(send: (seq: number, piece: Piece) => void) {
    this.#send = send
  }

  /** Takes a piece of output. */
  add(chunk: string, stream?: Piece['stream']): void {
    const last = this.#held.at(-1)
    if (last !== undefined && last.stream === stream && stream !== 'stdin') last.chunk += chunk
    else this.#held.push({ chunk, ...(stream === undefined ? {} : { stream }) })
    // Whoever sends input waits for the word that it was taken.
    if (stream === 'stdin' || this.#held.at(-1)!.chunk.length >= MAX_CHUNK) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), PAUSE_MS)
  }

  /** Sends what is held back, if anything was streamed before. */
  end(): void {
    clearTimeout(this.#timer)
    if (this.#seq > 0) this.#flush()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { chunk: text, ...stream } of this.#held.splice(0)) {
      for (let at = 0; at < text.length; ) {
        // Never between the halves of a character.
        const cut = at + (/[\uD800-\uDBFF]/.test(text[at + MAX_CHUNK - 1] ?? '') ? MAX_CHUNK - 1 : MAX_CHUNK)
        this.#send(this.#seq++, { chunk: text.slice(at, cut), ...stream })
        at = cut
      }
    }
  }
}
