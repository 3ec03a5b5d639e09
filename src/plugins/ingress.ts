import type { Socket } from 'node:net'
import { hostname, networkInterfaces } from 'node:os'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { compileCidrs } from '../auth/addresses.ts'
import { hostAllowed, hostPolicy } from '../auth/host.ts'
import { type Ingress, ingress, type Listener } from '../auth/ingress.ts'
import { refusal } from './errors.ts'

// Only whoever accepted a socket may say which listener it came through. Sockets of the main port carry no tag.
const listeners = new WeakMap<Socket, Listener>()

/** Marks a socket as accepted by one of the private listeners. */
export function acceptedBy(socket: Socket, listener: Listener): void {
  listeners.set(socket, listener)
}

/** Decides where each request comes from, before anything else looks at it, and refuses what cannot be attributed. */
async function ingressPlugin(app: FastifyInstance): Promise<void> {
  const { gateway } = app.config
  const proxies = compileCidrs(gateway.trustedProxies)
  if ('invalid' in proxies)
    throw new Error(`gateway.trustedProxies: "${proxies.invalid}" is neither an IP address nor a CIDR`)
  const policy = { trustedProxies: proxies, allowRealIpFallback: gateway.allowRealIpFallback }
  const hosts = hostPolicy({
    hostname: hostname(),
    addresses: Object.values(networkInterfaces()).flatMap((each) => each?.map(({ address }) => address) ?? []),
    origins: [gateway.publicOrigin ?? '', ...gateway.controlUi.allowedOrigins]
  })

  app.decorateRequest('ingress')
  app.addHook('onRequest', (request, _reply, done) => {
    const { socket, headers } = request.raw
    const found = ingress({ listener: listeners.get(socket) ?? 'main', peer: socket.remoteAddress, headers }, policy)
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
    if (found.listener === 'local' || hostAllowed(headers.host, hosts)) done()
    else
      done(
        refusal('host_not_allowed', {
          fix: { command: 'openclaw config set gateway.publicOrigin https://YOUR.HOST', where: 'gateway host' }
        })
      )
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where this request comes from. */
    ingress: Ingress
  }
}

export default fp(ingressPlugin, { name: 'ingress', dependencies: ['errors'], fastify: '5.x' })
