import type { XStatic } from 'typebox/schema'
import { formatIssue, invalidConfig } from './errors.ts'
import { formatKeyPath } from './key-path.ts'
import type { Env } from './paths.ts'
import { readSource } from './source.ts'
import type { Paths } from './types.ts'
import { validate } from './validate.ts'

const text = { type: 'string' } as const
const filled = { type: 'string', minLength: 1 } as const
const flag = { type: 'boolean' } as const
const texts = { type: 'array', items: text } as const
const amount = { type: 'integer', exclusiveMinimum: 0, maximum: 2_147_483_647 } as const
const values = { type: 'object', additionalProperties: text } as const

/** The keys of the `nodeHost` section that a node host honours; it is read on the node's machine. */
const NODE_HOST_SCHEMA = {
  type: 'object',
  properties: {
    skills: { type: 'object', properties: { enabled: flag } },
    mcp: {
      type: 'object',
      properties: {
        servers: {
          type: 'object',
          additionalProperties: {
            type: 'object',
            properties: {
              enabled: flag,
              command: filled,
              args: texts,
              env: values,
              cwd: filled,
              workingDirectory: filled,
              url: filled,
              auth: {},
              transport: { anyOf: [{ const: 'stdio' }, { const: 'sse' }, { const: 'streamable-http' }] },
              headers: values,
              connectionTimeoutMs: amount,
              requestTimeoutMs: amount,
              toolFilter: { type: 'object', properties: { include: texts, exclude: texts } }
            }
          }
        }
      }
    }
  }
} as const

/** One MCP server that a node host starts or connects to. */
export interface McpServerConfig {
  name: string
  /** A program that speaks over its standard streams, or a URL. */
  place:
    | { kind: 'stdio'; command: string; args: readonly string[]; env: Readonly<Record<string, string>>; cwd?: string }
    | { kind: 'sse' | 'streamable-http'; url: URL; headers: Readonly<Record<string, string>> }
  connectionTimeoutMs: number
  requestTimeoutMs: number
  toolFilter: { include: readonly string[] | undefined; exclude: readonly string[] }
}

/** The `nodeHost` section, with what of it cannot be used. */
export interface NodeHostConfig {
  skills: boolean
  mcpServers: readonly McpServerConfig[]
  warnings: readonly string[]
}

const CONNECTION_TIMEOUT_MS = 30_000
const REQUEST_TIMEOUT_MS = 60_000

type Section = XStatic<typeof NODE_HOST_SCHEMA>
type ServerInput = NonNullable<NonNullable<Section['mcp']>['servers']>[string]

/** Reads the `nodeHost` section of this machine's configuration; throws a ConfigError when it is not valid. */
export function readNodeHost(paths: Paths, env: Env): NodeHostConfig {
  const source = readSource(paths, env)
  const section = source.value.nodeHost ?? {}
  const findings = validate(NODE_HOST_SCHEMA, section, ['nodeHost'])
  if (findings.length > 0) {
    const issues = findings.map(({ path, message }) => ({ path: formatKeyPath(path), message }))
    throw invalidConfig(paths.configPath, issues)
  }
  const { mcp, skills } = section as Section
  const warnings: string[] = []
  const mcpServers: McpServerConfig[] = []
  for (const [name, input] of Object.entries(mcp?.servers ?? {})) {
    if (input.enabled === false) continue
    const place = ['nodeHost', 'mcp', 'servers', name]
    const missing = source.missing.find(({ path }) => place.every((part, at) => path[at] === part))
    const server = missing === undefined ? interpret(name, input) : `${missing.name} is not set`
    if (typeof server !== 'string') mcpServers.push(server)
    else warnings.push(formatIssue(paths.configPath, { path: formatKeyPath(place), message: server }))
  }
  return { skills: skills?.enabled !== false, mcpServers, warnings }
}

function interpret(name: string, input: ServerInput): McpServerConfig | string {
  const { command, args = [], env = {}, headers = {}, transport, toolFilter = {} } = input
  const common = {
    name,
    connectionTimeoutMs: input.connectionTimeoutMs ?? CONNECTION_TIMEOUT_MS,
    requestTimeoutMs: input.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    toolFilter: { include: toolFilter.include, exclude: toolFilter.exclude ?? [] }
  }
  if (input.auth !== undefined) return 'a server that wants OAuth is not supported on a node'
  if (command !== undefined && (transport ?? 'stdio') === 'stdio') {
    const cwd = input.cwd ?? input.workingDirectory
    return { ...common, place: { kind: 'stdio', command, args, env, ...(cwd === undefined ? {} : { cwd }) } }
  }
  const url = URL.parse(input.url ?? '')
  if (url === null || !/^https?:$/.test(url.protocol)) return 'it needs a command, or an http(s) url'
  const kind = transport === undefined || transport === 'stdio' ? 'sse' : transport
  return { ...common, place: { kind, url, headers } }
}
