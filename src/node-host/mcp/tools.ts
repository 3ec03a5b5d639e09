import { createHash } from 'node:crypto'
import { matchesName } from '../../approvals/glob.ts'
import type { McpServerConfig } from '../../config/node-host.ts'

/** The command that every published tool is called through. */
export const MCP_COMMAND = 'mcp.tools.call.v1'

/** A tool as its server describes it. */
export interface McpTool {
  name: string
  description?: string | undefined
  inputSchema: object
}

/** A tool as the gateway offers it to agents. */
export interface ToolDescriptor {
  pluginId: 'node-mcp'
  name: string
  description: string
  parameters: object
  command: typeof MCP_COMMAND
  mcp: { server: string; tool: string }
}

const MAX_DESCRIPTION = 4_096
const MAX_PARAMETERS = 65_536

/** The tools of a server that its filter lets through. */
export function allowedTools(tools: readonly McpTool[], { toolFilter }: McpServerConfig): McpTool[] {
  const { include, exclude } = toolFilter
  const fits = (patterns: readonly string[], name: string) => patterns.some((pattern) => matchesName(pattern, name))
  return tools.filter(({ name }) => (include === undefined || fits(include, name)) && !fits(exclude, name))
}

/** Describes the tools of all servers, each by a name that no other has. */
export function describeTools(servers: ReadonlyMap<string, readonly McpTool[]>): ToolDescriptor[] {
  const taken = new Set<string>()
  return [...servers].flatMap(([server, tools]) =>
    tools.map((tool) => {
      const name = freeName(server, tool.name, taken)
      taken.add(name)
      const parameters =
        JSON.stringify(tool.inputSchema).length > MAX_PARAMETERS ? { type: 'object' } : tool.inputSchema
      const description = (tool.description ?? '').trim().slice(0, MAX_DESCRIPTION) || tool.name
      return {
        pluginId: 'node-mcp',
        name,
        description,
        parameters,
        command: MCP_COMMAND,
        mcp: { server, tool: tool.name }
      }
    })
  )
}

// What the protocol takes: a letter, then 63 letters, digits, lines and dashes.
function freeName(server: string, tool: string, taken: ReadonlySet<string>): string {
  const plain = `${server}_${tool}`.replaceAll(/[^A-Za-z0-9_-]+/g, '_').replace(/^(?=[^A-Za-z])/, 'mcp_')
  if (plain.length <= 64 && !taken.has(plain)) return plain
  const mark = createHash('sha256')
    .update(JSON.stringify([server, tool]))
    .digest('hex')
    .slice(0, 8)
  return `${plain.slice(0, 55)}_${mark}`
}
