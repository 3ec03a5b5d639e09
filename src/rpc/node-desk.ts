import type { DatabaseSync } from 'node:sqlite'
import { Activity } from '../nodes/activity.ts'
import { ExecRuns } from '../nodes/exec-runs.ts'
import { NodeTools } from '../nodes/tools.ts'
import { wakeRouting, wakeWords } from '../nodes/voice-wake.ts'
import { NodeActionStore } from '../store/node-actions.ts'
import { VoiceWakeStore } from '../store/voice-wake.ts'
import { WorkStore } from '../store/work.ts'
import type { Connection } from './connection.ts'
import type { Hub } from './hub.ts'
import type { Caller } from './method.ts'

/** What is kept for nodes and of them, beside what they are asked to do now. */
export class NodeDesk {
  readonly work: WorkStore
  readonly actions: NodeActionStore
  readonly words: VoiceWakeStore
  readonly activity = new Activity()
  readonly runs = new ExecRuns()
  readonly tools = new NodeTools()
  readonly #hub: Hub
  /** The connection of each node: the newest, and none after that one has gone. */
  readonly #current = new Map<string, string>()

  constructor(db: DatabaseSync, hub: Hub) {
    this.work = new WorkStore(db)
    this.actions = new NodeActionStore(db)
    this.words = new VoiceWakeStore(db)
    this.#hub = hub
  }

  /** Reports whether a node's connection is the one that speaks for it. */
  isCurrent({ deviceId = '', connId }: Pick<Caller, 'deviceId' | 'connId'>): boolean {
    return this.#current.get(deviceId) === connId
  }

  /** Takes a connection in: a node is told first what to listen for. */
  async arrived(connection: Connection): Promise<void> {
    const { caller } = connection
    if (caller?.role !== 'node' || caller.deviceId === undefined) return
    this.#current.set(caller.deviceId, caller.connId)
    const triggers = wakeWords(await this.words.get())
    tell(connection, 'voicewake.changed', { triggers })
    tell(connection, 'voicewake.routing.changed', { config: wakeRouting })
  }

  /** Forgets what held for a connection only. */
  left({ caller }: Connection): void {
    if (caller?.role !== 'node' || caller.deviceId === undefined) return
    const { deviceId, connId } = caller
    if (this.isCurrent(caller)) this.#current.delete(deviceId)
    this.activity.forget(deviceId, connId)
    this.runs.closed(connId)
    this.tools.closed(connId)
  }

  /** Keeps new wake words, and tells everyone who listens. */
  async wakeBy(words: readonly unknown[]): Promise<string[]> {
    const triggers = wakeWords(words)
    await this.words.set(triggers)
    this.#hub.publish('voicewake.changed', { triggers })
    for (const connection of this.#hub) {
      if (connection.caller?.role === 'node') tell(connection, 'voicewake.changed', { triggers })
    }
    return triggers
  }
}

// Not numbered: these go to one node, whatever else it receives.
function tell(connection: Connection, event: string, payload: unknown): void {
  connection.send({ type: 'event', event, payload })
}
