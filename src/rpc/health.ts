import { monitorEventLoopDelay, performance } from 'node:perf_hooks'

/** How the event loop fared over the last interval. Times in milliseconds, utilization 0 to 1. */
export interface EventLoopHealth {
  degraded: boolean
  degradedSinceMs: number | null
  reasons: string[]
  intervalMs: number
  delayP99Ms: number
  delayMaxMs: number
  utilization: number
  cpuCoreRatio: number
}

const DEGRADED_DELAY_MS = 500
const RESOLUTION_MS = 20
const MIN_INTERVAL_MS = 1_000

/** Measures this process, and says whether it is ready. One sample a second at most, however many ask. */
export class Health {
  readonly startedAt = Date.now()
  /** Set when the process begins to stop: `/readyz` answers 503 from then on. */
  draining = false
  /** Whether edits of the configuration take effect while the gateway runs. */
  hotReloadStatus: 'active' | 'disabled' = 'disabled'
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  #utilization = performance.eventLoopUtilization()
  #cpu = process.cpuUsage()
  #sampledAt = performance.now()
  #eventLoop: EventLoopHealth
  #degradedSince: number | null = null
  readonly #sampled: (eventLoop: EventLoopHealth) => void

  /** `sampled` hears every sample. */
  constructor(sampled: (eventLoop: EventLoopHealth) => void) {
    this.#sampled = sampled
    this.#delay.enable()
    this.#eventLoop = this.#sample(0)
  }

  get uptimeMs(): number {
    return Date.now() - this.startedAt
  }

  eventLoop(): EventLoopHealth {
    const elapsed = performance.now() - this.#sampledAt
    if (elapsed >= MIN_INTERVAL_MS) {
      this.#eventLoop = this.#sample(elapsed)
      this.#sampled(this.#eventLoop)
    }
    return this.#eventLoop
  }

  /** The document of the `health` method and event; its keys are the protocol's closed set. */
  report(): Record<string, unknown> {
    const started = performance.now()
    const eventLoop = this.eventLoop()
    return {
      ok: true,
      ts: Date.now(),
      durationMs: Math.round(performance.now() - started),
      plugins: { loaded: [], errors: [], unavailable: [] },
      configReload: { hotReloadStatus: this.hotReloadStatus },
      channels: {},
      channelOrder: [],
      channelLabels: {},
      heartbeatSeconds: 0,
      defaultAgentId: 'main',
      agents: [],
      sessions: { path: '', count: 0, recent: [] },
      eventLoop
    }
  }

  stop(): void {
    this.#delay.disable()
  }

  #sample(intervalMs: number): EventLoopHealth {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#utilization)
    const delayP99Ms = late(this.#delay.percentile(99))
    const delayMaxMs = late(this.#delay.max)
    this.#delay.reset()
    this.#utilization = now
    const cpu = process.cpuUsage(this.#cpu)
    this.#cpu = process.cpuUsage()
    this.#sampledAt = performance.now()
    const degraded = delayP99Ms > DEGRADED_DELAY_MS
    this.#degradedSince = degraded ? (this.#degradedSince ?? Date.now()) : null
    return {
      degraded,
      degradedSinceMs: this.#degradedSince,
      reasons: degraded ? ['event_loop_delay'] : [],
      intervalMs: Math.round(intervalMs),
      delayP99Ms: round(delayP99Ms),
      delayMaxMs: round(delayMaxMs),
      utilization: round(utilization),
      cpuCoreRatio: round((cpu.user + cpu.system) / 1000 / intervalMs)
    }
  }
}

// The histogram holds the time between two samples: what exceeds the sampling interval is delay.
function late(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS)
}

// An interval without a sample reports infinities.
function round(value: number): number {
  return Number.isFinite(value) ? Math.round(value * 1000) / 1000 : 0
}
