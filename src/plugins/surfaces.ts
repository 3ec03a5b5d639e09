import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { SOCKET_PATH, SURFACES, type Surface } from '../auth/surfaces.ts'
import type { Scope } from '../protocol/scopes.ts'

/** No route without a surface: what may authenticate on it is never left to chance, for plugins' routes neither. */
async function surfaces(app: FastifyInstance): Promise<void> {
  const known = new Map<string, { methods: Set<string>; enabled: (() => boolean) | undefined }>()
  app.decorate('methodsOf', (url) => {
    const { methods, enabled } = known.get(url) ?? {}
    return enabled?.() === false ? undefined : methods
  })
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
      throw new Error(
        `route ${method} ${url} is an HTTP API and must name its scope: config: { scope: 'operator.…' | 'any' }`
      )
    }
    if (config.surface === 'static' || config.surface === 'websocket' || url.includes('*')) return
    const methods = known.get(url)?.methods ?? new Set()
    for (const each of [method].flat()) methods.add(each)
    known.set(url, { methods, enabled: config.enabled })
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Which methods a fixed path knows; undefined for a path that is not there. */
    methodsOf(url: string): ReadonlySet<string> | undefined
  }
  interface FastifyContextConfig {
    surface?: Surface
    /** The scope a caller needs; HTTP APIs must name one. With `any` the route looks at the caller's scopes itself. */
    scope?: Scope | 'any'
    /** Reports whether the route is there; while it is not, it is told from no other unknown path. Default: always. */
    enabled?(): boolean
  }
}

export default fp(surfaces, { name: 'surfaces', fastify: '5.x' })
