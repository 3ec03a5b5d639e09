import { setTimeout as delay } from 'node:timers/promises'

const GRACE_MS = 2_000

/**
 * Ends a process and everything it started: SIGTERM to its group, and SIGKILL to what is left of it once `over` or after
 * a grace. Whether the group still has members would not tell: the dead count until somebody has waited for them.
 */
export async function endGroup(leader: number, over: Promise<void>, graceMs = GRACE_MS): Promise<void> {
  if (!signalGroup(leader, 'SIGTERM')) return
  const grace = new AbortController()
  await Promise.race([over, delay(graceMs, undefined, grace).catch(() => {})])
  grace.abort()
  signalGroup(leader, 'SIGKILL')
}

// Reports whether the group has a member.
function signalGroup(leader: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-leader, signal)
    return true
  } catch (error) {
    // A member that belongs to someone else cannot be signalled, but it is there.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
