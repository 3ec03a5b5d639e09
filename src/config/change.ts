import { realpath } from 'node:fs/promises'
import { checkSource, toIssues } from './check.ts'
import { withDotenv } from './env.ts'
import { ConfigError, invalidConfig } from './errors.ts'
import { withFileLock } from './file-lock.ts'
import { firstText } from './first-start.ts'
import { isObject } from './key-path.ts'
import { resolveConfig } from './load.ts'
import type { Env } from './paths.ts'
import { REDACTED } from './redact.ts'
import { type ConfigSource, interpret, readSource } from './source.ts'
import type { GatewayConfig, Paths } from './types.ts'
import { backUp, closeToOthers, writeAtomically } from './write.ts'

/** Says why a gateway with this section must not start, or nothing; handed in, because that policy is above this row. */
export type StartCheck = (
  gateway: GatewayConfig
) => { code: string; message: string; fix: { command: string; where: string } } | undefined

/** One change of the configuration file. */
export interface ChangeOptions {
  paths: Paths
  env: Env
  check: StartCheck
  /** Turns the present text into the new one. */
  edit: (raw: string, source: ConfigSource) => string
  /** Called with what is in the file before the edit; throws to refuse (a stale base, for example). */
  expect?: (source: ConfigSource) => void
  /** Called with what the new text amounts to; rejects to refuse it. */
  verify?: (after: ConfigSource) => Promise<void>
  /** Everything but the writing. */
  dryRun?: boolean
}

/** What a change came to. */
export interface Changed {
  changed: boolean
  before: ConfigSource
  after: ConfigSource
}

const queue = new Map<string, Promise<unknown>>()

/**
 * Changes the configuration file: one change at a time, checked before it is written, written atomically with 0600, the
 * last good text kept as `.bak`. A change that breaks what worked is refused with a ConfigError.
 */
export function changeConfig(options: ChangeOptions): Promise<Changed> {
  const key = options.paths.configPath
  const turn = (queue.get(key) ?? Promise.resolve()).then(
    () => withFileLock(key, () => apply(options)),
    () => withFileLock(key, () => apply(options))
  )
  queue.set(key, turn)
  return turn.finally(() => {
    if (queue.get(key) === turn) queue.delete(key)
  })
}

async function apply({ paths, env: given, check, edit, expect, verify, dryRun }: ChangeOptions): Promise<Changed> {
  if (given.OPENCLAW_CONFIG_READONLY === '1' || given.OPENCLAW_NIX_MODE === '1') {
    const message = `Config at ${paths.configPath} is managed from outside (OPENCLAW_CONFIG_READONLY=1); change it there.`
    throw new ConfigError('CONFIG_READ_ONLY', message, { fix: 'unset OPENCLAW_CONFIG_READONLY' })
  }
  const env = withDotenv(given, paths.stateDir)
  const before = readSource(paths, env)
  expect?.(before)
  const { base, text, present } = begin({ env, edit, before, path: paths.configPath })
  if (before.exists && text === before.raw) return { changed: false, before, after: before }
  if (text.includes(REDACTED) && !base.includes(REDACTED)) {
    throw new ConfigError('CONFIG_INVALID', `The placeholder ${REDACTED} cannot be stored; give the secret itself.`)
  }
  const after = interpret(text, paths.configPath, env)
  const wrong = present === undefined ? new Map<string, ConfigError>() : await faults(present, paths, env, check)
  // Faults that were there already may stay, so that a broken file can be repaired one key at a time.
  for (const [fault, error] of await faults(after, paths, env, check)) if (!wrong.has(fault)) throw error
  await verify?.(after)
  if (dryRun === true) return { changed: true, before, after }
  const target = before.exists ? await realpath(paths.configPath) : paths.configPath
  if (before.exists && wrong.size === 0) await backUp(target)
  await writeAtomically(target, text)
  // Whoever may write to the folder puts another file in its place; a host that runs no gateway closes it nowhere else.
  await closeToOthers(paths.stateDir)
  return { changed: true, before, after }
}

interface Beginning {
  /** What the edit was made on. */
  base: string
  text: string
  /** What was wrong before this change is judged by it; undefined when nothing was there, and nothing may be wrong. */
  present: ConfigSource | undefined
}

// A host without a file that is told where a gateway is elsewhere is a client: a token made up for a gateway of its own
// would be sent to that one.
function begin({
  env,
  edit,
  before,
  path
}: Pick<ChangeOptions, 'env' | 'edit'> & { before: ConfigSource; path: string }): Beginning {
  if (before.exists) return { base: before.raw, text: edit(before.raw, before), present: before }
  const client = firstText(env, { auth: 'none' })
  const text = edit(client, before)
  if (isClients(interpret(text, path, env))) return { base: client, text, present: interpret(client, path, env) }
  const base = firstText(env)
  return { base, text: edit(base, before), present: undefined }
}

function isClients({ value }: ConfigSource): boolean {
  const gateway = isObject(value.gateway) ? value.gateway : {}
  if (gateway.mode === 'remote') return true
  return gateway.remote !== undefined && Object.keys(gateway).every((key) => key === 'mode' || key === 'remote')
}

/** Everything for which a gateway would refuse to start with this configuration. */
async function faults(
  source: ConfigSource,
  paths: Paths,
  env: Env,
  check: StartCheck
): Promise<Map<string, ConfigError>> {
  const found = new Map<string, ConfigError>()
  const { problems } = checkSource(source)
  for (const problem of problems.filter(({ kind }) => kind !== 'missing-variable')) {
    const key = `${problem.path}: ${problem.message}`
    if (!found.has(key)) found.set(key, invalidConfig(paths.configPath, toIssues(source, [problem])))
  }
  if (found.size > 0) return found
  const gateway = source.value.gateway as { mode?: string } | undefined
  // A file that points at another gateway starts none here.
  if (gateway?.mode === 'remote') return found
  try {
    const config = await resolveConfig(source, { env, paths })
    const refusal = check(config.gateway)
    if (refusal !== undefined) {
      const error = new ConfigError(
        'CONFIG_WOULD_NOT_START',
        `Not written, the gateway would not start: ${refusal.message}`,
        {
          fix: refusal.fix.command
        }
      )
      found.set(refusal.code, error)
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    found.set(`${error.code} ${error.issues.map(({ path, message }) => path + message).join()}`, error)
  }
  return found
}
