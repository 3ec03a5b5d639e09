import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Paths } from '../../config/types.ts'

/** The gateway process of a state folder, as its traces show it. */
export interface Running {
  running: boolean
  /** Reports whether the owner's socket answers. */
  answers: boolean
  /** The process that last held the folder; undefined when no process wrote its number there. */
  pid: number | undefined
}

/** Finds out whether a gateway runs on a state folder. Takes no lock that a starting gateway could want. */
export async function runningGateway(paths: Paths): Promise<Running> {
  const pid = pidOf(join(paths.stateDir, 'gateway.pid'))
  if (await accepts({ path: paths.localSocket })) return { running: true, answers: true, pid }
  // The lock itself is asked only where a live process may hold it.
  const { isLocked } = await import('../../store/lock.ts')
  const running = pid !== undefined && isAlive(pid) && isLocked(paths.stateDir)
  return { running, answers: false, pid }
}

/** Reports whether somebody accepts connections at a place. */
export function accepts(where: { path: string } | { host: string; port: number }, withinMs = 1_000): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(where)
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(withinMs, () => done(false))
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
  })
}

/** Reports whether a process exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

function pidOf(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10)
    return Number.isInteger(pid) && pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}
