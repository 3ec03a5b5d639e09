import { constants } from 'node:fs'
import { chmod, lstat, open } from 'node:fs/promises'
import type { Facts } from './facts.ts'
import { looseFiles } from './files.ts'

/** One change of permissions, and how it went. */
export interface ChmodAction {
  kind: 'chmod'
  path: string
  mode: number
  ok: boolean
  /** Why nothing was done, or why it failed. */
  skipped?: string
}

/** Closes the files that others can read or change, the state folder first. Touches nothing else. */
export async function closeFiles(facts: Pick<Facts, 'platform' | 'files'>): Promise<ChmodAction[]> {
  const actions: ChmodAction[] = []
  for (const { file, kind } of looseFiles(facts)) {
    const mode = kind.close === 'go-w' ? file.mode & 0o755 : Number.parseInt(kind.close, 8)
    const action = { kind: 'chmod' as const, path: file.path, mode }
    actions.push({ ...action, ...(await close(file.path, mode)) })
  }
  return actions
}

async function close(path: string, mode: number): Promise<{ ok: boolean; skipped?: string }> {
  try {
    // What a link leads to is not this gateway's own, and may be meant for others.
    const stat = await lstat(path)
    if (stat.isSymbolicLink()) return { ok: false, skipped: 'symbolic link' }
    if (stat.isSocket()) await chmod(path, mode)
    else await closeOpened(path, mode)
    return { ok: true }
  } catch (error) {
    return { ok: false, skipped: error instanceof Error && 'code' in error ? String(error.code) : 'it failed' }
  }
}

// In a folder that others can write to, a file may become a link at any moment: the opened file is what is changed.
async function closeOpened(path: string, mode: number): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    await file.chmod(mode)
  } finally {
    await file.close()
  }
}
