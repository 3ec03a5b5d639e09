import { homedir } from 'node:os'
import { posix } from 'node:path'
import type { Plan, Program } from './plan.ts'
import { isCarrier, scriptOf, unwrap } from './programs.ts'
import { argumentMatch, exactMatch, programMatch, type Step } from './rules.ts'
import type { AgentApprovals, Approvals, Rule, Settings } from './schema.ts'
import { commandsOf } from './script.ts'

/** What a host does that nobody has configured: the reference's baseline. */
const BASELINE: Settings = { security: 'full', ask: 'off', askFallback: 'deny', autoAllowSkills: false }

/** Whose rules hold for a command that names no agent. */
export const DEFAULT_AGENT = 'main'

/** What a policy says of one command. */
export interface Evaluation {
  verdict: 'allow' | 'deny' | 'ask'
  reason:
    | 'security-deny'
    | 'security-full'
    | 'malformed'
    | 'allowlisted'
    | 'allowlist-miss'
    | 'ask-always'
    | 'nobody-to-ask'
  /** The rule that allows it; of a command made of several, the first one's. */
  rule?: Rule
  /** Every rule that it took. */
  rules: readonly Rule[]
}

/** How strictly an agent is held: its own settings, else those for all agents, else the defaults. */
export function settingsOf({ defaults, agents }: Approvals, agentId = DEFAULT_AGENT): Settings {
  return { ...BASELINE, ...defaults, ...pick(agentOf(agents, '*')), ...pick(agentOf(agents, agentId)) }
}

/** What is allowed to an agent: the rules for all agents, and its own. */
export function rulesOf({ agents }: Approvals, agentId = DEFAULT_AGENT): readonly Rule[] {
  return ['*', ...(agentId === '*' ? [] : [agentId])].flatMap((id) => agentOf(agents, id)?.allowlist ?? [])
}

/** Decides whether a command runs, is refused, or waits for a person. Pure, and bounded in time. */
export function evaluate(policy: Approvals, plan: Plan, home = homedir()): Evaluation {
  const { security, ask } = settingsOf(policy, plan.agentId)
  if (security === 'deny') return { verdict: 'deny', reason: 'security-deny', rules: [] }
  if (malformed(plan)) return { verdict: 'deny', reason: 'malformed', rules: [] }
  if (ask === 'always') return { verdict: 'ask', reason: 'ask-always', rules: [] }
  if (security === 'full') return { verdict: 'allow', reason: 'security-full', rules: [] }
  return byRules(policy, plan, home, ask === 'off' ? 'deny' : 'ask')
}

/** Decides about a command that a person should be asked about, when nobody can be (`askFallback`). */
export function evaluateUnasked(policy: Approvals, plan: Plan, home = homedir()): Evaluation {
  const { security, askFallback } = settingsOf(policy, plan.agentId)
  if (security === 'deny') return { verdict: 'deny', reason: 'security-deny', rules: [] }
  if (askFallback === 'deny') return { verdict: 'deny', reason: 'nobody-to-ask', rules: [] }
  if (malformed(plan)) return { verdict: 'deny', reason: 'malformed', rules: [] }
  if (security === 'full' && askFallback === 'full') return { verdict: 'allow', reason: 'security-full', rules: [] }
  return byRules(policy, plan, home, 'deny')
}

function byRules(policy: Approvals, plan: Plan, home: string, miss: 'deny' | 'ask'): Evaluation {
  const rules = allowedBy(rulesOf(policy, plan.agentId), plan, home)
  if (rules === undefined) return { verdict: miss, reason: 'allowlist-miss', rules: [] }
  return { verdict: 'allow', reason: 'allowlisted', rule: rules[0]!, rules }
}

const MAX_DEPTH = 4
const MAX_STEPS = 64

/** The rules that together allow a command; undefined when some part of it is allowed by none. */
function allowedBy(rules: readonly Rule[], plan: Plan, home: string): readonly Rule[] | undefined {
  const exact = exactMatch(rules, plan)
  if (exact !== undefined) return [exact]
  // A rule that was written for a program did not think of what its environment could make of it.
  if (Object.keys(plan.env ?? {}).some((name) => !INERT.test(name))) return undefined
  let left = MAX_STEPS
  const walk = (step: Step, depth: number): readonly Rule[] | undefined => {
    if (left-- === 0 || depth > MAX_DEPTH) return undefined
    const carrier = isCarrier(step)
    const rule = argumentMatch(rules, step, home) ?? (carrier ? undefined : programMatch(rules, step, home))
    if (rule !== undefined) return [rule]
    const inner = carrier ? commandsIn(step) : undefined
    const each = inner?.map((argv) => walk({ argv, ...direct(plan.lookup?.(argv[0]!)) }, depth + 1))
    return each?.every((found) => found !== undefined) ? each.flat() : undefined
  }
  return walk({ argv: plan.argv, ...direct(plan) }, 0)
}

const INERT = /^(TERM|COLORTERM|NO_COLOR|FORCE_COLOR|LANG|LC_[A-Z]+)$/

// The commands that a shell or a wrapper would run, where that is certain.
function commandsIn({ argv, resolvedPath }: Step): readonly (readonly string[])[] | undefined {
  if (resolvedPath === undefined) return undefined
  const script = scriptOf(argv, resolvedPath)
  if (script !== undefined) return commandsOf(script)
  const inner = unwrap(argv, resolvedPath)
  return inner && [inner]
}

// `/usr/bin/../../tmp/x` lies below `/usr/bin/` for a glob only.
function direct(program: Program | undefined): Program {
  const { resolvedPath: path, realPath } = program ?? { resolvedPath: undefined }
  return path !== undefined && posix.isAbsolute(path) && posix.normalize(path) === path
    ? { resolvedPath: path, realPath }
    : { resolvedPath: undefined }
}

function malformed({ argv, cwd, env = {} }: Plan): boolean {
  const [name = ''] = argv
  return name.trim() === '' || [...argv, cwd ?? '', ...Object.entries(env).flat()].some((text) => text.includes('\0'))
}

function agentOf(agents: Approvals['agents'] = {}, id: string): AgentApprovals | undefined {
  return Object.hasOwn(agents, id) ? agents[id] : undefined
}

function pick(agent: AgentApprovals | undefined): Partial<Settings> {
  const { allowlist: _rules, mcpTools: _tools, ...settings } = agent ?? {}
  return settings
}
