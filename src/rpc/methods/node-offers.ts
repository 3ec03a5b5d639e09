import { Type } from 'typebox'
import type { NodeRegistry } from '../../nodes/registry.ts'
import { standingOf } from '../../nodes/standing.ts'
import { lentTools, NodeTool } from '../../nodes/tools.ts'
import { invalidRequest, RpcError } from '../../protocol/errors.ts'
import { checker } from '../../protocol/validate.ts'
import { defineMethod, type Method } from '../method.ts'

const closed = { additionalProperties: false } as const
const NodeSkill = Type.Object(
  {
    name: Type.String({ pattern: '^(?!.*--)[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$', minLength: 1, maxLength: 64 }),
    description: Type.String({ minLength: 1, maxLength: 1_024 }),
    content: Type.String({ minLength: 1, maxLength: 65_536 })
  },
  closed
)
const RunnerInventory = Type.Object({
  protocolFeatures: Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { maxItems: 64 }),
  workerHost: Type.Object({ enabled: Type.Boolean() })
})
const checkInventory = checker(RunnerInventory)

/** What nodes lend beside their commands. Each is answered as it is understood: nodes come again when they are not. */
export function nodeOffersMethods({ registry }: { registry: NodeRegistry }): Method[] {
  return [
    defineMethod({
      // The programs that skills of the gateway need; it has no skills.
      name: 'skills.bins',
      scope: 'node',
      params: Type.Object({}, closed),
      handler: () => ({ bins: [] })
    }),
    defineMethod({
      name: 'node.skills.update',
      scope: 'node',
      params: Type.Object({ skills: Type.Array(NodeSkill, { maxItems: 64 }) }, closed),
      handler({ skills }, { connId }) {
        const { nodeId } = standingOf(registry, connId)
        const named = new Map(skills.map((skill) => [skill.name, skill] as const).reverse())
        return { nodeId, skills: [...named.values()].reverse() }
      }
    }),
    defineMethod({
      name: 'node.pluginTools.update',
      scope: 'node',
      params: Type.Object({ tools: Type.Array(NodeTool) }, closed),
      handler({ tools: offered }, { connId }) {
        const { nodeId, session, commands } = standingOf(registry, connId)
        const tools = lentTools(offered, commands)
        session.published.pluginTools = tools
        return { nodeId, tools }
      }
    }),
    defineMethod({
      // Sessions of agents on nodes are nothing that this gateway starts; what a node says of them is taken in.
      name: 'node.runnerInventory.update',
      scope: 'node',
      params: Type.Unknown(),
      handler(params, { connId }) {
        if (checkInventory(params) !== undefined) throw invalidRequest('invalid node runner inventory')
        const { nodeId } = standingOf(registry, connId)
        return { nodeId }
      }
    }),
    defineMethod({
      name: 'node.pluginSurface.refresh',
      scope: 'node',
      params: Type.Unknown(),
      handler(params) {
        const surface = (params as { surface?: unknown } | null)?.surface
        if (typeof surface !== 'string' || surface.trim() === '') throw invalidRequest('surface required')
        throw new RpcError('UNAVAILABLE', `${surface.trim().slice(0, 64)} plugin surface unavailable`)
      }
    })
  ]
}
