import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Connection, type ConnectionHost } from '../rpc/connection.ts'
import { admit } from '../rpc/handshake.ts'
import { helloFor } from '../rpc/hello.ts'

/** The gateway's WebSocket, on any path that is no other route. */
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
  app.route({
    method: 'GET',
    url: '/*',
    config: { surface: 'websocket' },
    // A plain GET that no route knows: the Control UI's page, or 404.
    handler: (_request: FastifyRequest, reply: FastifyReply) => reply.callNotFound(),
    preHandler(request, reply, done) {
      const { listener, client } = request.ingress
      if (!request.ws) done()
      else if (health.draining) refuse(reply, 'Gateway is stopping')
      else if (listener === 'local' || waiting.admits(client)) done()
      else refuse(reply, 'Too many unauthenticated sockets')
    },
    wsHandler(socket, request) {
      // The upgrade's request, reply and error listener would live as long as the socket; they are not needed again.
      socket.removeAllListeners('error')
      const { ingress, headers, raw } = request
      const connection = new Connection(socket, host, {
        id: randomUUID(),
        nonce: randomUUID(),
        ingress,
        origin: headers.origin,
        hostHeader: headers.host
      })
      waiting.add(connection)
      raw.removeAllListeners()
    }
  })
}

function refuse(reply: FastifyReply, text: string): void {
  reply.code(503).header('connection', 'close').type('text/plain; charset=utf-8').send(text)
}
