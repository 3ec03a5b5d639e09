import { randomUUID } from 'node:crypto'
import { posix } from 'node:path'
import { createContext, Script } from 'node:vm'
import { matchesName, matchesPath } from './glob.ts'
import { type Plan, type Program, planDigest } from './plan.ts'
import type { Rule } from './schema.ts'

/** Before the digest of the one command that a generated rule allows. */
const EXACT = 'sha256:plan:'
/** The longest arguments that patterns are tried on, and how long that may take. */
const MAX_ARGUMENTS = 16_384
const MATCH_MS = 100

/** One program and its arguments: the command itself, or one inside it. */
export interface Step extends Program {
  argv: readonly string[]
}

/** The rule that "allow always" adds: the command of this digest, where it lies now, and no other. */
export function exactRule(resolvedPath: string, digest: string, now: number): Rule {
  return {
    id: randomUUID(),
    pattern: resolvedPath,
    argPattern: EXACT + digest,
    source: 'allow-always',
    lastUsedAt: now,
    lastResolvedPath: resolvedPath
  }
}

/** Reports whether a rule was made by "allow always", and so allows one command only. */
export function isExact({ source, argPattern }: Rule): boolean {
  return source !== undefined || argPattern?.startsWith('sha256:') === true
}

/** The generated rule that allows exactly this command. */
export function exactMatch(rules: readonly Rule[], plan: Plan): Rule | undefined {
  const wanted = EXACT + planDigest(plan)
  return rules.find(({ pattern, argPattern }) => argPattern === wanted && pattern === plan.resolvedPath)
}

/** The rule with an `argPattern` that fits a program and its arguments. */
export function argumentMatch(rules: readonly Rule[], step: Step, home: string): Rule | undefined {
  const candidates = rules.filter((rule) => rule.argPattern !== undefined && !isExact(rule) && fits(rule, step, home))
  const text = step.argv.slice(1).join(' ')
  if (candidates.length === 0 || text.length > MAX_ARGUMENTS) return undefined
  return candidates[
    firstMatch(
      candidates.map(({ argPattern }) => argPattern!),
      text
    )
  ]
}

/** The rule that allows a program whatever its arguments. */
export function programMatch(rules: readonly Rule[], step: Step, home: string): Rule | undefined {
  return rules.find((rule) => rule.argPattern === undefined && !isExact(rule) && fits(rule, step, home))
}

// A bare name is for what the host found on its PATH; a path is for what lies there. What is behind a link does not
// count: the link may lead elsewhere by the time the command runs.
function fits({ pattern }: Rule, { argv: [name = ''], resolvedPath }: Step, home: string): boolean {
  if (resolvedPath === undefined) return false
  if (!/[/\\]/.test(pattern) && !pattern.startsWith('~')) return !/[/\\]/.test(name) && matchesName(pattern, name)
  return matchesPath(pattern.startsWith('~/') ? posix.join(home, pattern.slice(2)) : pattern, resolvedPath)
}

let sandbox: { context: Record<string, unknown>; script: Script } | undefined

// Patterns are a person's and arguments an agent's: a pair that would never end is ended, and matches nothing.
function firstMatch(patterns: readonly string[], text: string): number {
  sandbox ??= {
    context: createContext(Object.create(null)) as Record<string, unknown>,
    script: new Script('JSON.parse(patterns).findIndex((each) => new RegExp(each).test(text))')
  }
  Object.assign(sandbox.context, { patterns: JSON.stringify(patterns), text })
  try {
    return sandbox.script.runInContext(sandbox.context, { timeout: MATCH_MS }) as number
  } catch {
    return -1
  }
}
