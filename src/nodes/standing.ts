import type { NodeRecord } from '../store/nodes.ts'
import { pairingChanged } from './refusals.ts'
import type { NodeRegistry, NodeSession } from './registry.ts'
import type { Effective } from './surface.ts'

/** A node that speaks for itself now, and what it may do. */
export interface Standing extends Effective {
  nodeId: string
  session: NodeSession
  /** A person approved what it offers, or an earlier form of it. */
  approved: boolean
}

/** The node on a socket; throws where another socket speaks for it. */
export function standingOf(registry: NodeRegistry, connId: string): Standing {
  const session = registry.session(connId)
  if (session === undefined || registry.serving(session.nodeId) !== session) {
    throw pairingChanged('node pairing changed before request dispatch')
  }
  const { nodeId } = session
  return { nodeId, session, approved: registry.approval(nodeId) !== undefined, ...registry.effective(session) }
}

/** The node on a socket, of which a person approved something; throws where nobody did. */
export function approvedStanding(registry: NodeRegistry, connId: string): Standing {
  const node = standingOf(registry, connId)
  if (!node.approved) throw pairingChanged()
  return node
}

/** Reports whether a person approved what a node offers, and nobody took its role back. */
export function isApproved(record: NodeRecord | undefined): boolean {
  return record?.approved !== undefined && (record.paired || record.pairedAtMs === undefined)
}
