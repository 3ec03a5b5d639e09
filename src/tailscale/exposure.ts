import { setTimeout as delay } from 'node:timers/promises'
import type { Fix } from '../protocol/errors.ts'
import type { TailscaleStatus } from './answers.ts'
import type { TailscaleDaemon } from './daemon.ts'
import { printable, TailscaleError } from './errors.ts'
import { HeldCommand } from './held-command.ts'
import { type ExposureMode, olderVersion, READY, routeOwner, serveArgs } from './serve.ts'

/** What was wanted of Tailscale, and what there is. Times are milliseconds since 1970. */
export interface ExposureState {
  intended: ExposureMode
  actual: 'off' | ExposureMode
  phase: 'starting' | 'active' | 'retrying' | 'stopped'
  /** Where the gateway is: `https://HOST.TAILNET.ts.net/`. */
  url?: string
  /** When the route became active. */
  since?: number
  /** Why there is no route, or the last one went. */
  error?: string
  fix?: Fix
  retryAtMs?: number
  /** Failures since the route last stood for long. */
  attempts: number
}

/** Where an exposure tells what it does: the gateway's log. */
export interface ExposureLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** How long an exposure waits, in milliseconds. */
export interface ExposureWaits {
  /** For a claimed route to say so. */
  ready: number
  /** Before the first retry, and at most. */
  firstRetry: number
  lastRetry: number
  /** Between two looks at a tailscaled that is starting. */
  look: number
}

const WAITS: ExposureWaits = { ready: 15_000, firstRetry: 1_000, lastRetry: 60_000, look: 2_000 }

/** What an exposure is made of. */
export interface ExposureOptions {
  mode: ExposureMode
  daemon: Pick<TailscaleDaemon, 'cli'>
  /**
   * Opens the listener and says what Serve shall reach: `unix:/path` or a port, by what this version of Tailscale
   * supports. Called before each claim.
   */
  target(version: string): Promise<string>
  log: ExposureLog
  /** Called after each change of the state. */
  onChange?(state: ExposureState): void
  waits?: Partial<ExposureWaits>
}

/** A route that is kept up. */
export interface Exposure {
  state(): ExposureState
  /** Takes the route down; resolves when its process has ended. */
  stop(): Promise<void>
}

/**
 * Keeps a route of Tailscale's to the gateway, from now until it is stopped. Never throws: what goes wrong is logged,
 * stands in the state, and is tried again, for ever (D3).
 */
export function startExposure(options: ExposureOptions): Exposure {
  const route = new ManagedRoute(options)
  const kept = route.keep()
  return {
    state: () => route.state,
    async stop() {
      route.stopping.abort()
      await kept
    }
  }
}

class ManagedRoute {
  readonly stopping = new AbortController()
  state: ExposureState
  #options: ExposureOptions
  #waits: ExposureWaits
  #lastError = ''

  constructor(options: ExposureOptions) {
    this.#options = options
    this.#waits = { ...WAITS, ...options.waits }
    this.state = { intended: options.mode, actual: 'off', phase: 'starting', attempts: 0 }
  }

  async keep(): Promise<void> {
    const { signal } = this.stopping
    while (!signal.aborted) {
      try {
        await this.#claim()
      } catch (error) {
        if (!signal.aborted) await this.#failed(error)
      }
    }
    const { intended, attempts } = this.state
    this.#change({ intended, actual: 'off', phase: 'stopped', attempts })
  }

  // One life of a route; throws when it ends.
  async #claim(): Promise<void> {
    const { mode, target, log } = this.#options
    const { cli } = this.#options.daemon
    const { signal } = this.stopping
    const version = await cli.version(signal)
    const status = await this.#running()
    // Advice only: when the root is taken, the claim says so itself.
    const other = routeOwner(await cli.serveStatus(signal).catch(() => ''))
    if (other !== undefined) log.warn({ other }, 'another tailscale route owns port 443 of this machine')
    const command = await cli.command(...serveArgs(mode, await target(olderVersion(version, status.version))))
    signal.throwIfAborted()

