import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { withDotenv } from './env.ts'
import { ConfigError } from './errors.ts'
import { type Env, envValue } from './paths.ts'
import type { ConfigFlags, Paths } from './types.ts'
import { closeToOthers, createAtomically } from './write.ts'

/** What the first start did: wrote a configuration, with a token of its own unless auth was given otherwise. */
export interface FirstStart {
  wrote: boolean
  generatedToken: boolean
}

/**
 * Writes a configuration where there is none (D9); the text of one that exists, or appears meanwhile, is left alone.
 * Either way the state folder and the file are closed to other users (S24).
 */
export async function firstStart(paths: Paths, env: Env, flags: ConfigFlags = {}): Promise<FirstStart> {
  const text = firstText(withDotenv(env, paths.stateDir), flags)
  try {
    await mkdir(paths.stateDir, { recursive: true, mode: 0o700 })
    await closeToOthers(paths.stateDir)
    if (!(await createAtomically(paths.configPath, text))) {
      await closeToOthers(paths.configPath)
      return { wrote: false, generatedToken: false }
    }
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'it failed'
    const message = `Cannot write config at ${paths.configPath}: ${reason}`
    throw new ConfigError('CONFIG_UNREADABLE', message, { fix: `ls -ld ${dirname(paths.configPath)}`, cause: error })
  }
  return { wrote: true, generatedToken: text !== MODE_ONLY }
}

/** The text of a first configuration; without a token when the environment or a flag settles auth. */
export function firstText(env: Env, flags: ConfigFlags = {}): string {
  const given =
    flags.auth ??
    flags.token ??
    flags.password ??
    envValue(env, 'OPENCLAW_GATEWAY_TOKEN') ??
    envValue(env, 'OPENCLAW_GATEWAY_PASSWORD')
  return given === undefined ? withToken(randomBytes(32).toString('base64url')) : MODE_ONLY
}

const HEAD = `// Written at the first start. JSON5: comments are welcome, and "openclaw config set" keeps them.\n`

const MODE_ONLY = `${HEAD}{
  gateway: {
    mode: "local",
  },
}
`

function withToken(token: string): string {
  return `${HEAD}{
  gateway: {
    mode: "local",
    auth: {
      mode: "token",
      // Whoever has this token controls the gateway.
      token: "${token}",
    },
  },
}
`
}
