import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'

// A real MCP server over its standard streams, which tests start as a process.
const server = new Server({ name: 'test', version: '1.0.0' }, { capabilities: { tools: { listChanged: true } } })

const TOOLS: Record<string, (args: Record<string, unknown>) => string | Promise<string>> = {
  echo: ({ words }) => String(words),
  pid: () => String(process.pid),
  env: () => JSON.stringify(process.env),
  slow: () => new Promise(() => {}),
  crash: () => process.exit(1),
  async grow() {
    TOOLS.grown = () => 'new'
    await server.sendToolListChanged()
    return 'ok'
  },
  fail() {
    throw new Error('it did not work')
  }
}

const words = { type: 'object' as const, properties: { words: { type: 'string' } } }

server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: Object.keys(TOOLS).map((name) =>
    name === 'echo'
      ? { name, description: 'Says it again', inputSchema: words }
      : { name, inputSchema: { type: 'object' as const } }
  )
}))
server.setRequestHandler(CallToolRequestSchema, async ({ params: { name, arguments: args = {} } }) => {
  try {
    return { content: [{ type: 'text', text: await TOOLS[name]!(args) }] }
  } catch (error) {
    return { content: [{ type: 'text', text: (error as Error).message }], isError: true }
  }
})
await server.connect(new StdioServerTransport())
