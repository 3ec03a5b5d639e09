import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'

/** Where a machine that is told `/j/CODE` fetches its setup code: once, without a credential, because the path is one. */
export default async function join(app: FastifyInstance): Promise<void> {
  app.route({
    method: 'GET',
    url: '/j/:code',
    config: { surface: 'static' },
    schema: { params: Type.Object({ code: Type.String({ maxLength: 64 }) }) },
    async handler(request, reply) {
      const { code } = request.params as { code: string }
      // A mere look must not use the link up.
      const payload = request.method === 'HEAD' ? undefined : app.joinLinks.take(code)
      reply.header('cache-control', 'no-store')
      return payload ?? reply.code(404).send({ error: 'not_found' })
    }
  })
}
