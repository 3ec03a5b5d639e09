import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { callerOf } from '../plugins/caller.ts'
import { ErrorBody, refusal } from '../plugins/errors.ts'
import { missingScope } from '../protocol/errors.ts'
import { EVENT_NAMES, eventRule, receives } from '../rpc/events.ts'
import type { Caller } from '../rpc/method.ts'

const STREAM = 'text/event-stream; charset=utf-8'
const headers = {
  'content-type': STREAM,
  // A proxy that compresses, or collects before it sends on, would hold events back.
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no'
}

const EXAMPLE = 'id: 5f0c9a1e-7\nevent: tick\ndata: {"type":"event","event":"tick","payload":{"ts":1795339923319}}\n\n'
const schema = {
  summary: 'Events as they happen',
  description:
    'Server-Sent Events: each has an `id`, and `Last-Event-ID` takes up where it left off; `event: gap` says that some are missing.',
  querystring: Type.Object(
    { events: Type.Optional(Type.String({ maxLength: 2_048, description: 'Names, with commas. Default: all' })) },
    { additionalProperties: false }
  ),
  headers: Type.Object({
    'last-event-id': Type.Optional(Type.String({ description: 'The id of the last event that arrived' }))
  }),
  response: {
    200: { content: { 'text/event-stream': { schema: Type.String({ examples: [EXAMPLE] }) } } },
    400: { ...ErrorBody, description: 'There is no such event, or no such word in the query' },
    503: { ...ErrorBody, description: 'The gateway is stopping' }
  }
}

/** `GET /api/v1/events`: what sockets are told, for programs that only listen. */
export default async function events(app: FastifyInstance): Promise<void> {
  const { authority, health, hub } = app
  const { streams } = hub

  app.get<{ Querystring: { events?: string } }>(
    '/api/v1/events',
    { config: { surface: 'http-api', scope: 'any' }, schema },
    (request, reply) => {
      const caller = callerOf(request)
      const wanted = wantedBy(caller, request.query.events)
      if (request.method === 'HEAD') return reply.headers(headers).send()
      // Whoever left while it was being authenticated would never be seen to leave.
      if (request.raw.socket.destroyed) return reply.hijack()
      if (health.draining) throw refusal('stopping', { retryAfterMs: 1_000 })
      const release = streams.quota.take(caller)
      if (release === undefined) throw refusal('too_many_streams', { retryAfterMs: 10_000 })
      const lastId = request.headers['last-event-id']
      reply.hijack()
      const { raw } = reply
      raw.once('close', release)
      raw.writeHead(200, { ...reply.getHeaders(), ...headers } as Record<string, string>)
      const stream = streams.open(raw, { caller, wanted, lastId: lastId?.toString() })
      raw.once('close', () => authority.forget(stream))
      authority.watch(stream)
    }
  )
}

/** The events that a caller names; one that there is not, or that it may not see, is refused rather than never sent. */
function wantedBy(caller: Caller, names: string | undefined): ReadonlySet<string> | undefined {
  if (names === undefined) return undefined
  const wanted = new Set(names.split(',').map((name) => name.trim()))
  for (const name of wanted) {
    const rule = eventRule(name)
    if (rule === undefined) throw refusal('unknown_event', { details: { known: EVENT_NAMES.filter(eventRule) } })
    if (!receives(caller, rule) && rule.scope !== 'any') throw missingScope(rule.scope)
  }
  return wanted
}
