import { setTimeout as delay } from 'node:timers/promises'

const GRACE_MS = 2_000
const LOOK_MS = 25

/** Ends a process and everything it started: SIGTERM to its group, and after a grace SIGKILL to what is left of it. */
export async function endGroup(leader: number, graceMs = GRACE_MS): Promise<void> {
  if (!signalGroup(leader, 'SIGTERM')) return
  const deadline = performance.now() + graceMs
  while (performance.now() < deadline) {
    await delay(LOOK_MS)
    if (!signalGroup(leader, 0)) return
  }
  signalGroup(leader, 'SIGKILL')
}

/** Signals a group at once; reports whether it has a member. */
export function signalGroup(leader: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-leader, signal)
    return true
  } catch (error) {
    // A member that belongs to someone else cannot be signalled, but it is there.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
