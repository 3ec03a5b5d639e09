import type { DeviceSigner } from '../src/client/core.ts'
import { base64url, hex } from './bytes.ts'

/** A key as IndexedDB keeps it: an opaque handle where the browser can, else the seed itself. */
type StoredKey = { kind: 'native'; pair: CryptoKeyPair } | { kind: 'seed'; seed: Uint8Array }

/** The key of this browser: found, or made on the first visit. */
export async function deviceKey(): Promise<DeviceSigner> {
  const stored = await keep(await makeKey())
  return stored.kind === 'native' ? nativeSigner(stored.pair) : seedSigner(stored.seed)
}

async function makeKey(): Promise<StoredKey> {
  try {
    // Not extractable: a script that runs on this page may use the key, but can never carry it away.
    const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])
    return { kind: 'native', pair: pair as CryptoKeyPair }
  } catch {
    // Plain HTTP has no `crypto.subtle`, and older browsers no Ed25519 in it.
    return { kind: 'seed', seed: crypto.getRandomValues(new Uint8Array(32)) }
  }
}

async function nativeSigner({ privateKey, publicKey }: CryptoKeyPair): Promise<DeviceSigner> {
  const raw = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey))
  const digest = await crypto.subtle.digest('SHA-256', raw)
  return {
    id: hex(new Uint8Array(digest)),
    publicKey: base64url(raw),
    async sign(payload) {
      const signature = await crypto.subtle.sign('Ed25519', privateKey, new TextEncoder().encode(payload))
      return base64url(new Uint8Array(signature))
    }
  }
}

async function seedSigner(seed: Uint8Array): Promise<DeviceSigner> {
  const { signerFromSeed } = await import('./device-key-fallback.ts')
  return signerFromSeed(seed)
}

/** Stores the key unless another tab was first, and returns the one that counts. */
async function keep(fresh: StoredKey): Promise<StoredKey> {
  try {
    const database = await openDatabase()
    const store = database.transaction('keys', 'readwrite').objectStore('keys')
    const found: StoredKey | undefined = await done(store.get('device'))
    if (!found) await done(store.add(fresh, 'device'))
    database.close()
    return found ?? fresh
  } catch {
    // No storage here: a key for this visit still signs in.
    return fresh
  }
}

function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open('control', 1)
  request.onupgradeneeded = () => request.result.createObjectStore('keys')
  return done(request)
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
