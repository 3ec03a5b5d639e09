import { randomUUID } from 'node:crypto'
import type { Decision, ExecApprovalRequestParams } from '../protocol/approvals.ts'
import { invalidRequest } from '../protocol/errors.ts'
import type { Approval, ApprovalStore, Party, Resolution } from '../store/approvals.ts'
import { checkId, notAdded, ownRequest, stopping, unknownApproval } from './refusals.ts'
import { prepareRequest } from './request.ts'

/** What requests for approval stand on. */
export interface ApprovalsDeps {
  store: ApprovalStore
  /** Told of each request that waits, and of each that ended. */
  requested(approval: Approval): void
  resolved(approval: Approval): void
  log: { error(fields: object, message: string): void }
  now?: () => number
}

/** Whoever answers: a device that is known by its key, or another caller by its name. */
export type Resolver = NonNullable<Resolution['by']>

const DEFAULT_MS = 30 * 60_000
const LONGEST_MS = 30 * 86_400_000
/** An approval can be used until the request would have ended, and this long at least. */
const USE_MS = 60_000
const MAX_TIMER_MS = 2_147_483_647
const MAX_WAITERS = 32
const NO_ROUTE = {
  status: 'denied',
  decision: 'deny',
  reason: 'no-route',
  by: { kind: 'system', keys: ['system'], id: 'no-approval-route', name: 'system:no-approval-route' }
} as const

interface Waiter extends PromiseWithResolvers<Approval> {
  alive(): boolean
}

/** Requests to run a command that a person decides. They wait in the store, so a restart of the gateway loses none. */
export class Approvals {
  readonly #store: ApprovalStore
  readonly #deps: ApprovalsDeps
  readonly #now: () => number
  readonly #waiters = new Map<string, Set<Waiter>>()
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(deps: ApprovalsDeps) {
    this.#deps = deps
    this.#store = deps.store
    this.#now = deps.now ?? Date.now
  }

  /** Takes a request. Where nobody is there to answer, and the asker will not wait for that, it is denied at once. */
  async request(params: ExecApprovalRequestParams, askedBy: Party, somebodyIsThere: boolean): Promise<Approval> {
    const id = params.id ?? randomUUID()
    checkId(id)
    const { request, digest } = prepareRequest(params)
    const createdAtMs = this.#now()
    const expiresAtMs = createdAtMs + Math.min(params.timeoutMs ?? DEFAULT_MS, LONGEST_MS)
    const unheard = params.requireDeliveryRoute === true && !somebodyIsThere
    const resolution = unheard ? { ...NO_ROUTE, atMs: createdAtMs } : undefined
    const approval: Approval = { id, request, digest, askedBy, createdAtMs, expiresAtMs, resolution }
    await this.expire()
    const refused = await this.#store.add(approval)
    if (refused !== undefined) throw notAdded(refused)
    if (!unheard && params.suppressDelivery !== true) this.#deps.requested(approval)
    await this.#sleep()
    return approval
  }

