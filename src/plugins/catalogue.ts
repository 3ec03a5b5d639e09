import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'

/** One route as the API's description tells of it. */
export interface CataloguedRoute extends Pick<RouteOptions, 'url'> {
  methods: readonly string[]
  schema: FastifySchema
  config: NonNullable<RouteOptions['config']>
}

/** Keeps a list of the routes that an API client may ask for, users' routes included; files and the socket are none. */
async function catalogue(app: FastifyInstance): Promise<void> {
  const routes: CataloguedRoute[] = []
  app.decorate('catalogue', routes)
  app.addHook('onRoute', ({ url, method, schema = {}, config = {} }) => {
    if (config.surface === 'static' || config.surface === 'websocket') return
    const methods = [method].flat().filter((each) => each !== 'HEAD')
    if (methods.length > 0) routes.push({ url, methods, schema, config })
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    catalogue: readonly CataloguedRoute[]
  }
  interface FastifySchema {
    /** A line about the route, and more, for its description. */
    summary?: string
    description?: string
  }
}

export default fp(catalogue, { name: 'catalogue', dependencies: ['surfaces'], fastify: '5.x' })
