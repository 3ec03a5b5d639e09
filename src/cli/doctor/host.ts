import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Check, subject } from './check.ts'
import type { DoctorContext } from './context.ts'

const node = subject('node', 'Node.js')
const clock = subject('clock', 'Clock')

/** The runtime; an older one than 24 does not get this far. */
export function nodeCheck(): Check {
  return node.ok(`${process.version} (${process.execPath})`)
}

// This code is newer than that: an earlier clock is a wrong one.
const BUILT = Date.UTC(2026, 0, 1)
const TOLERANCE_MS = 5 * 60_000

/** The clock: signatures, tokens and certificates go by it. */
export function clockCheck(
  { stateDir, platform }: Pick<DoctorContext['facts'], 'stateDir' | 'platform'>,
  now = Date.now()
): Check {
  const fix = platform === 'darwin' ? 'sudo sntp -sS time.apple.com' : 'sudo timedatectl set-ntp true'
  const shown = new Date(now).toISOString()
  if (now < BUILT) return clock.error(`it says ${shown}, which is in the past`, { fix })
  const ahead = newest(stateDir) - now
  if (ahead > TOLERANCE_MS) {
    const hours = Math.round(ahead / 3_600_000)
    return clock.warning(`it says ${shown}, and files in ${stateDir} are from ${hours} h later`, { fix })
  }
  return clock.ok(shown)
}

function newest(folder: string): number {
  try {
    const names = readdirSync(folder).slice(0, 200)
    return Math.max(0, ...names.map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0))
  } catch {
    return 0
  }
}
