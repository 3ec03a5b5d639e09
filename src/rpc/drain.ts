import { setTimeout as wait } from 'node:timers/promises'
import type { Health } from './health.ts'
import type { Hub } from './hub.ts'
import { LIMITS } from './limits.ts'
import type { PreauthSockets } from './preauth.ts'

const CLOSE_MS = 500

/** Ends every socket and stream in good order: told first, calls under way get a bounded time, then close 1012. */
export async function drain(hub: Hub, waiting: PreauthSockets, health: Health): Promise<void> {
  health.draining = true
  hub.publish('shutdown', { reason: 'gateway stopping' })
  const deadline = Date.now() + LIMITS.drainMs
  while ([...hub].some(({ inFlight, waiting }) => inFlight + waiting > 0) && Date.now() < deadline) await wait(20)
  for (const connection of [...hub, ...waiting]) connection.close('serviceRestart', 'service restart')
  for (const stream of hub.streams) stream.close('serviceRestart', 'service restart')
  const patience = Date.now() + CLOSE_MS
  while (hub.size + waiting.size + hub.streams.size > 0 && Date.now() < patience) await wait(10)
  for (const connection of [...hub, ...waiting]) connection.terminate()
  for (const stream of hub.streams) stream.cut()
}
