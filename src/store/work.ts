import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { type Row, Sql } from './database.ts'

/** What can wait for a node. */
export const WORK_TYPES = ['status.request', 'location.request'] as const

/** How soon a node should do it. */
export const WORK_PRIORITIES = ['normal', 'high'] as const

/** Something that waits for a node. */
export interface Work {
  id: string
  type: (typeof WORK_TYPES)[number]
  priority: (typeof WORK_PRIORITIES)[number]
  createdAtMs: number
  expiresAtMs: number
}

/** What new work is made from. */
export type WorkInput = Pick<Work, 'type' | 'priority'> & { expiresInMs: number }

/**
 * What waits for each node, in SQLite: one of a type, and written before anyone is told. A queue's revision counts its
 * changes since it was last empty.
 */
export class WorkStore {
  readonly #sql: Sql
  readonly #now: () => number

  constructor(db: DatabaseSync, now: () => number = Date.now) {
    this.#sql = new Sql(db)
    this.#now = now
  }

  /** Adds work, unless the same waits already: then that is what waits. Undefined for a node nobody knows. */
  async add(nodeId: string, input: WorkInput): Promise<{ revision: number; work: Work } | undefined> {
    return this.#sql.transaction(() => {
      const before = this.#fresh(nodeId)
      if (before === undefined) return undefined
      const same = this.#sql.get('SELECT * FROM node_work WHERE node_id = ? AND type = ?', nodeId, input.type)
      if (same !== undefined) return { revision: before, work: workOf(same) }
      const { type, priority, expiresInMs } = input
      const createdAtMs = this.#now()
      const work = { id: randomUUID(), type, priority, createdAtMs, expiresAtMs: createdAtMs + expiresInMs }
      this.#sql.run(
        'INSERT INTO node_work (id, node_id, type, priority, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
        work.id,
        nodeId,
        type,
        priority,
        createdAtMs,
        work.expiresAtMs
      )
      return { revision: this.#turn(nodeId, before + 1), work }
    })
  }

  /** Takes the most urgent work away, at most so much of it. Undefined for a node nobody knows. */
  async take(nodeId: string, max: number): Promise<{ revision: number; work: Work[]; left: number } | undefined> {
    return this.#sql.transaction(() => {
      const before = this.#fresh(nodeId)
      if (before === undefined) return undefined
      const all = this.#sql.all(
        `SELECT * FROM node_work WHERE node_id = ? ORDER BY priority = 'high' DESC, created_at, rowid`,
        nodeId
      )
      const work = all.slice(0, max).map(workOf)
      for (const { id } of work) this.#sql.run('DELETE FROM node_work WHERE id = ?', id)
      const revision = work.length === 0 ? before : before + 1
      const left = all.length - work.length
      if (revision > 0) this.#turn(nodeId, left === 0 ? 0 : revision)
      return { revision, work, left }
    })
  }

  /** Forgets what has expired; returns the queue's revision after that. */
  #fresh(nodeId: string): number | undefined {
    const row = this.#sql.get('SELECT work_revision FROM node WHERE node_id = ?', nodeId)
    if (row === undefined) return undefined
    const revision = row.work_revision as number
    const expired = this.#sql.run('DELETE FROM node_work WHERE node_id = ? AND expires_at <= ?', nodeId, this.#now())
    return expired === 0 ? revision : this.#turn(nodeId, revision + 1)
  }

  #turn(nodeId: string, revision: number): number {
    this.#sql.run('UPDATE node SET work_revision = ? WHERE node_id = ?', revision, nodeId)
    return revision
  }
}

function workOf(row: Row): Work {
  return {
    id: row.id as string,
    type: row.type as Work['type'],
    priority: row.priority as Work['priority'],
    createdAtMs: row.created_at as number,
    expiresAtMs: row.expires_at as number
  }
}
