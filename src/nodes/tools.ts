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

/** What of the offered tools a node lends: those that its commands can run, and no more than so much. */
export function lentTools(offered: readonly NodeTool[], commands: ReadonlySet<string>): NodeTool[] {
  const lent = new Map<string, NodeTool>()
  let room = MAX_CHARS
  for (const tool of offered) {
    const named = `${tool.pluginId} ${tool.name}`
    if (tool.command === undefined || !commands.has(tool.command) || lent.has(named)) continue
    room -= JSON.stringify(tool).length
    if (room < 0 || lent.size === MAX_TOOLS) break
    lent.set(named, { parameters: { type: 'object', properties: {}, additionalProperties: true }, ...tool })
  }
  return [...lent.values()]
}
