import { readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { envValue } from '../../config/paths.ts'
import type { Io } from '../io.ts'

/** The words that start this very command again, whatever folder and PATH it is started from. */
export function ownCommand(io: Io, words: readonly string[]): string[] {
  const profile = io.profile ?? (io.dev ? 'dev' : undefined)
  const main = realpathSync(process.argv[1]!)
  return [process.execPath, main, ...(profile === undefined ? [] : ['--profile', profile]), ...words]
}

/**
 * The same for what runs for long and serves many: with what this program's first line tells Node, which a command that
 * names Node would leave out.
 */
export function ownServer(io: Io, words: readonly string[]): string[] {
  const [node = '', main = '', ...rest] = ownCommand(io, words)
  const flags = /^#!.* node((?: --\S+)*)$/m.exec(readFileSync(main, 'utf8').split('\n', 1)[0]!)?.[1] ?? ''
  return [node, ...flags.split(' ').filter(Boolean), main, ...rest]
}

/** Variables that say where things are; none of them holds a secret. */
const PLACES = ['OPENCLAW_HOME', 'OPENCLAW_STATE_DIR', 'OPENCLAW_CONFIG_PATH', 'OPENCLAW_PROFILE', 'OPENCLAW_LOG_LEVEL']

/** What a service needs of the environment that it is installed from. Never a credential. */
export function serviceEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const kept = ['PATH', 'LANG', ...PLACES].map((name) => [name, envValue(env, name)] as const)
  return Object.fromEntries(kept.filter((each): each is [string, string] => each[1] !== undefined))
}

const SECRETS = ['OPENCLAW_GATEWAY_TOKEN', 'OPENCLAW_GATEWAY_PASSWORD']

/** What the owner of a service should know of the secrets that it is not given: a service's file is read, shown and backed up. */
export function leftBehind(env: NodeJS.ProcessEnv, stateDir: string): string[] {
  const left = SECRETS.filter((name) => envValue(env, name) !== undefined)
  if (left.length === 0) return []
  const file = join(stateDir, '.env')
  return [
    `${left.join(' and ')} of this shell is not stored; write it to ${file} (chmod 600), where the service reads it`
  ]
}
