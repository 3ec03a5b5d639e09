import type { IncomingMessage, RequestListener, Server } from 'node:http'
import type { ListenOptions, Socket } from 'node:net'
import { limiterKey } from './auth/addresses.ts'
import { listenRefusal } from './auth/bind-policy.ts'
import { SOCKET_PATH } from './auth/surfaces.ts'
import type { GatewayConfig } from './config/types.ts'
import { isRecognised, listenerOf } from './plugins/ingress.ts'
import { LIMITS } from './rpc/limits.ts'
import type { TlsMaterial } from './tls/material.ts'

// Imported as an ES module, `node:http` evaluates its lazy exports and loads Undici: 5 MB that nobody here uses.
const { createServer } = process.getBuiltinModule('node:http')

/** Sockets on which nobody has authenticated yet, in all and from one address. More than one backlog fits in both. */
const STRANGERS = 2_048
const STRANGERS_PER_ADDRESS = 1_024
const MAX_SOCKETS = 16_384

/** A listen that this configuration must not do; nothing was opened. */
class ListenRefused extends Error {
  readonly code = 'LISTEN_REFUSED'
}

/**
 * The one HTTP server behind every listener. It cannot be told to listen beyond loopback without auth, whoever
 * calls `listen`; and sockets of strangers are few: beyond the bound the oldest goes, so that a flood of them keeps
 * nobody out (S18). With `tls`, whatever came through the main listener is TLS before anything else sees it.
 */
export function createGatewayServer(handler: RequestListener, gateway: GatewayConfig, tls?: TlsMaterial): Server {
  const server = createServer(
    {
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 2_000,
      maxHeaderSize: 16_384
    },
    handler
  )
  server.maxConnections = MAX_SOCKETS
  boundStrangers(server)
  if (tls !== undefined) terminate(server, tls)
  // Clients open their socket on any path; so there is one door, and no other route can be reached by an upgrade.
  server.on('upgrade', (request: IncomingMessage) => {
    request.url = SOCKET_PATH
  })

  const listen = server.listen.bind(server) as (...args: unknown[]) => Server
  server.listen = ((...args: unknown[]) => {
    const host = listenHost(args)
    const refused = host === undefined ? undefined : listenRefusal(gateway, host)
    if (refused !== undefined) throw new ListenRefused(refused.message)
    return listen(...args)
  }) as Server['listen']

  // Node waits for every peer, and once it closes it bounds none: one that says nothing would keep the process.
  const close = server.close.bind(server)
  server.close = (done) => {
    setTimeout(() => server.closeAllConnections(), LIMITS.drainMs).unref()
    return close(done)
  }
  return server
}

// The host of any of `listen`'s signatures; undefined for a Unix socket. An inherited handle may lead anywhere.
function listenHost([first, second]: unknown[]): string | undefined {
  if (typeof first === 'object' && first !== null) {
    const { host, path, port } = first as ListenOptions
    // Node prefers a handle to a port, and a port to a path.
    if ('fd' in first || '_handle' in first) return '::'
    if (port !== undefined && port !== null) return host || '::'
    return typeof path === 'string' ? undefined : '::'
  }
  if (typeof first === 'string' && Number.isNaN(Number(first))) return undefined
  return typeof second === 'string' ? second || '::' : '::'
}

// The handshake is bounded as what follows it: HTTP counts the time from here, and `boundStrangers` the sockets.
function terminate(server: Server, tls: TlsMaterial): void {
  const served = server.listeners('connection')
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    const own = listenerOf(socket) === 'main' ? tls.secure(socket) : socket
    for (const serve of served) serve.call(server, own)
  })
}

function boundStrangers(server: Server): void {
  const all = new Set<Socket>()
  const byAddress = new Map<string, Set<Socket>>()

  server.on('connection', (socket: Socket) => {
    // Whoever reaches the owner's socket is no stranger.
    if (listenerOf(socket) === 'local') return
    const address = limiterKey(socket.remoteAddress ?? '')
    const own = byAddress.get(address) ?? new Set()
    byAddress.set(address, own.add(socket))
    all.add(socket)
    const forget = () => {
      all.delete(socket)
      own.delete(socket)
      if (own.size === 0 && byAddress.get(address) === own) byAddress.delete(address)
    }
    socket.once('close', forget)
    // A WebSocket has a budget of its own until it has a caller.
    forgets.set(socket, forget)
    makeRoom(own, STRANGERS_PER_ADDRESS)
    makeRoom(all, STRANGERS)
  })
  server.on('upgrade', ({ socket }: IncomingMessage) => {
    const forget = forgets.get(socket)
    if (forget === undefined) return
    forget()
    forgets.delete(socket)
    socket.off('close', forget)
  })
}

const forgets = new WeakMap<Socket, () => void>()

// In order of arrival: the oldest goes first, unless its caller has become known meanwhile.
function makeRoom(sockets: Set<Socket>, bound: number): void {
  for (const socket of sockets) {
    if (sockets.size <= bound) return
    forgets.get(socket)?.()
    if (!isRecognised(socket)) socket.destroy()
  }
}
