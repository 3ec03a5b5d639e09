import { Type } from 'typebox'
import { pairingChanged } from '../../nodes/refusals.ts'
import type { NodeRegistry } from '../../nodes/registry.ts'
import { approvedStanding, isApproved, standingOf } from '../../nodes/standing.ts'
import type { NodeActionStore } from '../../store/node-actions.ts'
import type { NodeStore } from '../../store/nodes.ts'
import { WORK_PRIORITIES, WORK_TYPES, type WorkStore } from '../../store/work.ts'
import { defineMethod, type Method } from '../method.ts'

/** What the methods work on. */
export interface NodePendingDeps {
  work: WorkStore
  actions: NodeActionStore
  store: NodeStore
  registry: NodeRegistry
}

const text = Type.String({ minLength: 1 })
const closed = { additionalProperties: false } as const
const DAY_MS = 86_400_000
const MAX_ITEMS = 10

/** What waits for nodes: work that operators leave, and commands that must wait until a node is looked at (§4). */
export function nodePendingMethods({ work, actions, store, registry }: NodePendingDeps): Method[] {
  return [
    defineMethod({
      name: 'node.pending.enqueue',
      scope: 'operator.write',
      params: Type.Object(
        {
          nodeId: text,
          type: Type.Enum(WORK_TYPES),
          priority: Type.Optional(Type.Enum(WORK_PRIORITIES)),
          expiresInMs: Type.Optional(Type.Integer({ minimum: 1_000, maximum: DAY_MS })),
          wake: Type.Optional(Type.Boolean())
        },
        closed
      ),
      async handler({ nodeId, type, priority = 'normal', expiresInMs = DAY_MS }) {
        const known = isApproved(await store.find(nodeId))
        const added = known ? await work.add(nodeId, { type, priority, expiresInMs }) : undefined
        if (added === undefined) throw changed()
        // There is no push service here that could wake a node.
        return { nodeId, revision: added.revision, queued: added.work, wakeTriggered: false }
      }
    }),
    defineMethod({
      name: 'node.pending.drain',
      scope: 'node',
      params: Type.Object({ maxItems: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_ITEMS })) }, closed),
      async handler({ maxItems = MAX_ITEMS }, { connId }) {
        const { nodeId, approved } = standingOf(registry, connId)
        const taken = approved ? await work.take(nodeId, maxItems) : undefined
        if (taken === undefined) throw changed()
        const { revision, work: items, left } = taken
        // A node that comes for work tells how it is, asked or not, where nothing more urgent is in the way.
        const needed = !items.some(({ type }) => type === 'status.request') && left === 0
        const fits = items.length < maxItems
        return {
          nodeId,
          revision,
          items: needed && fits ? [...items, baseline()] : items,
          hasMore: left > 0 || (needed && !fits)
        }
      }
    }),
    defineMethod({
      name: 'node.pending.pull',
      scope: 'node',
      params: Type.Object({}, closed),
      async handler(_params, { connId }) {
        const { nodeId, commands } = approvedStanding(registry, connId)
        const all = await actions.list(nodeId)
        return { nodeId, actions: all.filter(({ command }) => commands.has(command)) }
      }
    }),
    defineMethod({
      name: 'node.pending.ack',
      scope: 'node',
      params: Type.Object({ ids: Type.Array(text, { minItems: 1, maxItems: 1_000 }) }, closed),
      async handler({ ids }, { connId }) {
        const { nodeId } = approvedStanding(registry, connId)
        const ackedIds = [...new Set(ids)]
        return { nodeId, ackedIds, remainingCount: await actions.done(nodeId, ackedIds) }
      }
    })
  ]
}

function changed(): Error {
  return pairingChanged('node pairing changed while pending work was active')
}

function baseline(): Record<string, unknown> {
  return {
    id: 'baseline-status',
    type: 'status.request',
    priority: 'default',
    createdAtMs: Date.now(),
    expiresAtMs: null
  }
}
