import type { Health } from './health.ts'
import type { Hub } from './hub.ts'
import { LIMITS } from './limits.ts'

/** Starts what happens by the clock, once for all sockets: ticks, health, pings. Returns how to stop it. */
export function startClock(hub: Hub, health: Health): () => void {
  const timers = [
    setInterval(() => hub.publish('tick', { ts: Date.now() }), LIMITS.tickMs),
    setInterval(() => {
      hub.stateVersion.health++
      hub.publish('health', health.report())
    }, LIMITS.healthMs),
    setInterval(() => {
      for (const connection of hub) connection.ping()
    }, LIMITS.pingMs),
    setInterval(() => hub.streams.beat(), LIMITS.streamBeatMs)
  ]
  for (const timer of timers) timer.unref()
  return () => timers.forEach(clearInterval)
}