  /** Answers a request that waits. Whoever comes second is told what the first one said (`applied: false`). */
  async resolve(id: string, decision: Decision, by: Resolver): Promise<{ applied: boolean; approval: Approval }> {
    await this.expire()
    const approval = await this.#store.find(id)
    if (approval === undefined) throw unknownApproval()
    if (approval.resolution !== undefined) return { applied: false, approval }
    if (!approval.request.allowedDecisions.includes(decision)) {
      throw invalidRequest('allow-always is unavailable for this command', {
        reason: 'APPROVAL_ALLOW_ALWAYS_UNAVAILABLE'
      })
    }
    if (decision !== 'deny' && asksItself(by, approval.askedBy)) throw ownRequest(id)
    const atMs = this.#now()
    const applied = await this.#end(
      id,
      decision === 'deny'
        ? { status: 'denied', decision, reason: 'user', atMs, by }
        : { status: 'allowed', decision, reason: 'user', atMs, by }
    )
    return { applied, approval: (await this.#store.find(id)) ?? approval }
  }

  /** Waits for the end of a request, and no longer than its time; `alive` reports whether anybody still waits. */
  async wait(id: string, alive: () => boolean = () => true): Promise<Approval> {
    if (this.#stopped) throw stopping()
    // Before the look at the store, so that what happens in between is not missed.
    const waiter = this.#join(id, alive)
    await this.expire()
    const approval = await this.#store.find(id)
    if (approval !== undefined && approval.resolution === undefined) return waiter.promise
    this.#leave(id, waiter)
    if (approval === undefined) throw invalidRequest('approval expired or not found')
    return approval
  }

  /** A request by its id, or by the start of it where only one that waits begins so. */
  async find(idOrStart: string): Promise<Approval | undefined> {
    await this.expire()
    const exact = await this.#store.find(idOrStart)
    if (exact !== undefined) return exact
    const [found, ...others] = await this.#store.pendingFrom(idOrStart)
    if (others.length > 0) throw invalidRequest('ambiguous approval id prefix; use the full id')
    return found
  }

  /** A request by its whole id. */
  async get(id: string): Promise<Approval | undefined> {
    await this.expire()
    return this.#store.find(id)
  }

  /** Everything that waits, the oldest first. */
  async pending(): Promise<Approval[]> {
    await this.expire()
    return this.#store.pending()
  }

  /** What ended, the newest first. */
  async history(limit: number, before?: { atMs: number; id: string }): Promise<Approval[]> {
    await this.expire()
    return this.#store.resolved(limit, before)
  }

  /** Takes what an approval allows: one run of `allow-once`, any run of `allow-always`, while it is still fresh. */
  async use({ id, resolution, expiresAtMs }: Approval): Promise<boolean> {
    const now = this.#now()
    if (resolution?.status !== 'allowed' || now > Math.max(expiresAtMs, resolution.atMs + USE_MS)) return false
    return resolution.decision === 'allow-always' || this.#store.use(id, now)
  }

  /** Ends the requests whose time ran out. */
  async expire(): Promise<void> {
    const atMs = this.#now()
    for (const id of await this.#store.due(atMs)) {
      await this.#end(id, { status: 'expired', decision: undefined, reason: 'timeout', atMs, by: undefined })
    }
  }

  /** Begins to end requests in time; also those whose time ran out while nobody ran. */
  async start(): Promise<void> {
    await this.expire()
    await this.#sleep()
  }

  /** Lets go of everybody who waits. The requests stay. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    for (const waiters of this.#waiters.values()) for (const { reject } of waiters) reject(stopping())
    this.#waiters.clear()
  }

  async #end(id: string, resolution: Resolution): Promise<boolean> {
    if (!(await this.#store.resolve(id, resolution))) return false
    const approval = await this.#store.find(id)
    if (approval === undefined) return true
    for (const { resolve } of this.#waiters.get(id) ?? []) resolve(approval)
    this.#waiters.delete(id)
    this.#deps.resolved(approval)
    return true
  }

  #join(id: string, alive: () => boolean): Waiter {
    const waiters = this.#waiters.get(id) ?? new Set()
    for (const waiter of waiters) if (!waiter.alive()) waiters.delete(waiter)
    if (waiters.size >= MAX_WAITERS) throw invalidRequest('too many wait for this approval')
    const waiter: Waiter = { ...Promise.withResolvers<Approval>(), alive }
    // It may be let go of before anybody listens.
    waiter.promise.catch(() => {})
    this.#waiters.set(id, waiters.add(waiter))
    return waiter
  }

  #leave(id: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(id)
    waiters?.delete(waiter)
    if (waiters?.size === 0) this.#waiters.delete(id)
  }

  async #sleep(): Promise<void> {
    const next = await this.#store.nextEnd()
    clearTimeout(this.#timer)
    if (this.#stopped || next === undefined) return
    const left = Math.min(Math.max(next - this.#now(), 0), MAX_TIMER_MS)
    this.#timer = setTimeout(() => {
      this.start().catch((err) => this.#deps.log.error({ err }, 'approvals not expired'))
    }, left).unref()
  }
}

/** Reports whether two are the same by anything that they are known by. */
export function sameParty(a: Party, b: Party): boolean {
  return a.keys.some((key) => b.keys.includes(key))
}

// What a person asks for with one device, the same person may answer with another; without one there is no telling.
function asksItself(by: Party, askedBy: Party): boolean {
  const shared = by.keys.filter((key) => askedBy.keys.includes(key))
  return shared.some((key) => !key.startsWith('user:') || !by.keys[0].startsWith('device:'))
}
