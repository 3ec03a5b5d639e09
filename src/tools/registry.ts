import type { Static, TObject } from 'typebox'
import { missingScope } from '../protocol/errors.ts'
import { isScope, type Scope, satisfies } from '../protocol/scopes.ts'
import { type Check, checker } from '../protocol/validate.ts'

/** What a tool needs to know of whoever uses it; a caller of the gateway is one, and a run of an agent. */
export interface ToolCaller {
  readonly scopes: ReadonlySet<Scope>
}

/** One use of a tool, beside its arguments. */
export interface ToolUse {
  /** What the caller named this use, so that a second try is known as one. */
  idempotencyKey: string | undefined
}

/** One thing that a tool can do. */
export interface ToolAction<C extends ToolCaller> {
  description: string
  scope: Scope
  params: TObject
  run(params: never, caller: C, use: ToolUse): unknown
}

/** A tool: a name, and what it can do. With a single action, nobody has to name it. */
export interface Tool<C extends ToolCaller> {
  name: string
  description: string
  actions: Readonly<Record<string, ToolAction<C>>>
}

/** Declares an action; its handler's types are inferred from the params schema. */
export function defineAction<P extends TObject, C extends ToolCaller>(action: {
  description: string
  scope: Scope
  params: P
  run(params: Static<P>, caller: C, use: ToolUse): unknown
}): ToolAction<C> {
  return action as ToolAction<C>
}

/** A tool that cannot be used like this, in words for whoever tried. */
export class ToolError extends Error {
  readonly type: 'not_found' | 'tool_error'

  constructor(type: ToolError['type'], message: string) {
    super(message)
    this.name = 'ToolError'
    this.type = type
  }
}

interface Registered<C extends ToolCaller> {
  tool: Tool<C>
  checks: ReadonlyMap<string, Check>
}

/** Every tool by name. One whose action names no scope, or that is declared twice, does not get in. */
export class ToolRegistry<C extends ToolCaller> {
  readonly #tools = new Map<string, Registered<C>>()

  constructor(tools: readonly Tool<C>[]) {
    for (const tool of tools) this.add(tool)
  }

  add(tool: Tool<C>): void {
    const { name, actions } = tool
    if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`a tool needs a name of small letters, not "${name}"`)
    if (this.#tools.has(name)) throw new Error(`tool ${name} is declared twice`)
    for (const [action, { scope }] of Object.entries(actions)) {
      if (!isScope(scope)) throw new Error(`tool ${name}, action ${action} must name its scope: an operator scope`)
    }
    const checks = new Map(Object.entries(actions).map(([action, { params }]) => [action, checker(params)]))
    this.#tools.set(name, { tool, checks })
  }

  /** The tools, in the order in which they came. */
  get tools(): readonly Tool<C>[] {
    return [...this.#tools.values()].map(({ tool }) => tool)
  }

  /** Uses a tool; the action is named in its arguments. Scope comes before params, as with methods. */
  async invoke(name: string, args: Readonly<Record<string, unknown>>, caller: C, use: ToolUse): Promise<unknown> {
    const found = this.#tools.get(name)
    if (found === undefined) throw notAvailable(name)
    const { tool, checks } = found
    const { action: asked, ...params } = args
    const known = Object.keys(tool.actions)
    const action = typeof asked === 'string' ? asked.trim() : known.length === 1 ? known[0] : undefined
    if (!action) throw new ToolError('tool_error', 'action required')
    const check = checks.get(action)
    if (check === undefined) {
      const actions = known.join(', ')
      throw new ToolError('tool_error', `unknown action of ${name}: ${action.slice(0, 64)}; there is ${actions}`)
    }
    const { scope, run } = tool.actions[action]!
    if (!satisfies(caller.scopes, scope)) throw missingScope(scope)
    const wrong = check(params)
    if (wrong !== undefined) throw new ToolError('tool_error', `invalid ${name} ${action} args: ${wrong}`)
    return run(params as never, caller, use)
  }
}

/** The refusal of a tool that is not there, or not for this caller: which of both is not told. */
export function notAvailable(name: string): ToolError {
  return new ToolError('not_found', `Tool not available: ${name.slice(0, 128)}`)
}
