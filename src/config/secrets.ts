import { ConfigError } from './errors.ts'
import { isObject, valueAt } from './key-path.ts'
import { type Env, envValue } from './paths.ts'
import { substitute } from './substitute.ts'
import type { SecretRef } from './types.ts'

const PROVIDER = /^[a-z][a-z0-9_-]{0,63}$/
const ENV_ID = /^[A-Z][A-Z0-9_]{0,127}$/
const EXEC_ID = /^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,255}$/

/** What a provider needs in order to read a secret. */
export interface SecretContext {
  /** The whole configuration, for `secrets.providers` and `secrets.defaults`. */
  config: Record<string, unknown>
  env: Env
  home: string
}

/** Reports whether a value has the shape of a reference. */
export function isSecretRef(value: unknown): value is SecretRef {
  return isObject(value) && typeof value.source === 'string' && typeof value.id === 'string' && 'provider' in value
}

/** Reads the secret that a key holds: its text, or what its reference names. Never falls back to another source (R6). */
export async function resolveSecret(
  key: string,
  written: unknown,
  context: SecretContext
): Promise<string | undefined> {
  if (written === undefined) return undefined
  const ref = typeof written === 'string' ? shorthand(written, context) : isSecretRef(written) ? written : undefined
  // After the shorthand: what a variable holds is a secret's text, whatever it looks like.
  const input = ref === undefined ? substitute(written, context.env).value : undefined
  if (ref === undefined) {
    if (typeof input !== 'string') throw unresolved(key, undefined, 'neither text nor a SecretRef')
    // A blank secret is no secret: it must not become a password of no characters.
    if (input.trim() === '') throw unresolved(key, undefined, 'it is empty')
    if (input === '__OPENCLAW_REDACTED__')
      throw unresolved(key, undefined, 'it is the placeholder of a redacted secret')
    return input
  }
  let value: string
  try {
    value = await read(ref, context)
  } catch (error) {
    throw unresolved(key, ref, error instanceof Error ? error.message : 'it cannot be read', error)
  }
  if (value.trim() === '' || value === '__OPENCLAW_REDACTED__') throw unresolved(key, ref, 'it is empty')
  return value
}

// `$NAME` as a whole value means a reference to the environment.
function shorthand(input: string, context: SecretContext): SecretRef | undefined {
  const name = /^\$([A-Z][A-Z0-9_]{0,127})$/.exec(input)?.[1]
  return name === undefined ? undefined : { source: 'env', provider: defaultAlias('env', context), id: name }
}

function defaultAlias(source: string, context: SecretContext): string {
  const named = valueAt(context.config, ['secrets', 'defaults', source])
  return typeof named === 'string' ? named : 'default'
}

async function read(ref: SecretRef, context: SecretContext): Promise<string> {
  if (!PROVIDER.test(ref.provider)) throw new Error('the provider name is invalid')
  const entry = valueAt(context.config, ['secrets', 'providers', ref.provider])
  const provider = isObject(entry) && entry.source === ref.source ? entry : undefined
  if (provider === undefined && (ref.source !== 'env' || ref.provider !== defaultAlias('env', context))) {
    if (ref.source === 'store') throw new Error('the shared secret store is not supported here')
    throw new Error(`secrets.providers has no "${ref.provider}" with source "${ref.source}"`)
  }
  switch (ref.source) {
    case 'env':
      return readFromEnv(ref, provider, context.env)
    case 'file': {
      const { readFromFile } = await import('./secret-file.ts')
      return readFromFile(ref, provider ?? {}, context.home)
    }
    case 'exec': {
      if (!EXEC_ID.test(ref.id) || ref.id.split('/').some((part) => part === '.' || part === '..')) {
        throw new Error('the id is invalid')
      }
      const { readFromExec } = await import('./secret-exec.ts')
      return readFromExec(ref, provider ?? {}, context)
    }
    default:
      throw new Error(`source "${ref.source}" is not supported here`)
  }
}

function readFromEnv(ref: SecretRef, provider: Record<string, unknown> | undefined, env: Env): string {
  if (!ENV_ID.test(ref.id)) throw new Error('the id is no variable name')
  const allowlist = provider?.allowlist
  if (allowlist !== undefined && !(Array.isArray(allowlist) && allowlist.includes(ref.id))) {
    throw new Error(`the provider's allowlist does not name "${ref.id}"`)
  }
  const value = envValue(env, ref.id)
  if (value === undefined) throw new Error(`environment variable "${ref.id}" is not set`)
  return value
}

function unresolved(key: string, ref: SecretRef | undefined, reason: string, cause?: unknown): ConfigError {
  const what =
    ref === undefined
      ? `${key} is configured but unusable: ${reason}`
      : `${key} does not resolve (SecretRef ${ref.source}:${ref.provider}:${ref.id}): ${reason}`
  const set = `openclaw config set ${key} "…"`
  return new ConfigError('CONFIG_SECRET_UNRESOLVED', what, {
    issues: [{ path: key, message: reason }],
    fix: ref?.source === 'env' ? `export ${ref.id}="…", or: ${set}` : set,
    cause
  })
}
