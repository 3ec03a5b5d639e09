import { unwatchFile, watchFile } from 'node:fs'
import type { FastifyBaseLogger } from 'fastify'
import { startRefusal } from './auth/bind-policy.ts'
import { ConfigError } from './config/errors.ts'
import { planReload } from './config/reload.ts'
import type { Config } from './config/types.ts'
import type { Live } from './live.ts'

// Asked by name, so that a new file in place of the old one, a link that moved and a container's mount are all seen.
const LOOK_MS = 1_000

/** What became of a changed configuration. */
export type ReloadOutcome =
  | {
      ok: true
      applied: string[]
      restart: string[]
      /** Where the shared secret in force comes from; undefined where there is none. */
      secretSource: string | undefined
    }
  | { ok: false; message: string; fix: ConfigError['fix'] }

/** How the configuration file and the running gateway stand to each other. */
export interface ReloadState {
  mode: 'hybrid' | 'off'
  /** Why the file as it is now is not in force; undefined when it is. */
  problem: string | undefined
  /** Keys that differ in the file and wait for a restart. */
  restart: string[]
}

/** What the reloader works on. */
export interface ReloadDeps {
  live: Live
  /** Reads the configuration again, as it was read at the start. */
  load(): Promise<Config>
  log: FastifyBaseLogger
  /** Called after a configuration came into force. */
  applied(keys: readonly string[]): void
  /** Called when the configuration as it is now cannot come into force. */
  refused(): void
  /** Called when somebody edited the file, and the edit was taken. */
  edited(): void
}

/** Applies edits of the configuration while the gateway runs; one that cannot be applied changes nothing. */
export class Reloader {
  readonly #deps: ReloadDeps
  readonly #watched = new Set<string>()
  #turn: Promise<unknown> = Promise.resolve()
  #problem: string | undefined
  #restart: string[] = []

  constructor(deps: ReloadDeps) {
    this.#deps = deps
  }

  get state(): ReloadState {
    return { mode: this.#mode, problem: this.#problem, restart: this.#restart }
  }

  get #mode(): 'hybrid' | 'off' {
    return this.#deps.live.config.gateway.reload.mode
  }

  /** Begins to look for edits. */
  start(): void {
    this.#watch()
  }

  stop(): void {
    for (const file of this.#watched) unwatchFile(file, this.#look)
    this.#watched.clear()
  }

  /** Applies the configuration as it is now, one call after the other. */
  now(): Promise<ReloadOutcome> {
    const turn = this.#turn.then(() => this.#apply())
    this.#turn = turn
    return turn
  }

  readonly #look = async (): Promise<void> => {
    if (this.#mode !== 'hybrid') return
    const { hash } = this.#deps.live.config.file
    const { ok } = await this.now()
    if (ok && this.#deps.live.config.file.hash !== hash) this.#deps.edited()
  }

  async #apply(): Promise<ReloadOutcome> {
    const { live, log } = this.#deps
    try {
      const { config, applied, restart } = planReload(live.config, await this.#deps.load())
      const refusal = startRefusal(config.gateway)
      if (refusal !== undefined) {
        throw new ConfigError('CONFIG_WOULD_NOT_START', refusal.message, { fix: refusal.fix.command })
      }
      live.apply(config)
      const news = restart.filter((key) => !this.#restart.includes(key))
      this.#restart = restart
      if (this.#problem !== undefined) log.info('configuration is valid again')
      this.#problem = undefined
      if (applied.length > 0) log.info({ applied }, 'configuration applied')
      if (news.length > 0) log.warn({ keys: news }, 'restart the gateway to apply these settings')
      if (applied.length > 0) this.#deps.applied(applied)
      return { ok: true, applied, restart, secretSource: live.access.secret?.source }
    } catch (error) {
      if (!(error instanceof ConfigError)) log.error({ err: error }, 'configuration not read')
      const { message, fix } = error instanceof ConfigError ? error : unread
      if (message !== this.#problem) {
        log.error({ problem: message, fix: fix.command }, 'configuration not applied')
        this.#deps.refused()
      }
      this.#problem = message
      return { ok: false, message, fix }
    } finally {
      this.#watch()
    }
  }

  // The files may be others after each edit: includes come and go.
  #watch(): void {
    const { paths, file } = this.#deps.live.config
    for (const each of [paths.configPath, `${paths.stateDir}/.env`, ...file.included]) {
      if (this.#watched.has(each)) continue
      this.#watched.add(each)
      watchFile(each, { interval: LOOK_MS, persistent: false }, this.#look)
    }
  }
}

const unread = new ConfigError('CONFIG_UNREADABLE', 'the configuration could not be read; see the log')
