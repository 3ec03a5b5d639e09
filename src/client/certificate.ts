import { createHash, type X509Certificate } from 'node:crypto'

/** What can be told of the certificate that a gateway showed; safe to print, and bounded. */
export interface Certificate {
  /** SHA-256 of the certificate, lower-case hex. */
  sha256: string
  /** SHA-256 of its public key (SPKI), base64: the same in a renewed certificate that keeps its key. */
  key: string
  issuer: string
  /** The names and addresses that it is for. */
  names: string
  validFrom: string
  validTo: string
}

const MAX_TEXT = 200

/** Takes from a certificate what tells it from another. */
export function describeCertificate(certificate: X509Certificate): Certificate {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' })
  return {
    sha256: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    key: createHash('sha256').update(spki).digest('base64'),
    issuer: plain(certificate.issuer),
    names: plain((certificate.subjectAltName ?? certificate.subject).replaceAll(/(DNS|IP Address):/g, '')),
    validFrom: certificate.validFromDate.toISOString(),
    validTo: certificate.validToDate.toISOString()
  }
}

/** The certificate in the words of a refusal. */
export function certificateText({ sha256, issuer, names, validFrom, validTo }: Certificate): string {
  return `sha256:${sha256}, issued by ${issuer}, for ${names}, valid ${day(validFrom)} to ${day(validTo)}`
}

// The other side wrote it, and it goes to a terminal (S25).
function plain(text: string): string {
  const line = text
    .trim()
    .replaceAll(/\s*\n\s*/g, ', ')
    .replaceAll(/\p{Cc}/gu, '?')
  return line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT)}…` : line
}

function day(date: string): string {
  return date.slice(0, 10)
}
