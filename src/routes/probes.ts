import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'

const live = JSON.stringify({ ok: true, status: 'live' })

const number = Type.Optional(Type.Number())
const schemas = {
  live: {
    summary: 'Whether the process answers',
    response: { 200: Type.Object({ ok: Type.Literal(true), status: Type.Literal('live') }) }
  },
  started: {
    summary: 'Whether it has started',
    response: {
      200: Type.Object({
        ok: Type.Literal(true),
        status: Type.Literal('started'),
        version: Type.Optional(Type.String()),
        uptimeMs: number
      })
    }
  },
  ready: { summary: 'Whether it takes work', response: { 200: readiness(true), 503: readiness(false) } }
}

function readiness(ready: boolean) {
  const details = { failing: Type.Optional(Type.Array(Type.String())), uptimeMs: number }
  const eventLoop = Type.Optional(Type.Record(Type.String(), Type.Unknown()))
  return Type.Object({ ready: Type.Literal(ready), ...details, eventLoop })
}

/** Liveness, start-up and readiness. Details only for callers of this host, or with credentials (S26). */
export default async function probes(app: FastifyInstance): Promise<void> {
  const config = { surface: 'probe' } as const
  const json = 'application/json; charset=utf-8'

  for (const url of ['/health', '/healthz']) {
    app.get(url, { config, schema: schemas.live }, (_request, reply) => {
      reply.header('cache-control', 'no-store').header('content-type', json).send(live)
    })
  }
  for (const url of ['/startup', '/startupz']) {
    app.get(url, { config, schema: schemas.started }, async (request, reply) => {
      reply.header('cache-control', 'no-store')
      if (!(await showsDetails(request))) return { ok: true, status: 'started' }
      return { ok: true, status: 'started', version: app.serverInfo.version, uptimeMs: app.health.uptimeMs }
    })
  }
  for (const url of ['/ready', '/readyz']) {
    app.get(url, { config, schema: schemas.ready }, async (request, reply: FastifyReply) => {
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
