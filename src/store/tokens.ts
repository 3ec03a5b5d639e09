import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { freshSecret, TOKEN_PREFIX } from '../auth/secrets.ts'
import type { Scope } from '../protocol/scopes.ts'
import { type Row, Sql } from './database.ts'

/** The text of a new named token: its prefix and 32 random bytes. Shown once; only its digest is kept. */
export function freshToken(): string {
  return TOKEN_PREFIX + freshSecret()
}

/** A token that a person gave a name: what it allows, from where, and until when. */
export interface NamedToken {
  id: string
  name: string
  scopes: Scope[]
  /** Networks it may be used from; none means everywhere. */
  cidrs: string[]
  createdAtMs: number
  createdBy: string
  expiresAtMs: number | undefined
  revokedAtMs: number | undefined
  lastUsedAtMs: number | undefined
  lastUsedFrom: string | undefined
}

/** What a new token is made from. */
export type TokenInput = Pick<NamedToken, 'name' | 'scopes' | 'cidrs' | 'createdBy' | 'expiresAtMs'>

/** Why a token was not made. */
interface TokenRefused {
  refused: 'name-taken' | 'too-many'
}

/** Reports whether a token is good at a time, and if not, which end it came to. */
export function tokenState(
  { revokedAtMs, expiresAtMs }: Pick<NamedToken, 'revokedAtMs' | 'expiresAtMs'>,
  now: number
): 'live' | 'expired' | 'revoked' {
  if (revokedAtMs !== undefined) return 'revoked'
  return expiresAtMs !== undefined && expiresAtMs <= now ? 'expired' : 'live'
}

const MAX_LIVE = 500
/** Ended tokens stay this long, so that whoever still uses one can be told why it fails; the newest ended stay. */
const ENDED_MS = 90 * 86_400_000
const MAX_ENDED = 500
const USED_EVERY_MS = 60_000

// ?1 is the present.
const LIVE = 'revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)'
const ENDED = `NOT (${LIVE})`
const ENDED_AT = 'coalesce(revoked_at, expires_at)'

/** Named tokens, as digests, in SQLite. */
export class TokenStore {
  readonly #sql: Sql
  readonly #now: () => number
  /** When each token's use was last written down; in that order, and no longer than there are live tokens. */
  readonly #used = new Map<string, number>()

  constructor(db: DatabaseSync, now: () => number = Date.now) {
    this.#sql = new Sql(db)
    this.#now = now
  }

  /** Adds a token, and forgets those that ended long ago. A name belongs to one live token at a time. */
  async create(input: TokenInput, digest: Uint8Array): Promise<NamedToken | TokenRefused> {
    const now = this.#now()
    const id = randomUUID()
    return this.#sql.transaction(() => {
      this.#forgetEnded(now)
      const row = this.#sql.get(
        `SELECT count(*) AS live, count(*) FILTER (WHERE name = ?2) AS same FROM named_token WHERE ${LIVE}`,
        now,
        input.name
      )
      if (row?.same !== 0) return { refused: 'name-taken' }
      if ((row.live as number) >= MAX_LIVE) return { refused: 'too-many' }
      this.#sql.run(
        `INSERT INTO named_token (id, name, digest, scopes, cidrs, created_at, created_by, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        id,
        input.name,
        digest,
        JSON.stringify(input.scopes),
        JSON.stringify(input.cidrs),
        now,
        input.createdBy,
        input.expiresAtMs ?? null
      )
      return this.#byId(id)!
    })
  }

  /** Every token, ended ones too, newest first. */
  async list(): Promise<NamedToken[]> {
    return this.#sql.all('SELECT * FROM named_token ORDER BY created_at DESC, rowid DESC').map(tokenOf)
  }

  /** The token of a digest. It may have ended: whoever asks checks `tokenState`, and can say which end it came to. */
  async find(digest: Uint8Array): Promise<NamedToken | undefined> {
    const row = this.#sql.get('SELECT * FROM named_token WHERE digest = ?', digest)
    return row && tokenOf(row)
  }

  /** Ends a token for good, by its id or name; of one name the live one. Undefined when there is none left to end. */
  async revoke(idOrName: string): Promise<NamedToken | undefined> {
    const now = this.#now()
    return this.#sql.transaction(() => {
      const row = this.#sql.get(
        `SELECT id FROM named_token WHERE (id = ?2 OR name = ?2) AND revoked_at IS NULL
         ORDER BY id = ?2 DESC, ${LIVE} DESC, rowid DESC LIMIT 1`,
        now,
        idOrName
      )
      if (row === undefined) return undefined
      this.#sql.run('UPDATE named_token SET revoked_at = ? WHERE id = ?', now, row.id as string)
      this.#used.delete(row.id as string)
      return this.#byId(row.id as string)
    })
  }

  /** Records that a token was used, and from where; written at most once a minute for each token. */
  async used(id: string, address: string): Promise<void> {
    const now = this.#now()
    const last = this.#used.get(id)
    if (last !== undefined && now - last < USED_EVERY_MS) return
    this.#used.delete(id)
    this.#used.set(id, now)
    const [oldest] = this.#used.keys()
    if (this.#used.size > MAX_LIVE) this.#used.delete(oldest!)
    this.#sql.run(
      'UPDATE named_token SET last_used_at = ?, last_used_from = ? WHERE id = ?',
      now,
      address.slice(0, MAX_ADDRESS),
      id
    )
  }

  #forgetEnded(now: number): void {
    this.#sql.run(
      `DELETE FROM named_token WHERE ${ENDED} AND (${ENDED_AT} < ?2 OR rowid NOT IN (
         SELECT rowid FROM named_token WHERE ${ENDED} ORDER BY ${ENDED_AT} DESC LIMIT ?3))`,
      now,
      now - ENDED_MS,
      MAX_ENDED
    )
  }

  #byId(id: string): NamedToken | undefined {
    const row = this.#sql.get('SELECT * FROM named_token WHERE id = ?', id)
    return row && tokenOf(row)
  }
}

/** The longest text of an address: IPv6 with an IPv4 tail and a zone. */
const MAX_ADDRESS = 64

function tokenOf(row: Row): NamedToken {
  return {
    id: row.id as string,
    name: row.name as string,
    scopes: JSON.parse(row.scopes as string) as Scope[],
    cidrs: JSON.parse(row.cidrs as string) as string[],
    createdAtMs: row.created_at as number,
    createdBy: row.created_by as string,
    expiresAtMs: optional<number>(row.expires_at),
    revokedAtMs: optional<number>(row.revoked_at),
    lastUsedAtMs: optional<number>(row.last_used_at),
    lastUsedFrom: optional<string>(row.last_used_from)
  }
}

function optional<T>(value: unknown): T | undefined {
  return value === null ? undefined : (value as T)
}
