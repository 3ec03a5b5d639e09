import net from 'node:net'
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
}

/** Opens a WebSocket to a checked URL (see `checkGatewayUrl`). */
export function openUrl(url: URL, { tls, headers = {} }: UrlOptions = {}): SocketLike {
  const socket = new WebSocket(url, {
    ...common,
    headers: { ...headers },
    ...(tls === undefined || url.protocol !== 'wss:' ? {} : { createConnection: verified(url, tls) })
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

function verified(url: URL, tls: TlsOptions) {
  const createConnection = (_options: unknown, ready: (error: Error | null, socket?: net.Socket) => void) => {
    import('./open-tls.ts').then(({ openTls }) => openTls(url, tls)).then((socket) => ready(null, socket), ready)
  }
  // Node takes the socket later as well; the types of `ws` know only a socket at once.
  return createConnection as never
}

// A peer that is gone without a word is found out within half a minute, by the system, and not only when it is written to.
function watched(socket: WebSocket): WebSocket {
  return socket.on('upgrade', (response) => response.socket.setKeepAlive(true, KEEPALIVE_MS))
}
