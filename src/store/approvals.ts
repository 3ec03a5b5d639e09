import type { DatabaseSync } from 'node:sqlite'
import type { ApprovalOutcome, ExecRequest } from '../protocol/approvals.ts'
import { type Row, Sql } from './database.ts'

/** Whoever asked, or answered: by everything that it is known by, and with a name for people. */
export interface Party {
  /** Its device, its token, its user; for a caller with none of them, its socket. */
  keys: readonly [string, ...string[]]
  name: string
}

/** How a request for approval ended, when, and by whom; nobody, when its time ran out. */
export type Resolution = ApprovalOutcome & {
  atMs: number
  by: (Party & { kind: 'device' | 'runtime' | 'system'; id: string | undefined }) | undefined
}

/** A request for approval, and how it ended. */
export interface Approval {
  id: string
  request: ExecRequest
  /** Names the command exactly (`planDigest`); undefined where only its text is known. */
  digest: string | undefined
  askedBy: Party
  createdAtMs: number
  expiresAtMs: number
  resolution: Resolution | undefined
}

/** Why a request was not taken. */
export type NotAdded = 'pending' | 'used' | 'too-many'

const MAX_PENDING = 256
const MAX_PENDING_OF_ONE = 64
const MAX_RESOLVED = 1_000

/** Requests for approval in SQLite: those that wait, and the newest of those that ended. */
export class ApprovalStore {
  readonly #sql: Sql

  constructor(db: DatabaseSync) {
    this.#sql = new Sql(db)
  }

  /** Adds a request that waits, or that ended at once. */
  async add({
    id,
    request,
    digest,
    askedBy,
    createdAtMs,
    expiresAtMs,
    resolution
  }: Approval): Promise<NotAdded | undefined> {
    return this.#sql.transaction(() => {
      const known = this.#sql.get('SELECT resolved_at FROM exec_approval WHERE id = ?', id)
      if (known !== undefined) return known.resolved_at === null ? 'pending' : 'used'
      const waiting = this.#sql.get(
        `SELECT count(*) AS pending, count(*) FILTER (WHERE asked_by_key = ?) AS own
         FROM exec_approval WHERE resolved_at IS NULL`,
        askedBy.keys[0]
      ) as { pending: number; own: number }
      if (waiting.pending >= MAX_PENDING || waiting.own >= MAX_PENDING_OF_ONE) return 'too-many'
      this.#sql.run(
        `INSERT INTO exec_approval (id, request, digest, asked_by_key, asked_by, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
        id,
        JSON.stringify(request),
        digest ?? null,
        askedBy.keys[0],
        JSON.stringify(askedBy),
        createdAtMs,
        expiresAtMs
      )
      if (resolution !== undefined) this.#settle(id, resolution)
      return undefined
    })
  }

  /** Ends a request; of several attempts the first counts. Reports whether this was it. */
  async resolve(id: string, resolution: Resolution): Promise<boolean> {
    return this.#sql.transaction(() => this.#settle(id, resolution))
  }

  /** Takes an approval that is good for one run; reports whether it was still there to take. */
  async use(id: string, now: number): Promise<boolean> {
    const where = `id = ? AND decision = 'allow-once' AND used_at IS NULL`
    return this.#sql.run(`UPDATE exec_approval SET used_at = ? WHERE ${where}`, now, id) === 1
  }

  async find(id: string): Promise<Approval | undefined> {
    const row = this.#sql.get('SELECT * FROM exec_approval WHERE id = ?', id)
    return row && approvalOf(row)
  }

  /** Everything that waits, the oldest first. */
  async pending(): Promise<Approval[]> {
    return this.#sql
      .all('SELECT * FROM exec_approval WHERE resolved_at IS NULL ORDER BY created_at, rowid')
      .map(approvalOf)
  }

  /** The first two that wait and whose ids start so. */
  async pendingFrom(start: string): Promise<Approval[]> {
    const where = 'resolved_at IS NULL AND substr(id, 1, length(?1)) = ?1'
    return this.#sql.all(`SELECT * FROM exec_approval WHERE ${where} ORDER BY id LIMIT 2`, start).map(approvalOf)
  }

  /** The ids of those that wait and whose time ran out. */
  async due(now: number): Promise<string[]> {
    const rows = this.#sql.all('SELECT id FROM exec_approval WHERE resolved_at IS NULL AND expires_at <= ?', now)
    return rows.map(({ id }) => id as string)
  }

  /** When the time of the next one runs out. */
  async nextEnd(): Promise<number | undefined> {
    const row = this.#sql.get('SELECT min(expires_at) AS next FROM exec_approval WHERE resolved_at IS NULL')
    return (row?.next as number | null) ?? undefined
  }

  /** What ended, the newest first; `before` is the last one that is known already. */
  async resolved(limit: number, before?: { atMs: number; id: string }): Promise<Approval[]> {
    const { atMs, id } = before ?? { atMs: Number.MAX_SAFE_INTEGER, id: '' }
    return this.#sql
      .all(
        `SELECT * FROM exec_approval WHERE resolved_at IS NOT NULL AND (resolved_at, id) < (?, ?)
         ORDER BY resolved_at DESC, id DESC LIMIT ?`,
        atMs,
        id,
        limit
      )
      .map(approvalOf)
  }

  #settle(id: string, { status, decision, reason, atMs, by }: Resolution): boolean {
    const changed = this.#sql.run(
      `UPDATE exec_approval SET status = ?, decision = ?, reason = ?, resolved_at = ?, resolved_by = ?
       WHERE id = ? AND resolved_at IS NULL`,
      status,
      decision ?? null,
      reason,
      atMs,
      by === undefined ? null : JSON.stringify(by),
      id
    )
    if (changed === 0) return false
    this.#sql.run(
      `DELETE FROM exec_approval WHERE resolved_at IS NOT NULL AND rowid NOT IN (
         SELECT rowid FROM exec_approval WHERE resolved_at IS NOT NULL ORDER BY resolved_at DESC, id DESC LIMIT ?)`,
      MAX_RESOLVED
    )
    return true
  }
}

function approvalOf(row: Row): Approval {
  return {
    id: row.id as string,
    request: JSON.parse(row.request as string) as ExecRequest,
    digest: (row.digest as string | null) ?? undefined,
    askedBy: JSON.parse(row.asked_by as string) as Party,
    createdAtMs: row.created_at as number,
    expiresAtMs: row.expires_at as number,
    resolution: row.resolved_at === null ? undefined : resolutionOf(row)
  }
}

function resolutionOf({ status, decision, reason, resolved_at: atMs, resolved_by: by }: Row): Resolution {
  return {
    status,
    decision: decision ?? undefined,
    reason,
    atMs,
    by: by === null ? undefined : JSON.parse(by as string)
  } as Resolution
}
