import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { EventLoopHealth } from './health.ts'

/** How many events are kept, and how long equal ones are one. */
const CAPACITY = 1_000
const SAME_MS = 60_000
/** A stall that clients notice. */
const STALL_MS = 1_000

/** How much memory the process has. */
export interface Memory {
  rssBytes: number
  heapTotalBytes: number
  heapUsedBytes: number
}

/** What is known of an event: codes, counts, sizes and times. Never a name, an address or a text that somebody sent. */
export interface StabilityFacts {
  /** Codes that tell one kind of an event from another. */
  reason?: string
  level?: 'warning' | 'critical'
  surface?: string
  action?: 'rejected'
  outcome?: string
  /** Measurements. */
  limitBytes?: number
  thresholdBytes?: number
  durationMs?: number
  delayP99Ms?: number
  delayMaxMs?: number
  utilization?: number
  cpuCoreRatio?: number
  memory?: Memory
}

/** Something that happened to the process; `count` equal ones within a minute are one. */
export interface StabilityEvent extends StabilityFacts {
  seq: number
  ts: number
  type: string
  count?: number
}

/** Which events are wanted: the latest of those. */
export interface StabilityQuery {
  limit?: number | undefined
  type?: string | undefined
  sinceSeq?: number | undefined
}

/** The answer of `diagnostics.stability`. */
export interface StabilitySnapshot {
  generatedAt: string
  capacity: number
  count: number
  /** How many were forgotten. */
  dropped: number
  firstSeq?: number
  lastSeq?: number
  events: StabilityEvent[]
  summary: Record<string, unknown> & { byType: Record<string, number> }
}

/** Remembers what happened to this process lately: a bounded record in memory, of what is out of the ordinary. */
export class Stability {
  readonly #events: StabilityEvent[] = []
  readonly #latest = new Map<string, StabilityEvent>()
  #seq = 0

  record(type: string, facts: StabilityFacts = {}): void {
    const { reason, level, surface, outcome } = facts
    const key = [type, reason, level, surface, outcome].join(' ')
    const ts = Date.now()
    const same = this.#latest.get(key)
    if (same !== undefined && ts - same.ts < SAME_MS) {
      same.count = (same.count ?? 1) + 1
      return
    }
    const event = { seq: ++this.#seq, ts, type, ...facts }
    this.#events.push(event)
    // Keys are made of codes, of which there are few.
    this.#latest.set(key, event)
    if (this.#events.length > CAPACITY) this.#events.shift()
  }

  /** Looks at a sample of the event loop, and at the memory of that moment. */
  sampled({ degraded, delayP99Ms, delayMaxMs, utilization, cpuCoreRatio }: EventLoopHealth): void {
    if (degraded || delayMaxMs >= STALL_MS) {
      const reason = 'event_loop_delay'
      this.record('diagnostic.liveness.warning', { reason, delayP99Ms, delayMaxMs, utilization, cpuCoreRatio })
    }
    const memory = memoryNow()
    const heapLimit = getHeapStatistics().heap_size_limit
    this.#pressure('heap_threshold', memory, memory.heapUsedBytes, heapLimit, [0.85, 0.95])
    this.#pressure('rss_threshold', memory, memory.rssBytes, availableBytes(), [0.5, 0.75])
  }

  #pressure(reason: string, memory: Memory, used: number, of: number, [warning, critical]: [number, number]): void {
    if (used < of * warning) return
    const level = used < of * critical ? 'warning' : 'critical'
    const thresholdBytes = Math.round(of * (level === 'critical' ? critical : warning))
    this.record('diagnostic.memory.pressure', { reason, level, memory, thresholdBytes })
  }

  snapshot({ limit = 50, type, sinceSeq = 0 }: StabilityQuery = {}): StabilitySnapshot {
    const wanted = this.#events.filter((event) => event.seq > sinceSeq && (type === undefined || event.type === type))
    const [first, last] = [wanted[0], wanted.at(-1)]
    return {
      generatedAt: new Date().toISOString(),
      capacity: CAPACITY,
      count: wanted.length,
      dropped: this.#seq - this.#events.length,
      ...(first === undefined || last === undefined ? {} : { firstSeq: first.seq, lastSeq: last.seq }),
      events: wanted.slice(-limit),
      summary: summaryOf(wanted)
    }
  }
}

function summaryOf(events: readonly StabilityEvent[]): StabilitySnapshot['summary'] {
  const byType: Record<string, number> = {}
  const bySurface: Record<string, number> = {}
  let rejected = 0
  for (const { type, count = 1, surface = 'unknown' } of events) {
    byType[type] = (byType[type] ?? 0) + count
    if (type !== 'payload.large') continue
    rejected += count
    bySurface[surface] = (bySurface[surface] ?? 0) + count
  }
  const pressures = events.flatMap(({ memory }) => memory ?? [])
  const memory = {
    latest: memoryNow(),
    maxRssBytes: Math.max(0, ...pressures.map(({ rssBytes }) => rssBytes)),
    maxHeapUsedBytes: Math.max(0, ...pressures.map(({ heapUsedBytes }) => heapUsedBytes)),
    pressureCount: byType['diagnostic.memory.pressure'] ?? 0
  }
  return {
    byType,
    ...(pressures.length === 0 ? {} : { memory }),
    ...(rejected === 0 ? {} : { payloadLarge: { count: rejected, rejected, truncated: 0, chunked: 0, bySurface } })
  }
}

function memoryNow(): Memory {
  const { rss, heapTotal, heapUsed } = process.memoryUsage()
  return { rssBytes: rss, heapTotalBytes: heapTotal, heapUsedBytes: heapUsed }
}

// A container may have less than its machine.
function availableBytes(): number {
  const bound = process.constrainedMemory()
  return bound > 0 ? Math.min(bound, totalmem()) : totalmem()
}
