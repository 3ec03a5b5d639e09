import { isScope, SCOPES, type Scope, satisfies } from '../protocol/scopes.ts'

/** What a credential's stored record allows: a set of scopes, or everything. */
export type Allowance = ReadonlySet<Scope> | 'all'

/** What an operator whom a trusted proxy vouches for may do over HTTP, unless `x-openclaw-scopes` narrows it. */
export const STANDARD_SCOPES: ReadonlySet<Scope> = new Set([
  'operator.admin',
  'operator.read',
  'operator.write',
  'operator.approvals',
  'operator.pairing',
  'operator.talk.secrets'
])

/**
 * The only way to a grant: what was asked for, cut down to the closed set of scopes and to what the credential's
 * record allows (S8, D1). Asking for nothing grants nothing.
 */
export function grant(requested: readonly string[], allowed: Allowance): Scope[] {
  const granted = new Set<Scope>()
  for (const scope of requested) {
    if (isScope(scope) && (allowed === 'all' || covers(allowed, scope))) granted.add(scope)
  }
  return [...granted]
}

/**
 * The scopes of a caller that asks for none by name, as every HTTP caller does: all that its credential allows, within
 * what it narrowed itself to. `x-openclaw-scopes` is a cap, never a grant.
 */
export function scopesOf(caller: { allowance: Allowance; cap: readonly string[] | undefined }): ReadonlySet<Scope> {
  const allowance = caller.allowance === 'all' ? ALL : caller.allowance
  const cap = caller.cap === undefined ? ALL : new Set(caller.cap.filter(isScope))
  if (allowance === ALL && cap === ALL) return ALL
  return new Set(SCOPES.filter((scope) => satisfies(allowance, scope) && satisfies(cap, scope)))
}

const ALL: ReadonlySet<Scope> = new Set(SCOPES)

/** Reports whether an allowance contains a scope; `operator.admin` contains every scope. */
export function covers(allowed: Allowance, scope: Scope): boolean {
  return allowed === 'all' || allowed.has(scope) || allowed.has('operator.admin')
}

/** Reports whether every requested (known) scope lies within an allowance. */
export function within(requested: readonly string[], allowed: Allowance): boolean {
  return requested.every((scope) => !isScope(scope) || covers(allowed, scope))
}
