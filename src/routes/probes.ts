import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

const live = JSON.stringify({ ok: true, status: 'live' })

/** Liveness, start-up and readiness. Details only for callers of this host, or with credentials (S26). */
export default async function probes(app: FastifyInstance): Promise<void> {
  const config = { surface: 'probe' } as const
  const json = 'application/json; charset=utf-8'

  for (const url of ['/health', '/healthz']) {
    // Asynchronous on purpose: answers to pipelined requests then leave in one write.
    app.get(url, { config }, async (_request, reply) => {
      reply.header('cache-control', 'no-store').header('content-type', json)
      return live
    })
  }
  for (const url of ['/startup', '/startupz']) {
    app.get(url, { config }, async (request, reply) => {
      reply.header('cache-control', 'no-store')
      if (!(await showsDetails(request))) return { ok: true, status: 'started' }
      return { ok: true, status: 'started', version: app.serverInfo.version, uptimeMs: app.health.uptimeMs }
    })
  }
  for (const url of ['/ready', '/readyz']) {
    app.get(url, { config }, async (request, reply: FastifyReply) => {
      const { draining, uptimeMs } = app.health
      reply.header('cache-control', 'no-store').code(draining ? 503 : 200)
      if (!(await showsDetails(request))) return { ready: !draining }
      return {
        ready: !draining,
        failing: draining ? ['gateway-draining'] : [],
        uptimeMs,
        eventLoop: app.health.eventLoop()
      }
    })
  }

  async function showsDetails(request: FastifyRequest): Promise<boolean> {
    if (request.ingress.local) return true
    if (request.headers.authorization === undefined) return false
    return (await app.authenticate(request)).ok
  }
}
