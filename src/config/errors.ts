import { basename } from 'node:path'
import type { Fix } from '../protocol/errors.ts'
import type { ConfigIssue } from './types.ts'

/** Why a configuration was refused. */
export type ConfigErrorCode =
  | 'CONFIG_INVALID'
  | 'CONFIG_UNREADABLE'
  | 'CONFIG_MISSING'
  | 'CONFIG_MODE_MISSING'
  | 'CONFIG_MODE_REMOTE'
  | 'CONFIG_AUTH_AMBIGUOUS'
  | 'CONFIG_SECRET_UNRESOLVED'
  | 'CONFIG_ENVIRONMENT'
  | 'CONFIG_READ_ONLY'
  | 'CONFIG_CONFLICT'
  | 'CONFIG_WOULD_NOT_START'
  | 'CONFIG_TLS_UNUSABLE'

/** A configuration refusal: names the key and the fix, and ends the process with 78 (EX_CONFIG). */
export class ConfigError extends Error {
  readonly code: ConfigErrorCode
  readonly issues: readonly ConfigIssue[]
  readonly exitCode = 78
  readonly fix: Fix

  constructor(
    code: ConfigErrorCode,
    message: string,
    options: { issues?: readonly ConfigIssue[]; fix?: string; where?: Fix['where']; cause?: unknown } = {}
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'ConfigError'
    this.code = code
    this.issues = options.issues ?? []
    this.fix = { command: options.fix ?? 'openclaw config validate', where: options.where ?? 'gateway host' }
  }
}

/** One issue as a person reads it: `openclaw.json:3 — gateway.port: …`. */
export function formatIssue(configPath: string, issue: ConfigIssue): string {
  const file = basename(issue.file ?? configPath)
  const column = issue.path === '' && issue.column !== undefined ? `:${issue.column}` : ''
  const line = issue.line === undefined ? '' : `:${issue.line}${column}`
  const key = issue.path === '' ? '' : `${issue.path}: `
  return `${file}${line} — ${key}${issue.message}`
}

/** The refusal for a file with issues, one line each. */
export function invalidConfig(configPath: string, issues: readonly ConfigIssue[]): ConfigError {
  const lines = issues.map((issue) => formatIssue(configPath, issue))
  return new ConfigError('CONFIG_INVALID', `Invalid config at ${configPath}:\n${lines.join('\n')}`, { issues })
}
