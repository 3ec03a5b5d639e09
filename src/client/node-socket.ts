import net from 'node:net'
import type { Duplex } from 'node:stream'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { WebSocket } from 'ws'
import type { SocketLike } from './core.ts'
import { ClientError } from './errors.ts'

// What a hello-ok allows a frame to be; the gateway closes the socket for more.
const MAX_PAYLOAD = 25 * 1024 * 1024

const KEEPALIVE_MS = 10_000

const common = {
  perMessageDeflate: false,
  maxPayload: MAX_PAYLOAD,
  // A command is done when it has its answer; a peer that does not say goodbye is not waited for.
  closeTimeout: 1_000
}

/**
 * Opens a WebSocket to a checked URL (see `checkGatewayUrl`), over a stream that leads there when one is given: for `wss:` a
 * TLS socket that is verified already.
 */
export function openUrl(url: URL, stream?: Duplex): SocketLike {
  const createConnection = stream === undefined ? undefined : () => stream as net.Socket
  return watched(new WebSocket(url, { ...common, ...(createConnection === undefined ? {} : { createConnection }) }))
}

/** Opens a WebSocket over a Unix socket. Not by a `ws+unix:` URL: a path with a colon or a space would not survive it. */
export function openUnix(path: string): SocketLike {
  return new WebSocket('ws://localhost/', { ...common, createConnection: () => net.connect(path) })
}

/** Opens a WebSocket to a `wss:` URL whose certificate is pinned: each one verifies before it sends (R34, S16). */
export function openPinnedUrl(url: URL, pin: string, timeoutMs: number, fix?: string): SocketLike {
  const createConnection = (_options: unknown, ready: (error: Error | null, socket?: TLSSocket) => void) => {
    openPinned(url, pin, timeoutMs, fix).then((socket) => ready(null, socket), ready)
  }
  // Node takes the socket later as well; the types of `ws` know only the socket at once.
  return watched(new WebSocket(url, { ...common, createConnection: createConnection as never }))
}

// A peer that is gone without a word is found out within half a minute, by the system, and not only when it is written to.
function watched(socket: WebSocket): WebSocket {
  return socket.on('upgrade', ({ socket: stream }) => {
    // A stream through ssh is none of the system's, and ssh looks after its own.
    if (stream instanceof net.Socket) stream.setKeepAlive(true, KEEPALIVE_MS)
  })
}

/** Opens TLS and compares the certificate with its pin (R34); not a byte of ours is sent before they match (S16). */
export function openPinned(
  url: URL,
  pin: string,
  timeoutMs: number,
  fix = COMPARE,
  stream?: Duplex
): Promise<TLSSocket> {
  const wanted = pin
    .replace(/^sha256:/i, '')
    .replaceAll(/[:\s]/g, '')
    .toLowerCase()
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      ...(stream === undefined ? { host, port: Number(url.port || 443) } : { socket: stream }),
      ...(net.isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ['http/1.1'],
      // The pin is the trust: a self-signed certificate is what pins are for.
      rejectUnauthorized: false
    })
    const fail = (error: Error) => {
      socket.destroy()
      reject(error)
    }
    socket.setTimeout(timeoutMs, () => fail(new Error(`no TLS handshake within ${timeoutMs} ms`)))
    socket.once('error', fail)
    socket.once('secureConnect', () => {
      const seen = socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '').toLowerCase()
      if (seen === wanted) {
        socket.setTimeout(0)
        socket.off('error', fail)
        return resolve(socket)
      }
      fail(
        new ClientError(
          'TLS_PIN_MISMATCH',
          `the certificate of ${url.host} is not the pinned one (it is sha256:${seen})`,
          { fix }
        )
      )
    })
  })
}

const COMPARE = 'compare it on the gateway host, then: openclaw config set gateway.remote.tlsFingerprint sha256:…'
