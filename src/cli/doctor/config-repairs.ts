import { freshSecret } from '../../auth/secrets.ts'
import { setKey, unsetKey } from '../../config/edit.ts'
import { formatKeyPath, isObject, type KeyPath, valueAt } from '../../config/key-path.ts'
import { type Env, envValue } from '../../config/paths.ts'
import type { ConfigSource } from '../../config/source.ts'

/** One change of the configuration file that mends something. */
export interface ConfigEdit {
  /** What is wrong. */
  why: string
  /** What the change does. */
  what: string
  path: KeyPath
  /** What to ask a person first. */
  question?: string
  edit(raw: string): string
}

interface Retired {
  path: KeyPath
  values?: readonly string[]
  to?: string
}

// What earlier versions of the reference wrote, and what it makes of that now.
const RETIRED: readonly Retired[] = [
  { path: ['gateway', 'reload', 'mode'], values: ['restart', 'hot'], to: 'hybrid' },
  { path: ['gateway', 'reload', 'debounceMs'] },
  { path: ['gateway', 'reload', 'deferralTimeoutMs'] },
  { path: ['gateway', 'tailscale', 'resetOnExit'] },
  { path: ['gateway', 'controlUi', 'dangerouslyDisableDeviceAuth'] }
]

/** What can be mended in a file without deciding anything for its owner. Pure. */
export function editsFor(source: ConfigSource, env: Env): ConfigEdit[] {
  if (!source.exists || !isObject(source.value.gateway ?? {})) return []
  return [...retired(source), ...mode(source), ...token(source, env)]
}

function retired({ authored }: ConfigSource): ConfigEdit[] {
  return RETIRED.flatMap(({ path, values, to }) => {
    // In the file itself: what an included file holds is mended there.
    const value = valueAt(authored, path)
    if (value === undefined || (values !== undefined && !values.includes(String(value)))) return []
    const key = formatKeyPath(path)
    return [
      to === undefined
        ? {
            path,
            why: `${key} is a setting that no longer exists`,
            what: `remove ${key}`,
            edit: (raw) => unsetKey(raw, path)
          }
        : {
            path,
            why: `${key} is "${value}", a value that no longer exists`,
            what: `set ${key} to "${to}"`,
            edit: (raw) => setKey(raw, path, to)
          }
    ] satisfies ConfigEdit[]
  })
}

function mode({ value }: ConfigSource): ConfigEdit[] {
  const path = ['gateway', 'mode']
  // With a remote gateway named, either mode may be meant.
  if (valueAt(value, path) !== undefined || valueAt(value, ['gateway', 'remote', 'url']) !== undefined) return []
  return [
    {
      path,
      why: 'gateway.mode is not set: a gateway does not start from a file that may have been clobbered',
      what: 'set gateway.mode to "local"',
      edit: (raw) => setKey(raw, path, 'local')
    }
  ]
}

function token({ value, expanded }: ConfigSource, env: Env): ConfigEdit[] {
  const path = ['gateway', 'auth', 'token']
  if (valueAt(value, ['gateway', 'mode']) === 'remote' || envValue(env, 'OPENCLAW_GATEWAY_TOKEN') !== undefined)
    return []
  if (authModeOf(value, env) !== 'token') return []
  // A token made up here would be sent in the place of the one for a gateway elsewhere (R25).
  if (['token', 'password'].some((key) => valueAt(value, ['gateway', 'remote', key]) !== undefined)) return []
  const written = valueAt(expanded, path)
  if (written !== undefined && !(typeof written === 'string' && written.trim() === '')) return []
  return [
    {
      path,
      why: 'the gateway asks for a token, and none is configured',
      what: 'write a new random token to gateway.auth.token',
      question: 'Write a new random token into the configuration?',
      edit: (raw) => setKey(raw, path, freshSecret())
    }
  ]
}

/** The auth mode that a file and the environment amount to, as the server infers it. */
export function authModeOf(value: Record<string, unknown>, env: Env): unknown {
  const auth = valueAt(value, ['gateway', 'auth'])
  const { mode, token, password } = isObject(auth) ? auth : {}
  if (mode !== undefined) return mode
  const hasToken = token !== undefined || envValue(env, 'OPENCLAW_GATEWAY_TOKEN') !== undefined
  const hasPassword = password !== undefined || envValue(env, 'OPENCLAW_GATEWAY_PASSWORD') !== undefined
  return hasPassword && !hasToken ? 'password' : 'token'
}
