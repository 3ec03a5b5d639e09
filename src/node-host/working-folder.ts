import { realpathSync, statSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { CommandError } from './command.ts'

/** The folder that a command runs in: canonical, and there. A skill's own locator stands for the skill's folder. */
export function workingFolder(asked: string | undefined, places: { cwd: string; stateDir: string }): string {
  const path = asked === undefined ? places.cwd : (skillFolder(asked, places.stateDir) ?? asked)
  if (isAbsolute(path) && !path.includes('\0')) {
    try {
      const real = realpathSync(path)
      if (statSync(real).isDirectory()) return real
    } catch {
      // Said below.
    }
  }
  throw new CommandError(
    'INVALID_REQUEST',
    `SYSTEM_RUN_DENIED: working directory does not exist or is inaccessible on the node host: ${path.slice(0, 512)}`
  )
}

function skillFolder(asked: string, stateDir: string): string | undefined {
  const name = /^node:\/\/[^/]+\/skills\/([a-z0-9][a-z0-9-]{0,63})\/?$/.exec(asked)?.[1]
  return name === undefined ? undefined : join(stateDir, 'skills', name)
}
