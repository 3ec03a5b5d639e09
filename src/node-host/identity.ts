import type { JsonWebKey } from 'node:crypto'
import { chmod, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { DeviceSigner } from '../client/core.ts'
import { newDeviceKey, signerOf } from '../client/device-key.ts'
import { createAtomically } from '../config/write.ts'
import { NodeHostError } from './errors.ts'

/** Where a state folder keeps the node's key: one for each folder, whatever gateway it connects to. */
function identityPath(stateDir: string): string {
  return join(stateDir, 'node', 'identity.json')
}

/** Reads the node's key; undefined when it has none yet. */
export async function readIdentity(stateDir: string): Promise<DeviceSigner | undefined> {
  const path = identityPath(stateDir)
  let text: string
  try {
    // A backup or a copy may have opened it; the key is nobody else's to read (S24).
    if (((await stat(path)).mode & 0o077) !== 0) await chmod(path, 0o600)
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw unreadable(path, cause)
  }
  try {
    return signerOf((JSON.parse(text) as Stored).key)
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/** Reads the node's key, and makes it first when there is none; two processes that make one at once get the same. */
export async function ensureIdentity(stateDir: string): Promise<DeviceSigner> {
  const found = await readIdentity(stateDir)
  if (found !== undefined) return found
  const stored: Stored = { version: 1, key: newDeviceKey() }
  await createAtomically(identityPath(stateDir), `${JSON.stringify(stored)}\n`)
  return (await readIdentity(stateDir))!
}

interface Stored {
  version: 1
  /** An Ed25519 private key. */
  key: JsonWebKey
}

// A new key would be a new device, to be paired again: that is for the owner to decide.
function unreadable(path: string, cause: unknown): NodeHostError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new NodeHostError('NODE_IDENTITY_UNREADABLE', `the node's key at ${path} cannot be used: ${reason}`, {
    fix: `restore it, or pair anew without it: mv ${path} ${path}.bad`,
    cause
  })
}
