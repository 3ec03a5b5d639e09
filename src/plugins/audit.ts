import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { AuthFailure } from '../auth/authenticate.ts'
import type { AuthEvent } from '../store/trail.ts'

/** Somebody who came to a door of the gateway, as far as is known. */
export type Attempt = Omit<AuthEvent, 'outcome' | 'reason' | 'detail'>

/** Tells the log and the audit trail who was let in and who was not. */
export interface Audit {
  allowed(attempt: Attempt): void
  /** `failure` says more to the log than anybody outside may know. */
  denied(attempt: Attempt, reason: string, failure?: AuthFailure): void
}

// A scraper that comes every few seconds with the same token is one event an hour; a flood of refusals, a few lines.
const SAME_CALLER_MS = 3_600_000
const SAME_REFUSAL_MS = 10_000

/** Keeps the record of the doors: one place, so that HTTP and WebSocket are told of alike. */
async function auditPlugin(app: FastifyInstance): Promise<void> {
  const callers = new Seldom(SAME_CALLER_MS)
  const refusals = new Seldom(SAME_REFUSAL_MS)
  const audit: Audit = {
    allowed(attempt) {
      const { kind, who, method, address, surface } = attempt
      if (kind === 'http' && !callers.first(`${surface} ${method} ${who} ${address}`)) return
      app.trail.record({ ...attempt, outcome: 'allowed' })
    },
    denied(attempt, reason, failure) {
      const detail = failure?.reason === 'unauthorized' ? undefined : failure?.detail
      app.trail.record({ ...attempt, outcome: 'denied', reason, detail })
      const { kind, address, listener, client } = attempt
      if (!refusals.first(`${kind} ${reason} ${address}`)) return
      if (reason === 'rate_limited') app.stability.record('auth.lockout', { surface: kind })
      app.log.warn({ address, listener, client, reason, detail, expected: failure?.expected }, `${kind} refused`)
    }
  }
  app.decorate('audit', audit)
}

const MAX_KEYS = 2_000

/** Says yes to the first of equal things within a time. Bounded: the oldest is forgotten first. */
class Seldom {
  readonly #ms: number
  readonly #last = new Map<string, number>()

  constructor(ms: number) {
    this.#ms = ms
  }

  first(key: string): boolean {
    const now = Date.now()
    const last = this.#last.get(key)
    if (last !== undefined && now - last < this.#ms) return false
    this.#last.delete(key)
    this.#last.set(key, now)
    if (this.#last.size > MAX_KEYS) this.#last.delete(this.#last.keys().next().value!)
    return true
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    audit: Audit
  }
}

export default fp(auditPlugin, { name: 'audit', dependencies: ['state'], fastify: '5.x' })
