import { createHash, createPublicKey, verify } from 'node:crypto'
import type { ConnectParams, DeviceClaim } from '../protocol/frames.ts'

/** A device identity that proved itself: its key signed our nonce. */
export interface ProvenDevice {
  deviceId: string
  /** Raw Ed25519 public key, base64url without padding. */
  publicKey: string
}

/** Why a device claim was refused; codes and texts are the protocol's. */
export interface DeviceRefusal {
  message: string
  code: string
  reason: string
}

const WINDOW_MS = 120_000

/** Verifies a device claim against the challenge of this socket (§2.1, §2.2). */
export function verifyDevice(
  params: ConnectParams,
  claim: DeviceClaim,
  challenge: { nonce: string; now: number }
): ProvenDevice | DeviceRefusal {
  const raw = rawPublicKey(claim.publicKey)
  if (raw === undefined || createHash('sha256').update(raw).digest('hex') !== claim.id) {
    return refusal('device identity mismatch', 'DEVICE_AUTH_DEVICE_ID_MISMATCH', 'device-id-mismatch')
  }
  if (Math.abs(challenge.now - claim.signedAt) > WINDOW_MS) {
    return refusal('device signature expired', 'DEVICE_AUTH_SIGNATURE_EXPIRED', 'device-signature-stale')
  }
  if (claim.nonce.trim() === '') {
    return refusal('device nonce required', 'DEVICE_AUTH_NONCE_REQUIRED', 'device-nonce-missing')
  }
  if (claim.nonce !== challenge.nonce) {
    return refusal('device nonce mismatch', 'DEVICE_AUTH_NONCE_MISMATCH', 'device-nonce-mismatch')
  }
  if (!signed(params, claim, raw)) {
    return refusal('device signature invalid', 'DEVICE_AUTH_SIGNATURE_INVALID', 'device-signature')
  }
  return { deviceId: claim.id, publicKey: raw.toString('base64url') }
}

/** The texts a device may have signed, newest layout first. */
function signedPayloads(params: ConnectParams, claim: DeviceClaim): string[] {
  const auth = params.auth ?? {}
  const token = auth.token || auth.deviceToken || auth.bootstrapToken || ''
  const { client } = params
  const fields = [
    claim.id,
    client.id,
    client.mode,
    params.role ?? 'operator',
    (params.scopes ?? []).join(','),
    claim.signedAt,
    token,
    claim.nonce
  ].join('|')
  return [`v3|${fields}|${plain(client.platform)}|${plain(client.deviceFamily ?? '')}`, `v2|${fields}`]
}

function signed(params: ConnectParams, claim: DeviceClaim, raw: Buffer): boolean {
  const signature = Buffer.from(claim.signature, 'base64')
  if (signature.length !== 64) return false
  try {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' })
    return signedPayloads(params, claim).some((payload) => verify(null, Buffer.from(payload), key, signature))
  } catch {
    return false
  }
}

/** A platform or device family as it is signed and compared: trimmed, ASCII letters in lower case. */
export function plain(text: string): string {
  return text.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

// Raw 32 bytes in either base64 alphabet, or an SPKI PEM whose last 32 bytes are the key.
function rawPublicKey(text: string): Buffer | undefined {
  if (text.includes('-----BEGIN')) {
    try {
      const der = createPublicKey(text).export({ type: 'spki', format: 'der' })
      return der.subarray(-32)
    } catch {
      return undefined
    }
  }
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return undefined
  const raw = Buffer.from(text, 'base64')
  return raw.length === 0 ? undefined : raw
}

function refusal(message: string, code: string, reason: string): DeviceRefusal {
  return { message, code, reason }
}
