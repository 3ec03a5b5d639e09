import type { Certificate } from './certificate.ts'
import { ClientError } from './errors.ts'

/** What a gateway must show: one certificate, or any certificate for one key. */
export type Pin = { certificate: string } | { key: string }

const MAX_PINS = 2

/**
 * Reads a pin as people write it: `sha256:` and the hex of the certificate (with or without colons), or `sha256/` and the
 * base64 of its public key's SHA-256. Two may be given, with a comma between, while one takes the other's place.
 */
export function parsePins(text: string, source: string): readonly Pin[] {
  const pins = text.split(',').map((each) => parsePin(each.trim()))
  if (pins.length > MAX_PINS || pins.includes(undefined)) {
    const what = pins.length > MAX_PINS ? `names more than ${MAX_PINS} certificates` : 'is no fingerprint'
    throw new ClientError('TLS_PIN_INVALID', `${source} ${what}; it must be sha256:HEX, or sha256/BASE64 of the key`, {
      fix: 'openclaw status, on the gateway host, prints the fingerprint'
    })
  }
  return pins as readonly Pin[]
}

/** Reports whether a certificate is one of those that a pin names. */
export function isPinned(pins: readonly Pin[], { sha256, key }: Pick<Certificate, 'sha256' | 'key'>): boolean {
  return pins.some((pin) => ('key' in pin ? pin.key === key : pin.certificate === sha256))
}

function parsePin(text: string): Pin | undefined {
  const key = /^sha-?256\/{1,2}([A-Za-z0-9+/]{43}=)$/i.exec(text)?.[1]
  if (key !== undefined) return { key }
  // Also as `openssl x509 -fingerprint` prints it.
  const hex = text.replace(/^sha-?256(?: fingerprint)?[:=]\s*/i, '').replaceAll(/[:\s]/g, '')
  return /^[0-9a-f]{64}$/i.test(hex) ? { certificate: hex.toLowerCase() } : undefined
}
