import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { SOCKET_PATH, SURFACES, type Surface } from '../auth/surfaces.ts'
import type { Scope } from '../protocol/scopes.ts'

/** No route without a surface: what may authenticate on it is never left to chance, for plugins' routes neither. */
async function surfaces(app: FastifyInstance): Promise<void> {
  const methodsOf = new Map<string, Set<string>>()
  app.decorate('methodsOf', methodsOf)
  app.addHook('onRoute', ({ url, method, config }) => {
    if (config?.surface === undefined || !SURFACES.includes(config.surface)) {
      throw new Error(
        `route ${method} ${url} must name its surface: config: { surface: ${SURFACES.map((each) => `'${each}'`).join(' | ')} }`
      )
    }
    // Authentication on it is the handshake's, so a route of anybody else would have none.
    if (config.surface === 'websocket' && url !== SOCKET_PATH) {
      throw new Error(`route ${method} ${url}: the surface 'websocket' belongs to the gateway's own socket`)
    }
    if (config.surface === 'http-api' && config.scope === undefined) {
      throw new Error(`route ${method} ${url} is an HTTP API and must name its scope: config: { scope: 'operator.…' }`)
    }
    if (config.surface === 'static' || config.surface === 'websocket' || url.includes('*')) return
    const known = methodsOf.get(url) ?? new Set()
    for (const each of [method].flat()) known.add(each)
    methodsOf.set(url, known)
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Which methods a fixed path knows. */
    methodsOf: ReadonlyMap<string, ReadonlySet<string>>
  }
  interface FastifyContextConfig {
    surface?: Surface
    /** The scope a caller needs; HTTP APIs must name one. */
    scope?: Scope
  }
}

export default fp(surfaces, { name: 'surfaces', fastify: '5.x' })
