import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { hangUp } from './errors.ts'

/** What happens to a request that no route knows: 405 where the path has other methods, a page of the Control UI, or 404. */
async function notFound(app: FastifyInstance): Promise<void> {
  app.decorate('page', undefined)
  app.decorate('unknown', unknown)
  app.setNotFoundHandler(unknown)
  // Before anybody is authenticated: what is not there says nothing, not even that it could be.
  app.addHook('onRoute', (route) => {
    const enabled = route.config?.enabled
    if (enabled === undefined) return
    const guard = async (request: FastifyRequest, reply: FastifyReply) =>
      enabled() ? undefined : unknown(request, reply)
    route.onRequest = [guard, ...[route.onRequest ?? []].flat()]
  })

  async function unknown(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    await app.secure(reply)
    hangUp(reply)
    const allow = app.methodsOf(request.url.split('?', 1)[0]!)
    if (allow !== undefined && !allow.has(request.method)) {
      return text(reply.code(405).header('allow', [...allow].join(', ')), 'Method Not Allowed')
    }
    return app.page?.(request, reply) ?? text(reply.code(404), 'Not Found')
  }
}

function text(reply: FastifyReply, words: string): FastifyReply {
  return reply.type('text/plain; charset=utf-8').send(words)
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Answers a request that no route knows. */
    unknown(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply>
    /** Answers a page request with the Control UI, or not at all. Set by the Control UI's route when it is enabled. */
    page: ((request: FastifyRequest, reply: FastifyReply) => FastifyReply | undefined) | undefined
  }
}

export default fp(notFound, {
  name: 'not-found',
  dependencies: ['errors', 'surfaces', 'security-headers'],
  fastify: '5.x'
})
