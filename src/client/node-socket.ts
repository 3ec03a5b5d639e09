import net from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import type { SocketLike } from './core.ts'
import type { TlsOptions } from './open-tls.ts'
import { upgradeRefusal } from './upgrade-refusal.ts'

// What a hello-ok allows a frame to be; the gateway closes the socket for more.
const MAX_PAYLOAD = 25 * 1024 * 1024

// How often it is seen whether anything came; for how many looks nothing may come until the peer is asked, and is gone.
const LOOK_MS = 5_000
const ASK_AFTER = 2
const GONE_AFTER = 6

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
  /** For the connection of TCP alone, in milliseconds; default: as long as this system tries. */
  connectMs?: number | undefined
}

/** Opens a WebSocket to a checked URL (see `checkGatewayUrl`). */
export function openUrl(url: URL, { tls, headers = {}, stream, connectMs }: UrlOptions = {}): SocketLike {
  const createConnection = connector(url, tls && { ...tls, connectMs }, stream)
  const socket = new WebSocket(url, {
    ...common,
    headers: { ...headers },
    ...(createConnection === undefined ? {} : { createConnection }),
    finishRequest(request) {
      if (connectMs !== undefined) request.once('socket', (raw) => limitConnect(raw, connectMs))
      request.end()
    }
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

// Ends a socket whose peer is gone without a word, half a minute later. A system would not find it out while something is
// on its way to the peer: it sends that again instead, ever less often, for a quarter of an hour.
function watched(socket: WebSocket): WebSocket {
  return socket.once('upgrade', ({ socket: stream }) => {
    // Not before the WebSocket reads: to listen is to make it flow, and what came with the upgrade would be lost.
    socket.once('open', () => watch(socket, stream))
  })
}

function watch(socket: WebSocket, stream: Duplex): void {
  let quiet = 0
  stream.on('data', () => {
    quiet = 0
  })
  const timer = setInterval(() => {
    if (++quiet > GONE_AFTER) socket.terminate()
    else if (quiet > ASK_AFTER && socket.readyState === WebSocket.OPEN) socket.ping()
  }, LOOK_MS).unref()
  stream.once('close', () => clearInterval(timer))
}

function limitConnect(socket: net.Socket, ms: number): void {
  if (!socket.connecting) return
  const timer = setTimeout(() => socket.destroy(new Error(`no connection within ${ms} ms`)), ms)
  for (const event of ['connect', 'close']) socket.once(event, () => clearTimeout(timer))
}
