import type { Scope } from '../../src/protocol/scopes.ts'
import type { Session } from './session.ts'
import { Store } from './store.ts'

/** What one burst of events is asked about once. */
const BURST_MS = 100

/** Something of the gateway's as it stands: asked for when the session opens and at each of its events. */
export abstract class Listing extends Store {
  loaded = false
  error: string | undefined
  protected readonly session: Session
  readonly #scope: Scope
  #visit = 0
  #asking: Promise<void> | undefined
  #stale = false
  #soon: ReturnType<typeof setTimeout> | undefined

  constructor(session: Session, scope: Scope, events: string[]) {
    super()
    this.session = session
    this.#scope = scope
    for (const event of events) session.on(event, () => this.#refreshSoon())
    session.addEventListener('change', () => {
      // Whoever signs in next may not be allowed to see this.
      if (!session.hello) this.#forget()
      if (session.phase.name === 'open') void this.refresh()
    })
  }

  /** Asks the gateway; what is returned takes the answer in. */
  protected abstract load(): Promise<() => void>

  /** Forgets what was taken in. */
  protected abstract clear(): void

  /** Reports whether this session may look at it at all. */
  get allowed(): boolean {
    return this.session.can(this.#scope)
  }

  /** Ends when what is shown is no older than this call. */
  refresh(): Promise<void> {
    if (!this.allowed) return Promise.resolve()
    this.#stale = true
    if (this.#asking !== undefined) return this.#asking
    const asking = this.#askUntilFresh().finally(() => {
      if (this.#asking === asking) this.#asking = undefined
    })
    this.#asking = asking
    return asking
  }

  /** Changes something there, and shows what came of it. */
  protected async act(method: string, params: object): Promise<void> {
    await this.session.request(method, params)
    await this.refresh()
  }

  async #askUntilFresh(): Promise<void> {
    const visit = this.#visit
    while (this.#stale) {
      this.#stale = false
      try {
        const take = await this.load()
        if (visit !== this.#visit) return
        take()
        this.error = undefined
        this.loaded = true
      } catch (error) {
        if (visit !== this.#visit || this.session.phase.name !== 'open') return
        this.error = error instanceof Error ? error.message : String(error)
      }
      this.changed()
    }
  }

  #refreshSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined
      if (this.session.phase.name === 'open') void this.refresh()
    }, BURST_MS)
  }

  #forget(): void {
    this.#visit++
    this.#asking = undefined
    this.#stale = false
    this.loaded = false
    this.error = undefined
    this.clear()
  }
}
