import { ConfigError } from '../config/errors.ts'
import { valueAt } from '../config/key-path.ts'
import { isSecretRef } from '../config/secrets.ts'
import type { ConfigSource } from '../config/source.ts'
import type { Config } from '../config/types.ts'
import { type Strength, strengthOf } from './strength.ts'

/** One of the server's two shared secrets: where it is, and how strong. */
export interface SecretFact {
  /** Where to change it: a key of the file, or a variable. */
  from: string
  /** `text` stands in the file as it is; `reference` names another place. */
  kind: 'environment' | 'text' | 'reference'
  /** Undefined when it was not read: an `exec` reference is never run, and another may not resolve. */
  strength: Strength | undefined
  /** Why a reference does not resolve. */
  unresolved?: string
}

/** Looks at both shared secrets. */
export async function secretFacts(
  config: Config,
  source: ConfigSource
): Promise<{ token?: SecretFact; password?: SecretFact }> {
  const found: { token?: SecretFact; password?: SecretFact } = {}
  for (const name of ['token', 'password'] as const) {
    const fact = await secretFact(name, config, source)
    if (fact !== undefined) found[name] = fact
  }
  return found
}

async function secretFact(
  name: 'token' | 'password',
  config: Config,
  source: ConfigSource
): Promise<SecretFact | undefined> {
  const given = config.gateway.auth[name]
  if (given?.source === 'env') {
    const from = `OPENCLAW_GATEWAY_${name.toUpperCase()}`
    return { from, kind: 'environment', strength: strengthOf(given.value) }
  }
  const key = `gateway.auth.${name}` as const
  const written = valueAt(source.expanded, key.split('.'))
  if (written === undefined) return undefined
  const kind = isReference(written) ? 'reference' : 'text'
  if (kind === 'text') return { from: key, kind, strength: strengthOf(String(written)) }
  if (isSecretRef(written) && written.source === 'exec') return { from: key, kind, strength: undefined }
  try {
    const value = await config.fileSecret(key)
    return { from: key, kind, strength: value === undefined ? undefined : strengthOf(value) }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { from: key, kind, strength: undefined, unresolved: error.message }
  }
}

/** Reports whether a value of the file names a secret that lives elsewhere: a SecretRef, `$NAME`, or `${NAME}` inside. */
export function isReference(written: unknown): boolean {
  if (typeof written !== 'string') return isSecretRef(written)
  return /^\$[A-Z][A-Z0-9_]*$|\$\{[A-Z_][A-Z0-9_]*\}/.test(written)
}
