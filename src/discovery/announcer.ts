import { MDNS_PORT, Multicast, type Sender } from './multicast.ts'
import type { Network } from './networks.ts'
import type { Packet } from './packets.ts'
import {
  type Announced,
  addressRecords,
  compareClaims,
  type DnsRecord,
  hostName,
  instanceName,
  isAsked,
  ownRecords,
  recordsOf,
  sameName,
  serviceRecord
} from './records.ts'

/** What an announcer is told, and whom it tells what becomes of it. */
export interface AnnouncerOptions {
  network: Network
  /** The name that is tried first. */
  about: Announced
  /** Reports whether an address is one of this host's own, on any network. */
  isOwn(address: string): boolean
  /** Announced under this name, which is free. */
  named(about: Announced): void
  /** Nothing is announced there, or no longer. */
  failed(reason: string): void
}

// The pace of RFC 6762: what is to be unique is asked for three times before it is said twice.
const PROBES = 3
const PROBE_MS = 250
const AGAIN_MS = 1_000
/** Between two answers, and between two of them to somebody who is about to take our name. */
const PAUSE_MS = 1_000
const PAUSE_DEFENDING_MS = 250
/** So that not every gateway of a network answers in the same moment. */
const SPREAD_MS = [20, 120] as const
/** Somebody who claims every name could keep us asking for ever. */
const MAX_CONFLICTS = 15
/** By then a name is settled. */
const CALM_MS = 60_000
/** For those that ask once and keep nothing. */
const ONE_SHOT_TTL = 10
const ONE_SHOTS_PER_SECOND = 10

/** Announces a gateway on one network: finds a free name, answers, and says goodbye. */
export class Announcer {
  readonly #options: AnnouncerOptions
  readonly #multicast: Multicast
  #about: Announced
  #phase: 'idle' | 'probing' | 'announced' = 'idle'
  /** Stopped, or given up. */
  #over = false
  #probes = 0
  #conflicts = 0
  #step: NodeJS.Timeout | undefined
  #answer: { timer: NodeJS.Timeout; at: number } | undefined
  #answeredAt = Number.NEGATIVE_INFINITY
  readonly #oneShots: number[] = []

