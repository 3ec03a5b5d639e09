import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { CliError } from '../io.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const PATIENCE_MS = 3_000

/** The exit code of what a signal ended, as shells count it. */
export function exitCodeOf(signal: NodeJS.Signals): number {
  return 128 + (constants.signals[signal] ?? 0)
}

/** Somebody ended the command before it was over. */
export class Interrupted extends CliError {
  readonly signal: NodeJS.Signals

  constructor(signal: NodeJS.Signals, what: string) {
    super('INTERRUPTED', what, { exitCode: exitCodeOf(signal) })
    this.signal = signal
  }
}

/**
 * Lets a person, or a reader of the output that goes away, end something elsewhere with this process: the first signal
 * gives up what runs and waits for that, a second one leaves at once. While nothing runs, the first one does.
 */
export class Interrupt {
  readonly #tripped = Promise.withResolvers<NodeJS.Signals>()
  #running = 0
  #first: NodeJS.Signals | undefined
  readonly #heard = (signal: NodeJS.Signals) => {
    if (this.#running === 0 || this.#first !== undefined) process.exit(exitCodeOf(signal))
    this.#first = signal
    this.#tripped.resolve(signal)
  }
  readonly #unread = (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' && this.#first === undefined) this.#heard('SIGPIPE')
  }

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#heard)
    process.stdout.on('error', this.#unread)
  }

  /** Does work; when it is interrupted, gives it up and throws. */
  async during<T>(work: Promise<T>, giveUp: () => Promise<unknown>, what: string): Promise<T> {
    this.#running++
    try {
      // Work that was given up may fail for that.
      work.catch(() => {})
      const interrupted = this.#tripped.promise.then((signal) => ({ signal }))
      const outcome = await Promise.race([work.then((value) => ({ value })), interrupted])
      if ('value' in outcome) return outcome.value
      const patience = new AbortController()
      const enough = sleep(PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => {})
      await Promise.race([giveUp().catch(() => {}), enough])
      patience.abort()
      throw new Interrupted(outcome.signal, what)
    } finally {
      this.#running--
    }
  }

  /** Gives the signals back. */
  close(): void {
    for (const signal of SIGNALS) process.off(signal, this.#heard)
    process.stdout.off('error', this.#unread)
  }
}
