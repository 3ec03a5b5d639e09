import { RpcError } from '../protocol/errors.ts'
import type { NodeRecord, NodeStore, Surface } from '../store/nodes.ts'

/** What a connected node may do now. */
export interface Standing {
  nodeId: string
  /** A person approved what it offers, or an earlier form of it. */
  approved: boolean
  /** What is approved and offered. */
  commands: readonly string[]
  permissions: Readonly<Record<string, boolean>>
}

/** A connected node and what it offers. */
export interface Offering {
  connId: string
  deviceId: string | undefined
  declared: { commands: readonly string[] } | undefined
}

/** The refusal of what a node's approval no longer, or not yet, covers. It may come to cover it, so callers come again. */
export function pairingChanged(when: string): RpcError {
  return new RpcError('UNAVAILABLE', `node pairing changed ${when}`, {
    retryable: true,
    details: { code: 'PAIRING_CHANGED' }
  })
}

/** Reports whether a person approved what a node offers, and nobody took its role back. */
export function isApproved(record: NodeRecord | undefined): record is NodeRecord & { approved: Surface } {
  return record?.approved !== undefined && (record.paired || record.pairedAtMs === undefined)
}

/** Finds what a connected node may do now: of what is approved, what this connection offers. */
export function standings(
  nodes: NodeStore,
  isCurrent: (node: Offering) => boolean
): (node: Offering) => Promise<Standing> {
  return async (node) => {
    // An older socket of a node that is here again speaks for nobody.
    if (!isCurrent(node)) throw pairingChanged('before request dispatch')
    const { deviceId: nodeId = '', declared } = node
    const record = await nodes.find(nodeId)
    if (!isApproved(record)) return { nodeId, approved: false, commands: [], permissions: {} }
    const { commands, permissions } = record.approved
    const offered = commands.filter((command) => declared?.commands.includes(command))
    return { nodeId, approved: true, commands: offered, permissions }
  }
}
