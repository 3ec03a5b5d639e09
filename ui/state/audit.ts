import type { EventKind, EventOutcome } from '../../src/protocol/audit.ts'
import type { Session } from './session.ts'
import { Store } from './store.ts'

const PAGE = 100
/** More than a person reads; whoever looks for older ones filters. */
const MAX_EVENTS = 2_000
const POLL_MS = 4_000

/** One thing that happened to access. */
export interface AuditEvent {
  id: number
  ts: number
  kind: EventKind
  outcome: EventOutcome
  reason?: string
  method?: string
  who?: string
  address: string
  client?: string
  detail?: string
  count: number
}

interface Page {
  events: AuditEvent[]
  nextBefore?: number
}

/** The audit trail, kept up to date while someone looks at it. */
export class Audit extends Store {
  /** Newest first. */
  events: AuditEvent[] = []
  outcome: EventOutcome | undefined
  loaded = false
  error: string | undefined
  readonly #session: Session
  #older: number | undefined
  #watched = false
  #asked = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(session: Session) {
    super()
    this.#session = session
    session.addEventListener('change', () => {
      // Whoever signs in next may not be allowed to see this.
      if (!session.hello) this.#forget()
      this.#catchUp()
    })
    document.addEventListener('visibilitychange', () => this.#catchUp())
    window.addEventListener('focus', () => this.#catchUp())
  }

  /** Reports whether this session may look at the trail at all. */
  get allowed(): boolean {
    return this.#session.can('operator.admin')
  }

  /** Reports whether older events can be loaded. */
  get more(): boolean {
    return this.#older !== undefined && this.events.length < MAX_EVENTS
  }

  /** Keeps the trail up to date from now on. */
  watch(): void {
    this.#watched = true
    this.#catchUp()
  }

  /** Stops keeping it up to date. */
  unwatch(): void {
    this.#watched = false
    clearTimeout(this.#timer)
  }

  /** Shows only what ended so. */
  async show(outcome: EventOutcome | undefined): Promise<void> {
    this.#forget()
    this.outcome = outcome
    this.changed()
    await this.#refresh()
  }

  async loadOlder(): Promise<void> {
    const { outcome } = this
    const before = this.#older
    if (before === undefined) return
    try {
      const page = await this.#ask({ before })
      // Meanwhile another list may have taken this one's place.
      if (this.#older !== before || this.outcome !== outcome) return
      this.events = [...this.events, ...page.events].slice(0, MAX_EVENTS)
      this.#older = page.nextBefore
      this.error = undefined
    } catch (error) {
      this.#failed(error)
    }
    this.changed()
  }

  #catchUp(): void {
    clearTimeout(this.#timer)
    if (this.#watched && this.#looking) void this.#refresh()
  }

  get #looking(): boolean {
    return this.#session.phase.name === 'open' && document.visibilityState === 'visible'
  }

  async #refresh(): Promise<void> {
    if (!this.allowed) return
    clearTimeout(this.#timer)
    const asked = ++this.#asked
    const newest = this.events[0]?.id
    try {
      const page = await this.#ask(newest === undefined ? {} : { after: newest })
      // An answer that a later question overtook is of another list, or would show its events twice.
      if (asked !== this.#asked) return
      this.#take(page, newest !== undefined && page.nextBefore === undefined)
    } catch (error) {
      if (asked === this.#asked) this.#failed(error)
    }
    this.changed()
    if (this.#watched && this.#looking) this.#timer = setTimeout(() => void this.#refresh(), POLL_MS)
  }

  #take({ events, nextBefore }: Page, continues: boolean): void {
    if (continues) this.events = [...events, ...this.events].slice(0, MAX_EVENTS)
    else {
      this.events = events
      this.#older = nextBefore
    }
    this.error = undefined
    this.loaded = true
  }

  #ask(which: { before?: number; after?: number }): Promise<Page> {
    const { outcome } = this
    return this.#session.request('gateway.audit.list', { limit: PAGE, ...which, ...(outcome ? { outcome } : {}) })
  }

  #failed(error: unknown): void {
    // A lost connection is shown by the shell.
    if (this.#session.phase.name !== 'open') return
    this.error = error instanceof Error ? error.message : String(error)
  }

  #forget(): void {
    this.#asked++
    this.#older = undefined
    this.events = []
    this.loaded = false
    this.error = undefined
  }
}
