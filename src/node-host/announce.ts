import { type GatewayClient, GatewayError, refusalDetails } from '../client/core.ts'
import { hostStats } from './host-stats.ts'
import type { NodeLog } from './log.ts'
import type { ToolDescriptor } from './mcp/tools.ts'
import type { Skill } from './skills.ts'

/** What a node tells the gateway of itself, beside what `connect` says. */
export interface Announced {
  skills(): Promise<Skill[]>
  tools(): ToolDescriptor[]
}

const STATS_EVERY_MS = 60_000

/** Tells one connection what this node has, and its state every minute; a gateway that does not listen is left alone. */
export class Announcer {
  readonly #client: GatewayClient
  readonly #announced: Announced
  readonly #log: NodeLog
  readonly #unknown = new Set<string>()
  #timer: NodeJS.Timeout | undefined

  constructor(client: GatewayClient, announced: Announced, log: NodeLog) {
    this.#client = client
    this.#announced = announced
    this.#log = log
  }

  /** Begins with a fresh connection. */
  async begin(): Promise<void> {
    this.end()
    // Another gateway may have answered this time.
    this.#unknown.clear()
    this.#timer = setInterval(() => void this.#stats(), STATS_EVERY_MS)
    await this.all()
  }

  /** Tells all of it, as it is now; what was told before the node was approved has not been heard. */
  async all(): Promise<void> {
    await this.#stats()
    await this.#tell('node.skills.update', { skills: await this.#announced.skills() })
    await this.tools()
  }

  /** Tells which tools there are now. */
  async tools(): Promise<void> {
    await this.#tell('node.pluginTools.update', { tools: this.#announced.tools() })
  }

  /** Stops telling. */
  end(): void {
    clearInterval(this.#timer)
  }

  async #stats(): Promise<void> {
    const payloadJSON = JSON.stringify(await hostStats())
    await this.#tell('node.event', { event: 'node.host.stats', payloadJSON })
  }

  async #tell(method: string, params: unknown): Promise<void> {
    if (this.#unknown.has(method)) return
    try {
      await this.#client.request(method, params)
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      if (/^(unknown method|unauthorized role)/.test(error.message)) this.#unknown.add(method)
      // Not approved yet: it is all told again once it is.
      else if (refusalDetails(error).code === 'PAIRING_CHANGED') this.#log.debug({ method }, 'not heard yet')
      else if (error.code !== 'CONNECTION_LOST') this.#log.warn({ err: error, method }, 'not announced')
    }
  }
}
