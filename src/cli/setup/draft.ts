import { startRefusal } from '../../auth/bind-policy.ts'
import { changeConfig } from '../../config/change.ts'
import { checkSource, toIssues } from '../../config/check.ts'
import { patchText } from '../../config/edit.ts'
import { ConfigError, invalidConfig } from '../../config/errors.ts'
import { firstText } from '../../config/first-start.ts'
import { formatKeyPath, isObject, type KeyPath, valueAt } from '../../config/key-path.ts'
import { resolveConfig } from '../../config/load.ts'
import { type ConfigSource, readSource } from '../../config/source.ts'
import type { Config } from '../../config/types.ts'
import { placesOf } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'

/** A change of the configuration that was checked, and is not written yet. */
export interface Draft {
  /** What the configuration comes to with it. */
  config: Config
  source: ConfigSource
  /** The keys that get another value. */
  changed: readonly string[]
  /** Writes it, unless the file has changed meanwhile. */
  write(): Promise<void>
}

/** The configuration as it is; throws for one that is broken, which nothing may be built upon. */
export function presentSource(io: Io): ConfigSource {
  const { paths, env } = placesOf(io)
  try {
    const source = readSource(paths, env)
    const problems = checkSource(source).problems.filter(({ kind }) => kind !== 'missing-variable')
    if (problems.length > 0) throw invalidConfig(paths.configPath, toIssues(source, problems))
    return source
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const { code, message, exitCode } = error
    throw new CliError(code, `${message}\nNothing was changed.`, {
      fix: 'openclaw doctor --fix',
      exitCode,
      cause: error
    })
  }
}

/** Checks what a merge patch makes of the configuration. A file that does not exist yet is begun without a token. */
export async function draftOf(io: Io, patch: Record<string, unknown>): Promise<Draft> {
  const { paths, env } = placesOf(io)
  const edit = (raw: string, { exists }: ConfigSource): string =>
    patchText(exists ? raw : firstText(env, { auth: 'none' }), patch)
  const options = { paths, env: io.env, check: startRefusal, edit }
  const { before, after } = await changeConfig({ ...options, dryRun: true })
  const changed = leaves(patch)
    .filter((path) => JSON.stringify(valueAt(before.authored, path)) !== JSON.stringify(valueAt(after.authored, path)))
    .map(formatKeyPath)
  return {
    config: await resolveConfig(after, { env, paths, client: true }),
    source: after,
    changed,
    async write() {
      const unchanged = ({ hash, exists }: ConfigSource): void => {
        if (hash === before.hash && exists === before.exists) return
        const message = `${paths.configPath} has changed meanwhile; nothing was written`
        throw new CliError('CONFIG_CONFLICT', message, { fix: 'openclaw setup' })
      }
      await changeConfig({ ...options, expect: unchanged })
    }
  }
}

function leaves(patch: Record<string, unknown>, at: KeyPath = []): KeyPath[] {
  return Object.entries(patch).flatMap(([key, value]) =>
    // A reference to a secret is one value.
    isObject(value) && !('source' in value) ? leaves(value, [...at, key]) : [[...at, key]]
  )
}
