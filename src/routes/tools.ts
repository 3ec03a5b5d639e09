import type { FastifyInstance, FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { isObject } from '../config/key-path.ts'
import { callerOf } from '../plugins/caller.ts'
import { ErrorBody, failing, RefusedCall, refusedCall } from '../plugins/errors.ts'
import { RpcError } from '../protocol/errors.ts'
import { offeredOverHttp } from '../tools/http-policy.ts'
import { notAvailable, ToolError } from '../tools/registry.ts'

const BODY_BYTES = 2_097_152
const STATUSES = { invalid_request: 400, tool_error: 400, not_found: 404 } as const

const optional = (description: string) => Type.Optional(Type.String({ description }))
const refused = (description: string) => ({ ...RefusedCall, description })
const schema = {
  summary: 'Use one tool',
  description:
    'Tools that could do harm are closed until `gateway.tools.allow` names them, and open to admins only then; `gateway.tools.deny` closes any.',
  body: Type.Object(
    {
      tool: optional('The tool. `name` wins when both are given'),
      name: optional('The tool'),
      action: optional('What the tool is to do, unless `args.action` says it'),
      args: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'Arguments of the action' })),
      sessionKey: optional('The session that the tool works in; default: the main one'),
      agentId: optional('The agent whose session it is'),
      idempotencyKey: optional('The same for each try of one use, so that it is done once'),
      dryRun: Type.Optional(Type.Boolean({ description: 'Ignored' }))
    },
    { examples: [{ tool: 'gateway', action: 'status' }] }
  ),
  response: {
    200: Type.Object({
      ok: Type.Literal(true),
      result: Type.Object({
        content: Type.Array(Type.Object({ type: Type.Literal('text'), text: Type.String() })),
        details: Type.Unknown({ description: 'The same as data' })
      })
    }),
    400: { description: 'The request or the arguments are wrong', anyOf: [RefusedCall, ErrorBody] },
    404: refused('There is no such tool, or not for this caller'),
    500: refused('The tool broke'),
    503: refused('The tool cannot do it now: a node is not connected, or too much is under way')
  }
}

/** `POST /tools/invoke`: one tool, without an agent (§6.2). */
export default async function tools(app: FastifyInstance): Promise<void> {
  // Tools may come later than this route.
  const described = Object.defineProperty({ ...schema }, 'x-openclaw-tools', {
    enumerable: true,
    get: () => app.tools.tools
  })
  app.post(
    '/tools/invoke',
    {
      config: { surface: 'http-api', scope: 'operator.write' },
      bodyLimit: BODY_BYTES,
      schema: described,
      // As lenient as the reference: what is not of its kind counts as not given.
      validatorCompiler: () => () => true
    },
    async (request, reply) => {
      const body = isObject(request.body) ? request.body : {}
      const name = text(body.name) ?? text(body.tool)
      if (name === undefined) return refuse(reply, 'invalid_request', 'tools.invoke requires name')
      const wrong = sessionFault(text(body.sessionKey), text(body.agentId))
      if (wrong !== undefined) return refuse(reply, 'invalid_request', wrong)
      const caller = callerOf(request)
      const given = isObject(body.args) ? body.args : {}
      const args = given.action === undefined && body.action !== undefined ? { ...given, action: body.action } : given
      const use = { idempotencyKey: text(body.idempotencyKey) }
      try {
        if (!offeredOverHttp(name, app.config.gateway.tools, caller.scopes)) throw notAvailable(name)
        const details = await app.calls.run(caller, () => app.tools.invoke(name, args, caller, use))
        const content = [{ type: 'text', text: JSON.stringify(details ?? null, null, 2) }]
        return { ok: true, result: { content, details } }
      } catch (error) {
        if (error instanceof ToolError) return refuse(reply, error.type, error.message)
        if (error instanceof RpcError) return failing(reply, error).send(refusedCall(error, typeOf(error)))
        request.log.error({ err: error, tool: name }, 'tool failed')
        return refuse(reply, 'tool_error', 'tool execution failed', 500)
      }
    }
  )
}

function refuse(
  reply: FastifyReply,
  type: keyof typeof STATUSES,
  message: string,
  status: number = STATUSES[type]
): FastifyReply {
  return reply.code(status).send({ ok: false, error: { type, message } })
}

function typeOf({ code }: RpcError): string {
  return code === 'FORBIDDEN' || code === 'NOT_FOUND' ? code.toLowerCase() : 'tool_error'
}

// There is one agent.
function sessionFault(sessionKey: string | undefined, agentId: string | undefined): string | undefined {
  if (agentId === undefined) return undefined
  const owner = /^agent:([^:]+):/.exec(sessionKey ?? '')?.[1]
  const [mine, theirs] = [JSON.stringify(agentId.slice(0, 64)), JSON.stringify(owner?.slice(0, 64))]
  if (agentId !== 'main') return `Unknown agent id ${mine}`
  if (owner !== undefined && owner !== agentId) return `agent ${mine} does not match session key agent ${theirs}`
  return undefined
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined
}
