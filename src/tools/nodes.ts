import { randomUUID } from 'node:crypto'
import { Type } from 'typebox'
import type { CallMethod } from './methods.ts'
import { defineAction, type Tool, type ToolCaller, ToolError } from './registry.ts'

const closed = { additionalProperties: false } as const
const none = Type.Object({}, closed)
const text = Type.String({ minLength: 1, maxLength: 256 })
const node = Type.String({ minLength: 1, maxLength: 256, description: 'The id of a paired node' })

/** The tool `nodes`: which nodes there are, and their commands run for whoever may. Arguments are named as in the reference. */
export function nodesTool<C extends ToolCaller>(call: CallMethod<C>): Tool<C> {
  const list = defineAction({
    description: 'All nodes, connected or not, with the commands that they offer',
    scope: 'operator.read',
    params: none,
    run: (_params, caller: C) => call('node.list', {}, caller)
  })

  return {
    name: 'nodes',
    description: 'Nodes: machines and phones that lend their hands',
    actions: {
      list,
      // The reference's word for it.
      status: list,
      describe: defineAction({
        description: 'One node',
        scope: 'operator.read',
        params: Type.Object({ node }, closed),
        run: ({ node }, caller: C) => call('node.describe', { nodeId: node }, caller)
      }),
      pending: defineAction({
        description: 'Nodes that wait for somebody to approve them or what they offer',
        scope: 'operator.pairing',
        params: none,
        run: (_params, caller: C) => call('node.pair.list', {}, caller)
      }),
      invoke: defineAction({
        description: 'Runs a command of a node, and waits for its answer',
        scope: 'operator.write',
        params: Type.Object(
          {
            node,
            invokeCommand: text,
            invokeParams: Type.Optional(Type.Unknown({ description: "The command's params" })),
            invokeParamsJson: Type.Optional(Type.String({ description: 'The same as JSON text' })),
            invokeTimeoutMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000 })),
            idempotencyKey: Type.Optional(text)
          },
          closed
        ),
        run(given, caller: C, use) {
          const { invokeParams, invokeParamsJson, invokeTimeoutMs: timeoutMs } = given
          const params = invokeParamsJson === undefined ? invokeParams : parsed(invokeParamsJson)
          return call(
            'node.invoke',
            {
              nodeId: given.node,
              command: given.invokeCommand,
              idempotencyKey: given.idempotencyKey ?? use.idempotencyKey ?? randomUUID(),
              ...(params === undefined ? {} : { params }),
              ...(timeoutMs === undefined ? {} : { timeoutMs })
            },
            caller
          )
        }
      })
    }
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new ToolError('tool_error', 'invokeParamsJson is not JSON')
  }
}
