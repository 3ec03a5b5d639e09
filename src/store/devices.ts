import type { DatabaseSync } from 'node:sqlite'
import type { Role, Scope } from '../protocol/scopes.ts'
import { Sql } from './database.ts'
import { type SpentCode, spend } from './setup-codes.ts'

/** How a device came to be paired: by a person, by a code that one of them made, or by a rule. */
export type ApprovedVia = 'owner' | 'launch-link' | 'bootstrap' | Rule

/** The rules that pair a device without asking anybody. */
export type Rule = (typeof RULES)[number]
const RULES = ['silent', 'trusted-proxy', 'trusted-cidr'] as const

/** What a device says of itself when it connects. */
export interface DeviceFacts {
  deviceId: string
  publicKey: string
  platform: string
  deviceFamily: string | undefined
  clientId: string
  clientMode: string
  displayName: string | undefined
  remoteIp: string | undefined
}

/** What a device may do in one role. A revoked grant stays on record: the device was approved once. */
export interface DeviceGrant {
  role: Role
  scopes: Scope[]
  revoked: boolean
}

/** One live token, without its secret. */
export interface TokenFacts {
  role: Role
  createdAtMs: number
  rotatedAtMs: number | undefined
  lastUsedAtMs: number | undefined
}

/** A paired device. */
export interface PairedDevice extends DeviceFacts {
  label: string | undefined
  approvedVia: ApprovedVia
  createdAtMs: number
  approvedAtMs: number
  lastSeenAtMs: number | undefined
  lastSeenReason: string | undefined
  grants: DeviceGrant[]
  tokens: TokenFacts[]
}

/** A device that waits for a person to say yes. */
export interface DeviceRequest extends DeviceFacts {
  requestId: string
  role: Role
  roles: Role[]
  scopes: Scope[]
  isRepair: boolean
  /** Who a verified front end says is asking. */
  user?: string
  ts: number
}

/** A change to one device's standing, applied whole or not at all. */
export interface Approval {
  facts: DeviceFacts
  via: ApprovedVia
  /** Per role: what it may do, and the digest of a token to issue for it. */
  grant: { role: Role; scopes: Scope[]; token?: Uint8Array | undefined }[]
  /** Ends every earlier token of the granted roles. */
  endTokens: boolean
  /** The request this answers. */
  requestId: string | undefined
  /** A one-time code spent by this change; when it is no longer good, nothing happens. */
  code: Uint8Array | undefined
}

const MAX_TOKENS = 8

/** Requests that wait, in all. */
const MAX_REQUESTS = 100

/** Devices, their grants, tokens (as digests) and requests, in SQLite. */
export class DeviceStore {
  readonly #sql: Sql
  readonly now: () => number

  constructor(db: DatabaseSync, now: () => number = Date.now) {
    this.#sql = new Sql(db)
    this.now = now
  }

  async find(deviceId: string): Promise<PairedDevice | undefined> {
    return this.#device(deviceId)
  }

