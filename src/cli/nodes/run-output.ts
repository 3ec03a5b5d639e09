/** A piece of a program's output, as `node.invoke.progress` tells it. */
export interface Piece {
  seq: number
  chunk: string
  stream?: string
}

/** What a program wrote, as its result tells it; up to a bound. */
export interface Written {
  stdout?: string
  stderr?: string
}

type Stream = 'stdout' | 'stderr'

/** Writes a program's output as it comes, each piece once and in order. */
export class RunOutput {
  readonly #write: (stream: Stream, data: string | Buffer) => Promise<void>
  #next = 0
  #whole = true
  #streamed = false
  /** The node told the streams apart, and so sends everything. */
  exact = false
  /** Bytes that have been written, of both streams. */
  #written = 0

  constructor(write: (stream: Stream, data: string | Buffer) => Promise<void>) {
    this.#write = write
  }

  /** Takes a piece; resolves once it is written, with how many bytes have been written so far. */
  async take({ seq, chunk, stream }: Piece): Promise<number> {
    this.#whole &&= seq === this.#next
    this.#next = seq + 1
    // With a part missing, the rest would pose as the whole.
    if (!this.#whole || stream === 'stdin') return this.#written
    this.#streamed = true
    if (stream !== 'stdout' && stream !== 'stderr') await this.#write('stdout', chunk)
    else {
      this.exact = true
      const bytes = Buffer.from(chunk, 'base64')
      await this.#write(stream, bytes)
      this.#written += bytes.length
    }
    return this.#written
  }

  /** Writes what was not streamed, because it was over so soon; reports whether all there was is written. */
  end({ stdout = '', stderr = '' }: Written): boolean {
    if (!this.#streamed && this.#whole) {
      void this.#write('stdout', stdout)
      void this.#write('stderr', stderr)
    }
    return this.#whole
  }
}
