import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { isObject } from './key-path.ts'
import { expand } from './paths.ts'
import type { SecretRef } from './types.ts'

const MAX_BYTES = 1024 * 1024

/** Reads a secret from a private file: its whole text, or a JSON pointer into it. */
export async function readFromFile(ref: SecretRef, provider: Record<string, unknown>, home: string): Promise<string> {
  if (typeof provider.path !== 'string' || provider.path === '') throw new Error('the provider has no path')
  const path = expand(provider.path, home)
  const limit = typeof provider.maxBytes === 'number' && provider.maxBytes > 0 ? provider.maxBytes : MAX_BYTES
  const timeout = typeof provider.timeoutMs === 'number' && provider.timeoutMs > 0 ? provider.timeoutMs : 5000
  const text = await readPrivate(path, limit, AbortSignal.timeout(timeout))
  if (provider.mode === 'singleValue') {
    if (ref.id !== 'value') throw new Error('the id must be "value" for a singleValue file')
    return text.replace(/\r?\n$/, '')
  }
  return pointer(text, ref.id)
}

async function readPrivate(path: string, limit: number, signal: AbortSignal): Promise<string> {
  // O_NONBLOCK: a named pipe in the file's place must not hang the start.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((error) => {
    throw new Error(error.code === 'ELOOP' ? `${path} is a symbolic link` : `${path} cannot be opened (${error.code})`)
  })
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw new Error(`${path} is not a regular file`)
    if (stat.nlink !== 1) throw new Error(`${path} must not be hardlinked`)
    if (process.platform !== 'win32') {
      const { uid } = userInfo()
      if (stat.uid !== uid && stat.uid !== 0) throw new Error(`${path} belongs to another user`)
      if ((stat.mode & 0o077) !== 0) throw new Error(`${path} is open to other users (chmod 600 ${path})`)
    }
    if (stat.size > limit) throw new Error(`${path} is larger than ${limit} bytes`)
    return await file.readFile({ encoding: 'utf8', signal })
  } finally {
    await file.close()
  }
}

function pointer(text: string, id: string): string {
  if (!id.startsWith('/')) throw new Error('the id must be a JSON pointer, such as "/providers/openai/apiKey"')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's own message would quote the secret file.
    throw new Error('the file is not valid JSON')
  }
  for (const part of id.slice(1).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    const inside = isObject(value) || Array.isArray(value)
    if (!inside || !Object.hasOwn(value as object, key)) throw new Error('the file has nothing at that pointer')
    value = (value as Record<string, unknown>)[key]
  }
  if (typeof value !== 'string') throw new Error('the file has no string at that pointer')
  return value
}