  async list(): Promise<PairedDevice[]> {
    const rows = this.#sql.all('SELECT device_id FROM device ORDER BY approved_at DESC, rowid DESC')
    return rows.map((row) => this.#device(row.device_id as string)!)
  }

  /** Applies an approval; undefined when its code was already spent or has expired. */
  async approve(approval: Approval): Promise<{ code: SpentCode | undefined } | undefined> {
    const { facts, grant, requestId } = approval
    return this.#sql.transaction(() => {
      const code = approval.code && spend(this.#sql, approval.code, facts.deviceId, this.now())
      if (approval.code !== undefined && code === undefined) return undefined
      this.#saveDevice(facts, approval.via)
      for (const { role, scopes, token } of grant) {
        this.#sql.run(
          `INSERT INTO device_grant (device_id, role, scopes, revoked_at) VALUES (?, ?, ?, NULL)
           ON CONFLICT DO UPDATE SET scopes = excluded.scopes, revoked_at = NULL`,
          facts.deviceId,
          role,
          JSON.stringify(scopes)
        )
        if (approval.endTokens) this.#endTokens(facts.deviceId, role)
        if (token !== undefined) this.#addToken(token, facts.deviceId, role, false)
      }
      if (requestId !== undefined) this.#sql.run('DELETE FROM device_request WHERE request_id = ?', requestId)
      return { code }
    })
  }

  /** The devices that rules paired beyond a number, those seen last kept. */
  async beyond(count: number): Promise<PairedDevice[]> {
    const rows = this.#sql.all(
      `SELECT device_id FROM device WHERE approved_via IN (${RULES.map((rule) => `'${rule}'`)})
       ORDER BY coalesce(last_seen_at, created_at) DESC, rowid DESC LIMIT -1 OFFSET ?`,
      count
    )
    return rows.map((row) => this.#device(row.device_id as string)!)
  }

  /** Adds a token beside the ones a device has; beyond the cap the oldest ends. */
  async addToken(deviceId: string, role: Role, digest: Uint8Array): Promise<void> {
    this.#sql.transaction(() => this.#addToken(digest, deviceId, role, false))
  }

  /** Replaces every token of a device's role by one. */
  async rotateTokens(deviceId: string, role: Role, scopes: Scope[], digest: Uint8Array): Promise<void> {
    this.#sql.transaction(() => {
      this.#endTokens(deviceId, role)
      this.#sql.run(
        'UPDATE device_grant SET scopes = ? WHERE device_id = ? AND role = ?',
        JSON.stringify(scopes),
        deviceId,
        role
      )
      this.#addToken(digest, deviceId, role, true)
    })
  }

  /** Ends every token and the grant of a device's role. */
  async revoke(deviceId: string, role: Role): Promise<void> {
    this.#sql.transaction(() => {
      this.#endTokens(deviceId, role)
      this.#sql.run(
        'UPDATE device_grant SET revoked_at = ? WHERE device_id = ? AND role = ?',
        this.now(),
        deviceId,
        role
      )
    })
  }

  /** The device and role a token belongs to, when the grant behind it still stands. */
  async findToken(
    digest: Uint8Array
  ): Promise<{ deviceId: string; role: Role; scopes: Scope[]; createdAtMs: number } | undefined> {
    const row = this.#sql.get(
      `SELECT t.device_id, t.role, t.created_at, g.scopes FROM device_token t
       JOIN device_grant g ON g.device_id = t.device_id AND g.role = t.role AND g.revoked_at IS NULL
       WHERE t.digest = ?`,
      digest
    )
    if (row === undefined) return undefined
    return {
      deviceId: row.device_id as string,
      role: row.role as Role,
      scopes: JSON.parse(row.scopes as string) as Scope[],
      createdAtMs: row.created_at as number
    }
  }

  /** Records that a device connected, and by which token if by one. */
  async seen(deviceId: string, reason: string, token: Uint8Array | undefined): Promise<void> {
    const now = this.now()
    this.#sql.transaction(() => {
      this.#sql.run(
        'UPDATE device SET last_seen_at = ?, last_seen_reason = ? WHERE device_id = ?',
        now,
        reason,
        deviceId
      )
      if (token !== undefined) this.#sql.run('UPDATE device_token SET last_used_at = ? WHERE digest = ?', now, token)
    })
  }

  async rename(deviceId: string, label: string): Promise<boolean> {
    return this.#sql.run('UPDATE device SET label = ? WHERE device_id = ?', label, deviceId) > 0
  }

  /** Removes a paired device, and returns the request that ended with it; undefined where none is paired. */
  async remove(deviceId: string): Promise<{ request: DeviceRequest | undefined } | undefined> {
    return this.#sql.transaction(() => {
      if (this.#sql.run('DELETE FROM device WHERE device_id = ?', deviceId) === 0) return undefined
      const row = this.#sql.get('DELETE FROM device_request WHERE device_id = ? RETURNING body', deviceId)
      return { request: row && (JSON.parse(row.body as string) as DeviceRequest) }
    })
  }

  async requests(): Promise<DeviceRequest[]> {
    const rows = this.#sql.all('SELECT body FROM device_request ORDER BY created_at DESC, rowid DESC')
    return rows.map((row) => JSON.parse(row.body as string) as DeviceRequest)
  }

  /** Saves a device's request in place of an earlier one of the same device. Returns those that had no room. */
  async saveRequest(request: DeviceRequest): Promise<DeviceRequest[]> {
    return this.#sql.transaction(() => {
      this.#sql.run('DELETE FROM device_request WHERE device_id = ?', request.deviceId)
      this.#sql.run(
        'INSERT INTO device_request (request_id, device_id, body, created_at) VALUES (?, ?, ?, ?)',
        request.requestId,
        request.deviceId,
        JSON.stringify(request),
        request.ts
      )
      const { waiting } = this.#sql.get('SELECT count(*) AS waiting FROM device_request')!
      return (waiting as number) > MAX_REQUESTS ? this.#makeRoom() : []
    })
  }

  async removeRequest(requestId: string): Promise<void> {
    this.#sql.run('DELETE FROM device_request WHERE request_id = ?', requestId)
  }

  /** Takes out the requests that were made at a moment or before, and returns them. */
  async takeRequests(until: number): Promise<DeviceRequest[]> {
    return this.#sql
      .all('DELETE FROM device_request WHERE created_at <= ? RETURNING body', until)
      .map((row) => JSON.parse(row.body as string) as DeviceRequest)
  }

  // Whoever floods pushes out their own: the oldest of the place that most requests come from goes.
  #makeRoom(): DeviceRequest[] {
    const rows = this.#sql.all('SELECT body FROM device_request ORDER BY created_at, rowid')
    const from = Map.groupBy(
      rows.map((row) => JSON.parse(row.body as string) as DeviceRequest),
      source
    )
    const [oldest] = [...from.values()].reduce((most, each) => (each.length > most.length ? each : most))
    this.#sql.run('DELETE FROM device_request WHERE request_id = ?', oldest!.requestId)
    return [oldest!]
  }

  #saveDevice(facts: DeviceFacts, via: ApprovedVia): void {
    const now = this.now()
    this.#sql.run(
      `INSERT INTO device (device_id, public_key, platform, device_family, client_id, client_mode, display_name, approved_via,
         remote_ip, created_at, approved_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET platform = excluded.platform, device_family = excluded.device_family,
         client_id = excluded.client_id, client_mode = excluded.client_mode, approved_via = excluded.approved_via,
         display_name = coalesce(excluded.display_name, display_name),
         remote_ip = excluded.remote_ip, approved_at = excluded.approved_at`,
      facts.deviceId,
      facts.publicKey,
      facts.platform,
      facts.deviceFamily ?? null,
      facts.clientId,
      facts.clientMode,
      facts.displayName ?? null,
      via,
      facts.remoteIp ?? null,
      now,
      now
    )
  }

  #addToken(digest: Uint8Array, deviceId: string, role: Role, rotated: boolean): void {
    const now = this.now()
    // None for a grant that was revoked a moment ago: it would come back to life with the next approval.
    this.#sql.run(
      `INSERT INTO device_token (digest, device_id, role, created_at, rotated_at)
       SELECT ?, device_id, role, ?, ? FROM device_grant WHERE device_id = ? AND role = ? AND revoked_at IS NULL`,
      digest,
      now,
      rotated ? now : null,
      deviceId,
      role
    )
    this.#sql.run(
      `DELETE FROM device_token WHERE device_id = ?1 AND role = ?2 AND rowid NOT IN (
         SELECT rowid FROM device_token WHERE device_id = ?1 AND role = ?2 ORDER BY created_at DESC, rowid DESC LIMIT ?3)`,
      deviceId,
      role,
      MAX_TOKENS
    )
  }

  #endTokens(deviceId: string, role: Role): void {
    this.#sql.run('DELETE FROM device_token WHERE device_id = ? AND role = ?', deviceId, role)
  }

  #device(deviceId: string): PairedDevice | undefined {
    const row = this.#sql.get('SELECT * FROM device WHERE device_id = ?', deviceId)
    if (row === undefined) return undefined
    return {
      deviceId,
      publicKey: row.public_key as string,
      platform: (row.platform as string | null) ?? '',
      deviceFamily: optional<string>(row.device_family),
      clientId: row.client_id as string,
      clientMode: row.client_mode as string,
      displayName: optional<string>(row.display_name),
      remoteIp: optional<string>(row.remote_ip),
      label: optional<string>(row.label),
      approvedVia: row.approved_via as ApprovedVia,
      createdAtMs: row.created_at as number,
      approvedAtMs: row.approved_at as number,
      lastSeenAtMs: optional<number>(row.last_seen_at),
      lastSeenReason: optional<string>(row.last_seen_reason),
      grants: this.#sql
        .all('SELECT role, scopes, revoked_at FROM device_grant WHERE device_id = ? ORDER BY rowid', deviceId)
        .map((grant) => ({
          role: grant.role as Role,
          scopes: JSON.parse(grant.scopes as string) as Scope[],
          revoked: grant.revoked_at !== null
        })),
      tokens: this.#sql
        .all('SELECT * FROM device_token WHERE device_id = ? ORDER BY created_at DESC, rowid DESC', deviceId)
        .map((token) => ({
          role: token.role as Role,
          createdAtMs: token.created_at as number,
          rotatedAtMs: optional<number>(token.rotated_at),
          lastUsedAtMs: optional<number>(token.last_used_at)
        }))
    }
  }
}

function source({ user, remoteIp }: DeviceRequest): string {
  return user ?? remoteIp ?? 'local'
}

function optional<T>(value: unknown): T | undefined {
  return value === null ? undefined : (value as T)
}
