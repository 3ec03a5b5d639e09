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
  '/tools/invoke': 'http-api',
  '/api/v1/admin/rpc': 'http-api',
  '/api/v1/events': 'http-api',
  '/openapi.json': 'http-api',
  '/control-ui-config.json': 'control-ui',
  '/__openclaw/control-ui-config.json': 'control-ui',
  '/assets/*': 'static',
  '/j/:code': 'static',
  '/__openclaw__/socket': 'websocket'
}
// The files made by hand that lie beside the Control UI's page.
for (const entry of readdirSync(PUBLIC_DIR, { withFileTypes: true }))
  if (entry.isFile() && entry.name !== 'index.html') inventory[`/${entry.name}`] = 'static'

/** How a route is asked, and what somebody who is let in gets. */
export interface Question {
  path: string
  method: 'GET' | 'POST'
  body: string | undefined
  answer: number
  /** What the same gets with a query that the route does not know, where that is something else. */
  strange?: number
}

const posts: Record<string, Pick<Question, 'body' | 'answer'>> = {
  '/tools/invoke': { body: '{"tool":"none"}', answer: 404 },
  '/api/v1/admin/rpc': { body: '{"method":"health"}', answer: 200 }
}

/** The question for a route of the inventory. */
export function questionFor(url: string): Question {
  const post = posts[url]
  if (post !== undefined) return { path: url, method: 'POST', ...post }
  const path = url.replace('/assets/*', '/assets/none.js').replace(':code', 'none')
  const strange = url === '/api/v1/events' ? { strange: 400 } : {}
  return {
    path,
    method: 'GET',
    body: undefined,
    ...strange,
    answer: /none|__openclaw__\/socket/.test(path) ? 404 : 200
  }
}

/** What the file says beside the `gateway` section, so that every route of the inventory is there. */
export const everyRoute = { plugins: { entries: { 'admin-http-rpc': { enabled: true } } } }

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
