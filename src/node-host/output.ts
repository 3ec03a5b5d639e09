import { StringDecoder } from 'node:string_decoder'

/** What stands where output was cut off. */
export const TRUNCATED = '... (truncated)'

/** Collects what a program writes to its two streams, up to a number of bytes for both together. */
export class Output {
  readonly #streams = { stdout: new Stream(), stderr: new Stream() }
  #left: number
  #cut: 'stdout' | 'stderr' | undefined

  constructor(maxBytes: number) {
    this.#left = maxBytes
  }

  get truncated(): boolean {
    return this.#cut !== undefined
  }

  /** Takes a piece and returns the text of it that was kept. */
  take(name: 'stdout' | 'stderr', bytes: Buffer): string {
    const kept = bytes.subarray(0, this.#left)
    this.#left -= kept.length
    const text = this.#streams[name].write(kept)
    if (kept.length === bytes.length || this.#cut !== undefined) return text
    this.#cut = name
    return text + this.#streams[name].mark()
  }

  /** All that was kept; where it was cut, that is said. */
  end(): { stdout: string; stderr: string } {
    return { stdout: this.#streams.stdout.end(), stderr: this.#streams.stderr.end() }
  }
}

class Stream {
  readonly #decoder = new StringDecoder('utf8')
  #text = ''

  write(bytes: Buffer): string {
    const text = this.#decoder.write(bytes)
    this.#text += text
    return text
  }

  mark(): string {
    const mark = `${this.#decoder.end()}\n${TRUNCATED}`
    this.#text += mark
    return mark
  }

  end(): string {
    return this.#text + this.#decoder.end()
  }
}
