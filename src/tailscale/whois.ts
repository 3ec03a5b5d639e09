import { canonicalAddress } from '../auth/addresses.ts'
import type { TailnetIdentity, TailscaleStatus } from './answers.ts'
import type { TailscaleDaemon } from './daemon.ts'

const FOUND_MS = 10_000
const FAILED_MS = 2_000
const MAX_ENTRIES = 500

interface Entry {
  answer: Promise<unknown>
  /** Infinity while the question is under way. */
  until: number
}

/**
 * What tailscaled said a moment ago: an answer serves 10 seconds, "nobody" and a failure 2, and whoever asks while the
 * same question is under way shares its answer. A stranger who connects again and again asks tailscaled nothing.
 */
export class TailnetIdentities {
  #daemon: Pick<TailscaleDaemon, 'whois' | 'status'>
  #now: () => number
  #entries = new Map<string, Entry>()

  /** `now` counts milliseconds and never goes back. */
  constructor(daemon: Pick<TailscaleDaemon, 'whois' | 'status'>, now = () => performance.now()) {
    this.#daemon = daemon
    this.#now = now
  }

  /** Whom an address belongs to, in any spelling; undefined for nobody. */
  async whois(address: string): Promise<TailnetIdentity | undefined> {
    const canonical = canonicalAddress(address)
    return canonical === undefined ? undefined : this.#cached(canonical, () => this.#daemon.whois(canonical))
  }

  /** What tailscaled says of itself and this machine. */
  status(): Promise<TailscaleStatus> {
    return this.#cached('', () => this.#daemon.status())
  }

  #cached<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const known = this.#entries.get(key)
    if (known !== undefined && this.#now() < known.until) return known.answer as Promise<T>
    const answer = ask()
    const entry: Entry = { answer, until: Infinity }
    const settle = (ms: number) => {
      entry.until = this.#now() + ms
    }
    answer.then(
      (found) => settle(found === undefined ? FAILED_MS : FOUND_MS),
      () => settle(FAILED_MS)
    )
    // Behind all others: the first of a Map is its oldest.
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES) break
      this.#entries.delete(oldest)
    }
    return answer
  }
}
