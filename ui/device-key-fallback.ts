import { getPublicKey, hashes, sign } from '@noble/ed25519'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import type { DeviceSigner } from '../src/client/core.ts'
import { base64url, hex } from './bytes.ts'

hashes.sha512 = sha512

/** A signer in plain JavaScript, for pages that have no `crypto.subtle`. */
export function signerFromSeed(seed: Uint8Array): DeviceSigner {
  const publicKey = getPublicKey(seed)
  return {
    id: hex(sha256(publicKey)),
    publicKey: base64url(publicKey),
    sign: (payload) => base64url(sign(new TextEncoder().encode(payload), seed))
  }
}
