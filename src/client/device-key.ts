import { createHash, createPrivateKey, generateKeyPairSync, type JsonWebKey, sign } from 'node:crypto'
import type { DeviceSigner } from './types.ts'

/** Makes the private key of a new device. */
export function newDeviceKey(): JsonWebKey {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
}

/** The device that holds a key. */
export function signerOf(jwk: JsonWebKey): DeviceSigner {
  const key = createPrivateKey({ key: jwk, format: 'jwk' })
  if (key.asymmetricKeyType !== 'ed25519' || jwk.x === undefined) throw new Error('not an Ed25519 key')
  return {
    id: createHash('sha256').update(Buffer.from(jwk.x, 'base64url')).digest('hex'),
    publicKey: jwk.x,
    sign: (payload) => sign(null, Buffer.from(payload), key).toString('base64url')
  }
}
