import { randomUUID } from 'node:crypto'
import { invalidRequest } from '../protocol/errors.ts'
import type { NodeRecord, NodeStore, SurfaceRequest } from '../store/nodes.ts'
import { pendingEntry } from './entries.ts'
import type { CommandPolicy } from './policy.ts'
import type { NodeRegistry, NodeSession } from './registry.ts'
import { requestable, sameSurface, widens } from './surface.ts'

/** How a request ended, or what became of the node. */
export type NodeDecision = 'approved' | 'rejected' | 'removed'

/** What the approval of nodes works on. */
export interface NodePairingDeps {
  store: NodeStore
  registry: NodeRegistry
  policy(): CommandPolicy
  publish(event: string, payload: unknown): void
}

/** What of each node a person has approved, and what waits for one. One step after the other, in the order of the calls. */
export class NodePairing {
  readonly #deps: NodePairingDeps
  #last: Promise<unknown> = Promise.resolve()

  constructor(deps: NodePairingDeps) {
    this.#deps = deps
  }

  /** Settles what a fresh socket's node may do, and asks for the rest. */
  arrived(session: NodeSession): Promise<void> {
    return this.#next(async () => {
      const { store, registry } = this.#deps
      const { nodeId, facts, link, connectedAtMs } = session
      if (!link.open || !registry.has(session)) return
      const { record } = await store.arrived(nodeId, facts, connectedAtMs)
      registry.approved(nodeId, record.approved)
      await this.#ask(session, record)
      registry.settled(session)
    })
  }

  /** Approves a request, if `permit` does not throw. Takes effect on the live sockets. */
  approve(requestId: string, permit: (request: SurfaceRequest) => void): Promise<NodeRecord> {
    return this.#next(async () => {
      const { store, registry } = this.#deps
      const record = await this.#requester(requestId)
      permit(record.request)
      const approved = await store.approve(record.nodeId, record.request)
      if (approved === undefined) throw unknownRequest()
      registry.approved(approved.nodeId, approved.approved)
      registry.tell(approved.nodeId, 'node.pair.resolved', this.#resolved(requestId, approved.nodeId, 'approved'))
      return approved
    })
  }

  /** Rejects a request. What was approved before stays. */
  reject(requestId: string): Promise<NodeRecord> {
    return this.#next(async () => {
      const record = await this.#requester(requestId)
      await this.#deps.store.ask(record.nodeId, undefined)
      this.#resolved(requestId, record.nodeId, 'rejected')
      return record
    })
  }

  /** Ends a node, if `permit` does not throw. */
  remove(nodeId: string, permit: (record: NodeRecord) => void): Promise<NodeRecord> {
    return this.#next(async () => {
      const { store, registry } = this.#deps
      const record = await store.find(nodeId)
      if (record === undefined) throw unknownNode()
      permit(record)
      if (!(await store.remove(nodeId))) throw unknownNode()
      registry.end(nodeId)
      this.#resolved('', nodeId, 'removed')
      return record
    })
  }

  // A changed surface is another request: whoever approves one knows what it says.
  async #ask({ nodeId, offer }: NodeSession, record: NodeRecord): Promise<void> {
    const { store, policy, publish } = this.#deps
    const surface = requestable(offer, policy())
    const wanted = widens(surface, record.approved)
    const { request } = record
    if (request !== undefined && wanted && sameSurface(request, surface)) return
    if (request === undefined && !wanted) return
    const silent = record.approved === undefined && record.pairedVia === 'silent'
    const next: SurfaceRequest | undefined = wanted
      ? { requestId: randomUUID(), ...surface, ...(silent ? { silent } : {}), ts: Date.now() }
      : undefined
    await store.ask(nodeId, next)
    if (request !== undefined) this.#resolved(request.requestId, nodeId, 'rejected')
    if (next !== undefined) publish('node.pair.requested', pendingEntry(record, next))
  }

  #resolved(requestId: string, nodeId: string, decision: NodeDecision): object {
    const payload = { requestId, nodeId, decision, ts: Date.now() }
    this.#deps.publish('node.pair.resolved', payload)
    return payload
  }

  async #requester(requestId: string): Promise<NodeRecord & { request: SurfaceRequest }> {
    const record = await this.#deps.store.requester(requestId)
    if (record?.request === undefined) throw unknownRequest()
    return { ...record, request: record.request }
  }

  #next<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#last.then(step)
    this.#last = result.catch(() => {})
    return result
  }
}

function unknownRequest(): Error {
  return invalidRequest('unknown requestId')
}

/** There is no such node. */
export function unknownNode(): Error {
  return invalidRequest('unknown nodeId')
}
