import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { ConfigError } from './errors.ts'
import { type Env, envValue } from './paths.ts'
import { validate } from './validate.ts'

/** The environment's overrides of the configuration (R29), as JSON Schema for env-schema. */
const ENV_SCHEMA = {
  type: 'object',
  properties: {
    OPENCLAW_GATEWAY_PORT: { type: 'integer', minimum: 1, maximum: 65535 },
    OPENCLAW_GATEWAY_TOKEN: { type: 'string' },
    OPENCLAW_GATEWAY_PASSWORD: { type: 'string' },
    OPENCLAW_GATEWAY_URL: { type: 'string' },
    OPENCLAW_LOG_LEVEL: { type: 'string', enum: ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] }
  }
} as const

/** The environment's overrides, validated; unset and blank variables are absent. */
export interface EnvConfig {
  OPENCLAW_GATEWAY_PORT?: number
  OPENCLAW_GATEWAY_TOKEN?: string
  OPENCLAW_GATEWAY_PASSWORD?: string
  OPENCLAW_GATEWAY_URL?: string
  OPENCLAW_LOG_LEVEL?: string
}

/** Reads the environment's overrides. A client checks the port alone: env-schema takes longer than its whole command. */
export async function readEnv(env: Env, client: boolean): Promise<EnvConfig> {
  const set: Record<string, string> = {}
  for (const name of Object.keys(ENV_SCHEMA.properties)) {
    const value = envValue(env, name)
    if (value !== undefined) set[name] = value.trim()
  }
  // Any text will do for the others, so there is nothing to check.
  const constrained = set.OPENCLAW_GATEWAY_PORT !== undefined || set.OPENCLAW_LOG_LEVEL !== undefined
  if (!constrained) return set
  if (client) return readClientEnv(set)
  const { envSchema } = await import('env-schema')
  try {
    return envSchema<EnvConfig>({ schema: { ...ENV_SCHEMA }, data: set, env: false })
  } catch (error) {
    throw badEnvironment(firstBadName(error) ?? '', set)
  }
}

function readClientEnv(set: Record<string, string>): EnvConfig {
  const { OPENCLAW_GATEWAY_PORT: text, ...rest } = set
  delete rest.OPENCLAW_LOG_LEVEL
  if (text === undefined) return rest
  const port = Number(text)
  if (validate(ENV_SCHEMA.properties.OPENCLAW_GATEWAY_PORT, port).length > 0) {
    throw badEnvironment('OPENCLAW_GATEWAY_PORT', set)
  }
  return { ...rest, OPENCLAW_GATEWAY_PORT: port }
}

function firstBadName(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('errors' in error) || !Array.isArray(error.errors)) return undefined
  const first = error.errors[0] as { instancePath?: string } | undefined
  return first?.instancePath?.slice(1)
}

function badEnvironment(name: string, set: Record<string, string>): ConfigError {
  const shown = JSON.stringify((set[name] ?? '').slice(0, 80))
  const wanted =
    name === 'OPENCLAW_GATEWAY_PORT'
      ? 'Use a port number from 1 to 65535, for example 18789.'
      : `Use one of ${ENV_SCHEMA.properties.OPENCLAW_LOG_LEVEL.enum.join(', ')}.`
  return new ConfigError('CONFIG_ENVIRONMENT', `Invalid ${name} ${shown}. ${wanted}`, { fix: `unset ${name}` })
}

/**
 * The environment with what the state folder's `.env` adds: it overrides nothing, and names no place to look for the
 * configuration, because it is found there.
 */
export function withDotenv(env: Env, stateDir: string): Env {
  let text: string
  try {
    text = readFileSync(join(stateDir, '.env'), 'utf8')
  } catch {
    return env
  }
  const merged: Record<string, string | undefined> = { ...env }
  for (const [name, value] of Object.entries(parseEnv(text))) {
    if (FIXED.has(name) || envValue(merged, name) !== undefined) continue
    merged[name] = value
  }
  return merged
}

const FIXED = new Set(['OPENCLAW_HOME', 'OPENCLAW_STATE_DIR', 'OPENCLAW_CONFIG_PATH', 'OPENCLAW_PROFILE', 'HOME'])
