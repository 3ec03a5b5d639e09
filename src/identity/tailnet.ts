import type { Socket } from 'node:net'
import type { FrontOwner } from '../auth/ingress.ts'
import type { TailnetUser, TailscaleWitness } from '../auth/tailscale.ts'
import type { TailscalePlace } from '../tailscale/cli.ts'

/** What the tailnet tells the log. */
export interface TailnetLog {
  warn(fields: object, message: string): void
}

type Parts = Awaited<ReturnType<typeof load>>

/** The tailnet that this machine is in, as tailscaled knows it. Loaded by the first request that comes through it. */
export class Tailnet implements TailscaleWitness {
  readonly #place: TailscalePlace
  readonly #log: TailnetLog
  #parts: Promise<Parts> | undefined
  #problem = ''

  constructor(place: TailscalePlace, log: TailnetLog) {
    this.#place = place
    this.#log = log
  }

  /** tailscaled itself, for whoever has more to ask. */
  async daemon(): Promise<Parts['daemon']> {
    return (await this.#load()).daemon
  }

  async whois(address: string): Promise<TailnetUser | undefined> {
    return this.#answer(async ({ identities }) => identities.whois(address))
  }

  async isOwner(user: TailnetUser): Promise<boolean> {
    const found = await this.#answer(async ({ identities, isOwner }) => isOwner(user, await identities.status()))
    return found ?? false
  }

  /** This machine's name in the tailnet; undefined while tailscaled does not say. */
  async name(): Promise<string | undefined> {
    return this.#answer(async ({ identities }) => (await identities.status()).dnsName)
  }

  /** Whose process holds the other end of a loopback socket: tailscaled runs as root, or as its socket's owner. */
  async ownerOf(socket: Socket): Promise<FrontOwner> {
    const { daemon, socketOwner } = await this.#load()
    const owner = await socketOwner(socket)
    if (owner === 'unknown') return 'unknown'
    return owner === 0 || owner === (await daemon.user()) ? 'tailscaled' : 'other'
  }

  // Whatever goes wrong, nobody is anybody; said once, until it is something else.
  async #answer<T>(ask: (parts: Parts) => Promise<T>): Promise<T | undefined> {
    try {
      const answer = await ask(await this.#load())
      this.#problem = ''
      return answer
    } catch (error) {
      const { message } = error as Error
      if (message !== this.#problem) this.#log.warn({ problem: message }, 'tailscaled cannot be asked')
      this.#problem = message
      return undefined
    }
  }

  #load(): Promise<Parts> {
    this.#parts ??= load(this.#place)
    return this.#parts
  }
}

async function load(place: TailscalePlace) {
  const [{ TailscaleDaemon }, { TailnetIdentities }, { socketOwner }, { isOwner }] = await Promise.all([
    import('../tailscale/daemon.ts'),
    import('../tailscale/whois.ts'),
    import('../tailscale/socket-owner.ts'),
    import('../tailscale/answers.ts')
  ])
  const daemon = new TailscaleDaemon(place)
  return { daemon, identities: new TailnetIdentities(daemon), socketOwner, isOwner }
}
