import { existsSync, lstatSync, readlinkSync, statSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { shellWord } from '../../security/finding.ts'
import { type Check, MENDABLE, subject } from './check.ts'
import type { DoctorContext } from './context.ts'
import { isAlive } from './running.ts'

const state = subject('state', 'State folder')

/** The state folder: there, and whose. */
export function stateChecks(context: DoctorContext): Check[] {
  const { paths, running, source } = context
  const { stateDir } = paths
  if (!existsSync(stateDir)) {
    const detail = `${stateDir} does not exist; the gateway makes it when it starts`
    // Where a configuration is, there was a gateway, and its folder is missed.
    return [source?.exists === true ? state.warning(detail, { path: stateDir, ...MENDABLE }) : state.skipped(detail)]
  }
  if (!statSync(stateDir).isDirectory()) {
    return [state.error(`${stateDir} is not a folder`, { path: stateDir, fix: `ls -ld ${shellWord(stateDir)}` })]
  }
  const pid = running.pid === undefined ? '' : ` (pid ${running.pid})`
  if (running.running && !running.answers) {
    const detail = `a gateway${pid} holds ${stateDir}, and its socket does not answer`
    return [state.error(detail, { path: paths.localSocket, fix: `kill ${running.pid}` })]
  }
  const left = leftovers(context)
  if (left.length > 0) {
    return left.map((path) => state.warning(`${path} is left over from a process that ended`, { path, ...MENDABLE }))
  }
  return [state.ok(running.running ? `a gateway${pid} runs on ${stateDir}` : `${stateDir}, no gateway runs on it`)]
}

/** Files that a process left behind when it died, and that nobody uses. */
export function leftovers({ paths, running }: Pick<DoctorContext, 'paths' | 'running'>): string[] {
  const found: string[] = []
  const socket = lstatSync(paths.localSocket, { throwIfNoEntry: false })
  if (!running.running && socket?.isSocket() === true) found.push(paths.localSocket)
  const lock = `${paths.configPath}.lock`
  if (isAbandoned(lock)) found.push(lock)
  return found
}

// The lock of a change of the configuration is a link to the number of the process that changes it.
function isAbandoned(lock: string): boolean {
  try {
    return !isAlive(Number(readlinkSync(lock)))
  } catch {
    return false
  }
}

/** Makes a missing state folder and removes leftovers; returns what it did. */
export async function mendState(context: DoctorContext): Promise<string[]> {
  const { paths, source } = context
  const done: string[] = []
  if (source?.exists === true && !existsSync(paths.stateDir)) {
    await mkdir(paths.stateDir, { recursive: true, mode: 0o700 })
    done.push(`made ${paths.stateDir}`)
  }
  for (const path of leftovers(context)) {
    await rm(path, { force: true })
    done.push(`removed ${path}`)
  }
  return done
}
