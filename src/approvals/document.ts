import { createHash, randomUUID } from 'node:crypto'
import { locate } from '../config/document.ts'
import { formatKeyPath, isObject, type KeyPath } from '../config/key-path.ts'
import { validate } from '../config/validate.ts'
import { ApprovalsError } from './errors.ts'
import { DEFAULT_AGENT, settingsOf } from './policy.ts'
import { isExact } from './rules.ts'
import { type AgentApprovals, APPROVALS_SCHEMA, type Approvals, type Rule, type Settings } from './schema.ts'

/** What a host starts from that has decided nothing. */
export const EMPTY: Approvals = { version: 1, defaults: {}, agents: {} }

/** The document as it may be shown, and the hash that a later write is based on. */
export interface ApprovalsSnapshot {
  path: string
  exists: boolean
  hash: string
  file: Approvals
  resolvedDefaults: Settings
}

/** Checks a document and brings it to today's form; throws an ApprovalsError that names each key that is wrong. */
export function checkApprovals(value: unknown, name: string, raw?: string): Approvals {
  const today = modernised(value)
  const findings: { path: KeyPath; message: string }[] = validate(APPROVALS_SCHEMA, today)
  if (findings.length === 0) findings.push(...patternFindings(today as Approvals))
  if (findings.length === 0) return today as Approvals
  const lines = findings.slice(0, 8).map(({ path, message }) => {
    const line = raw === undefined ? undefined : locate(raw, path)?.line
    const key = formatKeyPath(path)
    return `${name}${line === undefined ? '' : `:${line}`} — ${key === '' ? '' : `${key}: `}${message}`
  })
  throw new ApprovalsError('APPROVALS_INVALID', `Invalid exec approvals:\n${lines.join('\n')}`, {
    command: 'openclaw approvals set --file FILE',
    where: 'this client'
  })
}

/** The document without what is nobody's to read over the wire: the token of a socket of this host. */
export function snapshotOf(path: string, document: Approvals | undefined): ApprovalsSnapshot {
  const { socket, ...rest } = document ?? EMPTY
  const shown = socket?.path === undefined ? {} : { socket: { path: socket.path } }
  const resolvedDefaults = settingsOf({ ...rest, agents: {} })
  return {
    path,
    exists: document !== undefined,
    hash: hashOf(document),
    file: { ...EMPTY, ...rest, ...shown },
    resolvedDefaults
  }
}

/** A document that replaces another, with what it cannot say: the socket's token, and when rules were last used. */
export function replacing(current: Approvals, next: Approvals): Approvals {
  const lists = Object.values(current.agents ?? {}).map(({ allowlist = [] }) => allowlist)
  const known = new Map(lists.flat().map((rule) => [rule.id ?? rule, rule]))
  const used = withRules(next, (rule) => {
    const before = known.get(rule.id ?? rule)
    if (before?.pattern !== rule.pattern || (before.lastUsedAt ?? 0) <= (rule.lastUsedAt ?? 0)) return rule
    return { ...before, ...decided(rule) }
  })
  const socket = { ...current.socket, ...next.socket }
  return Object.keys(socket).length === 0 ? used : { ...used, socket }
}

/** A document whose rules all have an id. */
export function withIds(document: Approvals): Approvals {
  return withRules(document, (rule) => ({ id: randomUUID(), ...rule }))
}

/** A document in which every rule is what a function makes of it. */
export function withRules(document: Approvals, change: (rule: Rule) => Rule): Approvals {
  return withAgents(document, (agent) =>
    agent.allowlist === undefined ? agent : { ...agent, allowlist: agent.allowlist.map(change) }
  )
}

/** A document in which one agent is what a function makes of it. */
export function withAgent(
  document: Approvals,
  id: string,
  change: (agent: AgentApprovals) => AgentApprovals
): Approvals {
  const { agents = {} } = document
  const agent = Object.hasOwn(agents, id) ? agents[id]! : {}
  return { ...document, agents: { ...agents, [id]: change(agent) } }
}

function withAgents(document: Approvals, change: (agent: AgentApprovals) => AgentApprovals): Approvals {
  if (document.agents === undefined) return document
  const agents = Object.entries(document.agents).map(([id, agent]) => [id, change(agent)] as const)
  return { ...document, agents: Object.fromEntries(agents) }
}

// Of what is decided, not of how it is written down or when it was last used: neither is anybody's conflict.
function hashOf(document: Approvals | undefined): string {
  if (document === undefined) return `missing:${sha256('')}`
  const { socket: _socket, ...rest } = withRules(document, decided)
  return sha256(JSON.stringify(sorted({ ...EMPTY, ...rest })))
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function decided({ lastUsedAt: _at, lastUsedCommand: _command, lastResolvedPath: _path, ...rule }: Rule): Rule {
  return rule
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isObject(value)) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.map(([key, child]) => [key, sorted(child)])
}

// What earlier versions of the reference wrote: an agent by the name of `default`, commands in full, and `null` for never.
function modernised(value: unknown): unknown {
  if (!isObject(value) || !isObject(value.agents)) return value
  const { default: old, ...others } = value.agents
  const agents = Object.fromEntries(Object.entries(others).map(([id, agent]) => [id, modernAgent(agent)]))
  if (old === undefined) return { ...value, agents }
  const main = isObject(agents[DEFAULT_AGENT]) ? agents[DEFAULT_AGENT] : {}
  const legacy = modernAgent(old)
  if (!isObject(legacy)) return value
  const lists = [main.allowlist, legacy.allowlist].filter((list) => list !== undefined)
  const allowlist = lists.length === 0 ? {} : { allowlist: lists.flat() }
  return { ...value, agents: { ...agents, [DEFAULT_AGENT]: { ...legacy, ...main, ...allowlist } } }
}

function modernAgent(agent: unknown): unknown {
  if (!isObject(agent) || !Array.isArray(agent.allowlist)) return agent
  return { ...agent, allowlist: agent.allowlist.map(modernRule) }
}

function modernRule(rule: unknown): unknown {
  if (!isObject(rule)) return rule
  const gone = (key: string, value: unknown) =>
    key === 'commandText' || (value === null && (key === 'lastUsedAt' || key === 'lastUsedCommand'))
  return Object.fromEntries(Object.entries(rule).filter(([key, value]) => !gone(key, value)))
}

function patternFindings({ agents = {} }: Approvals): { path: KeyPath; message: string }[] {
  return Object.entries(agents).flatMap(([id, { allowlist = [] }]) =>
    allowlist.flatMap((rule, index) => {
      if (rule.argPattern === undefined || isExact(rule) || compiles(rule.argPattern)) return []
      const path = ['agents', id, 'allowlist', index, 'argPattern']
      return [{ path, message: 'Invalid input: expected an ECMAScript regular expression' }]
    })
  )
}

function compiles(pattern: string): boolean {
  try {
    new RegExp(pattern)
    return true
  } catch {
    return false
  }
}
