import { type ChildProcess, spawn } from 'node:child_process'
import { Duplex } from 'node:stream'
import { findSsh, sshEnvironment, streamArguments } from './command.ts'
import { sshFailure, sshMissing } from './failure.ts'
import type { SshRoute } from './route.ts'

const STDERR_MAX = 16 * 1024

/** What a stream through ssh needs to know. */
export interface SshStreamOptions {
  env: Readonly<Record<string, string | undefined>>
  /** How long ssh may take to connect. */
  timeoutMs: number
}

/**
 * One connection to the gateway on the other side of ssh: the standard streams of an ssh of its own. There is no local port
 * that another process could take or use, and when this process dies, however it dies, ssh sees the end of its input.
 * Ends with a ClientError that says why ssh failed.
 */
export class SshStream extends Duplex {
  readonly #child: ChildProcess
  readonly #route: SshRoute
  #stderr = ''

  /** Throws a ClientError where there is no ssh. */
  constructor(route: SshRoute, { env, timeoutMs }: SshStreamOptions) {
    super()
    const program = findSsh()
    if (program === undefined) throw sshMissing()
    this.#route = route
    const child = spawn(program, streamArguments(route, connectSeconds(timeoutMs)), {
      env: sshEnvironment(env),
      stdio: 'pipe',
      windowsHide: true
    })
    this.#child = child
    child.once('error', (error) => this.destroy(error))
    child.stdout.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) child.stdout.pause()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_MAX)
    })
    // Writing to an ssh that has ended fails; why it ended is told by its end.
    child.stdin.on('error', () => {})
    child.once('close', (code, signal) => this.#ended(code, signal))
  }

  /** The process of ssh; undefined when none could be started. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  override _read(): void {
    this.#child.stdout?.resume()
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#child.stdin?.write(chunk, () => callback())
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#child.stdin?.end()
    callback()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#child.kill()
    callback(error)
  }

  #ended(code: number | null, signal: string | null): void {
    if (this.destroyed) return
    if (code === 0) {
      this.push(null)
      this.end()
    } else this.destroy(sshFailure({ stderr: this.#stderr, code, signal }, this.#route))
  }
}

// A little less than the time there is, so that ssh can still say what it waited for.
function connectSeconds(timeoutMs: number): number {
  return Math.max(1, Math.floor((timeoutMs - 500) / 1_000))
}
