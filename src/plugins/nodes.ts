import type { DatabaseSync } from 'node:sqlite'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Broker } from '../nodes/broker.ts'
import { untilForeground } from '../nodes/foreground.ts'
import { NodePairing } from '../nodes/pairing.ts'
import { CommandPolicy } from '../nodes/policy.ts'
import { NodeRegistry } from '../nodes/registry.ts'
import { VoiceWake } from '../nodes/voice-wake.ts'
import type { Connection } from '../rpc/connection.ts'
import type { Caller } from '../rpc/method.ts'
import { NodeActionStore } from '../store/node-actions.ts'
import { type NodeFacts, NodeStore } from '../store/nodes.ts'
import { VoiceWakeStore } from '../store/voice-wake.ts'
import { WorkStore } from '../store/work.ts'

/** The nodes of a gateway: which there are, which are here, what they may do, and having it done. */
export interface Nodes {
  store: NodeStore
  registry: NodeRegistry
  pairing: NodePairing
  broker: Broker
  /** What waits for each node. */
  work: WorkStore
  actions: NodeActionStore
  voiceWake: VoiceWake
  /** The command policy in force. */
  policy(): CommandPolicy
  /** Takes in a socket whose caller is known. */
  opened(connection: Connection): void
  /** Lets go of a socket. */
  closed(connection: Connection): void
}

/** What nodes share, and what a socket that comes or goes means to them. */
async function nodes(app: FastifyInstance, { db }: { db: DatabaseSync }): Promise<void> {
  const { hub, live, log } = app
  const store = new NodeStore(db)
  let commands = new CommandPolicy(live.config.gateway.nodes.commands)
  live.onChange(() => {
    commands = new CommandPolicy(live.config.gateway.nodes.commands)
  })
  const policy = () => commands
  const registry = new NodeRegistry(store, policy)
  const publish = (event: string, payload: unknown) => hub.publish(event, payload)
  const pairing = new NodePairing({ store, registry, policy, publish })
  const actions = new NodeActionStore(db)
  const voiceWake = new VoiceWake({ store: new VoiceWakeStore(db), registry, publish })
  const broker = new Broker({
    registry,
    policy,
    defer: untilForeground(actions),
    tell(connId, event, payload) {
      const connection = hub.get(connId)
      if (connection?.behind === false) connection.send({ type: 'event', event, payload })
    }
  })

  app.decorate('nodes', {
    store,
    registry,
    pairing,
    broker,
    work: new WorkStore(db),
    actions,
    voiceWake,
    policy,
    opened(connection) {
      const { caller } = connection
      if (caller?.role !== 'node' || caller.deviceId === undefined || caller.declared === undefined) return
      const session = registry.add(connection, caller.deviceId, factsOf(caller), caller.declared)
      voiceWake.greet(connection).catch((err) => log.error({ err }, 'node not greeted'))
      pairing.arrived(session).catch((err) => {
        // A node that nobody knows what to make of is of no use; it comes again.
        log.error({ err, nodeId: session.nodeId }, 'node not taken in')
        connection.close('serviceRestart', 'node not taken in')
      })
    },
    closed(connection) {
      if (connection.caller?.role === 'node') registry.remove(connection.id)
      else broker.callerLeft(connection.id)
    }
  })
  app.addHook('onClose', () => {
    broker.stop()
    store.flush()
  })
}

function factsOf({ client, address, entry }: Caller): NodeFacts {
  return {
    clientId: client.id,
    clientMode: client.mode,
    displayName: client.displayName?.slice(0, 200),
    platform: client.platform.slice(0, 64),
    version: client.version.slice(0, 64),
    deviceFamily: client.deviceFamily?.slice(0, 64),
    modelIdentifier: client.modelIdentifier?.slice(0, 64),
    remoteIp: entry.ingress.local ? undefined : address
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    nodes: Nodes
  }
}

export default fp(nodes, { name: 'nodes', dependencies: ['state'], fastify: '5.x' })
