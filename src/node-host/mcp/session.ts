import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { ErrorCode, McpError, type Tool, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import type { McpServerConfig } from '../../config/node-host.ts'
import type { Env } from '../../config/paths.ts'
import { VERSION } from '../../package.ts'
import { childEnvironment } from '../environment.ts'

/** What happens to a session on its own. */
export interface SessionEvents {
  closed(): void
  toolsChanged(): void
}

/** Why a call failed: the server took too long, the session is gone, or what the server said. */
export class McpCallError extends Error {
  readonly kind: 'timeout' | 'lost' | 'refused'

  constructor(kind: McpCallError['kind'], message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'McpCallError'
    this.kind = kind
  }
}

const MAX_TOOLS = 256
const MAX_PAGES = 32

// A result is passed on as it came: whoever asked for it knows what to make of it.
const passThrough = {
  getValidator: () => (input: unknown) => ({ valid: true as const, data: input as never, errorMessage: undefined })
}

/** One connection to an MCP server, through the official client. */
export class McpSession {
  readonly #client: Client
  readonly #server: McpServerConfig

  private constructor(server: McpServerConfig, client: Client) {
    this.#server = server
    this.#client = client
  }

  /** Starts or reaches the server and shakes hands with it. */
  static async open(server: McpServerConfig, env: Env, events: SessionEvents): Promise<McpSession> {
    const client = new Client({ name: 'openclaw-node-host', version: VERSION }, { jsonSchemaValidator: passThrough })
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => events.toolsChanged())
    try {
      await client.connect(transportTo(server, env), { timeout: server.connectionTimeoutMs })
    } catch (error) {
      // A server that was started and does not answer would live on.
      await client.close().catch(() => {})
      throw error
    }
    client.onclose = () => events.closed()
    return new McpSession(server, client)
  }

  /** Every tool that the server has, up to a bound. */
  async tools(): Promise<Tool[]> {
    const tools: Tool[] = []
    let cursor: string | undefined
    for (let page = 0; page < MAX_PAGES; page++) {
      const params = cursor === undefined ? {} : { cursor }
      const answer = await this.#client.listTools(params, { timeout: this.#server.requestTimeoutMs })
      tools.push(...answer.tools)
      cursor = answer.nextCursor
      if (cursor === undefined || tools.length >= MAX_TOOLS) break
    }
    return tools.slice(0, MAX_TOOLS)
  }

  /** Calls a tool and returns what the server answers. */
  async call(name: string, args: Record<string, unknown>, timeoutMs: number, signal: AbortSignal): Promise<unknown> {
    try {
      return await this.#client.callTool({ name, arguments: args }, undefined, { timeout: timeoutMs, signal })
    } catch (error) {
      signal.throwIfAborted()
      const message = error instanceof Error ? error.message : String(error)
      throw new McpCallError(kindOf(error), message, error)
    }
  }

  async close(): Promise<void> {
    this.#client.onclose = () => {}
    await this.#client.close()
  }
}

function kindOf(error: unknown): McpCallError['kind'] {
  // What is no answer is a connection that broke, or what HTTP says of a session that has expired.
  if (!(error instanceof McpError)) return 'lost'
  return error.code === ErrorCode.RequestTimeout ? 'timeout' : 'refused'
}

function transportTo({ place }: McpServerConfig, env: Env): Transport {
  if (place.kind === 'stdio') {
    const { command, args, cwd } = place
    return new StdioClientTransport({
      command,
      args: [...args],
      env: childEnvironment(env, place.env),
      stderr: 'ignore',
      ...(cwd === undefined ? {} : { cwd })
    })
  }
  const options = { requestInit: { headers: { ...place.headers } } }
  const transport =
    place.kind === 'sse'
      ? new SSEClientTransport(place.url, options)
      : new StreamableHTTPClientTransport(place.url, options)
  return transport as Transport
}
