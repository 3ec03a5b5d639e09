import type { X509Certificate } from 'node:crypto'
import { ConfigError } from '../config/errors.ts'
import type { TlsConfig } from '../config/types.ts'
import { readPairFiles } from '../tls/pair.ts'
import { isThere } from '../tls/provide.ts'

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

/** Reads the certificate and key that `gateway.tls` names. */
export async function readCertificate(tls: TlsConfig): Promise<CertificateFact> {
  const { certPath, keyPath, autoGenerate } = tls
  const base = { certPath, keyPath, autoGenerate, missing: false }
  if (!(await isThere(certPath)) && !(await isThere(keyPath))) return { ...base, missing: true }
  try {
    const { leaf } = await readPairFiles(tls)
    const weakness = weaknessOf(leaf)
    return {
      ...base,
      notBefore: leaf.validFromDate.getTime(),
      notAfter: leaf.validToDate.getTime(),
      selfSigned: leaf.issuer === leaf.subject,
      ...(weakness === undefined ? {} : { weakness })
    }
  } catch (error) {
    if (error instanceof ConfigError) return { ...base, problem: error.message }
    throw error
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
