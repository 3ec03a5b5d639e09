import { lstat, mkdir, readlink, rm, symlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError } from './errors.ts'

const WAIT_MS = 10_000
// Where the holder cannot be asked: another container's process.
const STALE_MS = 30_000

/** Runs work while no other process changes the same file: a lock beside it, that a dead process does not keep. */
export async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`
  const deadline = Date.now() + WAIT_MS
  while (!(await taken(lock, path))) {
    if (await abandoned(lock)) await rm(lock, { force: true })
    else if (Date.now() > deadline) {
      throw new ConfigError('CONFIG_CONFLICT', `Another process is changing ${path}.`, { fix: `rm ${lock}` })
    } else await delay(20)
  }
  try {
    return await work()
  } finally {
    await rm(lock, { force: true })
  }
}

async function taken(lock: string, path: string): Promise<boolean> {
  try {
    await mkdir(dirname(lock), { recursive: true, mode: 0o700 })
    // A link to the holder's id is made with it at once: no death leaves a lock that names nobody.
    await symlink(String(process.pid), lock)
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EEXIST') return false
    throw new ConfigError('CONFIG_UNREADABLE', `Cannot write beside ${path}: ${code}`, { cause: error })
  }
}

async function abandoned(lock: string): Promise<boolean> {
  const pid = Number(await readlink(lock).catch(() => ''))
  const { mtimeMs } = await lstat(lock).catch(() => ({ mtimeMs: Date.now() }))
  if (Date.now() - mtimeMs > STALE_MS) return true
  return pid > 0 && pid !== process.pid && !alive(pid)
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
