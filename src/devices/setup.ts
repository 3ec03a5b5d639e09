import { randomUUID } from 'node:crypto'
import { type Allowance, grant } from '../auth/scopes.ts'
import { digest, freshSecret } from '../auth/secrets.ts'
import { SETUP_PROFILES, type SetupAccess } from '../protocol/setup.ts'
import type { SetupCodeStore } from '../store/setup-codes.ts'

/** A fresh one-time code: the only time its text exists here. */
export interface MintedCode {
  setupId: string
  bootstrapToken: string
  expiresAtMs: number
}

/** What a setup code says, as base64url of its JSON. It holds no durable secret (S13). */
export interface SetupPayload {
  url: string
  /** Several addresses of one gateway, the first included, in the order in which to try them. */
  urls?: readonly string[]
  bootstrapToken: string
  /** SHA-256 of the certificate that the gateway itself serves, in lower-case hex. */
  tlsFingerprint?: string
  expiresAtMs: number
}

const LIFETIME_MS = 10 * 60_000

/** Makes a one-time code, which gives its device no more than its maker has (S12). Kept as a digest. */
export async function mintCode(
  codes: SetupCodeStore,
  access: SetupAccess,
  maker: Allowance = 'all'
): Promise<MintedCode> {
  const bootstrapToken = freshSecret()
  const setupId = randomUUID()
  const expiresAtMs = codes.now() + LIFETIME_MS
  const scopes = grant(SETUP_PROFILES[access].scopes, maker)
  await codes.add(digest(bootstrapToken), { setupId, access, scopes, expiresAtMs })
  return { setupId, bootstrapToken, expiresAtMs }
}

/** Makes the code of a launch link: whoever opens it first becomes a paired admin. */
export async function launchLink(codes: SetupCodeStore): Promise<Omit<MintedCode, 'setupId'>> {
  const { bootstrapToken, expiresAtMs } = await mintCode(codes, 'owner')
  return { bootstrapToken, expiresAtMs }
}

/** A setup code as a phone scans it. */
export function encodeSetup(payload: SetupPayload): string {
  return Buffer.from(JSON.stringify(payload)).toString('base64url')
}
