import { createHash } from 'node:crypto'

/** A program as a host finds it. */
export interface Program {
  /** Absolute and without detours. */
  resolvedPath: string | undefined
  /** What that file really is, behind its links. */
  realPath?: string | undefined
}

/** One command as it would run; without a `resolvedPath`, no rule fits it. */
export interface Plan extends Program {
  argv: readonly string[]
  cwd: string | undefined
  /** What the command's environment adds to the host's. */
  env?: Readonly<Record<string, string>> | undefined
  agentId?: string | undefined
  /** Finds the program of a word as the host's shell would, for commands inside a command. */
  lookup?: ((word: string) => Program | undefined) | undefined
}

/**
 * Names a command exactly: SHA-256 over every argument, the folder and the added environment. What was approved is what
 * runs only while this stays the same.
 */
export function planDigest({ argv, cwd, env = {} }: Pick<Plan, 'argv' | 'cwd' | 'env'>): string {
  const added = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))
  const text = JSON.stringify(['openclaw.exec.v1', argv, cwd ?? null, added])
  return createHash('sha256').update(text).digest('hex')
}
