/** As base64, what of it fits into one event of the protocol. */
const PIECE = 12_000
/** How many bytes may be on their way that the command has not taken yet. */
const WINDOW = 262_144

/** A piece of input, as `node.invoke.input` takes it. */
export type Input = { dataBase64: string } | { end: true }

/** Sends a stream to a command that runs elsewhere, no faster than it reads. */
export class RunInput {
  readonly #source: NodeJS.ReadableStream
  readonly #send: (piece: Input) => Promise<unknown>
  #sent = 0
  #taken = 0
  #started = false
  #more = Promise.withResolvers<void>()

  constructor(source: NodeJS.ReadableStream, send: (piece: Input) => Promise<unknown>) {
    this.#source = source
    this.#send = send
  }

  /** Hears how many bytes the command has taken. The first word of it says that it has started: nothing is read before. */
  taken(bytes: number): void {
    this.#taken = Math.max(this.#taken, bytes)
    this.#more.resolve()
    this.#more = Promise.withResolvers()
    if (this.#started) return
    this.#started = true
    void this.#pump().catch(() => {
      // The command is over, and takes nothing any more.
    })
  }

  /** Lets go of the source, which would keep this process. */
  close(): void {
    if ('destroy' in this.#source && typeof this.#source.destroy === 'function') this.#source.destroy()
  }

  async #pump(): Promise<void> {
    for await (const bytes of this.#source as AsyncIterable<Buffer>) {
      for (let at = 0; at < bytes.length; at += PIECE) {
        const piece = bytes.subarray(at, at + PIECE)
        while (this.#sent - this.#taken > WINDOW) await this.#more.promise
        this.#sent += piece.length
        await this.#send({ dataBase64: piece.toString('base64') })
      }
    }
    await this.#send({ end: true })
  }
}
