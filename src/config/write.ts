import { randomBytes } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/**
 * Writes a file so that a reader, or a crash at any moment, finds the old text or the new one; mode 0600. Callers take
 * turns: the temporary file has one name, so that crashes leave one behind at most.
 */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.tmp`)
  await rm(temporary, { force: true })
  await publish(temporary, text, () => rename(temporary, path))
}

/** Writes a file that must not exist yet; reports false, and changes nothing, when it does. */
export async function createAtomically(path: string, text: string): Promise<boolean> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    await publish(temporary, text, () => link(temporary, path))
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** Closes a file or a folder, where there is one, to other users (S24). */
export async function closeToOthers(path: string): Promise<void> {
  const { mode } = await stat(path).catch(() => ({ mode: 0 }))
  if ((mode & 0o077) === 0) return
  // Mounted read-only, or somebody else's: nothing that we could change, nor anything to stop for.
  await chmod(path, mode & 0o700).catch(() => {})
}

/** Keeps what a file holds now beside it, as `.bak`. */
export async function backUp(path: string): Promise<void> {
  await writeAtomically(`${path}.bak`, await readFile(path, 'utf8'))
}

async function publish(temporary: string, text: string, put: () => Promise<void>): Promise<void> {
  const folder = dirname(temporary)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await put()
    await syncFolder(folder)
  } finally {
    await rm(temporary, { force: true })
  }
}

// The rename itself must survive a power cut; where folders cannot be synced (Windows) it is as good as it gets.
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    await handle.sync().finally(() => handle.close())
  } catch {
    // Not every file system lets a folder be synced.
  }
}
