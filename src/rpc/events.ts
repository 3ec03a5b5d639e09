import { type Scope, satisfies } from '../protocol/scopes.ts'
import type { Caller } from './method.ts'

/** Who receives an event, and whether a slow socket may miss it. */
export interface EventRule {
  /** The scope a receiver needs; `any` reaches every connected client, nodes included. */
  scope: Scope | 'any'
  /** True when a later event of the same name replaces it, so that a slow socket may skip it. */
  droppable: boolean
  /** The key of the payload that names whom it is about; it replaces only what was said of the same. */
  about?: string
}

const rules = new Map<string, EventRule>(
  Object.entries({
    tick: { scope: 'any', droppable: true },
    health: { scope: 'any', droppable: true },
    presence: { scope: 'operator.read', droppable: true },
    shutdown: { scope: 'any', droppable: false },
    heartbeat: { scope: 'operator.read', droppable: true },
    'config.changed': { scope: 'operator.read', droppable: false },
    'voicewake.changed': { scope: 'operator.read', droppable: false },
    'voicewake.routing.changed': { scope: 'operator.read', droppable: false },
    'node.presence': { scope: 'operator.read', droppable: true, about: 'nodeId' },
    'node.hostStats': { scope: 'operator.read', droppable: true, about: 'nodeId' },
    'device.pair.requested': { scope: 'operator.pairing', droppable: false },
    'device.pair.resolved': { scope: 'operator.pairing', droppable: false },
    'device.pair.changed': { scope: 'operator.pairing', droppable: false },
    'device.pair.setup.completed': { scope: 'operator.pairing', droppable: false },
    'device.pair.setup.deliveryUncertain': { scope: 'operator.pairing', droppable: false },
    'exec.approval.requested': { scope: 'operator.approvals', droppable: false },
    'exec.approval.resolved': { scope: 'operator.approvals', droppable: false },
    'node.pair.requested': { scope: 'operator.pairing', droppable: false },
    'node.pair.resolved': { scope: 'operator.pairing', droppable: false }
  })
)

/** Events that go to one socket alone, and have no rule. */
export const TARGETED_EVENTS: readonly string[] = [
  'connect.challenge',
  'node.invoke.request',
  'node.invoke.cancel',
  'node.invoke.input',
  'node.invoke.progress'
]

/** Every event a client can receive. */
export const EVENT_NAMES: readonly string[] = [...TARGETED_EVENTS, ...rules.keys()]

/** The rule of an event; an event without one reaches nobody. */
export function eventRule(name: string): EventRule | undefined {
  return rules.get(name)
}

/** Reports whether an event of this rule is for a caller. */
export function receives({ role, scopes }: Caller, { scope }: EventRule): boolean {
  return scope === 'any' || (role === 'operator' && satisfies(scopes, scope))
}
