import { createHmac, randomBytes } from 'node:crypto'
import { basename } from 'node:path'
import { checkSource, toIssues } from './check.ts'
import { withDotenv } from './env.ts'
import { ConfigError } from './errors.ts'
import type { Env } from './paths.ts'
import { redactText, redactValue } from './redact.ts'
import { type ConfigSource, readSource } from './source.ts'
import type { ConfigIssue, Paths } from './types.ts'

// Keyed, and for this process alone: a plain hash of a file with a weak password in it would let a reader guess it.
const key = randomBytes(32)

/** Names a text of the configuration, so that a later write can say what it is based on. */
export function revisionOf(raw: string): string {
  return `hmac-sha256:v1:${createHmac('sha256', key).update(raw).digest('base64url')}`
}

/** The configuration as it may be shown: redacted, with what is wrong in it. */
export interface Snapshot {
  path: string
  exists: boolean
  raw: string | null
  parsed: unknown
  config: unknown
  hash: string
  includedPaths: string[]
  valid: boolean
  issues: ConfigIssue[]
  warnings: string[]
}

/** Reads the configuration file for showing; a file that cannot be parsed is reported, not thrown, and not shown. */
export function readSnapshot(paths: Paths, env: Env): Snapshot {
  let source: ConfigSource
  try {
    source = readSource(paths, withDotenv(env, paths.stateDir))
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const issues = error.issues.length > 0 ? [...error.issues] : [{ path: '', message: error.message }]
    return { ...EMPTY, path: paths.configPath, exists: true, hash: revisionOf(''), issues: issues.map(shown) }
  }
  const { problems, warnings } = checkSource(source)
  return {
    path: paths.configPath,
    exists: source.exists,
    raw: source.exists ? redactText(source.raw) : null,
    parsed: redactValue(source.authored),
    config: redactValue(source.expanded),
    hash: revisionOf(source.raw),
    includedPaths: source.included.map(({ path }) => path),
    valid: problems.length === 0,
    issues: toIssues(source, problems).map(shown),
    warnings
  }
}

const EMPTY = { raw: null, parsed: {}, config: {}, includedPaths: [], valid: false, warnings: [] }

function shown(issue: ConfigIssue): ConfigIssue {
  return issue.file === undefined ? issue : { ...issue, file: basename(issue.file) }
}
