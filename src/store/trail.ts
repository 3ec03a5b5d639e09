import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import type { Listener } from '../auth/ingress.ts'
import type { Surface } from '../auth/surfaces.ts'
import type { EventKind, EventOutcome } from '../protocol/audit.ts'
import { transaction } from './database.ts'

/** One thing that happened to access. It has no place for a credential: only for who, how, from where, and a code. */
export interface AuthEvent {
  kind: EventKind
  outcome: EventOutcome
  /** The code of a refusal, such as `token_mismatch`. */
  reason?: string | undefined
  /** How the caller authenticated, or tried to. */
  method?: string | undefined
  /** A user, a device's id, a token's name, or how the caller came in. */
  who?: string | undefined
  address: string
  listener?: Listener | undefined
  /** The id of the client program. */
  client?: string | undefined
  surface?: Surface | undefined
  /** What it was about: a name, an id or a setting's path, never a value. */
  detail?: string | undefined
}

/** An event as it stands in the trail; `count` equal ones within a moment are one. */
export interface RecordedEvent extends AuthEvent {
  id: number
  ts: number
  count: number
}

/** Which events to look at, the newest first. */
export interface TrailQuery {
  limit: number
  /** Only events older than the one with this id, or newer than the one with that. */
  before?: number | undefined
  after?: number | undefined
  outcome?: EventOutcome | undefined
  kind?: EventKind | undefined
  /** A part of who it was, in any case. */
  who?: string | undefined
  address?: string | undefined
}

const BATCH_MS = 200
const FULL_BATCH = 500
const MAX_WAITING = 1_000
/** Of those, refusals take no more than this: a flood of them leaves room for what succeeded or changed. */
const MAX_WAITING_DENIED = 900
const MAX_TEXT = 256

// What succeeded or changed is kept apart from refusals, so that nobody can push it out by failing often enough.
const shelves = [
  { where: `outcome = 'denied'`, keep: 10_000 },
  { where: `outcome <> 'denied'`, keep: 20_000 }
]

const columns = [
  'kind',
  'outcome',
  'reason',
  'method',
  'who',
  'address',
  'listener',
  'client',
  'surface',
  'detail'
] as const
const OUTCOME = columns.indexOf('outcome')
const ADDRESS = columns.indexOf('address')
const INSERT = `INSERT INTO auth_event (ts, count, ${columns}) VALUES (?, ?${', ?'.repeat(columns.length)})`

interface Waiting {
  ts: number
  count: number
  values: string[]
}

/**
 * Who came in, who was turned away, and who changed that: an append-only, bounded record.
 *
 * An event is put into memory and written with its neighbours: one transaction, and so one sync of the disk, each 200 ms
 * however many callers fail. A process that is killed loses that much of the record and nothing else.
 */
export class Trail {
  readonly #db: DatabaseSync
  readonly #log: { error(fields: object, message: string): void }
  readonly #now: () => number
  readonly #waiting = new Map<string, Waiting>()
  /** How many events each shelf holds; unknown before the first write, and after one that failed. */
  #held: number[] | undefined
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Immediate | undefined
  #failing = false
  #closed = false

  constructor(db: DatabaseSync, log: { error(fields: object, message: string): void }, now: () => number = Date.now) {
    this.#db = db
    this.#log = log
    this.#now = now
  }

  /** Notes an event. Writes nothing yet, and never throws: it may stand on any path. */
  record(event: AuthEvent): void {
    const room = event.outcome === 'denied' ? MAX_WAITING_DENIED : MAX_WAITING
    if (!this.#put(event, room)) {
      // Counted still, but no longer told apart: this many of a kind and outcome there are only a few.
      this.#put({ kind: event.kind, outcome: event.outcome, reason: 'too_many', address: 'many' }, Infinity)
    }
    if (this.#closed) return
    if (this.#waiting.size >= FULL_BATCH && !this.#failing) this.#soon ??= setImmediate(() => this.flush())
    this.#timer ??= setTimeout(() => this.flush(), BATCH_MS).unref()
  }

  /** Writes what is waiting. */
  flush(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#soon)
    this.#timer = this.#soon = undefined
    if (this.#waiting.size === 0) return
    try {
      transaction(this.#db, () => this.#write())
      this.#waiting.clear()
      this.#failing = false
    } catch (err) {
      // A full disk must not keep anyone out. What waits is bounded, and is tried again with the next event.
      if (!this.#failing) this.#log.error({ err }, 'audit trail not written')
      this.#failing = true
      this.#held = undefined
    }
  }

  /** Writes what is waiting, for the last time. */
  close(): void {
    this.#closed = true
    this.flush()
  }

  /** Reads events, those included that were recorded a moment ago. `nextBefore` leads to older ones. */
  async list(query: TrailQuery): Promise<{ events: RecordedEvent[]; nextBefore?: number }> {
    this.flush()
    const { before, after, outcome, kind, who, address, limit } = query
    const filters: [string, SQLInputValue | undefined][] = [
      ['id < ?', before],
      ['id > ?', after],
      ['outcome = ?', outcome],
      ['kind = ?', kind],
      ['instr(lower(who), lower(?)) > 0', who],
      ['address = ?', address]
    ]
    const conditions = filters.filter((each): each is [string, SQLInputValue] => each[1] !== undefined)
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.map(([sql]) => sql).join(' AND ')}`
    const rows = this.#db
      .prepare(`SELECT * FROM auth_event ${where} ORDER BY id DESC LIMIT ?`)
      .all(...conditions.map(([, value]) => value), limit + 1) as Record<string, unknown>[]
    const events = rows.slice(0, limit).map(eventOf)
    return rows.length > limit ? { events, nextBefore: events.at(-1)!.id } : { events }
  }

  // False when it is a new one, and there is no room for it.
  #put(event: AuthEvent, room: number): boolean {
    const values = columns.map((column) => plain(event[column]))
    const key = values.join('\n')
    const known = this.#waiting.get(key)
    if (known !== undefined) known.count++
    else if (this.#waiting.size >= room) return false
    else this.#waiting.set(key, { ts: this.#now(), count: 1, values })
    return true
  }

  #write(): void {
    const held = this.#held ?? shelves.map(({ where }) => this.#count(where))
    const insert = this.#db.prepare(INSERT)
    for (const { ts, count, values } of this.#waiting.values()) {
      insert.run(ts, count, ...values.map((value, column) => (value === '' && column !== ADDRESS ? null : value)))
      held[values[OUTCOME] === 'denied' ? 0 : 1]!++
    }
    for (const [shelf, { where, keep }] of shelves.entries()) {
      const excess = held[shelf]! - keep
      if (excess <= 0) continue
      const oldest = `SELECT id FROM auth_event WHERE ${where} ORDER BY id LIMIT ?`
      this.#db.prepare(`DELETE FROM auth_event WHERE id IN (${oldest})`).run(excess)
      held[shelf] = keep
    }
    this.#held = held
  }

  #count(where: string): number {
    return this.#db.prepare(`SELECT count(*) AS events FROM auth_event WHERE ${where}`).get()?.events as number
  }
}

// Bounded, and safe to show anywhere: control and direction characters are escaped (S25).
function plain(text: string | undefined): string {
  if (text === undefined) return ''
  const escaped = text
    .slice(0, MAX_TEXT)
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)
  return escaped.slice(0, MAX_TEXT)
}

function eventOf(row: Record<string, unknown>): RecordedEvent {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as unknown as RecordedEvent
}
