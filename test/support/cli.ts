import { runCommand } from '../../src/cli/command-runner.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { reportError } from '../../src/cli/errors.ts'
import type { Io } from '../../src/cli/io.ts'

/** What a command said, and its exit code. */
export interface Said {
  out: string
  err: string
  code: number
}

/** Runs a command in this process, with everything it would say. */
export async function runCli(env: NodeJS.ProcessEnv, words: readonly string[], more: Partial<Io> = {}): Promise<Said> {
  const [name, ...args] = words
  const entry = COMMANDS.find((each) => each.name === name)
  if (entry === undefined) throw new Error(`there is no command ${name}`)
  const said: Said = { out: '', err: '', code: 0 }
  const io: Io = {
    env,
    profile: undefined,
    dev: false,
    stdout: (text) => {
      said.out += `${text}\n`
    },
    stderr: (text) => {
      said.err += `${text}\n`
    },
    isTTY: false,
    color: false,
    exit: (code) => {
      said.code = code
    },
    ...more
  }
  try {
    await runCommand(io, entry, args)
  } catch (error) {
    reportError(io, error, args.includes('--json'))
  }
  return said
}
