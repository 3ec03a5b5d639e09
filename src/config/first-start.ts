import { randomBytes } from 'node:crypto'
import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { withDotenv } from './env.ts'
import { ConfigError } from './errors.ts'
import { type Env, envValue } from './paths.ts'
import type { ConfigFlags, Paths } from './types.ts'

/** What the first start did: wrote a configuration, with a token of its own unless auth was given otherwise. */
export interface FirstStart {
  wrote: boolean
  generatedToken: boolean
}

/** Writes a configuration where there is none (D9); one that exists, or appears meanwhile, is left alone. */
export async function firstStart(paths: Paths, env: Env, flags: ConfigFlags = {}): Promise<FirstStart> {
  const merged = withDotenv(env, paths.stateDir)
  const given = [
    flags.token,
    flags.password,
    flags.auth,
    envValue(merged, 'OPENCLAW_GATEWAY_TOKEN'),
    envValue(merged, 'OPENCLAW_GATEWAY_PASSWORD')
  ].some((value) => value !== undefined)
  const text = given ? MODE_ONLY : withToken(randomBytes(32).toString('base64url'))
  await mkdir(paths.stateDir, { recursive: true, mode: 0o700 })
  await mkdir(dirname(paths.configPath), { recursive: true, mode: 0o700 })
  const file = await open(paths.configPath, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return undefined
    const message = `Cannot write config at ${paths.configPath}: ${error.code ?? error.message}`
    throw new ConfigError('CONFIG_UNREADABLE', message, { fix: `ls -ld ${dirname(paths.configPath)}`, cause: error })
  })
  if (file === undefined) return { wrote: false, generatedToken: false }
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  return { wrote: true, generatedToken: !given }
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
