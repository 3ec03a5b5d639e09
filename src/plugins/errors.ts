import createError from '@fastify/error'
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import { Type } from 'typebox'
import { type Fix, RpcError } from '../protocol/errors.ts'

/** An HTTP refusal: made from the table below, turned into a reply in this file only. */
export interface HttpRefusal extends FastifyError {
  type: string
  fix?: Fix
  retryAfterMs?: number
  authenticate?: string
  details?: unknown
}

const refusals = {
  unauthorized: [401, 'Unauthorized'],
  proxy_attribution_required: [
    403,
    'Proxy client attribution is required. Configure gateway.trustedProxies narrowly and make the proxy overwrite or safely rebuild forwarded client headers.'
  ],
  origin_not_allowed: [403, 'Origin not allowed'],
  host_not_allowed: [421, 'This gateway does not answer to that host name'],
  rate_limited: [429, 'Too many failed authentication attempts. Please try again later.'],
  unknown_event: [400, 'There is no such event'],
  too_many_streams: [429, 'Too many event streams are open; close one, or wait.'],
  stopping: [503, 'The gateway is stopping']
} as const

const classes = Object.fromEntries(
  Object.entries(refusals).map(([type, [status, message]]) => [type, createError(type.toUpperCase(), message, status)])
)

/** Makes a refusal of the table, to throw or to pass to `done`. */
export function refusal(
  type: keyof typeof refusals,
  more: Pick<Partial<HttpRefusal>, 'fix' | 'retryAfterMs' | 'authenticate' | 'details'> = {}
): HttpRefusal {
  return Object.assign(new classes[type]!() as HttpRefusal, { type }, more)
}

// What a method's error comes to over HTTP: the reference's rows, and what it answers with 500.
const statuses: Readonly<Record<string, number>> = {
  INVALID_REQUEST: 400,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  APPROVAL_NOT_FOUND: 404,
  NOT_LINKED: 409,
  NOT_PAIRED: 409,
  UNAVAILABLE: 503,
  AGENT_TIMEOUT: 504
}

/** Sets the status of a method's error, and when to try again; the body is the route's. */
export function failing(
  reply: FastifyReply,
  { code, retryAfterMs }: { code: string; retryAfterMs?: number | undefined }
): FastifyReply {
  if (retryAfterMs !== undefined) reply.header('retry-after', seconds(retryAfterMs))
  return reply.code(statuses[code] ?? 500)
}

/** The body of a request that is refused before a route looks at it. */
export const ErrorBody = Type.Object({
  error: Type.Object({
    message: Type.String(),
    type: Type.String({ description: 'The kind of error, for programs' }),
    details: Type.Optional(Type.Unknown()),
    fix: Type.Optional(Type.Object({ command: Type.String(), where: Type.Enum(['gateway host', 'this client']) }))
  })
})

/** The body of a call that a route refuses. */
export const RefusedCall = Type.Object({
  ok: Type.Literal(false),
  error: Type.Object({ type: Type.String(), message: Type.String(), details: Type.Optional(Type.Unknown()) })
})

/** Puts a refused call into that shape. */
export function refusedCall({ code, message, details }: RpcError, type = code.toLowerCase()) {
  return { ok: false, error: { type, message, ...(details === undefined ? {} : { details }) } }
}

/** One place turns errors into replies; from 500 on nothing of the inside goes out. */
async function errors(app: FastifyInstance): Promise<void> {
  app.setErrorHandler((error: HttpRefusal | RpcError | FastifyError, request, reply) => {
    if (error instanceof RpcError) {
      // A scope is missing before the body is read.
      hangUp(reply)
      return failing(reply, error).send(refusedCall(error))
    }
    if (isRefusal(error)) return refuse(error, reply)
    const status = error.statusCode ?? 500
    if (status >= 500) {
      request.log.error({ err: error, route: request.routeOptions.url }, 'request failed')
      return reply.code(500).send({ error: { message: 'internal error', type: 'api_error' } })
    }
    if (status === 413) {
      const { bodyLimit } = request.routeOptions
      app.stability.record('payload.large', { surface: 'http', action: 'rejected', limitBytes: bodyLimit })
      return reply
        .code(413)
        .header('connection', 'close')
        .send({ error: { message: 'Payload too large', type: 'invalid_request_error' } })
    }
    return reply.code(status).send({ error: { message: error.message, type: 'invalid_request_error' } })
  })
}

// Our own refusals only: a foreign error may have a `type` too, and words that must stay inside.
function isRefusal(error: HttpRefusal | FastifyError): error is HttpRefusal {
  return 'type' in error && typeof error.type === 'string' && Object.hasOwn(refusals, error.type)
}

/** Closes the connection of a request whose body nobody will read: what is left of it must not keep the socket. */
export function hangUp(reply: FastifyReply): void {
  const { headers } = reply.request
  const empty = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0
  if (!empty) reply.header('connection', 'close')
}

function refuse(error: HttpRefusal, reply: FastifyReply): FastifyReply {
  const { statusCode = 500, type, message, fix, details, retryAfterMs, authenticate } = error
  reply.code(statusCode)
  hangUp(reply)
  // A refusal may come before the hooks that would have set it.
  reply.header('x-content-type-options', 'nosniff')
  if (authenticate !== undefined) reply.header('www-authenticate', authenticate)
  if (retryAfterMs !== undefined) reply.header('retry-after', seconds(retryAfterMs))
  // An upgrade that was refused leaves no HTTP connection to go on with.
  if (reply.request.ws || statusCode === 403 || statusCode === 421) reply.header('connection', 'close')
  const more = { ...(details === undefined ? {} : { details }), ...(fix === undefined ? {} : { fix }) }
  return reply.send({ error: { message, type, ...more } })
}

function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000))
}

export default fp(errors, { name: 'errors', dependencies: ['state'], fastify: '5.x' })
