import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { type Certificate, describeCertificate } from './certificate.ts'
import { refusedCertificate, type Trust } from './tls-trust.ts'

// As an ES module, `node:tls` evaluates its lazy exports: every root certificate, as text.
const { connect } = process.getBuiltinModule('node:tls')

/** How a TLS connection is made. */
export interface TlsOptions {
  trust: Trust
  /** For the handshake, in milliseconds. */
  timeoutMs: number
  /** For the connection of TCP before it; default: as much. */
  connectMs?: number | undefined
  /** Hears of a certificate that was accepted, and whether this system trusts it too. */
  onAccepted?: (certificate: Certificate, bySystem: boolean) => void
}

/** Opens TLS to a `wss:` URL, through a stream that leads there when one is given, and judges the certificate (R34); not a byte of ours is sent before it is accepted (S16). */
export function openTls(
  url: URL,
  { trust, timeoutMs, connectMs = timeoutMs, onAccepted }: TlsOptions,
  stream?: Duplex
): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      ...(stream === undefined ? { port: Number(url.port || 443) } : { socket: stream }),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ['http/1.1'],
      minVersion: 'TLSv1.2',
      // Judged below, where a pin can vouch for a certificate that nobody else does.
      rejectUnauthorized: false
    })
    const fail = (error: Error) => {
      socket.destroy()
      reject(error)
    }
    const late = () =>
      fail(
        new Error(
          socket.connecting ? `no connection within ${connectMs} ms` : `no TLS handshake within ${timeoutMs} ms`
        )
      )
    socket.setTimeout(connectMs, late)
    socket.once('connect', () => socket.setTimeout(timeoutMs))
    socket.once('error', fail)
    socket.once('secureConnect', () => {
      const shown = socket.getPeerX509Certificate()
      if (shown === undefined) return fail(new Error('the other side showed no certificate'))
      const certificate = describeCertificate(shown)
      const problem = socket.authorized ? undefined : problemOf(socket.authorizationError)
      const refused = refusedCertificate(trust, { host: url.host, certificate, problem })
      if (refused !== undefined) return fail(refused)
      socket.setTimeout(0)
      socket.off('error', fail)
      onAccepted?.(certificate, socket.authorized)
      resolve(socket)
    })
  })
}

const WORDS: Record<string, string> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its authority is unknown',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its authority is unknown',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its authority is unknown',
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another name'
}

// The types say an Error; what comes is the error of a name that does not fit, and a code for everything else.
function problemOf(error: unknown): string {
  const code = typeof error === 'string' ? error : ((error as { code?: string } | null)?.code ?? 'unknown')
  return WORDS[code] ?? code
}
