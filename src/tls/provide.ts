import { rm, stat } from 'node:fs/promises'
import { hostname, networkInterfaces } from 'node:os'
import { canonicalAddress } from '../auth/addresses.ts'
import type { TlsConfig } from '../config/types.ts'
import { createAtomically } from '../config/write.ts'
import { quoted, unusable } from './pair.ts'

// Clocks differ a little; a client whose clock is behind is not to find a certificate of the future.
const BACK_MS = 3_600_000
const MAX_NAMES = 100

/** Makes a self-signed pair where neither file is there; half a pair is somebody's, and left untouched. */
export async function providePair(tls: TlsConfig): Promise<void> {
  const [cert, key] = await Promise.all([isThere(tls.certPath), isThere(tls.keyPath)])
  if (cert && key) return
  if (cert !== key) {
    const [file, other] = cert ? (['keyPath', 'certPath'] as const) : (['certPath', 'keyPath'] as const)
    const what = `is missing, while ${tls[other]} is there; bring it back, or move the other one out of the way`
    throw unusable(tls, file, what, { fix: `mv ${quoted(tls[other])} ${quoted(`${tls[other]}.old`)}` })
  }
  if (!tls.autoGenerate) {
    throw unusable(tls, 'certPath', 'is missing, and gateway.tls.autoGenerate is off', {
      fix: 'openclaw config set gateway.tls.autoGenerate true'
    })
  }
  // Rarely needed, and bigger than the rest of the gateway together.
  const { generatePair } = await import('./generate.ts')
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  const names = certificateNames(
    hostname(),
    addresses.filter(({ internal }) => !internal).map(({ address }) => address)
  )
  const made = await generatePair(names, new Date(Date.now() - BACK_MS))
  try {
    // Whoever else is at it has won with the first file, and brings the second.
    if (!(await createAtomically(tls.keyPath, made.key))) return
    if (!(await createAtomically(tls.certPath, made.cert))) await rm(tls.keyPath)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw unusable(tls, 'certPath', `and its key cannot be written: ${code}`, { cause })
  }
}

/** What a generated certificate is for: every name and address under which this host answers (as D7 has it). */
export function certificateNames(hostname: string, addresses: readonly string[]): string[] {
  const host = hostname.toLowerCase()
  const names = ['localhost', host, `${host.split('.')[0]}.local`].filter((name) =>
    /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)
  )
  // A link-local IPv6 address means nothing without the interface, which a certificate cannot name.
  const reachable = addresses
    .map((address) => canonicalAddress(address) ?? '')
    .filter((each) => !/^(fe[89ab].*)?$/.test(each))
  return [...new Set([...names, '127.0.0.1', '::1', ...reachable])].slice(0, MAX_NAMES)
}

/** Reports whether a file is there, or may be. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    // What cannot be looked at may well be there; reading it will say what is wrong.
    return !['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
  }
}
