import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Access } from '../auth/access.ts'
import { directHost } from '../auth/headers.ts'
import { hostAllowed } from '../auth/host.ts'
import { asksForOwner, type FrontOwner, type Ingress, ingress, type Listener } from '../auth/ingress.ts'
import { type HttpRefusal, refusal } from './errors.ts'

// Only whoever accepted a socket may say which listener it came through. Sockets of the main port carry no tag.
const listeners = new WeakMap<Socket, Listener>()

/** Marks a socket as accepted by one of the private listeners. */
export function acceptedBy(socket: Socket, listener: Listener): void {
  listeners.set(socket, listener)
}

/** The listener a socket came through. */
export function listenerOf(socket: Socket): Listener {
  return listeners.get(socket) ?? 'main'
}

// Sockets on which a request has authenticated; the rest make room when there are too many (S18).
const recognised = new WeakSet<Socket>()

/** Marks a socket as one whose caller is known. */
export function recognise(socket: Socket): void {
  recognised.add(socket)
}

/** Reports whether a request of this socket has authenticated. */
export function isRecognised(socket: Socket): boolean {
  return recognised.has(socket)
}

// What the last direct request of a connection was found to be; on the socket itself, because every request looks.
const before = Symbol('ingress')
interface Before {
  host: string
  ingress: Ingress
  access: Access
}
type Known = Socket & { [before]?: Before }

/** Decides where each request comes from, before anything else looks at it, and refuses what cannot be attributed. */
async function ingressPlugin(app: FastifyInstance): Promise<void> {
  const owners = new WeakMap<Socket, Promise<FrontOwner>>()

  app.decorateRequest('ingress')
  app.addHook('onRequest', (request, reply, done) => {
    request.log = app.log
    const { raw } = request
    const socket: Known = raw.socket
    const { access } = app.live
    // Node's HTTP server has let go of this socket: an answer to it that is no WebSocket is its last.
    if ('upgrade' in raw && raw.upgrade === true) reply.raw.once('finish', () => socket.destroySoon())
    const go = (refused: HttpRefusal | undefined) => {
      if (refused !== undefined) done(refused)
      // A request that no route knows ends here, before its body is read: strangers' bodies are nobody's to wait for.
      else if (request.is404) app.unknown(request, reply).catch(done)
      else done()
    }
    // A connection that keeps asking for the same host, with no front end in between, is the same every time.
    const host = directHost(raw.rawHeaders, access.ingress.kindOf)
    const known = socket[before]
    if (known !== undefined && known.host === host && known.access === access) {
      request.ingress = known.ingress
      go(undefined)
      return
    }
    const facts = { listener: listenerOf(socket), peer: socket.remoteAddress, rawHeaders: raw.rawHeaders }
    if (!asksForOwner(facts, access.ingress)) return go(settle(request, ingress(facts, access.ingress), host, access))
    const owner = owners.get(socket) ?? app.tailnet.ownerOf(socket)
    owners.set(socket, owner)
    owner.then((owner) => go(settle(request, ingress({ ...facts, owner }, access.ingress), host, access)), done)
  })

  function settle(
    request: FastifyRequest,
    found: ReturnType<typeof ingress>,
    direct: string | undefined,
    access: Access
  ): HttpRefusal | undefined {
    const socket: Known = request.raw.socket
    const from = { listener: listenerOf(socket), address: socket.remoteAddress ?? listenerOf(socket) }
    if ('refused' in found) {
      app.audit.denied({ kind: 'ingress', ...from }, found.refused)
      return refusal(found.refused, {
        fix: { command: 'openclaw config set gateway.trustedProxies \'["PROXY_ADDRESS"]\'', where: 'gateway host' }
      })
    }
    request.ingress = found
    // A page on a name that was re-pointed at us talks same-origin to it; only names we know get an answer (D7).
    if (found.listener !== 'local' && !hostAllowed(found, access.hosts)) {
      app.audit.denied({ kind: 'ingress', ...from, address: found.client }, 'host_not_allowed')
      return refusal('host_not_allowed', {
        fix: { command: 'openclaw config set gateway.publicOrigin https://YOUR.HOST', where: 'gateway host' }
      })
    }
    if (direct !== undefined) socket[before] = { host: direct, ingress: found, access }
    return undefined
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where this request comes from. */
    ingress: Ingress
  }
}

export default fp(ingressPlugin, { name: 'ingress', dependencies: ['errors', 'audit'], fastify: '5.x' })
