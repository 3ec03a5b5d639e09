import type { PresenceEntry } from '../../src/protocol/frames.ts'
import type { Session } from './session.ts'
import { Store } from './store.ts'

const POLL_MS = 3_000
const MAX_SAMPLES = 240

/** The parts of the health and status documents that the page shows. */
export interface HealthReport {
  ok?: boolean
  uptimeMs?: number
  memory?: { rssBytes?: number; heapUsedBytes?: number }
  warnings?: string[]
  eventLoop?: { degraded?: boolean; delayP99Ms?: number; delayMaxMs?: number; utilization?: number }
}

/** The part of `status` that says how the gateway can be reached. */
export interface Exposure {
  bind?: string
  port?: number
  authMode?: string
  tailscale?: { mode?: string; state?: string; url?: string; error?: string }
  listeners?: (string | { kind?: string; address?: string; host?: string; port?: number; path?: string })[]
}

/** One moment of the gateway's life. */
export interface Sample {
  at: number
  delayMs: number | undefined
  rssBytes: number | undefined
}

/** Watches the gateway's health while someone is looking. */
export class Monitor extends Store {
  health: HealthReport = {}
  presence: PresenceEntry[] = []
  exposure: Exposure = {}
  samples: Sample[] = []
  /** When the gateway started, by this browser's clock. */
  startedAt: number | undefined
  readonly #session: Session
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(session: Session) {
    super()
    this.#session = session
    session.on<HealthReport>('health', (health) => this.#take(health))
    session.on<{ presence?: PresenceEntry[] }>('presence', ({ presence = [] }) => {
      this.presence = presence
      this.changed()
    })
    session.addEventListener('change', () => {
      if (session.phase.name === 'open') this.#begin()
      else this.#pause()
    })
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible' && session.phase.name === 'open') void this.#poll()
      else this.#pause()
    })
  }

  #begin(): void {
    const { snapshot } = this.#session.hello!
    this.presence = snapshot.presence
    this.startedAt = Date.now() - snapshot.uptimeMs
    this.#take((snapshot.health ?? {}) as HealthReport)
    void this.#poll()
  }

  #pause(): void {
    clearTimeout(this.#timer)
  }

  async #poll(): Promise<void> {
    clearTimeout(this.#timer)
    try {
      // `status` knows more; `health` answers everyone.
      const { gateway, ...report } = await this.#session.request<HealthReport & { gateway?: Exposure }>(
        this.#session.can('operator.read') ? 'status' : 'health',
        {}
      )
      if (gateway) this.exposure = gateway
      this.#take(report)
    } catch {
      // The session shows a lost connection; a gateway that is busy is asked again.
    }
    clearTimeout(this.#timer)
    if (this.#session.phase.name !== 'open' || document.visibilityState !== 'visible') return
    this.#timer = setTimeout(() => void this.#poll(), POLL_MS)
  }

  #take(health: HealthReport): void {
    // The two documents overlap; what the newer one does not say still stands.
    this.health = { ...this.health, ...health }
    const at = Date.now()
    if (health.uptimeMs !== undefined) this.startedAt = at - health.uptimeMs
    const delayMs = health.eventLoop?.delayP99Ms
    const rssBytes = health.memory?.rssBytes
    if (delayMs !== undefined || rssBytes !== undefined) {
      this.samples = [...this.samples.slice(1 - MAX_SAMPLES), { at, delayMs, rssBytes }]
    }
    this.changed()
  }
}
