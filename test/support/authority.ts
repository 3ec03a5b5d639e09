import { isIP } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator
} from '@peculiar/x509'
import type { Test } from 'tap'
import type { Pair } from '../../src/tls/generate.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** A certificate authority. */
export interface Authority {
  cert: string
  /** Issues a certificate; with `keys`, for a key that has one already. */
  issue(names: readonly string[], options?: { keys?: CryptoKeyPair; days?: number }): Promise<Pair>
}

/** A new pair of keys for certificates. */
export function newKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<CryptoKeyPair>
}

/** A certificate authority that this process trusts like its system's until the test ends. */
export async function trustedAuthority(t: Test): Promise<Authority> {
  const keys = await newKeys()
  const root = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=Test Root',
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new BasicConstraintsExtension(true, undefined, true)]
  })
  const before = getCACertificates('default')
  setDefaultCACertificates([...before, root.toString('pem')])
  t.teardown(() => setDefaultCACertificates(before))
  let serial = 1
  return {
    cert: root.toString('pem'),
    async issue(names, { keys: own, days = 90 } = {}) {
      const subject = own ?? (await newKeys())
      serial += 1
      const cert = await X509CertificateGenerator.create({
        serialNumber: serial.toString(16).padStart(2, '0'),
        subject: 'CN=gateway',
        issuer: root.subject,
        notBefore: new Date(Date.now() - 86_400_000),
        notAfter: new Date(Date.now() + days * 86_400_000),
        signingKey: keys.privateKey,
        publicKey: subject.publicKey,
        signingAlgorithm: ALGORITHM,
        extensions: [
          new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
          new SubjectAlternativeNameExtension(
            names.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value }))
          )
        ]
      })
      const key = PemConverter.encode(await crypto.subtle.exportKey('pkcs8', subject.privateKey), 'PRIVATE KEY')
      return { cert: `${cert.toString('pem')}\n`, key: `${key}\n` }
    }
  }
}
