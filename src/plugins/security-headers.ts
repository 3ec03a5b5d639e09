import helmet, { type FastifyHelmetOptions } from '@fastify/helmet'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import { schemaController } from './compilers.ts'

const options: FastifyHelmetOptions = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      'default-src': ["'self'"],
      'base-uri': ["'none'"],
      'object-src': ["'none'"],
      'frame-ancestors': ["'none'"],
      'form-action': ["'none'"],
      'script-src': ["'self'"],
      'style-src': ["'self'"],
      'img-src': ["'self'", 'data:', 'blob:'],
      'font-src': ["'self'"],
      'connect-src': ["'self'"],
      'worker-src': ["'self'"]
    }
  },
  frameguard: { action: 'deny' },
  referrerPolicy: { policy: 'no-referrer' },
  // Below: TLS may end elsewhere, and whoever ends it decides.
  strictTransportSecurity: false,
  xDownloadOptions: false,
  xDnsPrefetchControl: false,
  xXssProtection: false,
  xPermittedCrossDomainPolicies: false
}

/**
 * Security headers for everything that a browser may render or an API may return, users' routes included. Probes
 * and sockets carry none. Helmet works them out anew for each request, in a promise; they never change, so it is
 * asked once, when the first page is: `/healthz` would answer half as often otherwise.
 */
async function securityHeaders(app: FastifyInstance): Promise<void> {
  let headers: Record<string, string> | undefined

  app.decorate('secure', async (reply: FastifyReply) => {
    headers ??= await askHelmet()
    reply.headers(headers)
    const { strictTransportSecurity } = app.config.gateway.http.securityHeaders
    if (strictTransportSecurity !== false && reply.request.protocol === 'https') {
      reply.header('strict-transport-security', strictTransportSecurity)
    }
  })
  app.addHook('onRoute', (route) => {
    const surface = route.config?.surface
    if (surface === 'probe' || surface === 'websocket') return
    route.onRequest = [(_request, reply) => app.secure(reply), ...[route.onRequest ?? []].flat()]
  })
}

async function askHelmet(): Promise<Record<string, string>> {
  const app = fastify({ schemaController })
  await app.register(helmet, options)
  let found: Record<string, unknown> = {}
  app.get('/', (_request, reply) => {
    found = reply.raw.getHeaders()
    reply.send()
  })
  await app.inject('/')
  await app.close()
  return { ...(found as Record<string, string>), 'permissions-policy': 'camera=(), microphone=(self), geolocation=()' }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Puts the security headers on a reply; routes carry them by themselves. */
    secure(reply: FastifyReply): Promise<void>
  }
}

export default fp(securityHeaders, { name: 'security-headers', dependencies: ['authentication'], fastify: '5.x' })
