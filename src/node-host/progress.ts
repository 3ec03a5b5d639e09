/** What a progress frame may hold, in UTF-16 units. */
const MAX_CHUNK = 16_384
const PAUSE_MS = 100

/** As base64, what of it a frame may hold. */
const MAX_BYTES = 12_000

/**
 * A piece of output. Where the streams are told apart, it is base64, so that it is exact, and names its own; of `stdin`,
 * it is the number of bytes that were taken.
 */
export interface Piece {
  chunk: string
  stream?: 'stdin' | 'stdout' | 'stderr'
}

/**
 * Streams output as numbered chunks: pieces that come close together travel together. A command that is over within the
 * first pause streams nothing, because its result says it all; unless its streams are told apart.
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
    if (this.#seq > 0 || this.#held[0]?.stream !== undefined) this.#flush()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { chunk, stream } of this.#held.splice(0)) {
      if (stream === undefined) for (const text of cutText(chunk)) this.#send(this.#seq++, { chunk: text })
      else if (stream === 'stdin') this.#send(this.#seq++, { chunk, stream })
      else {
        for (let at = 0; at < chunk.length; at += MAX_BYTES) {
          const bytes = Buffer.from(chunk.slice(at, at + MAX_BYTES), 'latin1')
          this.#send(this.#seq++, { chunk: bytes.toString('base64'), stream })
        }
      }
    }
  }
}

// Never between the halves of a character.
function* cutText(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    const cut = at + (/[\uD800-\uDBFF]/.test(text[at + MAX_CHUNK - 1] ?? '') ? MAX_CHUNK - 1 : MAX_CHUNK)
    yield text.slice(at, cut)
    at = cut
  }
}