    const ready = Promise.withResolvers<void>()
    const held = new HeldCommand(command, ({ output }) => {
      if (output.includes(READY)) ready.resolve()
    })
    const onStop = () => void held.stop()
    signal.addEventListener('abort', onStop, { once: true })
    try {
      await this.#ready(held, ready.promise)
      await this.#active(status)
      await held.ended
      throw lost(held, `tailscale ${mode} ended`)
    } finally {
      signal.removeEventListener('abort', onStop)
      await held.stop()
    }
  }

  // Waits while tailscaled is on its way, as it is after a boot.
  async #running(): Promise<TailscaleStatus> {
    const { cli } = this.#options.daemon
    let told = ''
    for (;;) {
      const status = await cli.status(this.stopping.signal)
      if (status.state === 'Running') return status
      if (status.state !== 'NoState' && status.state !== 'Starting') {
        throw new TailscaleError('TAILSCALE_FAILED', `Tailscale is not connected: its state is ${status.state}`)
      }
      if (told !== status.state) {
        this.#options.log.info({ state: status.state }, 'waiting for tailscale')
        const { intended, phase, attempts } = this.state
        const error = `Tailscale is starting: its state is ${status.state}`
        this.#change({ intended, actual: 'off', phase, error, attempts })
      }
      told = status.state
      await delay(this.#waits.look, undefined, { signal: this.stopping.signal })
    }
  }

  async #ready(held: HeldCommand, ready: Promise<void>): Promise<void> {
    const { mode } = this.#options
    const late = new AbortController()
    const timeout = delay(this.#waits.ready, 'late' as const, { signal: late.signal }).catch(() => undefined)
    const ended = held.ended.then(() => 'ended' as const)
    const first = await Promise.race([ready, ended, timeout])
    late.abort()
    this.stopping.signal.throwIfAborted()
    if (first === 'late') throw lost(held, `tailscale ${mode} did not claim the route within ${this.#waits.ready} ms`)
    if (first === 'ended') throw lost(held, `tailscale ${mode} ended before it claimed the route`)
  }

  async #active(before: TailscaleStatus): Promise<void> {
    const { mode, daemon, log } = this.#options
    const { intended, attempts } = this.state
    // The claim itself can give the machine its name.
    const { dnsName } = await daemon.cli.status(this.stopping.signal).catch(() => before)
    this.stopping.signal.throwIfAborted()
    const url = dnsName === undefined ? {} : { url: `https://${dnsName}/` }
    this.#lastError = ''
    this.#change({ intended, actual: mode, phase: 'active', ...url, since: Date.now(), attempts })
    log.info({ mode, ...url }, 'tailscale exposes the gateway')
  }

  async #failed(error: unknown): Promise<void> {
    const { intended, since } = this.state
    // A route that comes and goes is not tried every second.
    const stood = since !== undefined && Date.now() - since >= this.#waits.lastRetry
    const attempts = (stood ? 0 : this.state.attempts) + 1
    const ceiling = Math.min(this.#waits.lastRetry, this.#waits.firstRetry * 2 ** Math.min(attempts - 1, 20))
    const wait = Math.round(ceiling * (0.5 + Math.random() / 2))
    const message = error instanceof Error ? printable(error.message, 500) : 'unknown error'
    const fix = error instanceof TailscaleError ? { fix: error.fix } : {}
    const retryAtMs = Date.now() + wait
    this.#change({ intended, actual: 'off', phase: 'retrying', error: message, ...fix, retryAtMs, attempts })
    const level = message === this.#lastError ? 'warn' : 'error'
    this.#lastError = message
    const fields = { error: message, ...fix, attempts, retryInMs: wait }
    this.#options.log[level](fields, 'tailscale does not expose the gateway')
    await delay(wait, undefined, { signal: this.stopping.signal }).catch(() => {})
  }

  #change(state: ExposureState): void {
    this.state = Object.freeze(state)
    try {
      this.#options.onChange?.(this.state)
    } catch (err) {
      this.#options.log.error({ err }, 'a listener of the tailscale exposure failed')
    }
  }
}

function lost({ output }: HeldCommand, what: string): TailscaleError {
  // What it said before the marker is about the route that it claimed.
  const ready = output.lastIndexOf(READY)
  const words = printable(ready === -1 ? output : output.slice(ready + READY.length))
  return new TailscaleError('TAILSCALE_FAILED', words === '' ? what : `${what}: ${words}`)
}
