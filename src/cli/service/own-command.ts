import { realpathSync } from 'node:fs'
import { envValue } from '../../config/paths.ts'
import type { Io } from '../io.ts'

/** The words that start this very command again, whatever folder and PATH it is started from. */
export function ownCommand(io: Io, words: readonly string[]): string[] {
  const profile = io.profile ?? (io.dev ? 'dev' : undefined)
  const main = realpathSync(process.argv[1]!)
  return [process.execPath, main, ...(profile === undefined ? [] : ['--profile', profile]), ...words]
}

/** Variables that say where things are; none of them holds a secret. */
const PLACES = ['OPENCLAW_HOME', 'OPENCLAW_STATE_DIR', 'OPENCLAW_CONFIG_PATH', 'OPENCLAW_PROFILE', 'OPENCLAW_LOG_LEVEL']

/** What a service needs of the environment that it is installed from. Never a credential. */
export function serviceEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const kept = ['PATH', 'LANG', ...PLACES].map((name) => [name, envValue(env, name)] as const)
  return Object.fromEntries(kept.filter((each): each is [string, string] => each[1] !== undefined))
}
