import * as os from 'node:os'
import type { PresenceEntry } from '../protocol/frames.ts'
import type { Connection } from './connection.ts'
import type { Hub } from './hub.ts'
import type { Caller } from './method.ts'

const MAX_ENTRIES = 500
const GONE_MS = 5 * 60_000
const COALESCE_MS = 200

/** Who is around. Short-lived callers (CLI, probes, helper back ends) come and go unseen, as in the reference. */
export class Presence {
  readonly #entries = new Map<string, PresenceEntry>()
  // The entry that each socket made. A client that came back on a new one is not gone when the old one closes.
  readonly #made = new WeakMap<Connection, PresenceEntry>()
  readonly #hub: Hub
  readonly #self: PresenceEntry
  #timer: NodeJS.Timeout | undefined

  constructor(hub: Hub, self: PresenceEntry) {
    this.#hub = hub
    this.#self = self
  }

  list(): PresenceEntry[] {
    return [this.#self, ...[...this.#entries.values()].reverse()]
  }

  arrived(connection: Connection): void {
    if (!visible(connection)) return
    const now = Date.now()
    const entry = { ...describe(connection), onlineSince: now, reason: 'connect', ts: now }
    this.#made.set(connection, entry)
    this.#put(key(connection), entry)
    this.#announceSoon()
  }

  left(connection: Connection): void {
    const entry = this.#made.get(connection)
    if (entry === undefined || this.#entries.get(key(connection)) !== entry) return
    this.#put(key(connection), { ...entry, reason: 'disconnect', ts: Date.now() })
    this.#announceSoon()
  }

  /** Adds a line of text, and tells everyone at once, as `system-event` does; one of a source stands in place of its last, and waits for others. */
  note(text: string, reason: string | undefined, source?: string): void {
    this.#put(`note ${source ?? text}`, { text, ts: Date.now(), ...(reason === undefined ? {} : { reason }) })
    if (source === undefined) this.#announce()
    else this.#announceSoon()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #put(id: string, entry: PresenceEntry): void {
    this.#entries.delete(id)
    this.#entries.set(id, entry)
    const old = Date.now() - GONE_MS
    for (const [each, { reason, ts, onlineSince }] of this.#entries) {
      const gone = ts < old && (reason === 'disconnect' || onlineSince === undefined)
      if (gone || this.#entries.size > MAX_ENTRIES) this.#entries.delete(each)
      else break
    }
  }

  // A thousand nodes that come back after a restart make one event, not a thousand lists of a thousand.
  #announceSoon(): void {
    this.#timer ??= setTimeout(() => this.#announce(), COALESCE_MS).unref()
  }

  #announce(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#hub.stateVersion.presence++
    this.#hub.publish('presence', { presence: this.list() })
  }
}

function visible({ caller }: Connection): boolean {
  return caller !== undefined && ['ui', 'webchat', 'node'].includes(caller.client.mode)
}

function key(connection: Connection): string {
  const { caller, id } = connection
  return caller?.client.instanceId ?? id
}

function describe({ caller, ingress }: Connection): Omit<PresenceEntry, 'ts'> {
  const { client, role, scopes, deviceId, user } = caller!
  const name = client.displayName ?? client.instanceId ?? 'unknown'
  return {
    host: name.slice(0, 200),
    clientId: client.id,
    mode: client.mode,
    version: client.version.slice(0, 64),
    platform: client.platform.slice(0, 64),
    roles: [role],
    scopes: [...scopes],
    text: `${role === 'node' ? 'Node' : 'Operator'}: ${name.slice(0, 200)} · mode ${client.mode}`,
    ...(client.deviceFamily === undefined ? {} : { deviceFamily: client.deviceFamily.slice(0, 64) }),
    ...(client.instanceId === undefined ? {} : { instanceId: client.instanceId.slice(0, 128) }),
    ...(deviceId === undefined ? {} : { deviceId }),
    ...(user === undefined ? {} : { user: profileOf(user) }),
    ...(ingress.local ? {} : { ip: ingress.client })
  }
}

/** A verified user as presence and `users.self` show one. */
export function profileOf({ id, name }: NonNullable<Caller['user']>): { id: string; name: string; email?: string } {
  const shown = (name || id.split('@')[0] || id).slice(0, 200)
  return { id: id.slice(0, 320), name: shown, ...(id.includes('@') ? { email: id.slice(0, 320) } : {}) }
}

/** The gateway's own entry, first in every list. */
export function selfEntry(server: { version: string; bootId: string }): PresenceEntry {
  const host = os.hostname()
  return {
    host,
    version: server.version,
    platform: `${os.platform()} ${os.release()}`,
    deviceFamily: os.type(),
    mode: 'gateway',
    reason: 'self',
    instanceId: server.bootId,
    text: `Gateway: ${host} · app ${server.version} · mode gateway · reason self`,
    ts: Date.now()
  }
}
