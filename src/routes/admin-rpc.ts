import { randomUUID } from 'node:crypto'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { isObject } from '../config/key-path.ts'
import { callerOf } from '../plugins/caller.ts'
import { ErrorBody, failing, RefusedCall } from '../plugins/errors.ts'
import { call, errorShape } from '../rpc/dispatch.ts'
import { worksOverHttp } from '../rpc/method.ts'

const BODY_BYTES = 1_048_576
const MAX_ID = 256

const Failed = Type.Object({
  id: Type.String(),
  ok: Type.Literal(false),
  error: Type.Object({
    code: Type.String(),
    message: Type.String(),
    details: Type.Optional(Type.Unknown()),
    retryable: Type.Optional(Type.Boolean()),
    retryAfterMs: Type.Optional(Type.Number())
  })
})
const failed = (description: string) => ({ ...Failed, description })
const schema = {
  summary: 'Call any method',
  description: 'Off until `plugins.entries["admin-http-rpc"].enabled` is true. Each method needs its own scope.',
  body: Type.Object(
    {
      id: Type.Optional(Type.String({ maxLength: MAX_ID, description: 'Comes back with the answer' })),
      method: Type.String({ minLength: 1, description: '`commands.list` lists them' }),
      params: Type.Optional(Type.Unknown())
    },
    { examples: [{ method: 'health' }, { id: '1', method: 'device.pair.list', params: {} }] }
  ),
  response: {
    200: Type.Object({ id: Type.String(), ok: Type.Literal(true), payload: Type.Optional(Type.Unknown()) }),
    400: {
      description: 'INVALID_REQUEST; without `id` where the body could not be read',
      anyOf: [Failed, RefusedCall]
    },
    403: { description: 'FORBIDDEN: a scope is missing', anyOf: [Failed, ErrorBody] },
    404: failed('NOT_FOUND'),
    409: failed('NOT_PAIRED'),
    413: { ...RefusedCall, description: 'The body is too large' },
    415: { ...RefusedCall, description: 'The body is not `application/json`' },
    503: failed('UNAVAILABLE: not now, or too often; `retry-after` says when')
  }
}

/** `POST /api/v1/admin/rpc`: the methods over HTTP, for programs that keep no socket open. Off until asked for. */
export default async function adminRpc(app: FastifyInstance): Promise<void> {
  app.post(
    '/api/v1/admin/rpc',
    {
      config: { surface: 'http-api', scope: 'any', enabled: () => app.config.adminHttpRpc },
      bodyLimit: BODY_BYTES,
      schema,
      // Checked below, in the reference's words.
      validatorCompiler: () => () => true,
      errorHandler: unreadable
    },
    async (request, reply) => {
      const { body } = request
      reply.header('cache-control', 'no-store')
      if (body === undefined) return refuse(reply, 'request body must be JSON')
      if (!isObject(body)) return refuse(reply, 'request body must be an object')
      const { method, params } = body
      if (typeof method !== 'string' || method === '') return refuse(reply, 'method must be a non-empty string')
      const id = typeof body.id === 'string' && body.id !== '' ? body.id.slice(0, MAX_ID) : randomUUID()
      const caller = callerOf(request)
      try {
        const frame = { method, params }
        const payload =
          method === 'commands.list' ? list() : await app.calls.run(caller, () => call(app.registry, frame, caller))
        return { id, ok: true, payload }
      } catch (error) {
        const shape = errorShape(error)
        if (shape.message === 'internal error') request.log.error({ err: error, method }, 'call failed')
        return failing(reply, shape).send({ id, ok: false, error: shape })
      }
    }
  )

  // Here the reference means these methods, not a chat's commands.
  function list() {
    return { methods: app.registry.names.filter((name) => worksOverHttp(app.registry.get(name)!)) }
  }
}

// A body that cannot be read: all routes' answer, in the shape of this one's.
function unreadable(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { statusCode = 500, message } = error
  if (![400, 413, 415].includes(statusCode)) throw error
  return refuse(reply, statusCode === 413 ? 'Payload too large' : message, statusCode)
}

function refuse(reply: FastifyReply, message: string, status = 400): FastifyReply {
  return reply
    .code(status)
    .header('cache-control', 'no-store')
    .send({ ok: false, error: { type: 'invalid_request', message } })
}
