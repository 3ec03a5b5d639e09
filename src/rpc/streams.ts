import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { block, EventStream, type StreamFacts } from './event-stream.ts'
import { EVENT_NAMES, type EventRule, eventRule, receives } from './events.ts'
import { LIMITS } from './limits.ts'
import type { Caller } from './method.ts'
import { Quota } from './quota.ts'
import { Replay } from './replay.ts'

/** Everyone who reads events over HTTP. What happens is kept from the first reader on, so that one can come back. */
export class Streams {
  /** Who may open one more. */
  readonly quota = new Quota(LIMITS.streamsPerCaller, LIMITS.streams)
  readonly #replay = new Replay()
  readonly #streams = new Set<EventStream>()
  // Numbers start anew with each process: an id of another one means nothing here.
  readonly #process = randomBytes(4).toString('hex')
  /** Since when there is no reader; undefined while there is one. Nothing is kept before the first. */
  #quietSince = 0
  #keeping = false

  get size(): number {
    return this.#streams.size
  }

  [Symbol.iterator](): IterableIterator<EventStream> {
    return this.#streams.values()
  }

  /** Begins a stream on a response whose head is written. `lastId` is where the reader was the last time. */
  open(response: ServerResponse, { lastId, ...facts }: Omit<StreamFacts, 'at'> & { lastId: string | undefined }) {
    if (!this.#keeping) this.#replay.clear()
    this.#keeping = true
    const from = lastId === undefined ? this.#replay.last : this.#position(lastId)
    const at = from ?? this.#replay.lost
    const stream = new EventStream(response, this.#replay, { ...facts, at })
    this.#streams.add(stream)
    // Whoever went away while something was on its way to them.
    response.on('error', () => {})
    response.once('close', () => {
      this.#streams.delete(stream)
      this.#quietSince = Date.now()
    })
    const id = `${this.#process}-${at}`
    stream.tell('ready', id, { type: 'ready', events: visibleTo(facts), heartbeatMs: LIMITS.streamBeatMs })
    if (from === undefined) stream.tell('gap', id, { type: 'gap', reason: 'events since then are no longer kept' })
    stream.catchUp()
    return stream
  }

  /** Sends an event to every stream that it is meant for. `tail` is its frame but for the beginning, made once. */
  publish(name: string, rule: EventRule, payload: unknown, tail: string): void {
    if (!this.#keeping) return
    const key = keyOf(name, rule, payload)
    const event = this.#replay.add({ name, rule, key }, (n) =>
      block(name, `{"type":"event"${tail}`, `${this.#process}-${n}`)
    )
    for (const stream of this.#streams) stream.offer(event)
  }

  /** Keeps streams alive, and forgets what nobody comes back for. */
  beat(): void {
    for (const stream of this.#streams) stream.beat()
    if (this.size > 0 || !this.#keeping || Date.now() - this.#quietSince < LIMITS.replayMs) return
    this.#keeping = false
    this.#replay.clear()
  }

  // Where an id is on the record; undefined when what came after it is not all there.
  #position(id: string): number | undefined {
    const [, process, digits] = /^([0-9a-f]{8})-(\d{1,15})$/.exec(id) ?? []
    const number = Number(digits)
    return process === this.#process && number >= this.#replay.lost && number <= this.#replay.last ? number : undefined
  }
}

function keyOf(name: string, { droppable, about }: EventRule, payload: unknown): string | undefined {
  if (!droppable || about === undefined) return droppable ? name : undefined
  return `${name} ${(payload as Record<string, unknown> | undefined)?.[about]}`
}

/** The events that a stream can get. */
function visibleTo({ caller, wanted }: { caller: Caller; wanted: ReadonlySet<string> | undefined }): string[] {
  return EVENT_NAMES.filter((name) => {
    const rule = eventRule(name)
    return rule !== undefined && receives(caller, rule) && (wanted === undefined || wanted.has(name))
  })
}
