import type { DatabaseSync } from 'node:sqlite'
import type { Scope } from '../protocol/scopes.ts'
import type { SetupAccess } from '../protocol/setup.ts'
import { type Row, Sql } from './database.ts'

/** A one-time code, without its text. */
export interface SetupCode {
  setupId: string
  access: SetupAccess
  scopes: readonly Scope[]
  expiresAtMs: number
}

/** A code that a device may spend, or why it may not; undefined where there is no such code. */
export type PresentedCode = { access: SetupAccess; scopes: Scope[] } | { refused: string }

/** What became of a code that was spent. */
export interface SpentCode {
  setupId: string
  access: SetupAccess
  deviceId: string
  spentAtMs: number
  /** When its device was seen to get its tokens; undefined where nobody knows. */
  deliveredAtMs: number | undefined
}

// Whoever showed a code may ask what became of it for a day.
const KEPT_MS = 24 * 3_600_000
const MAX_CODES = 200

/** Launch links and setup codes, as digests: one device each, once, for a short while (S13). */
export class SetupCodeStore {
  readonly #sql: Sql
  readonly now: () => number

  constructor(db: DatabaseSync, now: () => number = Date.now) {
    this.#sql = new Sql(db)
    this.now = now
  }

  /** Keeps a code's digest; bounded, the oldest goes. */
  async add(digest: Uint8Array, { setupId, access, scopes, expiresAtMs }: SetupCode): Promise<void> {
    this.#sql.transaction(() => {
      this.#sql.run('DELETE FROM setup_code WHERE expires_at <= ?', this.now() - KEPT_MS)
      this.#sql.run(
        'INSERT INTO setup_code (digest, setup_id, access, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
        digest,
        setupId,
        access,
        JSON.stringify(scopes),
        this.now(),
        expiresAtMs
      )
      this.#sql.run(
        'DELETE FROM setup_code WHERE rowid NOT IN (SELECT rowid FROM setup_code ORDER BY rowid DESC LIMIT ?)',
        MAX_CODES
      )
    })
  }

  /** Looks a code up for a device. The first device that presents it is the only one that it is good for. */
  async present(digest: Uint8Array, deviceId: string): Promise<PresentedCode | undefined> {
    this.#sql.run(
      'UPDATE setup_code SET device_id = ? WHERE digest = ? AND device_id IS NULL AND expires_at > ?',
      deviceId,
      digest,
      this.now()
    )
    const row = this.#sql.get('SELECT * FROM setup_code WHERE digest = ?', digest)
    if (row === undefined) return undefined
    const first = (row.device_id as string | null)?.slice(0, 12)
    if (row.spent_at !== null) return { refused: `used by ${first}` }
    if ((row.expires_at as number) <= this.now()) return { refused: 'expired' }
    if (row.device_id !== deviceId) return { refused: `presented first by ${first}` }
    return { access: row.access as SetupAccess, scopes: JSON.parse(row.scopes as string) as Scope[] }
  }

  /** Records that the device of a spent code got its tokens. */
  async delivered(setupId: string): Promise<void> {
    this.#sql.run('UPDATE setup_code SET delivered_at = ? WHERE setup_id = ?', this.now(), setupId)
  }

  /** What became of a code; undefined while nobody has spent it, and when it is long gone. */
  async spent(setupId: string): Promise<SpentCode | undefined> {
    const row = this.#sql.get('SELECT * FROM setup_code WHERE setup_id = ? AND spent_at IS NOT NULL', setupId)
    return row && spentCode(row)
  }
}

/** Spends a code within the change that it is spent for; undefined when it is no longer good for this device. */
export function spend(sql: Sql, digest: Uint8Array, deviceId: string, now: number): SpentCode | undefined {
  const row = sql.get(
    `UPDATE setup_code SET spent_at = ?, device_id = ?
     WHERE digest = ? AND spent_at IS NULL AND expires_at > ? AND (device_id IS NULL OR device_id = ?) RETURNING *`,
    now,
    deviceId,
    digest,
    now,
    deviceId
  )
  return row && spentCode(row)
}

function spentCode(row: Row): SpentCode {
  return {
    setupId: row.setup_id as string,
    access: row.access as SetupAccess,
    deviceId: row.device_id as string,
    spentAtMs: row.spent_at as number,
    deliveredAtMs: (row.delivered_at as number | null) ?? undefined
  }
}
