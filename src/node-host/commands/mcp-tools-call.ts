import { Type } from 'typebox'
import { defineCommand } from '../command.ts'
import type { McpServers } from '../mcp/servers.ts'
import { MCP_COMMAND } from '../mcp/tools.ts'

/** `mcp.tools.call.v1`: calls a tool of an MCP server that this node runs. */
export function mcpToolsCall(servers: McpServers) {
  return defineCommand({
    name: MCP_COMMAND,
    cap: 'mcp',
    params: Type.Object({
      server: Type.String({ minLength: 1, maxLength: 256 }),
      tool: Type.String({ minLength: 1, maxLength: 256 }),
      arguments: Type.Optional(Type.Record(Type.String(), Type.Unknown()))
    }),
    run: ({ server, tool, arguments: args = {} }, { signal, budgetMs }) =>
      servers.call({ server, tool, args, budgetMs }, signal)
  })
}
