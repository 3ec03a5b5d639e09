/** What a device signs to prove, for one connection, that it holds its key. */
export interface DevicePayloadInput {
  deviceId: string
  clientId: string
  clientMode: string
  role: string
  scopes: readonly string[]
  signedAtMs: number
  /** The credential sent beside it: token, else deviceToken, else bootstrapToken, else empty. */
  token: string
  nonce: string
  platform: string
  deviceFamily: string | undefined
}

/** The v3 payload: everything the gateway will believe about this connection, so that none of it can be swapped. */
export function devicePayload(input: DevicePayloadInput): string {
  return [
    'v3',
    input.deviceId,
    input.clientId,
    input.clientMode,
    input.role,
    input.scopes.join(','),
    input.signedAtMs,
    input.token,
    input.nonce,
    asciiLower(input.platform),
    asciiLower(input.deviceFamily ?? '')
  ].join('|')
}

/** Locale-free on purpose: both ends must produce the same bytes. */
function asciiLower(value: string): string {
  return value.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}
