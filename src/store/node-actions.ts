import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { Sql } from './database.ts'

/** A command that a node could not run in the background, and runs once it is looked at again. */
export interface NodeAction {
  id: string
  command: string
  paramsJSON?: string
  enqueuedAtMs: number
}

/** What a new action is made from; the same key twice is the same action. */
export type ActionInput = Pick<NodeAction, 'command' | 'paramsJSON'> & { key: string }

const MAX_ACTIONS = 64
// Whoever asked has given up by then.
const KEPT_MS = 10 * 60_000

/** Commands that wait until a node is in the foreground, in SQLite: few for each node, and not for long. */
export class NodeActionStore {
  readonly #sql: Sql
  readonly #now: () => number

  constructor(db: DatabaseSync, now: () => number = Date.now) {
    this.#sql = new Sql(db)
    this.#now = now
  }

  /** Leaves a command for a node, in place of the oldest where there are too many. Undefined for a node nobody knows. */
  async add(nodeId: string, { key, command, paramsJSON }: ActionInput): Promise<NodeAction | undefined> {
    return this.#sql.transaction(() => {
      if (this.#sql.get('SELECT 1 FROM node WHERE node_id = ?', nodeId) === undefined) return undefined
      this.#forgetOld(nodeId)
      this.#sql.run(
        `INSERT INTO node_action (id, node_id, key, command, params, created_at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (node_id, key) DO NOTHING`,
        randomUUID(),
        nodeId,
        key,
        command,
        paramsJSON ?? null,
        this.#now()
      )
      this.#sql.run(
        `DELETE FROM node_action WHERE node_id = ?1 AND rowid NOT IN (
           SELECT rowid FROM node_action WHERE node_id = ?1 ORDER BY rowid DESC LIMIT ?2)`,
        nodeId,
        MAX_ACTIONS
      )
      return this.#list(nodeId, 'AND key = ?', key)[0]
    })
  }

  /** What waits for a node, oldest first. */
  async list(nodeId: string): Promise<NodeAction[]> {
    this.#forgetOld(nodeId)
    return this.#list(nodeId)
  }

  /** Forgets what a node has done; returns how much still waits. */
  async done(nodeId: string, ids: readonly string[]): Promise<number> {
    this.#sql.run(
      'DELETE FROM node_action WHERE node_id = ? AND id IN (SELECT value FROM json_each(?))',
      nodeId,
      JSON.stringify(ids)
    )
    return (await this.list(nodeId)).length
  }

  #list(nodeId: string, more = '', ...values: string[]): NodeAction[] {
    return this.#sql
      .all(`SELECT * FROM node_action WHERE node_id = ? ${more} ORDER BY rowid`, nodeId, ...values)
      .map(({ id, command, params, created_at }) => ({
        id: id as string,
        command: command as string,
        ...(params === null ? {} : { paramsJSON: params as string }),
        enqueuedAtMs: created_at as number
      }))
  }

  #forgetOld(nodeId: string): void {
    this.#sql.run('DELETE FROM node_action WHERE node_id = ? AND created_at <= ?', nodeId, this.#now() - KEPT_MS)
  }
}
