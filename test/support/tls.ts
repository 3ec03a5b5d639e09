import { X509Certificate } from 'node:crypto'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { X509CertificateGenerator } from '@peculiar/x509'
import { generatePair, type Pair } from '../../src/tls/generate.ts'

const DAY_MS = 86_400_000
/** How long a generated pair is valid, in days. */
export const VALID_DAYS = 825

/** Makes a self-signed pair that is valid for so many days more; below zero, it has expired. */
export function makePair({ names = ['localhost', '127.0.0.1', '::1'], days = 100 } = {}): Promise<Pair> {
  return generatePair(names, new Date(Date.now() + (days - VALID_DAYS) * DAY_MS))
}

/** A pair of a kind that OpenSSL does not serve: its key is too short. */
export async function weakPair(): Promise<Pair> {
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', modulusLength: 512, publicExponent: new Uint8Array([1, 0, 1]) }
  const keys = await crypto.subtle.generateKey({ ...algorithm, hash: 'SHA-256' }, true, ['sign', 'verify'])
  const cert = await X509CertificateGenerator.createSelfSigned({ name: 'CN=weak', keys })
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return { cert: cert.toString('pem'), key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n` }
}

/** Where a pair lies in a folder. */
export const placesIn = (dir: string) => ({ certPath: join(dir, 'cert.pem'), keyPath: join(dir, 'key.pem') })

/** Puts a pair into a folder as renewal programs do: each file written beside, then moved into place. */
export function putPair(dir: string, { cert, key }: Pair): void {
  mkdirSync(dir, { recursive: true })
  for (const [name, text] of Object.entries({ 'key.pem': key, 'cert.pem': cert })) {
    writeFileSync(join(dir, `${name}.new`), text, { mode: 0o600 })
    renameSync(join(dir, `${name}.new`), join(dir, name))
  }
}

/** The fingerprint of a certificate, as pins are written. */
export function fingerprintOf(cert: string): string {
  return `sha256:${new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase()}`
}
