import { randomUUID } from 'node:crypto'
import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { SOCKET_PATH } from '../auth/surfaces.ts'
import { Connection, type ConnectionHost } from '../rpc/connection.ts'
import { admit } from '../rpc/handshake.ts'
import { helloFor } from '../rpc/hello.ts'
import { LIMITS } from '../rpc/limits.ts'

/** The gateway's WebSocket. */
export default async function gateway(app: FastifyInstance): Promise<void> {
  const { config, hub, presence, waiting, registry, devices, authenticator, allowedOrigins, health } = app
  const hello = helloFor({
    config,
    hub,
    presence,
    registry,
    health,
    server: app.serverInfo,
    identity: app.identity
  })
  const handshake = {
    authenticator,
    devices,
    allowedOrigins,
    events: hub,
    autoApproveLocal: config.gateway.nodes.pairing.autoApproveLocal
  }
  const host: ConnectionHost = {
    registry,
    log: app.log,
    handshake: async (params, connection) => {
      const admitted = await admit(params, connection, handshake)
      return { caller: admitted.caller, hello: hello(admitted) }
    },
    opened(connection) {
      waiting.delete(connection)
      hub.add(connection)
      presence.arrived(connection)
    },
    closed(connection) {
      waiting.delete(connection)
      hub.delete(connection)
      presence.left(connection)
    }
  }
  // In this scope only: its hooks are for sockets, and other routes should not pay for them.
  await app.register(websocket, {
    options: { maxPayload: LIMITS.payload, perMessageDeflate: false, clientTracking: false },
    preClose: (done) => void app.drain().then(() => done())
  })
  app.route({
    method: 'GET',
    url: SOCKET_PATH,
    config: { surface: 'websocket' },
    handler: (_request: FastifyRequest, reply: FastifyReply) =>
      reply.code(404).type('text/plain; charset=utf-8').send('Not Found'),
    preHandler(request, reply, done) {
      const { listener, client } = request.ingress
      if (!request.ws) done()
      else if (health.draining) refuse(reply, 'Gateway is stopping')
      else if (listener !== 'local' && !waiting.admits(client)) refuse(reply, 'Too many unauthenticated sockets')
      else {
        // From here on the socket is a WebSocket's: the response must not live as long as it does.
        reply.raw.detachSocket(request.raw.socket)
        done()
      }
    },
    wsHandler(socket, request) {
      // The same goes for the listener that holds the request.
      socket.removeAllListeners('error')
      const { ingress, headers } = request
      const connection = new Connection(socket, host, {
        id: randomUUID(),
        nonce: randomUUID(),
        ingress,
        origin: headers.origin,
        hostHeader: headers.host
      })
      waiting.add(connection)
    }
  })
}

function refuse(reply: FastifyReply, text: string): void {
  reply.code(503).header('connection', 'close').type('text/plain; charset=utf-8').send(text)
}
