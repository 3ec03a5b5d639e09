import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import type { SecureContext } from 'node:tls'
import { canonicalAddress } from '../auth/addresses.ts'
import { ConfigError } from '../config/errors.ts'
import type { TlsConfig } from '../config/types.ts'

// As an ES module, `node:tls` evaluates its lazy exports: every root certificate, as text.
const { createSecureContext } = process.getBuiltinModule('node:tls')

/** The keys that name a file. */
export type TlsFile = 'certPath' | 'keyPath' | 'caPath'

/** A certificate that can be served: all of its files, read at one moment and found to fit. */
export interface Served {
  context: SecureContext
  /** `sha256:` and lower-case hex, the form in which clients pin it. */
  fingerprint: string
  notBefore: Date
  notAfter: Date
  /** The DNS names and addresses that it is for. */
  names: readonly string[]
}

// A bundle of all public roots is a quarter of it.
const MAX_BYTES = 1_048_576

/** The files of `gateway.tls`, which fit each other; `leaf` is the gateway's own certificate. */
export interface PairFiles {
  leaf: X509Certificate
  cert: string
  key: string
  ca: string[]
}

/** Reads the files and checks them as a whole, and that they can be served now; throws a ConfigError that names key and fix. */
export async function readPair(tls: TlsConfig): Promise<Served> {
  const { leaf, ...material } = await readPairFiles(tls)
  if (leaf.validToDate.getTime() <= Date.now()) throw expired(tls, leaf)
  return {
    // Without `ca` Node would load the roots of the world, to check certificates that no client is asked for.
    context: contextOf(tls, material),
    fingerprint: `sha256:${leaf.fingerprint256.replaceAll(':', '').toLowerCase()}`,
    notBefore: leaf.validFromDate,
    notAfter: leaf.validToDate,
    names: namesOf(leaf)
  }
}

/** The same, whenever they are valid. */
export async function readPairFiles(tls: TlsConfig): Promise<PairFiles> {
  const cert = await readText(tls, 'certPath')
  const key = await readText(tls, 'keyPath')
  const ca = tls.caPath === undefined ? [] : [await readText(tls, 'caPath')]
  const [leaf] = certificates(tls, 'certPath', cert)
  if (!leaf.checkPrivateKey(privateKey(tls, key))) {
    throw unusable(tls, 'keyPath', `is not the key of the certificate ${tls.certPath}`)
  }
  if (ca.length > 0) certificates(tls, 'caPath', ca[0]!)
  return { leaf, cert, key, ca }
}

/** A refusal of one of the files. */
export function unusable(
  tls: TlsConfig,
  file: TlsFile,
  what: string,
  options: { fix?: string; cause?: unknown } = {}
): ConfigError {
  const fix = options.fix ?? `openclaw config set gateway.tls.${file} ${EXAMPLE[file]}`
  return new ConfigError('CONFIG_TLS_UNUSABLE', `gateway.tls.${file}: ${tls[file]} ${what}`, { ...options, fix })
}

const EXAMPLE = { certPath: '/path/to/cert.pem', keyPath: '/path/to/key.pem', caPath: '/path/to/ca.pem' }

async function readText(tls: TlsConfig, file: TlsFile): Promise<string> {
  const path = tls[file]!
  try {
    const found = await stat(path)
    if (!found.isFile()) throw unusable(tls, file, 'is not a file')
    if (found.size > MAX_BYTES) throw unusable(tls, file, 'is too big: a PEM file is expected')
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    throw unusable(tls, file, `cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause })
  }
}

// The first certificate is the gateway's own; those after it lead to its issuer.
function certificates(tls: TlsConfig, file: TlsFile, text: string): [X509Certificate, ...X509Certificate[]] {
  const blocks = text.split(/^(?=-----BEGIN )/m).filter((block) => block.startsWith('-----BEGIN CERTIFICATE-----'))
  const [first, ...rest] = blocks.map((block) => {
    try {
      return new X509Certificate(block)
    } catch (cause) {
      throw unusable(tls, file, 'holds a certificate that cannot be read', { cause })
    }
  })
  if (first === undefined) throw unusable(tls, file, 'holds no certificate (PEM)')
  return [first, ...rest]
}

function privateKey(tls: TlsConfig, text: string): KeyObject {
  try {
    return createPrivateKey(text)
  } catch (cause) {
    const what = text.includes('ENCRYPTED') ? 'is encrypted; a gateway starts unattended' : 'holds no private key (PEM)'
    throw unusable(tls, 'keyPath', what, { cause })
  }
}

function contextOf(tls: TlsConfig, material: Omit<PairFiles, 'leaf'>): SecureContext {
  try {
    return createSecureContext({ ...material, minVersion: 'TLSv1.3' })
  } catch (cause) {
    const { reason, message } = cause as Error & { reason?: string }
    throw unusable(tls, 'certPath', `cannot be served: ${reason ?? message}`, { cause })
  }
}

function expired(tls: TlsConfig, leaf: X509Certificate): ConfigError {
  const what = `expired on ${dayOf(leaf.validToDate)}`
  if (!tls.autoGenerate || leaf.subject !== leaf.issuer) return unusable(tls, 'certPath', what)
  // A new pair has a new fingerprint, and whoever pinned the old one must be told: so it is not made unasked.
  return unusable(tls, 'certPath', `${what}; without the pair, the next start generates another`, {
    fix: `rm ${quoted(tls.certPath)} ${quoted(tls.keyPath)}`
  })
}

/** A day as people write it. */
export function dayOf(date: Date): string {
  return date.toISOString().slice(0, 10)
}

/** A path as a shell takes it. */
export function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
}

function namesOf({ subjectAltName = '' }: X509Certificate): string[] {
  const names = subjectAltName.matchAll(/(?:^|, )(?:DNS|IP Address):([^,"]+)/g)
  return [...names].map(([, name]) => canonicalAddress(name!) ?? name!)
}
