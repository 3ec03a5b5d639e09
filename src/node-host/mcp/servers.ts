import { setTimeout as delay } from 'node:timers/promises'
import { backoff } from '../../client/backoff.ts'
import type { McpServerConfig } from '../../config/node-host.ts'
import type { Env } from '../../config/paths.ts'
import { CommandError } from '../command.ts'
import type { NodeLog } from '../log.ts'
import type { McpCallError, McpSession } from './session.ts'
import { allowedTools, describeTools, type McpTool, type ToolDescriptor } from './tools.ts'

interface Connected {
  session: McpSession
  tools: readonly McpTool[]
  /** Called once, when the session is over. */
  over(): void
}

/** The MCP servers of this node: each is kept up, and what they offer is told whenever it changes. */
export class McpServers {
  readonly #configs: ReadonlyMap<string, McpServerConfig>
  readonly #connected = new Map<string, Connected>()
  readonly #env: Env
  readonly #log: NodeLog
  readonly #stopped = new AbortController()
  #changed: () => void = () => {}
  #running: Promise<unknown> = Promise.resolve()

  constructor(configs: readonly McpServerConfig[], env: Env, log: NodeLog) {
    this.#configs = new Map(configs.map((config) => [config.name, config]))
    this.#env = env
    this.#log = log
  }

  /** Starts them all, and says when there are other tools than before. */
  start(changed: () => void): void {
    this.#changed = changed
    this.#running = Promise.all([...this.#configs.values()].map((config) => this.#keepUp(config)))
  }

  /** Ends them all. */
  async stop(): Promise<void> {
    this.#changed = () => {}
    this.#stopped.abort()
    await Promise.allSettled([...this.#connected].map(([name, connected]) => this.#drop(name, connected)))
    await this.#running
  }

  /** What is on offer now. */
  tools(): ToolDescriptor[] {
    // In the order of the configuration, so that names do not depend on who answered first.
    const names = [...this.#configs.keys()].filter((name) => this.#connected.has(name))
    return describeTools(new Map(names.map((name) => [name, this.#connected.get(name)!.tools])))
  }

  /** Calls a tool that is on offer. */
  async call(
    call: { server: string; tool: string; args: Record<string, unknown>; budgetMs: number | undefined },
    signal: AbortSignal
  ): Promise<unknown> {
    const { server, tool, args, budgetMs = Number.POSITIVE_INFINITY } = call
    const config = this.#configs.get(server)
    const connected = this.#connected.get(server)
    if (config === undefined || connected === undefined) {
      throw new CommandError('MCP_SERVER_UNAVAILABLE', `MCP server "${server}" is unavailable`)
    }
    if (!connected.tools.some(({ name }) => name === tool)) {
      throw new CommandError('MCP_TOOL_UNAVAILABLE', `MCP tool "${tool}" is unavailable on server "${server}"`)
    }
    try {
      return await connected.session.call(tool, args, Math.min(config.requestTimeoutMs, budgetMs), signal)
    } catch (error) {
      signal.throwIfAborted()
      const { kind, message } = error as McpCallError
      // It may have acted already, so it is not called again; the next call finds a fresh session.
      if (kind === 'lost') void this.#drop(server, connected)
      throw new CommandError(kind === 'timeout' ? 'MCP_TOOL_TIMEOUT' : 'MCP_TOOL_ERROR', message, error)
    }
  }

  async #keepUp(config: McpServerConfig): Promise<void> {
    const { signal } = this.#stopped
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await this.#session(config)
        attempt = 0
        if (!signal.aborted) this.#log.warn({ server: config.name }, 'MCP server lost')
      } catch (err) {
        if (!signal.aborted) this.#log.warn({ server: config.name, err }, 'MCP server not reached')
      }
      await delay(backoff(attempt, { base: 1_000, cap: 60_000 }), undefined, { signal }).catch(() => {})
    }
  }

  // One session from its start to its end.
  async #session(config: McpServerConfig): Promise<void> {
    // Loaded here: a node without servers never needs it.
    const { McpSession } = await import('./session.ts')
    const { promise: over, resolve } = Promise.withResolvers<void>()
    const session = await McpSession.open(config, this.#env, {
      closed: () => this.#lost(config.name),
      toolsChanged: () => void this.#relist(config)
    })
    const connected = { session, tools: allowedTools(await session.tools(), config), over: resolve }
    if (this.#stopped.signal.aborted) return session.close()
    this.#connected.set(config.name, connected)
    this.#log.info({ server: config.name, tools: connected.tools.length }, 'MCP server connected')
    this.#changed()
    await over
  }

  async #drop(name: string, { session }: Connected): Promise<void> {
    this.#lost(name)
    await session.close().catch(() => {})
  }

  #lost(name: string): void {
    const connected = this.#connected.get(name)
    if (!this.#connected.delete(name)) return
    connected?.over()
    this.#changed()
  }

  async #relist(config: McpServerConfig): Promise<void> {
    const connected = this.#connected.get(config.name)
    if (connected === undefined) return
    try {
      connected.tools = allowedTools(await connected.session.tools(), config)
      this.#changed()
    } catch (err) {
      this.#log.warn({ server: config.name, err }, 'MCP tools not listed')
    }
  }
}
