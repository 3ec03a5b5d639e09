import { hostname, networkInterfaces } from 'node:os'
import { type Access, compileAccess } from './auth/access.ts'
import type { Config } from './config/types.ts'

const ADDRESSES_MS = 5_000

/** The configuration in force and the access policy compiled from it: replaced as one, never changed in place. */
export class Live {
  #config: Config
  #access: Access
  #tailnetName: string | undefined
  readonly #localNames: string[] = []
  readonly #listeners = new Set<(access: Access) => void>()

  constructor(config: Config) {
    this.#config = config
    this.#access = this.#compile(config)
  }

  get config(): Config {
    return this.#config
  }

  get access(): Access {
    return this.#access
  }

  /** Puts a configuration in force, whole or (when it does not compile) not at all. */
  apply(config: Config): void {
    this.#access = this.#compile(config)
    this.#config = config
    for (const listener of this.#listeners) listener(this.#access)
  }

  /** Learns this machine's name in the tailnet, under which it is reached from then on. */
  learnTailnetName(name: string | undefined): void {
    if (name === this.#tailnetName) return
    this.#tailnetName = name
    this.apply(this.#config)
  }

  /** Learns a name in `.local` by which this machine is announced, and so reached from then on. */
  learnLocalName(name: string): void {
    if (this.#access.hosts.names.has(name)) return
    this.#localNames.push(name)
    this.apply(this.#config)
  }

  /** Calls `listener` with each policy that comes into force. */
  onChange(listener: (access: Access) => void): void {
    this.#listeners.add(listener)
  }

  #compile(config: Config): Access {
    const [tailnetName, localNames] = [this.#tailnetName, this.#localNames]
    return compileAccess(config.gateway, { hostname: hostname(), addresses, tailnetName, localNames })
  }
}

// Asked by requests, so remembered for a moment; addresses come and go while the gateway runs.
let known: { at: number; addresses: ReadonlySet<string> | undefined } | undefined

function addresses(): ReadonlySet<string> | undefined {
  if (known === undefined || Date.now() - known.at > ADDRESSES_MS) known = { at: Date.now(), addresses: ask() }
  return known.addresses
}

function ask(): ReadonlySet<string> | undefined {
  try {
    const all = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
    return new Set(all.map(({ address }) => address))
  } catch {
    return undefined
  }
}
