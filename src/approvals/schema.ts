import type { XStatic } from 'typebox/schema'

// Plain JSON Schema, as for the configuration: the node and the CLI read this file too, and TypeBox costs more than it.

/** What commands a host runs: none, those that a rule allows, or all. */
export const SECURITY = ['deny', 'allowlist', 'full'] as const

/** When a person is asked first: never, where no rule allows the command, or each time. */
export const ASK = ['off', 'on-miss', 'always'] as const

const text = { type: 'string' } as const
const filled = { type: 'string', minLength: 1 } as const
const flag = { type: 'boolean' } as const
const moment = { type: 'number', minimum: 0 } as const
const settings = {
  security: { enum: SECURITY },
  ask: { enum: ASK },
  askFallback: { enum: SECURITY },
  autoAllowSkills: flag
} as const

const rule = {
  type: 'object',
  required: ['pattern'],
  additionalProperties: false,
  properties: {
    id: filled,
    pattern: { type: 'string', minLength: 1, pattern: '\\S' },
    argPattern: filled,
    source: { const: 'allow-always' },
    lastUsedAt: moment,
    lastUsedCommand: text,
    lastResolvedPath: text
  }
} as const

const mcpTool = {
  type: 'object',
  required: ['server', 'tool', 'source', 'addedAt'],
  additionalProperties: false,
  properties: {
    server: { type: 'string', minLength: 1, pattern: '\\S' },
    tool: { type: 'string', minLength: 1, pattern: '\\S' },
    source: { const: 'allow-always' },
    addedAt: moment,
    lastUsedAt: moment
  }
} as const

/** The exec approvals document: what a host allows the agents that run commands on it. */
export const APPROVALS_SCHEMA = {
  type: 'object',
  required: ['version'],
  additionalProperties: false,
  properties: {
    version: { const: 1 },
    socket: { type: 'object', additionalProperties: false, properties: { path: text, token: text } },
    defaults: { type: 'object', additionalProperties: false, properties: settings },
    agents: {
      type: 'object',
      additionalProperties: {
        type: 'object',
        additionalProperties: false,
        properties: {
          ...settings,
          allowlist: { type: 'array', items: rule },
          mcpTools: { type: 'array', items: mcpTool }
        }
      }
    }
  }
} as const

/** The document by its schema. */
export type Approvals = XStatic<typeof APPROVALS_SCHEMA>

/** What one agent may do; `*` is for all of them. */
export type AgentApprovals = NonNullable<Approvals['agents']>[string]

/** One allowed program: a glob over its resolved path or its bare name, and perhaps over its arguments. */
export type Rule = NonNullable<AgentApprovals['allowlist']>[number]

/** How strictly a host, or one agent on it, is held. */
export interface Settings {
  security: (typeof SECURITY)[number]
  ask: (typeof ASK)[number]
  /** What becomes of a command that a person should be asked about when nobody can be. */
  askFallback: (typeof SECURITY)[number]
  autoAllowSkills: boolean
}
