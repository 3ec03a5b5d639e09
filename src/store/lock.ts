import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ensurePrivateFile } from './private-file.ts'

/** A held lock on a state folder. The kernel releases it when the process ends, however it ends. */
export interface StateLock {
  release(): void
}

/**
 * Takes the lock of a state folder (R12), or names the process that holds it. The lock is SQLite's own exclusive
 * file lock: Node has no `flock`, and a pid file alone outlives a crash.
 */
export function lockState(stateDir: string, pid: number, name = 'gateway'): StateLock | { heldBy: number | undefined } {
  const file = join(stateDir, `${name}.lock`)
  const pidFile = join(stateDir, `${name}.pid`)
  ensurePrivateFile(file)
  const db = new DatabaseSync(file)
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (error) {
    db.close()
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error
    return { heldBy: readPid(pidFile) }
  }
  held.add(db)
  writeFileSync(pidFile, `${pid}\n`, { mode: 0o600 })
  return {
    release() {
      held.delete(db)
      db.close()
    }
  }
}

/** Reports whether a process holds a lock, without taking it. */
export function isLocked(stateDir: string, name = 'gateway'): boolean {
  try {
    const db = new DatabaseSync(join(stateDir, `${name}.lock`), { readOnly: true })
    try {
      db.prepare('SELECT count(*) FROM sqlite_master').get()
      return false
    } finally {
      db.close()
    }
  } catch (error) {
    return (error as { errcode?: number }).errcode === SQLITE_BUSY
  }
}

// A connection that nothing refers to any more is closed by the garbage collector, and its lock goes with it.
const held = new Set<DatabaseSync>()

const SQLITE_BUSY = 5

function readPid(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10)
    return Number.isInteger(pid) ? pid : undefined
  } catch {
    return undefined
  }
}
