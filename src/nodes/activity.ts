import { type Static, Type } from 'typebox'
import { checker } from '../protocol/validate.ts'

const closed = { additionalProperties: false } as const

/** What a node says of the person in front of it. */
const Report = Type.Union([
  Type.Object(
    {
      idleSeconds: Type.Integer({ minimum: 0, maximum: 2_592_000 }),
      saturated: Type.Optional(Type.Boolean()),
      source: Type.Optional(Type.Union([Type.Literal('app'), Type.Literal('system')]))
    },
    closed
  ),
  Type.Object({ action: Type.Literal('clear') }, closed)
])
export type ActivityReport = Static<typeof Report>

/** When someone last touched a node's machine, by this gateway's clock. */
export interface ActivityTimes {
  lastActiveAtMs: number
  presenceUpdatedAtMs: number
}

const check = checker(Report)

/** The report that a payload holds; undefined where it is none. */
export function activityOf(payload: unknown): ActivityReport | undefined {
  return check(payload) === undefined ? (payload as ActivityReport) : undefined
}

/** In front of which connected node someone sits: only what connections say, and only while they last. */
export class Activity {
  readonly #now: () => number
  readonly #times = new Map<string, ActivityTimes & { connId: string }>()

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** Keeps a report of a node's connection. */
  report(nodeId: string, connId: string, idleSeconds: number): ActivityTimes {
    const now = this.#now()
    const times = { lastActiveAtMs: now - idleSeconds * 1000, presenceUpdatedAtMs: now }
    this.#times.set(nodeId, { ...times, connId })
    return times
  }

  /** Forgets what a connection said; reports whether it had said anything. */
  forget(nodeId: string, connId: string): boolean {
    return this.#times.get(nodeId)?.connId === connId && this.#times.delete(nodeId)
  }

  /** What is known of a node, through its connection of now. `active` marks the one touched last. */
  of(nodeId: string, connId: string): (ActivityTimes & { active?: true }) | undefined {
    const known = this.#times.get(nodeId)
    if (known === undefined || known.connId !== connId) return undefined
    const { connId: _, ...times } = known
    return this.#freshest() === nodeId ? { ...times, active: true } : times
  }

  #freshest(): string | undefined {
    let best: [string, ActivityTimes] | undefined
    for (const each of this.#times) if (best === undefined || later(each[1], best[1])) best = each
    return best?.[0]
  }
}

function later(a: ActivityTimes, b: ActivityTimes): boolean {
  if (a.lastActiveAtMs !== b.lastActiveAtMs) return a.lastActiveAtMs > b.lastActiveAtMs
  return a.presenceUpdatedAtMs > b.presenceUpdatedAtMs
}
