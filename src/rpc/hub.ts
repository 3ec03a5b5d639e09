import type { StateVersion } from '../protocol/frames.ts'
import type { Receiver } from './authority.ts'
import type { Connection } from './connection.ts'
import { eventRule, receives } from './events.ts'
import { Streams } from './streams.ts'

/** Everyone who is connected, and the one way to tell them something. */
export class Hub {
  /** Whoever reads events over HTTP. */
  readonly streams = new Streams()
  readonly #connections = new Map<string, Connection>()
  /** Versions of the documents that `presence` and `health` events carry. */
  readonly stateVersion: StateVersion = { presence: 1, health: 1 }

  get size(): number {
    return this.#connections.size
  }

  add(connection: Connection): void {
    this.#connections.set(connection.id, connection)
  }

  get(connId: string): Connection | undefined {
    return this.#connections.get(connId)
  }

  delete(connection: Connection): void {
    this.#connections.delete(connection.id)
  }

  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#connections.values()
  }

  /** Every socket and stream. */
  *receivers(): Generator<Receiver> {
    yield* this.#connections.values()
    yield* this.streams
  }

  /**
   * Sends an event to everyone it is meant for. The payload is serialised once; each socket's own `seq` is spliced
   * in, after the filter, so that no socket ever sees a hole in its numbers.
   */
  publish(event: string, payload: unknown): void {
    const rule = eventRule(event)
    if (rule === undefined) return
    const version =
      event === 'presence' || event === 'health' ? `,"stateVersion":${JSON.stringify(this.stateVersion)}` : ''
    const tail = `,"event":${JSON.stringify(event)},"payload":${JSON.stringify(payload)}${version}}`
    for (const connection of this.#connections.values()) {
      const { caller } = connection
      if (caller !== undefined && receives(caller, rule)) connection.sendNumbered(tail, rule.droppable)
    }
    this.streams.publish(event, rule, payload, tail)
  }

  /** Closes every socket and stream that a test picks out; used when the authority behind it ends (S14). */
  closeWhere(pick: (receiver: Receiver) => boolean, code: Parameters<Receiver['close']>[0], reason: string): void {
    for (const receiver of this.receivers()) if (pick(receiver)) receiver.close(code, reason)
  }
}
