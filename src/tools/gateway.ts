import { Type } from 'typebox'
import type { CallMethod } from './methods.ts'
import { defineAction, type Tool, type ToolCaller } from './registry.ts'

const none = Type.Object({}, { additionalProperties: false })

/** The tool `gateway`: how the gateway is, and who is around. */
export function gatewayTool<C extends ToolCaller>(call: CallMethod<C>): Tool<C> {
  const shows = (description: string, method: string) =>
    defineAction({
      description,
      scope: 'operator.read',
      params: none,
      run: (_params, caller: C) => call(method, {}, caller)
    })

  return {
    name: 'gateway',
    description: 'How the gateway is, and who is connected to it',
    actions: {
      status: shows('Version, listeners, memory, connections, warnings', 'status'),
      health: shows('The health document that health events carry', 'health'),
      presence: shows('Who is connected, and who left lately', 'system-presence')
    }
  }
}
