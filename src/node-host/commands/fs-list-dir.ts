import type { Dirent } from 'node:fs'
import { lstat, opendir, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, normalize } from 'node:path'
import { Type } from 'typebox'
import { CommandError, defineCommand } from '../command.ts'

const MAX_ENTRIES = 2_000

interface Entry {
  name: string
  path: string
  hidden?: true
  type?: 'directory' | 'file' | 'link' | 'other'
  size?: number
}

/** `fs.listDir`: the folders in a folder; with `includeFiles` everything in it, each with its kind and size. */
export function fsListDir() {
  return defineCommand({
    name: 'fs.listDir',
    cap: 'system',
    params: Type.Object({
      path: Type.Optional(Type.String({ minLength: 1, maxLength: 4_096 })),
      includeFiles: Type.Optional(Type.Boolean())
    }),
    run: async ({ path: asked = homedir(), includeFiles = false }) => {
      if (!isAbsolute(asked) || asked.includes('\0')) {
        throw new CommandError('INVALID_REQUEST', 'fs.listDir path must be absolute')
      }
      // Without its detours; links in it are followed, because they are a part of what was asked for.
      const path = normalize(asked).replace(/(?<=.)\/+$/, '')
      const { found, truncated } = await read(path)
      const entries = includeFiles
        ? await Promise.all(found.map((entry) => describe(path, entry)))
        : await folders(path, found)
      const parent = dirname(path)
      return {
        path,
        ...(parent === path ? {} : { parent }),
        home: homedir(),
        entries,
        // The plain listing has the reference's shape, which is closed.
        ...(includeFiles && truncated ? { truncated } : {})
      }
    }
  })
}

async function read(path: string): Promise<{ found: Dirent[]; truncated: boolean }> {
  const found: Dirent[] = []
  try {
    for await (const entry of await opendir(path)) {
      if (found.length === MAX_ENTRIES) return { found: sorted(found), truncated: true }
      found.push(entry)
    }
  } catch (cause) {
    const { code = 'UNKNOWN' } = cause as NodeJS.ErrnoException
    const what = { ENOENT: 'there is no such folder', ENOTDIR: 'it is not a folder', EACCES: 'it cannot be read' }[code]
    throw new CommandError('INVALID_REQUEST', `fs.listDir ${path}: ${what ?? 'it cannot be read'} (${code})`, cause)
  }
  return { found: sorted(found), truncated: false }
}

// By code units, which is the same order on every machine; what is hidden comes last.
function sorted(entries: Dirent[]): Dirent[] {
  const key = ({ name }: Dirent) => (name.startsWith('.') ? '\u{10ffff}' : '') + name
  return entries.sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

function plain(folder: string, name: string): Entry {
  return { name, path: join(folder, name), ...(name.startsWith('.') ? { hidden: true as const } : {}) }
}

async function folders(folder: string, found: readonly Dirent[]): Promise<Entry[]> {
  const are = await Promise.all(
    // A link to a folder is one that can be opened.
    found.map((entry) => entry.isDirectory() || (entry.isSymbolicLink() && isFolder(join(folder, entry.name))))
  )
  return found.filter((_entry, at) => are[at]).map(({ name }) => plain(folder, name))
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false
  )
}

// Of a link its own size: what it leads to was not asked about.
async function describe(folder: string, { name }: Dirent): Promise<Entry> {
  const entry = plain(folder, name)
  const found = await lstat(entry.path).catch(() => undefined)
  if (found === undefined) return { ...entry, type: 'other' }
  const type = found.isDirectory() ? 'directory' : found.isFile() ? 'file' : found.isSymbolicLink() ? 'link' : 'other'
  return { ...entry, type, ...(type === 'file' ? { size: found.size } : {}) }
}
