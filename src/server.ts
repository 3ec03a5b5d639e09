import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import type { ListenOptions, Socket } from 'node:net'
import { listenRefusal } from './auth/bind-policy.ts'
import type { GatewayConfig } from './config/types.ts'

const HALF_OPEN = 1_000
const MAX_SOCKETS = 16_384

/** A listen that this configuration must not do; nothing was opened. */
export class ListenRefused extends Error {
  readonly code = 'LISTEN_REFUSED'
}

/**
 * The one HTTP server behind every listener. It cannot be told to listen beyond loopback without auth, whoever
 * calls `listen`; and sockets that have not sent a request are few: beyond the bound the oldest goes, so that a
 * flood of silent ones keeps nobody out (S18).
 */
export function createGatewayServer(handler: RequestListener, gateway: GatewayConfig): Server {
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
  boundHalfOpen(server)

  const listen = server.listen.bind(server) as (...args: unknown[]) => Server
  server.listen = ((...args: unknown[]) => {
    const host = listenHost(args)
    const refused = host === undefined ? undefined : listenRefusal(gateway, host)
    if (refused !== undefined) throw new ListenRefused(refused.message)
    return listen(...args)
  }) as Server['listen']
  return server
}

// The host of any of `listen`'s signatures; undefined for a Unix socket or an inherited handle.
function listenHost([first, second]: unknown[]): string | undefined {
  if (typeof first === 'object' && first !== null) {
    const { host, path, port } = first as ListenOptions
    if (path !== undefined || port === undefined) return undefined
    return host ?? '::'
  }
  if (typeof first === 'string' && Number.isNaN(Number(first))) return undefined
  return typeof second === 'string' ? second : '::'
}

function boundHalfOpen(server: Server): void {
  const silent = new Set<Socket>()
  const spoke = (request: IncomingMessage) => silent.delete(request.socket)
  server.on('connection', (socket: Socket) => {
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
    if (silent.size > HALF_OPEN) silent.values().next().value?.destroy()
  })
  server.on('request', spoke)
  server.on('upgrade', spoke)
}
