import { Type } from 'typebox'
import type { PairingNews } from '../../devices/news.ts'
import { approvedEntry, byPresence, nodeEntry, pendingEntry } from '../../nodes/entries.ts'
import { type NodePairing, unknownNode } from '../../nodes/pairing.ts'
import { approvalScopes, type CommandPolicy } from '../../nodes/policy.ts'
import type { NodeRegistry } from '../../nodes/registry.ts'
import type { EventKind } from '../../protocol/audit.ts'
import { invalidRequest, RpcError } from '../../protocol/errors.ts'
import { satisfies } from '../../protocol/scopes.ts'
import type { NodeRecord, NodeStore, SurfaceRequest } from '../../store/nodes.ts'
import type { Trail } from '../../store/trail.ts'
import { causedBy } from '../caused-by.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'
import { isAdmin } from './device-deps.ts'

/** What the operator's methods of nodes work on. */
export interface NodeDeps {
  store: NodeStore
  registry: NodeRegistry
  pairing: NodePairing
  policy(): CommandPolicy
  news: PairingNews
  trail: Trail
}

const text = Type.String({ minLength: 1, maxLength: 256 })
const closed = { additionalProperties: false } as const
const MAX_NAME = 256

/** Nodes from the operator's side: which there are, what they may do, and ending them (§4). */
export function nodeMethods({ store, registry, pairing, policy, news, trail }: NodeDeps): Method[] {
  return [
    defineMethod({
      name: 'node.list',
      scope: 'operator.read',
      params: Type.Object({}, closed),
      async handler(_params, caller) {
        const records = await store.list()
        const view = viewOf(caller)
        return { ts: Date.now(), nodes: records.map((each) => nodeEntry(each, view)).sort(byPresence) }
      }
    }),
    defineMethod({
      name: 'node.describe',
      scope: 'operator.read',
      params: Type.Object({ nodeId: text }, closed),
      async handler({ nodeId }, caller) {
        const record = await store.find(nodeId.trim())
        if (record === undefined) throw unknownNode()
        return { ts: Date.now(), ...nodeEntry(record, viewOf(caller)) }
      }
    }),
    defineMethod({
      name: 'node.rename',
      scope: 'operator.pairing',
      params: Type.Object({ nodeId: text, displayName: Type.String({ minLength: 1, maxLength: MAX_NAME }) }, closed),
      async handler({ nodeId, displayName }, caller) {
        const name = displayName.trim()
        if (name === '') throw invalidRequest('displayName required')
        const record = await store.find(nodeId.trim())
        if (record === undefined) throw unknownNode()
        permitOther(record, caller, 'node rename denied')
        if (!(await store.rename(record.nodeId, name))) throw unknownNode()
        return { nodeId: record.nodeId, displayName: name }
      }
    }),
    defineMethod({
      name: 'node.pair.list',
      scope: 'operator.pairing',
      params: Type.Object({}, closed),
      async handler() {
        const records = await store.list()
        const waiting = records.filter(({ request }) => request !== undefined)
        return {
          pending: waiting
            .sort((a, b) => b.request!.ts - a.request!.ts)
            .map((each) => pendingEntry(each, each.request!)),
          paired: records.filter(({ approved }) => approved !== undefined).map(approvedEntry)
        }
      }
    }),
    defineMethod({
      name: 'node.pair.approve',
      scope: 'operator.pairing',
      params: Type.Object({ requestId: text }, closed),
      async handler({ requestId }, caller) {
        const node = await pairing.approve(requestId, (request) => permitApproval(request, caller))
        note('node.approved', `${nameOf(node)}: ${wordsOf(node)}`, caller)
        return { requestId, node: approvedEntry(node) }
      }
    }),
    defineMethod({
      name: 'node.pair.reject',
      scope: 'operator.pairing',
      params: Type.Object({ requestId: text }, closed),
      async handler({ requestId }, caller) {
        const node = await pairing.reject(requestId)
        note('node.rejected', nameOf(node), caller)
        return { requestId, nodeId: node.nodeId }
      }
    }),
    defineMethod({
      name: 'node.pair.remove',
      scope: 'operator.pairing',
      params: Type.Object({ nodeId: text }, closed),
      async handler({ nodeId }, caller) {
        const node = await pairing.remove(nodeId.trim(), (record) => {
          permitOther(record, caller, 'node pairing removal denied')
        })
        note('node.removed', nameOf(node), caller)
        news.changed()
        return { nodeId: node.nodeId }
      }
    })
  ]

  function viewOf({ scopes }: Caller) {
    return { registry, policy: policy(), decides: satisfies(scopes, 'operator.pairing') }
  }

  function note(kind: EventKind, detail: string, caller: Caller): void {
    trail.record({ kind, outcome: 'changed', detail, ...causedBy(caller) })
  }
}

// What a node may do is for those to say who may have it done.
function permitApproval({ commands }: SurfaceRequest, { scopes }: Caller): void {
  const requiredScopes = approvalScopes(commands)
  const missingScope = requiredScopes.find((scope) => !satisfies(scopes, scope))
  if (missingScope === undefined) return
  throw new RpcError('FORBIDDEN', `missing scope: ${missingScope}`, {
    details: { code: 'MISSING_SCOPE', missingScope, requiredScopes }
  })
}

// Of a device that is also an operator's, only an admin takes something away.
function permitOther({ paired, nodeOnly }: NodeRecord, caller: Caller, message: string): void {
  if (paired && !nodeOnly && !isAdmin(caller)) throw invalidRequest(message)
}

function nameOf({ label, displayName, clientId, nodeId }: NodeRecord): string {
  return `${(label ?? displayName ?? clientId).slice(0, 64)} (${nodeId.slice(0, 12)})`
}

function wordsOf({ approved }: NodeRecord): string {
  const { commands = [], caps = [] } = approved ?? {}
  return (commands.length > 0 ? commands : caps).slice(0, 32).join(', ') || 'nothing'
}
