import type { CLOSE } from '../protocol/codes.ts'
import type { ApprovedSurface, NodeFacts, NodeRecord, NodeStore } from '../store/nodes.ts'
import { Activity } from './activity.ts'
import type { CommandPolicy } from './policy.ts'
import { type Declared, type Effective, effective, type Offer, offerOf } from './surface.ts'

/** A way to a node: one socket of it. */
export interface NodeLink {
  readonly id: string
  readonly open: boolean
  send(frame: unknown): void
  close(code: keyof typeof CLOSE, reason: string): void
}

/** A node on one socket, for as long as the socket lasts. */
export interface NodeSession {
  readonly nodeId: string
  readonly link: NodeLink
  readonly facts: NodeFacts
  readonly offer: Offer
  readonly connectedAtMs: number
  /** What the node told of itself on this socket, beside its declaration. */
  readonly published: { pluginTools: readonly unknown[] }
}

/** Hears of sockets of nodes. */
export interface NodeListener {
  /** A node is here; what it may do is settled. */
  arrived?(session: NodeSession): void
  /** A socket is gone; the node may be here on another one. */
  left?(session: NodeSession): void
  /** A node is no longer one: what was under way for it ends. */
  ended?(session: NodeSession): void
}

interface Live {
  /** Oldest first. */
  sessions: NodeSession[]
  approved: ApprovedSurface | undefined
  /** What the sockets may do, worked out once for each state of things. */
  readonly worked: WeakMap<NodeSession, { policy: CommandPolicy; approved: object | undefined; result: Effective }>
}

/** Sockets of one node at once; a node needs one, and a second one while the first has not ended yet. */
const MAX_SESSIONS = 8

/** The nodes that are connected, on which sockets, and what each may do right now. Nothing here waits for the disk. */
export class NodeRegistry {
  /** In front of which node someone sits. */
  readonly activity = new Activity()
  readonly #store: NodeStore
  readonly #policy: () => CommandPolicy
  readonly #nodes = new Map<string, Live>()
  readonly #bySocket = new Map<string, NodeSession>()
  readonly #listeners = new Set<NodeListener>()

  constructor(store: NodeStore, policy: () => CommandPolicy) {
    this.#store = store
    this.#policy = policy
  }

  /** Connected nodes. */
  get size(): number {
    return this.#nodes.size
  }

  listen(listener: NodeListener): void {
    this.#listeners.add(listener)
  }

  /** Puts a fresh socket first. What it may do is nothing until its node's approval is known. */
  add(link: NodeLink, nodeId: string, facts: NodeFacts, declared: Declared): NodeSession {
    const session: NodeSession = {
      nodeId,
      link,
      facts,
      offer: offerOf(declared, facts),
      connectedAtMs: Date.now(),
      published: { pluginTools: [] }
    }
    const live = this.#nodes.get(nodeId) ?? { sessions: [], approved: undefined, worked: new WeakMap() }
    live.sessions.push(session)
    this.#nodes.set(nodeId, live)
    this.#bySocket.set(link.id, session)
    if (live.sessions.length > MAX_SESSIONS) live.sessions[0]!.link.close('policy', 'too many sockets of one node')
    return session
  }

  /** Tells that a socket's node is settled. */
  settled(session: NodeSession): void {
    for (const listener of this.#listeners) listener.arrived?.(session)
  }

  /** Takes a socket away; an older one of the same node that still lives serves from then on. */
  remove(connId: string): void {
    const session = this.#bySocket.get(connId)
    if (session === undefined) return
    this.#bySocket.delete(connId)
    this.activity.forget(session.nodeId, connId)
    const live = this.#nodes.get(session.nodeId)
    if (live !== undefined) {
      live.sessions = live.sessions.filter((each) => each !== session)
      if (live.sessions.length === 0) {
        this.#nodes.delete(session.nodeId)
        const now = Date.now()
        this.#store.note(session.nodeId, {
          lastDisconnectedAtMs: now,
          lastSeenAtMs: now,
          lastSeenReason: 'disconnect'
        })
      }
    }
    for (const listener of this.#listeners) listener.left?.(session)
  }

  /** Ends a node: what it had under way fails now, and its sockets close once the answer to that is on its way. */
  end(nodeId: string): void {
    const live = this.#nodes.get(nodeId)
    if (live === undefined) return
    this.#nodes.delete(nodeId)
    for (const session of live.sessions) for (const listener of this.#listeners) listener.ended?.(session)
    setImmediate(() => {
      for (const { link } of live.sessions) link.close('deviceRemoved', 'device removed')
    })
  }

  /** Learns what of a node is approved. */
  approved(nodeId: string, surface: ApprovedSurface | undefined): void {
    const live = this.#nodes.get(nodeId)
    if (live !== undefined) live.approved = surface
  }

  /** What of a connected node is approved. */
  approval(nodeId: string): ApprovedSurface | undefined {
    return this.#nodes.get(nodeId)?.approved
  }

  /** The socket that serves a node: the newest that is open. */
  serving(nodeId: string): NodeSession | undefined {
    return this.#nodes.get(nodeId)?.sessions.findLast(({ link }) => link.open)
  }

  /** Every socket of a node, oldest first. */
  sessions(nodeId: string): readonly NodeSession[] {
    return this.#nodes.get(nodeId)?.sessions ?? []
  }

  /** Reports whether a socket is still one of its node's. */
  has(session: NodeSession): boolean {
    return this.#nodes.get(session.nodeId)?.sessions.includes(session) === true
  }

  /** The node on a socket. */
  session(connId: string): NodeSession | undefined {
    return this.#bySocket.get(connId)
  }

  /** Every node that is here, on the socket that serves it. */
  *[Symbol.iterator](): Generator<NodeSession> {
    for (const nodeId of this.#nodes.keys()) {
      const session = this.serving(nodeId)
      if (session !== undefined) yield session
    }
  }

  /** What a node may do on a socket. */
  effective(session: NodeSession): Effective {
    const live = this.#nodes.get(session.nodeId)
    const policy = this.#policy()
    const approved = live?.approved
    const known = live?.worked.get(session)
    if (known !== undefined && known.policy === policy && known.approved === approved) return known.result
    const result = effective(session.offer, approved, policy)
    live?.worked.set(session, { policy, approved, result })
    return result
  }

  /** Sends an event to every socket of a node. */
  tell(nodeId: string, event: string, payload: unknown): void {
    for (const { link } of this.#nodes.get(nodeId)?.sessions ?? []) link.send({ type: 'event', event, payload })
  }

  /** The record of a node, connected or not. */
  record(nodeId: string): Promise<NodeRecord | undefined> {
    return this.#store.find(nodeId)
  }
}