  constructor(options: AnnouncerOptions) {
    this.#options = options
    this.#about = options.about
    this.#multicast = new Multicast(options.network, {
      heard: (packet, from) => this.#heard(packet, from),
      failed: (error, works) => works || this.#fail(error.message)
    })
  }

  async start(): Promise<void> {
    await this.#multicast.open()
    if (!this.#over) this.#probe(Math.random() * PROBE_MS)
  }

  /**
   * Takes back what was announced. With `staying`, somebody else goes on in its place, with these addresses: only the others
   * are taken back.
   */
  async stop(staying?: readonly string[]): Promise<void> {
    const announced = this.#phase === 'announced'
    this.#over = true
    this.#rest()
    const lost = this.#options.network.addresses.filter((address) => staying?.includes(address) === false)
    const gone = staying === undefined ? ownRecords(this.#about) : addressRecords(this.#about, lost)
    if (announced && gone.length > 0)
      await this.#multicast.send(response(gone.map((record) => ({ ...record, ttl: 0 }))))
    this.#multicast.close()
  }

  #fail(reason: string): void {
    this.#over = true
    this.#rest()
    this.#options.failed(reason)
  }

  #rest(): void {
    this.#phase = 'idle'
    clearTimeout(this.#step)
    clearTimeout(this.#answer?.timer)
    this.#answer = undefined
  }

  #after(ms: number, work: () => void): void {
    clearTimeout(this.#step)
    this.#step = setTimeout(work, ms).unref()
  }

  #probe(wait: number): void {
    this.#rest()
    this.#phase = 'probing'
    this.#probes = 0
    const ask = () => {
      if (this.#probes === PROBES) return this.#announce()
      this.#probes += 1
      const questions = [instanceName(this.#about), hostName(this.#about)].map((name) => ({ name, type: 'ANY' }))
      const claims = [serviceRecord(this.#about), ...this.#addresses]
      void this.#multicast.send({ id: 0, response: false, questions, answers: [], claims })
      this.#after(PROBE_MS, ask)
    }
    this.#after(wait, ask)
  }

  #announce(): void {
    this.#phase = 'announced'
    this.#options.named(this.#about)
    this.#say()
    this.#after(AGAIN_MS, () => {
      this.#say()
      this.#after(CALM_MS, () => {
        this.#conflicts = 0
      })
    })
  }

  get #addresses(): DnsRecord[] {
    return addressRecords(this.#about, this.#options.network.addresses)
  }

  get #records(): DnsRecord[] {
    return recordsOf(this.#about, this.#options.network.addresses)
  }

  #say(): void {
    this.#answeredAt = performance.now()
    void this.#multicast.send(response(this.#records))
  }

  #heard(packet: Packet, from: Sender): void {
    if (this.#phase === 'idle') return
    if (packet.response) this.#heardAnswer(packet, from)
    else if (this.#phase === 'announced') this.#heardQuestion(packet, from)
    else this.#heardClaim(packet)
  }

  // Somebody says of our name what we do not.
  #heardAnswer({ answers }: Packet, from: Sender): void {
    const said = answers.filter(({ ttl }) => ttl > 0)
    const service = said.some((record) => this.#isOurs(record) && !sameService(record, serviceRecord(this.#about)))
    const host = said.some((record) => this.#isOfOurHost(record) && !this.#options.isOwn(record.address))
    // Another responder of this host may say more of it than we do.
    if (service || (host && !this.#options.isOwn(bare(from.address)))) this.#conflict(service)
  }

  #conflict(service: boolean): void {
    if (this.#countConflict()) return
    // Whoever had the name keeps it. Once it was ours, it is asked for again before it is given up: the other one may be gone.
    if (this.#phase === 'probing') {
      const { number, hostNumber } = this.#about
      this.#about = { ...this.#about, ...(service ? { number: number + 1 } : { hostNumber: hostNumber + 1 }) }
    }
    this.#probe(0)
  }

  // Two ask for one name at once: one of them waits for the other to have it.
  #heardClaim({ claims }: Packet): void {
    const theirs = claims.filter(({ name }) => sameName(name, instanceName(this.#about)))
    if (theirs.length === 0 || compareClaims(serviceRecord(this.#about), theirs) >= 0) return
    if (!this.#countConflict()) this.#probe(AGAIN_MS)
  }

  #countConflict(): boolean {
    this.#conflicts += 1
    if (this.#conflicts <= MAX_CONFLICTS) return false
    this.#fail('somebody there claims every name that this gateway tries')
    return true
  }

  #heardQuestion(packet: Packet, from: Sender): void {
    if (!isAsked(packet, this.#records)) return
    if (from.port === MDNS_PORT) this.#answerAll(packet.claims.length > 0)
    else this.#answerOnce(packet, from)
  }

  #answerAll(defends: boolean): void {
    const now = performance.now()
    const [least, most] = SPREAD_MS
    const soon = defends ? now : now + least + Math.random() * (most - least)
    const at = Math.max(soon, this.#answeredAt + (defends ? PAUSE_DEFENDING_MS : PAUSE_MS))
    if (this.#answer !== undefined && this.#answer.at <= at) return
    clearTimeout(this.#answer?.timer)
    const timer = setTimeout(() => {
      this.#answer = undefined
      this.#say()
    }, at - now).unref()
    this.#answer = { timer, at }
  }

  #answerOnce({ id, questions }: Packet, from: Sender): void {
    const now = performance.now()
    while (this.#oneShots[0] !== undefined && this.#oneShots[0] < now - 1_000) this.#oneShots.shift()
    if (this.#oneShots.length >= ONE_SHOTS_PER_SECOND) return
    this.#oneShots.push(now)
    const answers = this.#records.map((record) => ({ ...record, ttl: Math.min(record.ttl, ONE_SHOT_TTL) }))
    void this.#multicast.answer({ ...response(answers), id, questions: questions.slice(0, 1) }, from)
  }

  #isOurs(record: DnsRecord): boolean {
    return record.type === 'SRV' && sameName(record.name, instanceName(this.#about))
  }

  #isOfOurHost(record: DnsRecord): record is DnsRecord & { type: 'A' | 'AAAA' } {
    return (record.type === 'A' || record.type === 'AAAA') && sameName(record.name, hostName(this.#about))
  }
}

function response(answers: readonly DnsRecord[]): Packet {
  return { id: 0, response: true, questions: [], answers, claims: [] }
}

function sameService(record: DnsRecord, own: DnsRecord): boolean {
  if (record.type !== 'SRV' || own.type !== 'SRV') return false
  return record.port === own.port && sameName(record.target, own.target)
}

function bare(address: string): string {
  return address.split('%')[0] ?? address
}
