import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import JSON5 from 'json5'
import { ConfigError, invalidConfig } from './errors.ts'
import { expandIncludes, type Included } from './include.ts'
import { isObject, valueAt } from './key-path.ts'
import type { Env } from './paths.ts'
import { type MissingVariable, substitute } from './substitute.ts'
import type { ConfigIssue, Paths } from './types.ts'

/** A configuration file as read: its text, and what it says once includes and variables are filled in. */
export interface ConfigSource {
  exists: boolean
  raw: string
  /** SHA-256 of the file's bytes. */
  hash: string
  /** As written: includes and `${VAR}` still in place. */
  authored: Record<string, unknown>
  /** Includes filled in, variables still in place: what may be shown, once it is redacted. */
  expanded: Record<string, unknown>
  /** Includes and variables filled in. */
  value: Record<string, unknown>
  /** Variables by name, with what the file's own `env.vars` adds. */
  env: Env
  included: readonly Included[]
  /** Variables that the file names and nothing sets. */
  missing: readonly MissingVariable[]
}

/** Reads the configuration file; a missing file is an empty configuration. Throws a ConfigError for one that cannot be read. */
export function readSource(paths: Paths, env: Env): ConfigSource {
  let bytes: Buffer
  try {
    bytes = readFileSync(paths.configPath)
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) {
      return { ...interpret('{}', paths.configPath, env), exists: false, raw: '' }
    }
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    throw new ConfigError('CONFIG_UNREADABLE', `Cannot read config at ${paths.configPath}: ${reason}`, {
      fix: `ls -l ${paths.configPath}`,
      cause: error
    })
  }
  return interpret(bytes.toString('utf8'), paths.configPath, env)
}

/** Interprets text as the configuration file at a path, without reading that file. */
export function interpret(raw: string, configPath: string, env: Env): ConfigSource {
  const parse = (text: string, path: string) => parseText(text, path, configPath)
  const authored = parse(raw, configPath)
  const { value, included } = expandIncludes(authored, { configPath, raw, env, parse })
  if (!isObject(authored) || !isObject(value)) {
    throw invalidConfig(configPath, [{ path: '', message: 'the configuration must be an object: { … }', line: 1 }])
  }
  const variables = withOwnVariables(env, value)
  const filled = substitute(value, variables)
  return {
    exists: true,
    raw,
    hash: hashOf(raw),
    authored,
    expanded: value,
    value: filled.value as Record<string, unknown>,
    env: variables,
    included,
    missing: filled.missing
  }
}

/** The hash by which a reader names the text it has read. */
function hashOf(raw: string): string {
  return createHash('sha256').update(raw).digest('hex')
}

function withOwnVariables(env: Env, value: Record<string, unknown>): Env {
  const own = valueAt(value, ['env', 'vars'])
  if (!isObject(own)) return env
  const merged: Record<string, string | undefined> = { ...env }
  for (const [name, text] of Object.entries(own)) {
    // Overrides of the gateway itself come from the real environment only (R29).
    if (typeof text !== 'string' || name.startsWith('OPENCLAW_')) continue
    if (merged[name] === undefined || merged[name] === '') merged[name] = text
  }
  return merged
}

function parseText(raw: string, path: string, configPath: string): unknown {
  try {
    // A byte order mark is what some editors put first; JSON5 takes it for white space.
    return JSON5.parse(raw)
  } catch (error) {
    throw parseError(error, path, configPath)
  }
}

function parseError(error: unknown, path: string, configPath: string): ConfigError {
  const place = error as { lineNumber?: number; columnNumber?: number; message?: string }
  const message = (place.message ?? 'not valid JSON5').replace(/^JSON5: /, '').replace(/ at \d+:\d+$/, '')
  const issue: ConfigIssue = { path: '', message: `not valid JSON5: ${message}` }
  if (place.lineNumber !== undefined) issue.line = place.lineNumber
  if (place.columnNumber !== undefined) issue.column = place.columnNumber
  if (path !== configPath) issue.file = path
  return invalidConfig(configPath, [issue])
}
