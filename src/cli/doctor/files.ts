import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fileFindings } from '../../security/files.ts'
import { type Finding, shellWord } from '../../security/finding.ts'
import { formatBytes } from '../output.ts'
import { type Check, subject } from './check.ts'
import type { DoctorContext } from './context.ts'

const permissions = subject('permissions', 'Permissions')
const database = subject('database', 'Database')
const disk = subject('disk', 'Disk')

/** Who can get at the gateway's files; what `security audit` finds there. */
export function permissionChecks({ facts, paths }: DoctorContext): Check[] {
  if (facts.platform === 'win32') return [permissions.skipped('this system has no permission bits')]
  const findings = fileFindings(facts)
  if (findings.length === 0) {
    if (!facts.files.some(({ role }) => role !== 'state_parent')) return [permissions.skipped('there are no files yet')]
    return [permissions.ok(`${paths.stateDir} is closed to other users`)]
  }
  return findings.map(({ checkId, severity, title, detail, fix }: Finding) => {
    const more = fix === undefined ? {} : { fix: fix.command, mendable: /\.perms_/.test(checkId) }
    return permissions[severity === 'critical' ? 'error' : 'warning'](`${title}: ${detail}`, more)
  })
}

/** The database: readable, whole, and not from a later version. */
export async function databaseCheck({ paths, running }: DoctorContext): Promise<Check> {
  const path = join(paths.stateDir, 'gateway.sqlite')
  if (!existsSync(path)) return database.skipped('there is none yet')
  const [{ DatabaseSync }, { openDatabase }] = await Promise.all([
    import('node:sqlite'),
    import('../../store/database.ts')
  ])
  const known = openDatabase(':memory:')
  try {
    const newest = versionOf(known)
    const db = new DatabaseSync(running.running ? path : untouched(path), { readOnly: true })
    try {
      const version = versionOf(db)
      if (version > newest) {
        const detail = `it was written by a later version (schema ${version}, this build knows ${newest})`
        return database.error(detail, { path, fix: 'npm install -g openclaw-gateway@latest' })
      }
      const { quick_check: state } = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
      if (state !== 'ok') throw new Error(state)
      return database.ok(`whole, schema ${version} of ${newest}`)
    } finally {
      db.close()
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    // Without it every device pairs again; so it is moved, not removed, and not by us.
    return database.error(`it cannot be used (${reason}); the gateway starts afresh without it`, {
      path,
      fix: `mv ${shellWord(path)} ${shellWord(`${path}.broken`)}`
    })
  } finally {
    known.close()
  }
}

// Where no gateway runs, a plain reader would leave files of its own beside the database.
function untouched(path: string): URL {
  const url = pathToFileURL(path)
  url.search = 'immutable=1'
  return url
}

function versionOf(db: { prepare(sql: string): { get(): unknown } }): number {
  return (db.prepare('PRAGMA user_version').get() as { user_version: number }).user_version
}

const FULL = 50 * 1024 * 1024
const SCARCE = 500 * 1024 * 1024

/** Room for the state folder. */
export async function diskCheck({ paths }: DoctorContext): Promise<Check> {
  const path = existsSync(paths.stateDir) ? paths.stateDir : paths.home
  try {
    const { bavail, bsize, files, ffree } = await statfs(path)
    return diskVerdict(path, bavail * bsize, files > 0 ? ffree / files : 1)
  } catch (error) {
    return disk.skipped(`${path} cannot be asked (${error instanceof Error ? error.message : 'it failed'})`)
  }
}

/** Judges free bytes, and the share of free file entries. */
export function diskVerdict(path: string, free: number, freeEntries: number): Check {
  const more = { path, fix: `df -h ${shellWord(path)}` }
  if (free < FULL) return disk.error(`${formatBytes(free)} are left on the disk of ${path}: writes will fail`, more)
  if (freeEntries < 0.005) return disk.error(`the disk of ${path} has no room for more files`, more)
  if (free < SCARCE) return disk.warning(`${formatBytes(free)} are left on the disk of ${path}`, more)
  return disk.ok(`${formatBytes(free)} free`)
}
