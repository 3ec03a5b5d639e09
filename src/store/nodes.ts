import type { DatabaseSync } from 'node:sqlite'
import { type Row, Sql } from './database.ts'

/** What a node offers: categories, commands, and what its owner permits it. */
export interface Surface {
  caps: string[]
  commands: string[]
  permissions: Record<string, boolean>
}

/** What a node said of itself when it last connected. */
export interface NodeFacts {
  clientId: string
  clientMode: string
  displayName?: string | undefined
  platform: string
  version?: string | undefined
  deviceFamily?: string | undefined
  modelIdentifier?: string | undefined
  remoteIp?: string | undefined
}

/** A surface that waits for a person to say yes. */
export interface SurfaceRequest extends Surface {
  requestId: string
  /** The device itself was paired without asking anyone. */
  silent?: true
  ts: number
}

/** A surface that a person approved. */
export interface ApprovedSurface extends Surface {
  createdAtMs: number
  approvedAtMs: number
}

/** When a node was here. */
export interface NodeTimes {
  lastConnectedAtMs: number | undefined
  lastDisconnectedAtMs: number | undefined
  lastSeenAtMs: number | undefined
  lastSeenReason: string | undefined
}

/** A device in the role of a node, and what became of what it offers. */
export interface NodeRecord extends NodeFacts, NodeTimes {
  nodeId: string
  /** The name that an operator gave it. */
  label: string | undefined
  approved: ApprovedSurface | undefined
  request: SurfaceRequest | undefined
  hostStats: Record<string, unknown> | undefined
  /** Reports whether its device may connect as a node. */
  paired: boolean
  pairedAtMs: number | undefined
  /** How its device came to be paired; undefined where the gateway keeps no record of it. */
  pairedVia: string | undefined
  /** Reports whether its device is nothing but a node. */
  nodeOnly: boolean
}

/** What is written down of a node in passing: with others, and a moment later. */
export type NodeNews = Partial<NodeTimes> & { facts?: NodeFacts; hostStats?: Record<string, unknown> }

const FLUSH_MS = 500
/** Nodes whose devices the gateway keeps no record of, as with auth off. */
const MAX_UNPAIRED = 100

// A device that may be a node is one whether or not it has been here since, and a node may have no device on record.
const select = (one: boolean) => `
  SELECT coalesce(n.node_id, d.device_id) AS id, n.*, d.platform, d.device_family, d.client_id, d.client_mode,
    d.display_name, d.approved_at, d.approved_via, d.revoked_at IS NULL AND d.device_id IS NOT NULL AS paired, d.roles
  FROM (
    SELECT device.*, g.revoked_at, (SELECT count(*) FROM device_grant WHERE device_id = device.device_id) AS roles
    FROM device JOIN device_grant g ON g.device_id = device.device_id AND g.role = 'node'
    ${one ? 'WHERE device.device_id = ?1' : ''}
  ) d FULL JOIN (SELECT * FROM node ${one ? 'WHERE node_id = ?1' : ''}) n ON n.node_id = d.device_id`
const SELECT_ONE = select(true)
const SELECT_ALL = select(false)

/**
 * Nodes and what of theirs is approved, in SQLite. Decisions are written before they are told; where a node was last
 * seen, and how its host fares, is written with its neighbours twice a second: a kill loses that much of it.
 */
export class NodeStore {
  readonly #sql: Sql
  readonly #now: () => number
  readonly #news = new Map<string, NodeNews>()
  #timer: NodeJS.Timeout | undefined

  constructor(db: DatabaseSync, now: () => number = Date.now) {
    this.#sql = new Sql(db)
    this.#now = now
  }

  async find(nodeId: string): Promise<NodeRecord | undefined> {
    this.flush()
    return this.#find(nodeId)
  }

  async list(): Promise<NodeRecord[]> {
    this.flush()
    return this.#sql.all(SELECT_ALL).map(recordOf)
  }

