import { hostname, type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { isLoopback } from '../auth/addresses.ts'
import { Announcer } from './announcer.ts'
import { type Network, networksOf } from './networks.ts'
import { type Announced, hostLabel, hostName, instanceName, LOCAL, SERVICE } from './records.ts'

/** What an advertiser is told. */
export interface AdvertiserOptions {
  port: number
  tls: boolean
  /** The addresses at which the gateway listens. */
  listening: readonly string[]
  log: { info(what: object, text: string): void; warn(what: object, text: string): void }
  /** This host has a name in `.local` by which it is now announced. */
  named(host: string): void
}

/** What is announced, network by network. */
export interface AdvertiserState {
  /** Names by network; a network that is still being asked is missing. */
  announced: { network: string; name: string }[]
  /** Why a network, or all of them, hear nothing. */
  problems: { network?: string; reason: string; fix?: string }[]
}

/** How soon a new address is announced. */
const LOOK_MS = 5_000
/** How soon it is tried again where it did not work. */
const AGAIN_MS = 60_000

/** Announces a gateway on every network on which it listens, as networks and addresses come and go. */
export class Advertiser {
  readonly #options: AdvertiserOptions
  readonly #announcers = new Map<string, Entry>()
  #timer: NodeJS.Timeout | undefined
  #own: ReadonlySet<string> = new Set()

  constructor(options: AdvertiserOptions) {
    this.#options = options
  }

  start(): void {
    this.#look()
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
    if (this.#announcers.size > 0) return
    this.#options.log.warn(nowhere(this.#options.listening), 'the gateway is announced on no network')
  }

  /** Says goodbye everywhere. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    const entries = [...this.#announcers.values()]
    this.#announcers.clear()
    await Promise.all(entries.map(({ announcer }) => announcer.stop()))
  }

  state(): AdvertiserState {
    const entries = [...this.#announcers.values()]
    const announced = entries.flatMap(({ network, name }) => (name === undefined ? [] : [{ network, name }]))
    const problems = entries.flatMap(({ network, reason }) => (reason === undefined ? [] : [{ network, reason }]))
    return { announced, problems: entries.length === 0 ? [nowhere(this.#options.listening)] : problems }
  }

  #look(): void {
    const interfaces = interfacesNow()
    const all = Object.values(interfaces).flatMap((each) => each ?? [])
    this.#own = new Set(all.map(({ address }) => address))
    const networks = new Map(networksOf(interfaces, this.#options.listening).map((each) => [keyOf(each), each]))
    for (const [key, { announcer, network }] of this.#announcers) {
      if (networks.has(key)) continue
      this.#announcers.delete(key)
      // Its addresses may have changed, and then it is announced anew in a moment.
      void announcer.stop([...networks.values()].find(({ name }) => name === network)?.addresses)
    }
    for (const [key, network] of networks) {
      const entry = this.#announcers.get(key)
      if (entry === undefined) this.#announce(key, network)
      else if (entry.failedAt < performance.now() - AGAIN_MS) {
        void entry.announcer.stop()
        this.#announce(key, network, entry.reason)
      }
    }
  }

  #announce(key: string, network: Network, known?: string): void {
    const { port, tls, log, named } = this.#options
    const about: Announced = { label: hostLabel(hostname()), number: 1, hostNumber: 1, domain: LOCAL, port, tls }
    const { name } = network
    const announcer = new Announcer({
      network,
      about,
      isOwn: (address) => this.#own.has(address),
      named(about) {
        entry.name = labelOf(about)
        entry.reason = undefined
        entry.failedAt = Number.POSITIVE_INFINITY
        log.info({ network: name, name: entry.name, port }, 'announced on the local network')
        named(hostName(about))
      },
      failed(reason) {
        entry.name = undefined
        entry.reason = reason
        entry.failedAt = performance.now()
        if (reason !== known) log.warn({ network: name, reason }, 'not announced on a network')
      }
    })
    const entry: Entry = {
      announcer,
      network: name,
      name: undefined,
      reason: known,
      failedAt: Number.POSITIVE_INFINITY
    }
    this.#announcers.set(key, entry)
    void announcer.start()
  }
}

interface Entry {
  announcer: Announcer
  network: string
  name: string | undefined
  reason: string | undefined
  failedAt: number
}

// A network whose addresses change is another one.
function keyOf({ name, addresses }: Network): string {
  return JSON.stringify([name, ...addresses.toSorted()])
}

function labelOf(about: Announced): string {
  return instanceName(about).replace(`.${SERVICE}.${about.domain}`, '')
}

function nowhere(listening: readonly string[]): { reason: string; fix?: string } {
  if (!listening.every(isLoopback)) return { reason: 'it listens on no network that is up and has multicast' }
  return { reason: `it listens on ${listening.join(' and ')} only`, fix: 'openclaw config set gateway.bind lan' }
}

function interfacesNow(): NodeJS.Dict<NetworkInterfaceInfo[]> {
  try {
    return networkInterfaces()
  } catch {
    // A system that does not tell has none that we could announce on.
    return {}
  }
}
