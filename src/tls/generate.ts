import { isIP } from 'node:net'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator
} from '@peculiar/x509'

// More than this, Apple's systems refuse even what their owner trusts.
const VALID_MS = 825 * 86_400_000

/** A certificate and its key, as PEM. */
export interface Pair {
  cert: string
  key: string
}

/** Makes a self-signed ECDSA P-256 certificate for DNS names and addresses, valid for 825 days. */
export async function generatePair(names: readonly string[], notBefore: Date): Promise<Pair> {
  const signingAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await crypto.subtle.generateKey(signingAlgorithm, true, ['sign', 'verify'])
  const cert = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=openclaw-gateway',
    notBefore,
    notAfter: new Date(notBefore.getTime() + VALID_MS),
    signingAlgorithm,
    keys,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value }))
      )
    ]
  })
  const key = PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
  return { cert: `${cert.toString('pem')}\n`, key: `${key}\n` }
}
