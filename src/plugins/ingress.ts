import type { Socket } from 'node:net'
import { hostname, networkInterfaces } from 'node:os'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { compileCidrs } from '../auth/addresses.ts'
import { hostAllowed, hostPolicy } from '../auth/host.ts'
import { directHost, type Ingress, ingress, type Listener } from '../auth/ingress.ts'
import { refusal } from './errors.ts'

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
}

/** Decides where each request comes from, before anything else looks at it, and refuses what cannot be attributed. */
async function ingressPlugin(app: FastifyInstance): Promise<void> {
  const { gateway } = app.config
  const proxies = compileCidrs(gateway.trustedProxies)
  if ('invalid' in proxies)
    throw new Error(
      `gateway.trustedProxies: "${proxies.invalid}" is neither an IP address nor a CIDR that names less than everyone`
    )
  const policy = { trustedProxies: proxies, allowRealIpFallback: gateway.allowRealIpFallback }
  const hosts = hostPolicy({
    hostname: hostname(),
    addresses: Object.values(networkInterfaces()).flatMap((each) => each?.map(({ address }) => address) ?? []),
    origins: [gateway.publicOrigin ?? '', ...gateway.controlUi.allowedOrigins]
  })

  app.decorateRequest('ingress')
  app.addHook('onRequest', (request, reply, done) => {
    request.log = app.log
    const { raw } = request
    const socket: Socket & { [before]?: Before } = raw.socket
    // Node's HTTP server has let go of this socket: an answer to it that is no WebSocket is its last.
    if ('upgrade' in raw && raw.upgrade === true) reply.raw.once('finish', () => socket.destroySoon())
    // A connection that keeps asking for the same host, with no front end in between, is the same every time.
    const host = directHost(raw.rawHeaders)
    const known = socket[before]
    if (known !== undefined && known.host === host) {
      request.ingress = known.ingress
      if (request.is404) app.unknown(request, reply).catch(done)
      else done()
      return
    }
    const { headers } = raw
    const found = ingress({ listener: listenerOf(socket), peer: socket.remoteAddress, headers }, policy)
    if ('refused' in found) {
      done(
        refusal(found.refused, {
          fix: { command: 'openclaw config set gateway.trustedProxies \'["PROXY_ADDRESS"]\'', where: 'gateway host' }
        })
      )
      return
    }
    request.ingress = found
    // A page on a name that was re-pointed at us talks same-origin to it; only names we know get an answer (D7).
    if (found.listener !== 'local' && !hostAllowed(headers.host, hosts)) {
      done(
        refusal('host_not_allowed', {
          fix: { command: 'openclaw config set gateway.publicOrigin https://YOUR.HOST', where: 'gateway host' }
        })
      )
      return
    }
    if (host !== undefined) socket[before] = { host, ingress: found }
    // A request that no route knows ends here, before its body is read: strangers' bodies are nobody's to wait for.
    if (request.is404) app.unknown(request, reply).catch(done)
    else done()
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where this request comes from. */
    ingress: Ingress
  }
}

export default fp(ingressPlugin, { name: 'ingress', dependencies: ['errors'], fastify: '5.x' })
