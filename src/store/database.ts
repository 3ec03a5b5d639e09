import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { ensurePrivateFile } from './private-file.ts'

/** The one SQLite database of a state folder: WAL, every commit synced, readable by its owner only. */
export function openDatabase(file: string): DatabaseSync {
  // Before SQLite creates it with the process's umask; the -wal and -shm files inherit the mode.
  if (file !== ':memory:') ensurePrivateFile(file)
  const db = new DatabaseSync(file)
  try {
    db.exec(
      'PRAGMA busy_timeout = 2000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON'
    )
    migrate(db)
  } catch (error) {
    db.close()
    throw error
  }
  return db
}

/** A schema newer than this build knows: the state was written by a later version. */
export class NewerSchemaError extends Error {}

// Append only. A released migration is never edited.
const migrations = [
  `CREATE TABLE identity (
     id INTEGER PRIMARY KEY CHECK (id = 1), private_key TEXT NOT NULL, public_key TEXT NOT NULL, device_id TEXT NOT NULL
   ) STRICT;
   CREATE TABLE device (
     device_id TEXT PRIMARY KEY, public_key TEXT NOT NULL, platform TEXT, device_family TEXT, client_id TEXT, client_mode TEXT,
     display_name TEXT, label TEXT, approved_via TEXT NOT NULL, remote_ip TEXT,
     created_at INTEGER NOT NULL, approved_at INTEGER NOT NULL, last_seen_at INTEGER, last_seen_reason TEXT
   ) STRICT;
   CREATE TABLE device_grant (
     device_id TEXT NOT NULL REFERENCES device ON DELETE CASCADE, role TEXT NOT NULL, scopes TEXT NOT NULL,
     revoked_at INTEGER, PRIMARY KEY (device_id, role)
   ) STRICT;
   CREATE TABLE device_token (
     digest BLOB PRIMARY KEY, device_id TEXT NOT NULL REFERENCES device ON DELETE CASCADE, role TEXT NOT NULL,
     created_at INTEGER NOT NULL, rotated_at INTEGER, last_used_at INTEGER
   ) STRICT;
   CREATE INDEX device_token_owner ON device_token (device_id, role, created_at);
   CREATE TABLE device_request (
     request_id TEXT PRIMARY KEY, device_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL, created_at INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE launch_code (
     digest BLOB PRIMARY KEY, scopes TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, device_id TEXT
   ) STRICT;`,
  `CREATE TABLE named_token (
     id TEXT PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL UNIQUE, scopes TEXT NOT NULL, cidrs TEXT NOT NULL,
     created_at INTEGER NOT NULL, created_by TEXT NOT NULL, expires_at INTEGER, revoked_at INTEGER,
     last_used_at INTEGER, last_used_from TEXT
   ) STRICT;
   CREATE TABLE auth_event (
     id INTEGER PRIMARY KEY AUTOINCREMENT, ts INTEGER NOT NULL, kind TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT,
     method TEXT, who TEXT, address TEXT NOT NULL, listener TEXT, client TEXT, surface TEXT, detail TEXT,
     count INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX auth_event_denied ON auth_event (id) WHERE outcome = 'denied';
   CREATE INDEX auth_event_other ON auth_event (id) WHERE outcome <> 'denied';
   CREATE TRIGGER auth_event_stands BEFORE UPDATE ON auth_event BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END;`,
  `CREATE TABLE setup_code (
     digest BLOB PRIMARY KEY, setup_id TEXT NOT NULL UNIQUE, access TEXT NOT NULL, scopes TEXT NOT NULL,
     created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, device_id TEXT, spent_at INTEGER, delivered_at INTEGER
   ) STRICT;
   INSERT INTO setup_code
     SELECT digest, hex(randomblob(16)), 'owner', scopes, created_at, expires_at, NULL, NULL, NULL FROM launch_code;
   DROP TABLE launch_code;`,
  `CREATE TABLE exec_approval (
     id TEXT PRIMARY KEY, request TEXT NOT NULL, digest TEXT, asked_by_key TEXT NOT NULL, asked_by TEXT NOT NULL,
     created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, status TEXT, decision TEXT, reason TEXT,
     resolved_at INTEGER, resolved_by TEXT, used_at INTEGER
   ) STRICT;
   CREATE INDEX exec_approval_pending ON exec_approval (expires_at) WHERE resolved_at IS NULL;
   CREATE INDEX exec_approval_resolved ON exec_approval (resolved_at, id) WHERE resolved_at IS NOT NULL;`,
  `CREATE TABLE node (
     node_id TEXT PRIMARY KEY, facts TEXT NOT NULL, label TEXT, created_at INTEGER NOT NULL,
     surface TEXT, surface_created_at INTEGER, surface_approved_at INTEGER, request_id TEXT UNIQUE, request TEXT,
     host_stats TEXT, last_connected_at INTEGER, last_disconnected_at INTEGER, last_seen_at INTEGER, last_seen_reason TEXT,
     work_revision INTEGER NOT NULL DEFAULT 0
   ) STRICT;
   CREATE TABLE node_work (
     id TEXT PRIMARY KEY, node_id TEXT NOT NULL REFERENCES node ON DELETE CASCADE, type TEXT NOT NULL,
     priority TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, UNIQUE (node_id, type)
   ) STRICT;
   CREATE TABLE node_action (
     id TEXT PRIMARY KEY, node_id TEXT NOT NULL REFERENCES node ON DELETE CASCADE, key TEXT NOT NULL,
     command TEXT NOT NULL, params TEXT, created_at INTEGER NOT NULL, UNIQUE (node_id, key)
   ) STRICT;
   CREATE TRIGGER node_ends AFTER DELETE ON device_grant WHEN OLD.role = 'node'
     BEGIN DELETE FROM node WHERE node_id = OLD.device_id; END;
   CREATE TABLE voice_wake (id INTEGER PRIMARY KEY CHECK (id = 1), triggers TEXT NOT NULL) STRICT;`
]

function migrate(db: DatabaseSync): void {
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > migrations.length) {
    throw new NewerSchemaError(
      `the state was written by a newer version (schema ${version}, this build knows ${migrations.length}); update openclaw-gateway, or start with another state folder (--profile NAME).`
    )
  }
  for (let next = version; next < migrations.length; next++) {
    transaction(db, () => db.exec(`${migrations[next]!}; PRAGMA user_version = ${next + 1}`))
  }
}

/** Runs a change whole or not at all. */
export function transaction<T>(db: DatabaseSync, change: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = change()
    db.exec('COMMIT')
    return result
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}

/** A row as SQLite gives it, by column. */
export type Row = Record<string, unknown>

/** The short forms in which stores ask. */
export class Sql {
  readonly #db: DatabaseSync

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#db.prepare(sql).get(...values) as Row | undefined
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#db.prepare(sql).all(...values) as Row[]
  }

  /** Returns how many rows it changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#db.prepare(sql).run(...values).changes)
  }

  /** Runs a change whole or not at all. */
  transaction<T>(change: () => T): T {
    return transaction(this.#db, change)
  }
}
