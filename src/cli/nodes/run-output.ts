/** A piece of a command's output, as `node.invoke.progress` tells it. */
export interface Piece {
  seq: number
  chunk: string
  stream?: string
}

/** What a command wrote, as its result tells it; up to a bound. */
export interface Written {
  stdout?: string
  stderr?: string
}

type Stream = 'stdout' | 'stderr'

/**
 * Writes a command's output as it comes, each piece once and in order. Pieces may be missing, because whoever does not
 * keep up is left out: from there on the result says the rest.
 */
export class RunOutput {
  readonly #write: (stream: Stream, text: string) => void
  readonly #written = { stdout: 0, stderr: 0 }
  #next = 0
  #whole = true
  #mixed = false

  constructor(write: (stream: Stream, text: string) => void) {
    this.#write = write
  }

  /** Takes a piece. */
  take({ seq, chunk, stream }: Piece): void {
    this.#whole &&= seq === this.#next
    this.#next = seq + 1
    if (!this.#whole || stream === 'stdin') return
    // A node that does not tell the streams apart sends both as one.
    this.#mixed ||= stream !== 'stdout' && stream !== 'stderr'
    this.#put(stream === 'stderr' ? 'stderr' : 'stdout', chunk)
  }

  /** Writes what is still missing; reports whether all of it could be. */
  end(result: Written): boolean {
    if (this.#mixed) return this.#whole
    for (const stream of ['stdout', 'stderr'] as const) {
      this.#put(stream, (result[stream] ?? '').slice(this.#written[stream]))
    }
    return true
  }

  #put(stream: Stream, text: string): void {
    if (text === '') return
    this.#written[stream] += text.length
    this.#write(stream, text)
  }
}