  /** Records that a node connected. `first` tells that it never did before. */
  async arrived(nodeId: string, facts: NodeFacts, atMs: number): Promise<{ record: NodeRecord; first: boolean }> {
    const times = { lastConnectedAtMs: atMs, lastSeenAtMs: atMs, lastSeenReason: 'connect' }
    const known = this.#find(nodeId)
    if (known !== undefined && known.lastConnectedAtMs !== undefined) {
      this.note(nodeId, { facts, ...times })
      return { record: { ...known, ...facts, ...times }, first: false }
    }
    this.#sql.transaction(() => {
      this.#sql.run(
        `INSERT INTO node (node_id, facts, created_at, last_connected_at, last_seen_at, last_seen_reason)
         VALUES (?1, ?2, ?3, ?3, ?3, 'connect')`,
        nodeId,
        JSON.stringify(facts),
        atMs
      )
      this.#sql.run(
        `DELETE FROM node WHERE node_id NOT IN (SELECT device_id FROM device) AND node_id NOT IN (
           SELECT node_id FROM node WHERE node_id NOT IN (SELECT device_id FROM device)
           ORDER BY created_at DESC, rowid DESC LIMIT ?)`,
        MAX_UNPAIRED
      )
    })
    return { record: this.#find(nodeId)!, first: true }
  }

  /** Keeps something of a node that may be lost; written soon. A node that is gone stays gone. */
  note(nodeId: string, news: NodeNews): void {
    this.#news.set(nodeId, { ...this.#news.get(nodeId), ...news })
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS).unref()
  }

  /** Leaves a request in place of an earlier one of the same node; undefined withdraws it. */
  async ask(nodeId: string, request: SurfaceRequest | undefined): Promise<void> {
    this.#sql.run(
      'UPDATE node SET request_id = ?, request = ? WHERE node_id = ?',
      request?.requestId ?? null,
      request === undefined ? null : JSON.stringify(request),
      nodeId
    )
  }

  /** The node that a request is of. */
  async requester(requestId: string): Promise<NodeRecord | undefined> {
    const row = this.#sql.get('SELECT node_id FROM node WHERE request_id = ?', requestId)
    return row === undefined ? undefined : this.find(row.node_id as string)
  }

  /** Approves a surface in place of what was approved, and ends the node's request. */
  async approve(nodeId: string, surface: Surface): Promise<NodeRecord | undefined> {
    const { caps, commands, permissions } = surface
    this.#sql.run(
      `UPDATE node SET surface = ?2, surface_approved_at = ?3, surface_created_at = coalesce(surface_created_at, ?3),
         request_id = NULL, request = NULL WHERE node_id = ?1`,
      nodeId,
      JSON.stringify({ caps, commands, permissions }),
      this.#now()
    )
    return this.find(nodeId)
  }

  async rename(nodeId: string, label: string): Promise<boolean> {
    return this.#sql.run('UPDATE node SET label = ? WHERE node_id = ?', label, nodeId) > 0
  }

  /** Ends a node: what was approved, what waits for it, and its device's role; a device without another role is gone. */
  async remove(nodeId: string): Promise<boolean> {
    this.#news.delete(nodeId)
    return this.#sql.transaction(() => {
      const surface = this.#sql.run('DELETE FROM node WHERE node_id = ?', nodeId)
      this.#sql.run(`DELETE FROM device_token WHERE device_id = ? AND role = 'node'`, nodeId)
      const role = this.#sql.run(`DELETE FROM device_grant WHERE device_id = ? AND role = 'node'`, nodeId)
      const rest = 'device_id = ?1 AND NOT EXISTS (SELECT 1 FROM device_grant WHERE device_id = ?1)'
      if (role > 0) {
        this.#sql.run(`DELETE FROM device_request WHERE ${rest}`, nodeId)
        this.#sql.run(`DELETE FROM device WHERE ${rest}`, nodeId)
      }
      return surface + role > 0
    })
  }

  /** Writes what waits. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#news.size === 0) return
    const news = [...this.#news]
    this.#news.clear()
    this.#sql.transaction(() => {
      for (const [nodeId, each] of news) this.#write(nodeId, each)
    })
  }

  #find(nodeId: string): NodeRecord | undefined {
    const row = this.#sql.get(SELECT_ONE, nodeId)
    return row && recordOf(row)
  }

  #write(nodeId: string, news: NodeNews): void {
    this.#sql.run(
      `UPDATE node SET facts = coalesce(?2, facts), host_stats = coalesce(?3, host_stats),
         last_connected_at = coalesce(?4, last_connected_at), last_disconnected_at = coalesce(?5, last_disconnected_at),
         last_seen_at = coalesce(?6, last_seen_at), last_seen_reason = coalesce(?7, last_seen_reason) WHERE node_id = ?1`,
      nodeId,
      news.facts === undefined ? null : JSON.stringify(news.facts),
      news.hostStats === undefined ? null : JSON.stringify(news.hostStats),
      news.lastConnectedAtMs ?? null,
      news.lastDisconnectedAtMs ?? null,
      news.lastSeenAtMs ?? null,
      news.lastSeenReason ?? null
    )
  }
}

function recordOf(row: Row): NodeRecord {
  const json = <T>(value: unknown) => (value === null ? undefined : (JSON.parse(value as string) as T))
  const optional = <T>(value: unknown) => (value === null ? undefined : (value as T))
  const approved = json<Surface>(row.surface)
  const paired: NodeFacts = {
    clientId: row.client_id as string,
    clientMode: row.client_mode as string,
    platform: row.platform as string,
    displayName: optional<string>(row.display_name),
    deviceFamily: optional<string>(row.device_family)
  }
  return {
    ...(json<NodeFacts>(row.facts) ?? paired),
    nodeId: row.id as string,
    label: optional<string>(row.label),
    approved:
      approved === undefined
        ? undefined
        : {
            ...approved,
            createdAtMs: row.surface_created_at as number,
            approvedAtMs: row.surface_approved_at as number
          },
    request: json<SurfaceRequest>(row.request),
    hostStats: json<Record<string, unknown>>(row.host_stats),
    lastConnectedAtMs: optional<number>(row.last_connected_at),
    lastDisconnectedAtMs: optional<number>(row.last_disconnected_at),
    lastSeenAtMs: optional<number>(row.last_seen_at),
    lastSeenReason: optional<string>(row.last_seen_reason),
    paired: row.paired === 1,
    pairedAtMs: optional<number>(row.approved_at),
    pairedVia: optional<string>(row.approved_via),
    nodeOnly: row.roles === 1
  }
}
