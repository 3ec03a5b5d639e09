import { canonicalAddress } from '../auth/addresses.ts'
import { parseStatus, parseWhois, type TailnetIdentity, type TailscaleStatus } from './answers.ts'
import { TailscaleCli, type TailscalePlace } from './cli.ts'
import { printable, TailscaleError } from './errors.ts'
import { askLocalApi, type LocalApiAnswer, usualSockets } from './local-api.ts'
import { daemonUser } from './socket-owner.ts'

/**
 * tailscaled, asked through its socket, or through the `tailscale` command where no socket can be opened. Rejects
 * with `TAILSCALE_MISSING` when neither is there, and with `TAILSCALE_FAILED` when the answer is of no use.
 */
export class TailscaleDaemon {
  readonly cli: TailscaleCli
  #sockets: readonly string[]

  constructor(place: TailscalePlace) {
    this.cli = new TailscaleCli(place)
    this.#sockets = place.socket === undefined ? usualSockets() : [place.socket]
  }

  /** Whom a tailnet address belongs to; undefined for nobody. */
  async whois(address: string): Promise<TailnetIdentity | undefined> {
    const canonical = canonicalAddress(address)
    if (canonical === undefined) return undefined
    const answer = await this.#ask(`/localapi/v0/whois?addr=${encodeURIComponent(canonical)}`)
    if (answer === undefined) return this.#orMissing(this.cli.whois(canonical))
    return answer.status === 404 ? undefined : parseWhois(bodyOf(answer))
  }

  /** What tailscaled says of itself and this machine. */
  async status(): Promise<TailscaleStatus> {
    // Without the peers, who may be thousands; their users go with them, so the owner may need a question of its own.
    const answer = await this.#ask('/localapi/v0/status?peers=false')
    if (answer === undefined) return this.#orMissing(this.cli.status())
    const status = parseStatus(bodyOf(answer))
    const [own] = status.ips
    if (status.ownerId === undefined || status.ownerLogin !== undefined || own === undefined) return status
    const self = await this.whois(own)
    return self?.userId === status.ownerId && !self.tagged ? { ...status, ownerLogin: self.login } : status
  }

  /** The user that tailscaled runs as, or rather that owns its socket; undefined when there is none. */
  async user(): Promise<number | undefined> {
    for (const socket of this.#sockets) {
      const user = await daemonUser(socket)
      if (user !== undefined) return user
    }
    return undefined
  }

  // Undefined when no socket can be opened. A daemon that is there and answers badly would do so to its command too.
  async #ask(path: string): Promise<LocalApiAnswer | undefined> {
    for (const socket of this.#sockets) {
      try {
        return await askLocalApi(socket, path)
      } catch (error) {
        if (!(error instanceof TailscaleError) || error.code !== 'TAILSCALE_MISSING') throw error
      }
    }
    return undefined
  }

  async #orMissing<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      if (!(error instanceof TailscaleError) || error.code !== 'TAILSCALE_MISSING') throw error
      const message = `nothing listens on ${this.#sockets.join(' or ')}; ${error.message}`
      throw new TailscaleError('TAILSCALE_MISSING', message, { cause: error, fix: error.fix.command })
    }
  }
}

function bodyOf({ status, body }: LocalApiAnswer): string {
  if (status === 200) return body
  throw new TailscaleError('TAILSCALE_FAILED', `tailscaled answered ${status}: ${printable(body.slice(0, 300))}`)
}
