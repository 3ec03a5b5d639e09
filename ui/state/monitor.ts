import type { PresenceEntry } from '../../src/protocol/frames.ts'
import type { Session } from './session.ts'
import { Store } from './store.ts'
import type { Exposure } from './ways-in.ts'

const POLL_MS = 3_000
const MAX_SAMPLES = 240

/** The parts of the health and status documents that the page shows. */
export interface HealthReport {
  ok?: boolean
  /** By the gateway's clock. */
  ts?: number
  uptimeMs?: number
  memory?: { rssBytes?: number; heapUsedBytes?: number }
  warnings?: string[]
  eventLoop?: { degraded?: boolean; delayP99Ms?: number; delayMaxMs?: number; utilization?: number }
}

/** How the configuration file and the running gateway stand to each other. */
export interface ConfigReload {
  problem?: string
  restart?: string[]
}

interface StatusReport extends HealthReport {
  gateway?: Exposure
  configReload?: ConfigReload
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
  configReload: ConfigReload = {}
  samples: Sample[] = []
  /** When the gateway started, by this browser's clock. */
  startedAt: number | undefined
  /** How far this browser's clock is ahead of the gateway's, in milliseconds. */
  clockAheadMs = 0
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
      // Whoever signs in next may not be allowed to see this.
      if (!session.hello) this.#forget()
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
    const health = (snapshot.health ?? {}) as HealthReport
    this.clockAheadMs = health.ts === undefined ? 0 : Date.now() - health.ts
    this.#take(health)
    void this.#poll()
  }

  #forget(): void {
    this.health = {}
    this.presence = []
    this.exposure = {}
    this.configReload = {}
    this.samples = []
  }

  #pause(): void {
    clearTimeout(this.#timer)
  }

  async #poll(): Promise<void> {
    clearTimeout(this.#timer)
    try {
      // `status` knows more; `health` answers everyone.
      const { gateway, configReload, ...report } = await this.#session.request<StatusReport>(
        this.#session.can('operator.read') ? 'status' : 'health',
        {}
      )
      if (gateway) {
        this.exposure = gateway
        this.configReload = configReload ?? {}
      }
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
