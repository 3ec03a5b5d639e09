import type { ServerResponse } from 'node:http'
import type { CLOSE } from '../protocol/codes.ts'
import { receives } from './events.ts'
import { LIMITS } from './limits.ts'
import type { Caller } from './method.ts'
import type { Replay, StreamEvent } from './replay.ts'

/** What one stream of events is made of. */
export interface StreamFacts {
  caller: Caller
  /** Names of the events that it is for; undefined for all. */
  wanted: ReadonlySet<string> | undefined
  /** The number of the last event that the reader has. */
  at: number
}

const BEAT = Buffer.from(':\n\n')

/**
 * One reader of events over HTTP. It gets what its caller may see; while it does not read, nothing is written, and what
 * happens meanwhile waits in the replay. Whoever falls behind that, or reads nothing for too long, is cut off.
 */
export class EventStream {
  readonly caller: Caller
  readonly #wanted: ReadonlySet<string> | undefined
  readonly #response: ServerResponse
  readonly #replay: Replay
  #at: number
  #stalledAt: number | undefined

  constructor(response: ServerResponse, replay: Replay, { caller, wanted, at }: StreamFacts) {
    this.caller = caller
    this.#wanted = wanted
    this.#response = response
    this.#replay = replay
    this.#at = at
    response.on('drain', () => {
      this.#stalledAt = undefined
      this.catchUp()
    })
  }

  /** Reports whether anything can still be sent. */
  get open(): boolean {
    return !this.#response.writableEnded && !this.#response.destroyed
  }

  /** Sends words of the stream's own, which nobody else gets. */
  tell(event: string, id: string, data: unknown): void {
    this.#write(block(event, JSON.stringify(data), id))
  }

  /** Sends what has happened since the last event that it has. */
  catchUp(): void {
    if (this.#missed()) return
    for (const event of this.#replay.after(this.#at)) {
      if (this.#stalledAt !== undefined) return
      this.#pass(event)
    }
  }

  /** Takes what has just happened. */
  offer(event: StreamEvent): void {
    if (this.#stalledAt !== undefined) this.#missed()
    else if (this.open) this.#pass(event)
  }

  /** Shows the reader, and whatever is in between, that the stream lives. */
  beat(): void {
    if (!this.open) return
    if (this.#stalledAt === undefined) this.#write(BEAT)
    else if (Date.now() - this.#stalledAt > LIMITS.streamStallMs) this.cut()
  }

  /** Ends a stream whose reader does not keep up; it may come back, and is told then that something is missing. */
  cut(): void {
    this.#response.destroy()
  }

  /** Ends the stream in good order, and says why. */
  close(code: keyof typeof CLOSE, reason: string): void {
    if (!this.open) return
    this.#response.end(block('end', JSON.stringify({ type: 'end', code, reason })))
    setTimeout(() => this.#response.destroy(), LIMITS.closeMs).unref()
  }

  // Reports whether there is no going on: the reader is gone, or what it would get next is.
  #missed(): boolean {
    if (this.open && this.#at < this.#replay.lost) this.cut()
    return !this.open
  }

  #pass(event: StreamEvent): void {
    this.#at = event.number
    const wanted = this.#wanted === undefined || this.#wanted.has(event.name)
    if (wanted && receives(this.caller, event.rule)) this.#write(event.frame)
  }

  #write(chunk: Buffer): void {
    if (!this.#response.write(chunk)) this.#stalledAt ??= Date.now()
  }
}

/** One event as Server-Sent Events spell it. JSON has no line of its own to break out with. */
export function block(event: string, data: string, id?: string): Buffer {
  return Buffer.from(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`)
}
