import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/** SHA-256 of a secret. Issued tokens are stored as this and nothing else. */
export function digest(secret: string): Buffer {
  return createHash('sha256').update(secret, 'utf8').digest()
}

/** The first 8 hex digits of a secret's digest: enough to tell two apart, and no help in guessing a random one. */
export function fingerprint(hash: Buffer): string {
  return hash.toString('hex').slice(0, 8)
}

/** Reports whether a presented secret is the expected one, in time that depends on neither (S25). */
export function secretMatches(presented: string, expectedDigest: Buffer): boolean {
  return timingSafeEqual(digest(presented), expectedDigest)
}

/** What the text of a named token begins with, so that people and scanners know one when they see it. */
export const TOKEN_PREFIX = 'oct_'

/** A fresh secret of 32 random bytes, base64url: 43 characters. */
export function freshSecret(): string {
  return randomBytes(32).toString('base64url')
}

/** Reports whether a configured secret is there and not blank. */
export function hasSecret<T extends { value: string }>(secret: T | undefined): secret is T {
  return secret !== undefined && secret.value.trim() !== ''
}
