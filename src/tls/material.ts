import { unwatchFile, watchFile } from 'node:fs'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { FastifyBaseLogger } from 'fastify'
import { ConfigError } from '../config/errors.ts'
import type { TlsConfig } from '../config/types.ts'
import { dayOf, readPair, type Served } from './pair.ts'
import { providePair } from './provide.ts'

// See `pair.ts`.
const { TLSSocket: Secured } = process.getBuiltinModule('node:tls')

// Asked by name, so that a new file in place of the old one, a link that moved and a container's mount are all seen.
const LOOK_MS = 1_000
// Certificate and key are written one after the other.
const SETTLE_MS = 500
const SOON_MS = 30 * 86_400_000

/** The certificate that the main listener serves, and its renewal while connections stay open. */
export class TlsMaterial {
  readonly #config: TlsConfig
  readonly #log: FastifyBaseLogger | undefined
  readonly #watched = new Set<string>()
  #current: Served
  #refused: string | undefined
  #turn: Promise<string | undefined> = Promise.resolve(undefined)
  #settling: NodeJS.Timeout | undefined
  #paused: () => boolean = () => false

  private constructor(config: TlsConfig, current: Served, log: FastifyBaseLogger | undefined) {
    this.#config = config
    this.#current = current
    this.#log = log
    this.#announce('tls certificate')
  }

  /** Reads the files, or makes a pair where there is none; rejects with a ConfigError when they cannot be served. */
  static async open(config: TlsConfig, log: FastifyBaseLogger | undefined): Promise<TlsMaterial> {
    await providePair(config)
    return new TlsMaterial(config, await readPair(config), log)
  }

  /** What new connections get. */
  get current(): Served {
    return this.#current
  }

  /** What the owner should look at: a renewal that was refused, or the end of the certificate that is served. */
  get problem(): string | undefined {
    return this.#refused ?? ending(this.#current)
  }

  /** Serves the files as they are now, or keeps what is served and resolves with what is wrong with them. */
  reload(): Promise<string | undefined> {
    this.#turn = this.#turn.then(() => this.#renew())
    return this.#turn
  }

  /** Begins to look for renewed files; those that change while `paused` says so are left alone. */
  watch(paused: () => boolean): void {
    this.#paused = paused
    const { certPath, keyPath, caPath = certPath } = this.#config
    for (const file of new Set([certPath, keyPath, caPath])) {
      this.#watched.add(file)
      watchFile(file, { interval: LOOK_MS, persistent: false }, this.#look)
    }
  }

  stop(): void {
    for (const file of this.#watched) unwatchFile(file, this.#look)
    this.#watched.clear()
    clearTimeout(this.#settling)
  }

  /** Puts TLS on a socket that was just accepted; nothing else is answered on it. */
  secure(socket: Socket): TLSSocket {
    const secured = new Secured(socket, {
      isServer: true,
      secureContext: this.#current.context,
      ALPNProtocols: ['http/1.1']
    })
    // Node leaves a socket whose TLS breaks after the handshake to its own TLS server, which has no part in this one.
    secured.once('_tlsError', (error: Error) => secured.destroy(error))
    return secured
  }

  readonly #look = (): void => {
    if (this.#paused()) return
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined
      void this.reload()
    }, SETTLE_MS).unref()
  }

  async #renew(): Promise<string | undefined> {
    try {
      const served = await readPair(this.#config)
      const renewed = served.fingerprint !== this.#current.fingerprint
      this.#current = served
      if (renewed) this.#announce('tls certificate renewed')
      else if (this.#refused !== undefined) this.#log?.info('tls files are as they are served again')
      this.#refused = undefined
    } catch (error) {
      const { message, fix } = error instanceof ConfigError ? error : unread
      if (!(error instanceof ConfigError)) this.#log?.error({ err: error }, 'tls files not read')
      if (message !== this.#refused) this.#log?.error({ problem: message, fix: fix.command }, 'tls files not taken')
      this.#refused = message
    }
    return this.#refused
  }

  #announce(message: string): void {
    const { fingerprint, notAfter, names } = this.#current
    this.#log?.info({ fingerprint, notAfter, names }, message)
    const problem = ending(this.#current)
    if (problem !== undefined) this.#log?.warn({ problem }, 'tls certificate needs attention')
  }
}

const unread = new ConfigError('CONFIG_TLS_UNUSABLE', 'the TLS files could not be read; see the log')

function ending({ notBefore, notAfter }: Served): string | undefined {
  if (notBefore.getTime() > Date.now())
    return `the TLS certificate is not valid before ${notBefore.toISOString()}; is the clock right?`
  const left = notAfter.getTime() - Date.now()
  if (left > SOON_MS) return undefined
  return `the TLS certificate ${left > 0 ? 'expires' : 'expired'} on ${dayOf(notAfter)}`
}
