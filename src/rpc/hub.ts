import type { StateVersion } from '../protocol/frames.ts'
import { satisfies } from '../protocol/scopes.ts'
import type { Connection } from './connection.ts'
import { type EventRule, eventRule } from './events.ts'

/** Everyone who is connected, and the one way to tell them something. */
export class Hub {
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
      if (receives(connection, rule)) connection.sendNumbered(tail, rule.droppable)
    }
  }

  /** Closes every socket that a test picks out; used when the authority behind it ends (S14). */
  closeWhere(
    pick: (connection: Connection) => boolean,
    code: Parameters<Connection['close']>[0],
    reason: string
  ): void {
    for (const connection of this.#connections.values()) if (pick(connection)) connection.close(code, reason)
  }
}

function receives(connection: Connection, rule: EventRule): boolean {
  const { caller } = connection
  if (caller === undefined) return false
  return rule.scope === 'any' || (caller.role === 'operator' && satisfies(caller.scopes, rule.scope))
}
