import { randomUUID } from 'node:crypto'
import { Type } from 'typebox'
import type { Broker } from '../../nodes/broker.ts'
import type { Asker } from '../../nodes/invocation.ts'
import { invokeScope } from '../../nodes/policy.ts'
import { invalidRequest } from '../../protocol/errors.ts'
import { requireScope } from '../dispatch.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'
import { isAdmin } from './device-deps.ts'

type Params = Readonly<Record<string, unknown>>

/** What the methods of invocations work on. */
export interface InvokeDeps {
  broker: Broker
  /** Makes the params of a `system.run` what a node may be sent: an approval is claimed by nobody who has none. */
  approvedRun(nodeId: string, params: Params, caller: Caller): Params | Promise<Params>
}

const text = Type.String({ minLength: 1, maxLength: 256 })
const closed = { additionalProperties: false } as const
const chunk = Type.String({ maxLength: 16_384 })
const stream = Type.Optional(Type.Enum(['stdin', 'stdout', 'stderr']))
const turn = Type.Optional(Type.String({ maxLength: 1_024 }))
const seq = Type.Integer({ minimum: 0 })
const nullable = <T extends ReturnType<typeof Type.String>>(type: T) => Type.Union([type, Type.Null()])

/** Having a node do something, from the operator's side and from the node's (§4). */
export function invokeMethods({ broker, approvedRun }: InvokeDeps): Method[] {
  return [
    defineMethod({
      name: 'node.invoke',
      scope: 'operator.write',
      waits: true,
      params: Type.Object(
        {
          nodeId: text,
          command: text,
          params: Type.Optional(Type.Unknown()),
          timeoutMs: Type.Optional(Type.Integer({ minimum: 0 })),
          idempotencyKey: text,
          sessionKey: Type.Optional(text),
          turnSourceChannel: turn,
          turnSourceTo: turn,
          turnSourceAccountId: turn,
          turnSourceThreadId: Type.Optional(Type.Union([Type.String({ maxLength: 1_024 }), Type.Number()]))
        },
        closed
      ),
      handler(params, caller) {
        const nodeId = params.nodeId.trim()
        const command = params.command.trim()
        if (nodeId === '' || command === '') throw invalidRequest('nodeId and command required')
        if (command.startsWith('system.execApprovals.')) {
          const message = 'node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*'
          throw invalidRequest(message, { command })
        }
        requireScope(caller, invokeScope(command))
        const { params: given, timeoutMs, idempotencyKey } = params
        const request = { nodeId, command, params: given, timeoutMs, idempotencyKey }
        const prepare = command === 'system.run' && isObject(given) ? () => run(nodeId, given, caller) : undefined
        return broker.invoke(request, askerOf(caller), prepare)
      }
    }),
    defineMethod({
      // Ours: the caller, or an admin, gives up what it started.
      name: 'node.invoke.cancel',
      scope: 'operator.write',
      params: Type.Object({ nodeId: text, idempotencyKey: text }, closed),
      async handler({ nodeId, idempotencyKey }, caller) {
        const asker = askerOf(caller)
        await broker.begun(nodeId, idempotencyKey, asker)
        return { cancelled: broker.cancel(nodeId, idempotencyKey, asker, isAdmin(caller)) }
      }
    }),
    defineMethod({
      // Ours: what the command that runs reads, and how much of its output the caller has taken.
      name: 'node.invoke.input',
      scope: 'operator.write',
      params: Type.Object(
        {
          nodeId: text,
          idempotencyKey: text,
          data: Type.Optional(chunk),
          dataBase64: Type.Optional(chunk),
          end: Type.Optional(Type.Boolean()),
          taken: Type.Optional(Type.Integer({ minimum: 0 }))
        },
        closed
      ),
      async handler({ nodeId, idempotencyKey, ...piece }, caller) {
        const asker = askerOf(caller)
        await broker.begun(nodeId, idempotencyKey, asker)
        if (broker.input(nodeId, idempotencyKey, asker, isAdmin(caller), piece)) return { ok: true }
        throw invalidRequest('no such invocation is under way')
      }
    }),
    defineMethod({
      name: 'node.invoke.result',
      scope: 'node',
      params: Type.Object(
        {
          id: text,
          nodeId: text,
          ok: Type.Boolean(),
          payload: Type.Optional(Type.Unknown()),
          payloadJSON: Type.Optional(nullable(Type.String())),
          error: Type.Optional(
            Type.Union([
              Type.Object(
                {
                  code: Type.Optional(Type.String({ minLength: 1 })),
                  message: Type.Optional(Type.String({ minLength: 1 }))
                },
                closed
              ),
              Type.Null()
            ])
          )
        },
        closed
      ),
      handler({ id, nodeId, ...result }, caller) {
        requireSelf(nodeId, caller)
        return taken(broker.result(caller.connId, id, result))
      }
    }),
    defineMethod({
      name: 'node.invoke.progress',
      scope: 'node',
      // The stream is ours: a node names it where the caller asked it to keep them apart.
      params: Type.Object({ invokeId: text, nodeId: text, seq, chunk, stream }, closed),
      handler({ invokeId, nodeId, seq, ...piece }, caller) {
        requireSelf(nodeId, caller)
        return taken(broker.progress(caller.connId, invokeId, seq, piece))
      }
    })
  ]

  async function run(nodeId: string, params: Params, caller: Caller): Promise<Params> {
    const approved = await approvedRun(nodeId, params, caller)
    // The command is known by it from here on, to approvals and to what the node tells of it.
    return { ...approved, runId: approved.runId ?? randomUUID() }
  }
}

/** Who asks, under the name by which a request that comes again is told from another's. */
function askerOf({ connId, deviceId, token, user, method }: Caller): Asker {
  const name =
    deviceId !== undefined
      ? `device:${deviceId}`
      : token !== undefined
        ? `token:${token.id}`
        : user !== undefined
          ? `user:${user.id}`
          : method
  return { connId, name }
}

function requireSelf(nodeId: string, caller: Caller): void {
  if (nodeId !== caller.deviceId) throw invalidRequest('nodeId mismatch')
}

function taken(known: boolean): { ok: true; ignored?: true } {
  return known ? { ok: true } : { ok: true, ignored: true }
}

function isObject(value: unknown): value is Params {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
