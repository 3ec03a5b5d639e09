import { type Static, Type } from 'typebox'

const text = Type.String({ minLength: 1 })
const closed = { additionalProperties: false } as const

/** A tool that a node lends: which of its commands runs it, and with what. */
export const NodeTool = Type.Object(
  {
    pluginId: text,
    name: Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_-]{0,63}$', minLength: 1, maxLength: 64 }),
    description: text,
    parameters: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    command: Type.Optional(text),
    mcp: Type.Optional(Type.Object({ server: text, tool: text }, closed))
  },
  closed
)
export type NodeTool = Static<typeof NodeTool>

const MAX_TOOLS = 128
const MAX_CHARS = 524_288

/** The tools that connected nodes lend, each connection's own. */
export class NodeTools {
  readonly #tools = new Map<string, readonly NodeTool[]>()

  /** Keeps what a connection lends, in place of what it lent before: what its approved commands can run, no more. */
  lend(connId: string, offered: readonly NodeTool[], commands: readonly string[]): readonly NodeTool[] {
    const kept = new Map<string, NodeTool>()
    let room = MAX_CHARS
    for (const tool of offered) {
      const named = `${tool.pluginId} ${tool.name}`
      if (tool.command === undefined || !commands.includes(tool.command) || kept.has(named)) continue
      room -= JSON.stringify(tool).length
      if (room < 0 || kept.size === MAX_TOOLS) break
      kept.set(named, { parameters: { type: 'object', properties: {}, additionalProperties: true }, ...tool })
    }
    const tools = [...kept.values()]
    if (tools.length === 0) this.#tools.delete(connId)
    else this.#tools.set(connId, tools)
    return tools
  }

  of(connId: string): readonly NodeTool[] {
    return this.#tools.get(connId) ?? []
  }

  /** Forgets a connection. */
  closed(connId: string): void {
    this.#tools.delete(connId)
  }
}
