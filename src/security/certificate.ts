import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import type { TlsConfig } from '../config/types.ts'

/** A certificate and its key as the gateway would load them; or why it could not. */
export interface CertificateFact {
  certPath: string
  keyPath: string
  /** Reports whether the gateway makes the pair itself where there is none. */
  autoGenerate: boolean
  /** Reports whether neither file exists. */
  missing: boolean
  /** Why the pair cannot be used. */
  problem?: string
  /** Milliseconds since 1970. */
  notBefore?: number
  notAfter?: number
  selfSigned?: boolean
  /** What is weak in it: `a 1024-bit RSA key`. */
  weakness?: string
}

const MAX_BYTES = 1024 * 1024

/** Reads the certificate and key that `gateway.tls` names. */
export async function readCertificate(tls: TlsConfig): Promise<CertificateFact> {
  const { certPath, keyPath, autoGenerate } = tls
  const base = { certPath, keyPath, autoGenerate, missing: false }
  const [cert, key] = await Promise.all([read(certPath), read(keyPath)])
  if (cert === 'ENOENT' && key === 'ENOENT') return { ...base, missing: true }
  if (typeof cert === 'string') return { ...base, problem: `${certPath} cannot be read (${cert})` }
  if (typeof key === 'string') return { ...base, problem: `${keyPath} cannot be read (${key})` }
  let x509: X509Certificate
  try {
    x509 = new X509Certificate(cert)
  } catch {
    return { ...base, problem: `${certPath} is no PEM certificate` }
  }
  const weakness = weaknessOf(x509)
  const fact: CertificateFact = {
    ...base,
    notBefore: Date.parse(x509.validFrom),
    notAfter: Date.parse(x509.validTo),
    selfSigned: x509.issuer === x509.subject,
    ...(weakness === undefined ? {} : { weakness })
  }
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey(key)
  } catch {
    return { ...fact, problem: `${keyPath} is no PEM private key, or is encrypted` }
  }
  if (x509.checkPrivateKey(privateKey)) return fact
  return { ...fact, problem: `${keyPath} is not the key of ${certPath}` }
}

async function read(path: string): Promise<Buffer | string> {
  try {
    const { size } = await stat(path)
    if (size > MAX_BYTES) return 'larger than 1 MB'
    return await readFile(path)
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
  }
}

function weaknessOf(x509: X509Certificate): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = x509.publicKey
  const bits = details?.modulusLength
  if (bits !== undefined && bits < 2048) return `a ${bits}-bit ${(type ?? '').toUpperCase()} key`
  if (/^(secp(1[0-9]{2})|prime192|P-192|secp192|sect1|secp224)/.test(details?.namedCurve ?? '')) {
    return `a key on the curve ${details?.namedCurve}`
  }
  const { signatureAlgorithm: signature } = x509
  return /md5|sha-?1\b|sha1With/i.test(signature ?? '') ? `a signature with ${signature}` : undefined
}
