import { createHash } from 'node:crypto'
import { homedir, tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { ConfigError } from './errors.ts'
import type { Paths } from './types.ts'

/** Environment variables by name. */
export type Env = Readonly<Record<string, string | undefined>>

// A Unix socket's path must fit in sun_path: 104 bytes on macOS, 108 on Linux, the closing NUL included.
const SOCKET_PATH_MAX = 100

/** Reads a variable; blank text counts as unset. */
export function envValue(env: Env, name: string): string | undefined {
  const value = env[name]
  return value === undefined || value.trim() === '' ? undefined : value
}

const CANONICAL_STATE = /^[\\/]\.openclaw(-[^\\/]+)?$/
const CANONICAL_CONFIG = /^[\\/]\.openclaw(-[^\\/]+)?[\\/]openclaw\.json$/

/** Resolves every place this gateway uses, from the environment and `--profile` / `--dev`. */
export function resolvePaths(env: Env, options: { profile?: string | undefined; dev?: boolean } = {}): Paths {
  const home = resolveHome(env)
  const profile = resolveProfile(env, options)
  const selected = options.profile !== undefined || options.dev === true
  const named = inherited(env, 'OPENCLAW_STATE_DIR', home, selected, CANONICAL_STATE)
  const stateDir = named ?? join(home, profile === undefined ? '.openclaw' : `.openclaw-${profile}`)
  return {
    home,
    stateDir,
    configPath:
      inherited(env, 'OPENCLAW_CONFIG_PATH', home, selected, CANONICAL_CONFIG) ?? join(stateDir, 'openclaw.json'),
    localSocket: localSocketPath(stateDir),
    profile,
    defaultPort: profile === 'dev' ? 19001 : 18789
  }
}

/** Where the `local` listener of a state folder is: in it, or in a private temporary folder when the path is too long. */
export function localSocketPath(stateDir: string): string {
  const path = join(stateDir, 'gateway.sock')
  if (Buffer.byteLength(path) <= SOCKET_PATH_MAX) return path
  const hash = createHash('sha256').update(stateDir).digest('hex').slice(0, 8)
  return join(tmpdir(), `openclaw-${userInfo().uid}`, `${hash}.sock`)
}

/** Expands a leading `~` and makes a path absolute. */
export function expand(path: string, home: string): string {
  const text = path.trim()
  if (text === '~') return home
  return resolve(text.startsWith('~/') || text.startsWith('~\\') ? join(home, text.slice(2)) : text)
}

// A profile named on the command line replaces the standard paths that a process of another profile handed down;
// a path that somebody chose stays.
function inherited(env: Env, name: string, home: string, selected: boolean, canonical: RegExp): string | undefined {
  const value = envValue(env, name)
  if (value === undefined) return undefined
  const path = expand(value, home)
  if (selected && path.startsWith(home) && canonical.test(path.slice(home.length))) return undefined
  return path
}

function resolveHome(env: Env): string {
  const system = envValue(env, 'HOME') ?? envValue(env, 'USERPROFILE') ?? homedir()
  const own = envValue(env, 'OPENCLAW_HOME')
  if (own === undefined || own.trim() === 'undefined' || own.trim() === 'null') return resolve(system)
  return expand(own, resolve(system))
}

function resolveProfile(env: Env, options: { profile?: string | undefined; dev?: boolean }): string | undefined {
  const profile = options.profile ?? (options.dev === true ? 'dev' : envValue(env, 'OPENCLAW_PROFILE'))
  if (profile === undefined || profile === 'default') return undefined
  // The name becomes part of a folder's name: nothing that climbs or hides.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(profile)) {
    throw new ConfigError(
      'CONFIG_ENVIRONMENT',
      `Invalid --profile ${JSON.stringify(profile)}. Use letters, digits, ".", "_" and "-".`,
      {
        fix: 'openclaw --profile NAME …',
        where: 'this client'
      }
    )
  }
  return profile
}
