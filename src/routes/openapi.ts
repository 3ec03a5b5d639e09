import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'

const schema = {
  summary: 'This document',
  response: { 200: Type.Object({ openapi: Type.String(), paths: Type.Object({}) }, { additionalProperties: true }) }
}

/** `GET /openapi.json`: what this gateway serves, as OpenAPI. Made when somebody asks for it, from the routes' own schemas. */
export default async function openapi(app: FastifyInstance): Promise<void> {
  const made = new Map<string, Promise<object>>()

  app.get(
    '/openapi.json',
    { config: { surface: 'http-api', scope: 'operator.read' }, schema },
    async (_request, reply) => reply.header('cache-control', 'no-cache').send(await document())
  )

  // One for each set of routes and tools that are there: those that can be off are few.
  async function document(): Promise<object> {
    const routes = app.catalogue.filter(({ config }) => config.enabled?.() !== false)
    const key = [...routes.map(({ url }) => url), ...app.tools.tools.map(({ name }) => name)].join(' ')
    const known = made.get(key) ?? make(routes)
    made.set(key, known)
    known.catch(() => made.delete(key))
    return known
  }

  async function make(routes: typeof app.catalogue): Promise<object> {
    const { openApiDocument } = await import('../openapi/document.ts')
    return openApiDocument(routes, app.serverInfo.version)
  }
}
