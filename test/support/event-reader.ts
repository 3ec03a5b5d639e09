import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { asJson } from './api.ts'

type Json = Record<string, unknown>

/** One event of a stream as it came. */
export interface ReadEvent {
  id: string | undefined
  event: string
  data: Json
}

/** A reader of `GET /api/v1/events`: it keeps everything it receives, and reads no faster than told. */
export class EventReader {
  readonly events: ReadEvent[] = []
  status = 0
  /** Comments that came, which show that the stream lives. */
  beats = 0
  /** Resolves when the stream is over: `end` in good order, `cut` otherwise. */
  readonly closed: Promise<'end' | 'cut'>
  readonly response: IncomingMessage
  readonly #request: ClientRequest
  readonly #listeners = new Set<() => void>()
  #text = ''

  private constructor(req: ClientRequest, response: IncomingMessage) {
    this.#request = req
    this.response = response
    this.status = response.statusCode ?? 0
    this.closed = new Promise((resolve) => {
      response.once('end', () => resolve('end'))
      response.once('close', () => resolve('cut'))
    })
    response.on('error', () => {})
    response.setEncoding('utf8').on('data', (chunk: string) => this.#take(chunk))
  }

  /** Opens a stream; refused ones have no events. */
  static open(
    where: { host?: string; port: number } | { socketPath: string },
    options: { query?: string; headers?: Record<string, string>; lastId?: string | undefined } = {}
  ): Promise<EventReader> {
    const { query = '', headers = asJson(), lastId } = options
    const target = 'port' in where ? { host: where.host ?? '127.0.0.1', port: where.port } : where
    const sent = { ...headers, ...(lastId === undefined ? {} : { 'last-event-id': lastId }) }
    return new Promise((resolve, reject) => {
      const req = request({ ...target, path: `/api/v1/events${query}`, headers: sent, agent: false })
      req.on('response', (response) => resolve(new EventReader(req, response)))
      req.on('error', reject)
      req.end()
    })
  }

  /** The id of the last event that came. */
  get lastId(): string | undefined {
    return this.events.findLast(({ id }) => id !== undefined)?.id
  }

  /** Waits for the n-th event of a name (from 1). */
  event(name: string, n = 1): Promise<ReadEvent> {
    return this.when(() => this.events.filter(({ event }) => event === name)[n - 1])
  }

  /** Waits until something can be found in what has come. */
  when<T>(find: () => T | undefined): Promise<T> {
    const found = find()
    if (found !== undefined) return Promise.resolve(found)
    return new Promise((resolve, reject) => {
      const listener = () => {
        const value = find()
        if (value === undefined) return
        this.#listeners.delete(listener)
        resolve(value)
      }
      this.#listeners.add(listener)
      void this.closed.then(
        (how) => this.#listeners.delete(listener) && reject(new Error(`the stream is over: ${how}`))
      )
    })
  }

  /** Leaves without a word. */
  leave(): Promise<unknown> {
    this.#request.destroy()
    return this.closed
  }

  #take(chunk: string): void {
    this.#text += chunk
    const blocks = this.#text.split('\n\n')
    this.#text = blocks.pop()!
    for (const block of blocks) {
      if (block.startsWith(':')) this.beats++
      else this.events.push(parse(block))
    }
    for (const listener of [...this.#listeners]) listener()
  }
}

function parse(block: string): ReadEvent {
  const fields = new Map(
    block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
  )
  return {
    id: fields.get('id'),
    event: fields.get('event') ?? 'message',
    data: JSON.parse(fields.get('data') ?? 'null')
  }
}
