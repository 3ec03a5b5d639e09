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
  /**
   * Hears its output as it comes: as text as far as it is kept, and its bytes. What it returns holds the program back
   * until it is done.
   */
  onOutput?(text: string, bytes: Buffer, stream: 'stdout' | 'stderr'): Promise<void> | undefined
  /** Hands over its standard input; without this it has none. */
  onStart?(input: ProgramInput): void
}

/** The standard input of a running program. */
export interface ProgramInput {
  /** Reports whether there was room for it. `taken` hears when the program's end of the pipe has it. */
  write(data: Buffer, taken?: () => void): boolean
  end(): void
}

/** What became of it. */
export interface ProgramResult {
  /** Undefined when it was ended by a signal, or never started. */
  exitCode: number | undefined
  /** The signal that ended it. */
  signal: NodeJS.Signals | undefined
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
const TIMED_OUT = 124

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
    let exit: { code: number | null; signal: NodeJS.Signals | null } | undefined
    let held = false
    const streams = () => [child.stdout, child.stderr]
    const hold = (until: Promise<void>) => {
      if (held || ending !== undefined) return
      held = true
      clearTimeout(drain)
      for (const stream of streams()) stream?.pause()
      void until.then(release)
    }
    const release = () => {
      if (!held) return
      held = false
      for (const stream of streams()) stream?.resume()
      if (exit !== undefined) drain = setTimeout(finish, DRAIN_MS)
    }
    const stop = () => {
      if (child.pid !== undefined) ending ??= endGroup(child.pid, closed.promise)
      // What is left of its output is no longer waited for.
      release()
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
      for (const stream of streams()) stream?.destroy()
      const code = exit?.code ?? undefined
      resolve({
        exitCode: timedOut ? TIMED_OUT : code,
        signal: exit?.signal ?? undefined,
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
    child.once('exit', (code, signal) => {
      exit = { code, signal }
      if (!held) drain = setTimeout(finish, DRAIN_MS)
    })
    child.once('close', () => {
      closed.resolve()
      if (exit !== undefined) void finish()
    })
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.on('data', (bytes: Buffer) => {
        const text = output.take(name, bytes)
        const until = run.onOutput?.(text, bytes, name)
        if (until !== undefined) hold(until)
      })
    }
    if (run.onStart !== undefined && child.stdin !== null && child.pid !== undefined) run.onStart(inputOf(child.stdin))
    if (run.signal.aborted) stop()
    else run.signal.addEventListener('abort', stop, { once: true })
  })
}

function neverStarted(error: unknown): ProgramResult {
  const message = error instanceof Error ? error.message : String(error)
  const nothing = { exitCode: undefined, signal: undefined, stdout: '', stderr: '' }
  return { ...nothing, timedOut: false, truncated: false, error: message }
}

function inputOf(stdin: NonNullable<ChildProcess['stdin']>): ProgramInput {
  // A program that has closed its input is not in error.
  stdin.on('error', () => {})
  return {
    write(data, taken) {
      if (!stdin.writable) {
        // Nobody reads it any more, and whoever sends it need not wait.
        taken?.()
        return true
      }
      if (stdin.writableLength + data.length > MAX_INPUT_BACKLOG) return false
      stdin.write(data, taken && (() => taken()))
      return true
    },
    end: () => stdin.end()
  }
}
