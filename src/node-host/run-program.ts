import { type ChildProcess, spawn } from 'node:child_process'
import type { Env } from '../config/paths.ts'
import { Output } from './output.ts'
import { endGroup } from './process-group.ts'

/** What is run, and how long and how much of it. */
export interface ProgramRun {
  /** The program's file; `argv[0]` is the name it is told it has. */
  file: string
  argv: readonly string[]
  cwd: string | undefined
  env: Env
  /** Undefined: for as long as it takes. */
  timeoutMs: number | undefined
  maxOutputBytes: number
  /** Ends it early. */
  signal: AbortSignal
  /** Hears its output as text, as it comes. */
  onOutput?(text: string): void
  /** Hands over its standard input; without this it has none. */
  onStart?(input: ProgramInput): void
}

/** The standard input of a running program. */
export interface ProgramInput {
  /** Reports whether the program still takes its input. */
  write(data: Buffer): boolean
  end(): void
}

/** What became of it. */
export interface ProgramResult {
  /** Undefined when it was ended by a signal, or never started. */
  exitCode: number | undefined
  timedOut: boolean
  stdout: string
  stderr: string
  truncated: boolean
  /** Why it could not be started. */
  error: string | undefined
}

// What a program leaves running may hold its output open for ever; what it wrote itself is there at once.
const DRAIN_MS = 300
const MAX_INPUT_BACKLOG = 1_048_576

/** The exit code of a run that took too long, as `timeout` reports it. */
export const TIMED_OUT = 124

/** Runs a program as the leader of a process group of its own, so that all it starts can be ended with it. */
export function runProgram(run: ProgramRun): Promise<ProgramResult> {
  return new Promise((resolve) => {
    const output = new Output(run.maxOutputBytes)
    const [argv0 = '', ...args] = run.argv
    let child: ChildProcess
    try {
      child = spawn(run.file, args, {
        argv0,
        cwd: run.cwd,
        env: { ...run.env },
        detached: true,
        stdio: [run.onStart === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe']
      })
    } catch (error) {
      // A NUL byte, or more arguments than the system takes.
      return resolve(neverStarted(error))
    }
    const closed = Promise.withResolvers<void>()
    let timedOut = false
    let ending: Promise<void> | undefined
    let exit: { code: number | null } | undefined
    const stop = () => {
      if (child.pid !== undefined) ending ??= endGroup(child.pid, closed.promise)
    }
    const timer =
      run.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true
            stop()
          }, run.timeoutMs)
    let drain: NodeJS.Timeout | undefined
    const finish = async () => {
      clearTimeout(timer)
      clearTimeout(drain)
      run.signal.removeEventListener('abort', stop)
      // The answer says that it is over, so it has to be.
      await ending
      for (const stream of [child.stdout, child.stderr]) stream?.destroy()
      const code = exit?.code ?? undefined
      resolve({
        exitCode: timedOut ? TIMED_OUT : code,
        timedOut,
        ...output.end(),
        truncated: output.truncated,
        error: undefined
      })
    }
    child.once('error', (error) => {
      if (child.pid !== undefined) return
      clearTimeout(timer)
      run.signal.removeEventListener('abort', stop)
      resolve(neverStarted(error))
    })
    child.once('exit', (code) => {
      exit = { code }
      drain = setTimeout(finish, DRAIN_MS)
    })
    child.once('close', () => {
      closed.resolve()
      if (exit !== undefined) void finish()
    })
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.on('data', (bytes: Buffer) => {
        const text = output.take(name, bytes)
        if (text !== '') run.onOutput?.(text)
      })
    }
    if (run.onStart !== undefined && child.stdin !== null && child.pid !== undefined) run.onStart(inputOf(child.stdin))
    if (run.signal.aborted) stop()
    else run.signal.addEventListener('abort', stop, { once: true })
  })
}

function neverStarted(error: unknown): ProgramResult {
  const message = error instanceof Error ? error.message : String(error)
  return { exitCode: undefined, timedOut: false, stdout: '', stderr: '', truncated: false, error: message }
}

function inputOf(stdin: NonNullable<ChildProcess['stdin']>): ProgramInput {
  // A program that has closed its input is not in error.
  stdin.on('error', () => {})
  return {
    write(data) {
      if (!stdin.writable || stdin.writableLength + data.length > MAX_INPUT_BACKLOG) return false
      stdin.write(data)
      return true
    },
    end: () => stdin.end()
  }
}
