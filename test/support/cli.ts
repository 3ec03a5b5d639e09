import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
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

/** The outside of a command, and everything that it says to it. */
export function listen(env: NodeJS.ProcessEnv, more: Partial<Io> = {}): { io: Io; said: Said } {
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
  return { io, said }
}

/** Runs a command in this process, with everything it would say. */
export async function runCli(env: NodeJS.ProcessEnv, words: readonly string[], more: Partial<Io> = {}): Promise<Said> {
  const [name, ...args] = words
  const entry = COMMANDS.find((each) => each.name === name)
  if (entry === undefined) throw new Error(`there is no command ${name}`)
  const { io, said } = listen(env, more)
  try {
    await runCommand(io, entry, args)
  } catch (error) {
    reportError(io, error, args.includes('--json'))
  }
  return said
}

/** The command's file. */
export const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname

/** Starts the real command. */
export function startCli(args: readonly string[], env: NodeJS.ProcessEnv) {
  return spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Runs the real command with a text on its standard input; gives its standard output. */
export async function pipeToCli(args: readonly string[], env: NodeJS.ProcessEnv, input: string): Promise<string> {
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(input)
  return text(child.stdout)
}

/** How a process of the command ended. */
export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs the real command in a process of its own. */
export function spawnCli(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  return outcomeOf(process.execPath, [MAIN, ...args], env)
}

/** Runs a program to its end. */
export async function outcomeOf(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const outcome: Outcome = { code: null, stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text) => {
    outcome.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    outcome.stderr += text
  })
  const [code] = await once(child, 'close')
  return { ...outcome, code }
}
