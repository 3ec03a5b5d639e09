import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'

/** The gateway's own Ed25519 identity, made at the first start and kept. */
export interface GatewayIdentity {
  deviceId: string
  publicKey: string
  privateKey(): KeyObject
}

/** Reads the gateway's identity, or makes it. */
export function gatewayIdentity(db: DatabaseSync): GatewayIdentity {
  const row = db.prepare('SELECT private_key, public_key, device_id FROM identity').get() ?? create(db)
  return {
    deviceId: row.device_id as string,
    publicKey: row.public_key as string,
    privateKey: () => createPrivateKey(row.private_key as string)
  }
}

function create(db: DatabaseSync): Record<string, unknown> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
  const row = {
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    public_key: raw.toString('base64url'),
    device_id: createHash('sha256').update(raw).digest('hex')
  }
  db.prepare('INSERT INTO identity (id, private_key, public_key, device_id) VALUES (1, ?, ?, ?)').run(
    row.private_key,
    row.public_key,
    row.device_id
  )
  return row
}
