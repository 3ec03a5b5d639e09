import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdirSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import type { Surface } from '../../src/auth/surfaces.ts'
import { PUBLIC_DIR } from '../../src/package.ts'

/** Every route that a gateway has, with its surface: a route that is added must be added here (S10, S21). */
export const inventory: Record<string, Surface> = {
  '/health': 'probe',
  '/healthz': 'probe',
  '/startup': 'probe',
  '/startupz': 'probe',
  '/ready': 'probe',
  '/readyz': 'probe',
  '/metrics': 'http-api',
  '/control-ui-config.json': 'control-ui',
  '/__openclaw/control-ui-config.json': 'control-ui',
  '/assets/*': 'static',
  '/j/:code': 'static',
  '/__openclaw__/socket': 'websocket'
}
// The files made by hand that lie beside the Control UI's page.
for (const entry of readdirSync(PUBLIC_DIR, { withFileTypes: true }))
  if (entry.isFile() && entry.name !== 'index.html') inventory[`/${entry.name}`] = 'static'

/** A path that a route answers, where its pattern is none. */
export function pathOf(url: string): string {
  return url.replace('/assets/*', '/assets/none.js').replace(':code', 'none')
}

/** Records the routes of every gateway that is built until it is stopped, with their surfaces. */
export function watchRoutes(): { routes: Record<string, unknown>; stop(): void } {
  const routes: Record<string, unknown> = {}
  const created = (message: unknown) =>
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', ({ url, config }) => {
      routes[url] = config?.surface
    })
  subscribe('fastify.initialization', created)
  return { routes, stop: () => unsubscribe('fastify.initialization', created) }
}
