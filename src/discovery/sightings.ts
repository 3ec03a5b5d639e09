import { type DnsRecord, type Question, SERVICE, sameName } from './records.ts'

/** A gateway that somebody announces. Nothing of it is proven, and its text is as it came. */
export interface Sighting {
  /** The service's own name, without type and domain. */
  instance: string
  domain: string
  /** Where its SRV record says that it is. */
  host: string
  port: number
  /** What that host's name resolves to. */
  addresses: readonly string[]
  /** What its TXT record says. */
  txt: ReadonlyMap<string, string>
}

// A network of thousands of gateways is none, but somebody who wants to fill our memory.
const MAX_INSTANCES = 64
const MAX_HOSTS = 64
const MAX_ADDRESSES = 16
const MAX_ENTRIES = 16

interface Instance {
  name: string
  service: (DnsRecord & { type: 'SRV' }) | undefined
  txt: (DnsRecord & { type: 'TXT' }) | undefined
}

/** Puts the gateways of one domain together from the records that arrive, in whatever order, and knows what is missing. */
export class Sightings {
  readonly #domain: string
  readonly #instances = new Map<string, Instance>()
  readonly #hosts = new Map<string, Set<string>>()

  constructor(domain: string) {
    this.#domain = domain
  }

  /** Takes in what somebody said. */
  take(records: readonly DnsRecord[]): void {
    // A name before what is said of it, wherever in the packet it stands.
    for (const record of records.toSorted((a, b) => rank(a) - rank(b))) {
      if (record.type === 'PTR') this.#takeName(record)
      else if (record.type === 'SRV' || record.type === 'TXT') this.#takeFact(record)
      else this.#takeAddress(record)
    }
  }

  /** What to ask next. */
  missing(): Question[] {
    const facts = [...this.#instances.values()].flatMap(({ name, service, txt }) => [
      ...(service === undefined ? [{ name, type: 'SRV' }] : []),
      ...(txt === undefined ? [{ name, type: 'TXT' }] : [])
    ])
    const hosts = [...this.#targets()].filter((name) => this.#addressesOf(name).length === 0)
    return [...facts, ...hosts.flatMap((name) => [A, AAAA].map((type) => ({ name, type })))].filter(isAskable)
  }

  /** What has been seen; only what is complete enough to be reached. */
  list(): Sighting[] {
    return [...this.#instances.values()].flatMap(({ name, service, txt }) => {
      const addresses = service === undefined ? [] : this.#addressesOf(service.target)
      if (service === undefined || service.port === 0 || addresses.length === 0) return []
      const instance = name.slice(0, -(SERVICE.length + this.#domain.length + 2))
      const { target: host, port } = service
      return [{ instance, domain: this.#domain, host, port, addresses, txt: entriesOf(txt?.entries ?? []) }]
    })
  }

  #takeName({ name, target, ttl }: DnsRecord & { type: 'PTR' }): void {
    if (!sameName(name, `${SERVICE}.${this.#domain}`) || !isInstanceOf(target, name)) return
    const key = target.toLowerCase()
    // A time of 0 is a goodbye.
    if (ttl === 0) this.#instances.delete(key)
    else if (!this.#instances.has(key) && this.#instances.size < MAX_INSTANCES) {
      this.#instances.set(key, { name: target, service: undefined, txt: undefined })
    }
  }

  #takeFact(record: (DnsRecord & { type: 'SRV' }) | (DnsRecord & { type: 'TXT' })): void {
    const instance = this.#instances.get(record.name.toLowerCase())
    if (instance === undefined || record.ttl === 0) return
    if (record.type === 'TXT') instance.txt = record
    else if (this.#mayBeHost(record.target)) instance.service = record
  }

  #takeAddress({ name, address, ttl }: DnsRecord & { type: 'A' | 'AAAA' }): void {
    const key = name.toLowerCase()
    if (ttl === 0) {
      this.#hosts.get(key)?.delete(address)
      return
    }
    if (!this.#mayBeHost(name) || (!this.#hosts.has(key) && this.#hosts.size >= MAX_HOSTS)) return
    const known = this.#hosts.get(key) ?? new Set()
    if (known.size < MAX_ADDRESSES) known.add(address)
    this.#hosts.set(key, known)
  }

  // What the local network says counts for the local network: no neighbour says where a host of the world is.
  #mayBeHost(name: string): boolean {
    const isLocal = name.toLowerCase().endsWith('.local')
    return isLocal === (this.#domain === 'local') && /^[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9])?$/i.test(name)
  }

  #targets(): Set<string> {
    return new Set([...this.#instances.values()].flatMap(({ service }) => service?.target ?? []))
  }

  #addressesOf(name: string): string[] {
    return [...(this.#hosts.get(name.toLowerCase()) ?? [])]
  }
}

const [A, AAAA] = ['A', 'AAAA'] as const

function rank({ type }: DnsRecord): number {
  return type === 'PTR' ? 0 : 1
}

function isInstanceOf(target: string, service: string): boolean {
  return target.toLowerCase().endsWith(`.${service.toLowerCase()}`)
}

// A name that was not what it should be in the first place may not fit into a question.
function isAskable({ name }: Question): boolean {
  return (
    Buffer.byteLength(name) < 254 && name.split('.').every((label) => label !== '' && Buffer.byteLength(label) < 64)
  )
}

function entriesOf(entries: readonly string[]): Map<string, string> {
  const pairs = entries.slice(0, MAX_ENTRIES).map((entry) => {
    const at = entry.indexOf('=')
    return [at === -1 ? entry : entry.slice(0, at), at === -1 ? '' : entry.slice(at + 1)] as const
  })
  // The first of a name counts (RFC 6763).
  return new Map(pairs.toReversed())
}
