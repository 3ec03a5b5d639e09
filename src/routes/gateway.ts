import { randomUUID } from 'node:crypto'
import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { AuthFailure } from '../auth/authenticate.ts'
import { SOCKET_PATH } from '../auth/surfaces.ts'
import type { Attempt } from '../plugins/audit.ts'
import { RpcError } from '../protocol/errors.ts'
import type { ConnectParams } from '../protocol/frames.ts'
import type { SetupOutcome } from '../protocol/setup.ts'
import { callerName } from '../rpc/caused-by.ts'
import { Connection, type ConnectionHost } from '../rpc/connection.ts'
import { admit } from '../rpc/handshake.ts'
import { helloFor } from '../rpc/hello.ts'
import { LIMITS } from '../rpc/limits.ts'

/** The gateway's WebSocket. */
export default async function gateway(app: FastifyInstance): Promise<void> {
  const { live, hub, presence, waiting, registry, devices, authenticator, authority, health } = app
  const hello = helloFor({
    config: () => live.config,
    hub,
    presence,
    registry,
    health,
    server: app.serverInfo,
    identity: app.identity,
    identityUrl: () => (live.access.tailscale ? app.exposure?.state().url : undefined)
  })
  const handshake = { authenticator, devices, news: app.pairingNews, access: () => live.access }
  const host: ConnectionHost = {
    registry,
    log: app.log,
    stability: app.stability,
    handshake: async (params, connection) => {
      const attempt = { ...attemptOf(connection), client: clientId(params) }
      try {
        const admitted = await admit(params, connection, handshake)
        const { caller } = admitted
        app.audit.allowed({ ...attempt, method: caller.method, who: callerName(caller) })
        const { setup } = admitted
        return { caller, hello: hello(admitted), delivered: setup && ((ok) => void tell(setup, ok)) }
      } catch (error) {
        app.audit.denied(attempt, ...whyOf(error))
        throw error
      }
    },
    opened(connection) {
      waiting.delete(connection)
      hub.add(connection)
      presence.arrived(connection)
      app.nodes.opened(connection)
      authority.watch(connection)
    },
    closed(connection) {
      authority.forget(connection)
      waiting.delete(connection)
      hub.delete(connection)
      presence.left(connection)
      app.nodes.closed(connection)
    }
  }
  // A setup code is spent when it lets its device in; whether the device got its tokens is known only now.
  async function tell(setup: SetupOutcome, ok: boolean): Promise<void> {
    if (ok) await app.setupCodes.delivered(setup.setupId)
    hub.publish(`device.pair.setup.${ok ? 'completed' : 'deliveryUncertain'}`, { ...setup, ts: Date.now() })
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
      const connection = new Connection(socket, request.raw.socket, host, {
        id: randomUUID(),
        nonce: randomUUID(),
        ingress,
        origin: headers.origin
      })
      waiting.add(connection)
    }
  })
}

function attemptOf({ ingress }: Connection): Attempt {
  return { kind: 'connect', address: ingress.client, listener: ingress.listener, surface: 'websocket' }
}

// Whatever was sent, before anyone has checked it.
function clientId(params: unknown): string | undefined {
  const id = (params as Partial<ConnectParams> | undefined)?.client?.id
  return typeof id === 'string' ? id : undefined
}

/** Why a connect failed, as a code: words of the client have no place in the record. */
function whyOf(error: unknown): [reason: string, failure: AuthFailure | undefined] {
  if (!(error instanceof RpcError)) return ['INVALID_REQUEST', undefined]
  const { authReason, code } = (error.details ?? {}) as { authReason?: string; code?: string }
  return [authReason ?? code ?? error.code, error.cause as AuthFailure | undefined]
}

function refuse(reply: FastifyReply, text: string): void {
  reply.code(503).header('connection', 'close').type('text/plain; charset=utf-8').send(text)
}
