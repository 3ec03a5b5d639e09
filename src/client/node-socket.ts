import net from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import type { SocketLike } from './core.ts'
import type { TlsOptions } from './open-tls.ts'
import { upgradeRefusal } from './upgrade-refusal.ts'

// What a hello-ok allows a frame to be; the gateway closes the socket for more.
const MAX_PAYLOAD = 25 * 1024 * 1024

const KEEPALIVE_MS = 10_000

const common = {
  perMessageDeflate: false,
  maxPayload: MAX_PAYLOAD,
  // A command is done when it has its answer; a peer that does not say goodbye is not waited for.
  closeTimeout: 1_000,
  // What goes to one gateway goes to no other.
  followRedirects: false
}

/** How a URL is opened, beside what the URL says. */
export interface UrlOptions {
  /** For `wss:`: who vouches for the certificate, asked anew for each connection; default: this system. */
  tls?: TlsOptions | undefined
  headers?: Readonly<Record<string, string>> | undefined
  /** What leads there already: the connection goes through it, and TLS inside of it. */
  stream?: Duplex | undefined
}

/** Opens a WebSocket to a checked URL (see `checkGatewayUrl`). */
export function openUrl(url: URL, { tls, headers = {}, stream }: UrlOptions = {}): SocketLike {
  const createConnection = connector(url, tls, stream)
  const socket = new WebSocket(url, {
    ...common,
    headers: { ...headers },
    ...(createConnection === undefined ? {} : { createConnection })
  })
  socket.once('unexpected-response', (_request, response) => {
    socket.emit('error', upgradeRefusal(url, response))
    socket.terminate()
  })
  return watched(socket)
}

/** Opens a WebSocket over a Unix socket. Not by a `ws+unix:` URL: a path with a colon or a space would not survive it. */
export function openUnix(path: string): SocketLike {
  return new WebSocket('ws://localhost/', { ...common, createConnection: () => net.connect(path) })
}

function connector(url: URL, tls: TlsOptions | undefined, stream: Duplex | undefined): (() => net.Socket) | undefined {
  if (tls === undefined || url.protocol !== 'wss:') {
    return stream === undefined ? undefined : () => stream as net.Socket
  }
  const createConnection = (_options: unknown, ready: (error: Error | null, socket?: net.Socket) => void) => {
    import('./open-tls.ts')
      .then(({ openTls }) => openTls(url, tls, stream))
      .then((socket) => ready(null, socket), ready)
  }
  // Node takes the socket later as well; the types of `ws` know only a socket at once.
  return createConnection as never
}

// A peer that is gone without a word is found out within half a minute, by the system, and not only when it is written to.
function watched(socket: WebSocket): WebSocket {
  return socket.on('upgrade', ({ socket: stream }) => {
    // A stream through ssh is none of the system's, and ssh looks after its own.
    if (stream instanceof net.Socket) stream.setKeepAlive(true, KEEPALIVE_MS)
  })
}
