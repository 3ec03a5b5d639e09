import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { call } from '../rpc/dispatch.ts'
import type { Caller } from '../rpc/method.ts'
import { gatewayTool } from '../tools/gateway.ts'
import type { CallMethod } from '../tools/methods.ts'
import { nodesTool } from '../tools/nodes.ts'
import { ToolError, ToolRegistry } from '../tools/registry.ts'

/** Every tool that can be used. Built-in ones call methods, as their user: a tool is no way around a scope. */
async function tools(app: FastifyInstance): Promise<void> {
  const callMethod: CallMethod<Caller> = (method, params, caller) => {
    if (app.registry.get(method) !== undefined) return call(app.registry, { method, params }, caller)
    throw new ToolError('not_found', `This gateway has no ${method}`)
  }
  app.decorate('tools', new ToolRegistry<Caller>([nodesTool(callMethod), gatewayTool(callMethod)]))
}

declare module 'fastify' {
  interface FastifyInstance {
    tools: ToolRegistry<Caller>
  }
}

export default fp(tools, { name: 'tools', dependencies: ['methods'], fastify: '5.x' })
