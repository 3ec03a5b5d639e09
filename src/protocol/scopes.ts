/** The closed set of operator scopes. A string outside it is never granted. */
export const SCOPES = [
  'operator.admin',
  'operator.read',
  'operator.write',
  'operator.sessions.read',
  'operator.sessions.write',
  'operator.approvals',
  'operator.questions',
  'operator.pairing',
  'operator.talk',
  'operator.talk.secrets'
] as const

/** One operator scope. */
export type Scope = (typeof SCOPES)[number]

/** What a connection is: an operator drives the gateway, a node lends its hands. */
export type Role = 'operator' | 'node'

const known: ReadonlySet<string> = new Set(SCOPES)

/** Reports whether a string names a scope of the closed set. */
export function isScope(value: string): value is Scope {
  return known.has(value)
}

/** Reports whether a set of granted scopes satisfies a required one; `operator.admin` satisfies all. */
export function satisfies(granted: ReadonlySet<Scope>, required: Scope): boolean {
  if (granted.has(required) || granted.has('operator.admin')) return true
  // A writer may read: the reference's rule for the read and write pair.
  return required === 'operator.read' && granted.has('operator.write')
}
