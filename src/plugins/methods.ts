import { networkInterfaces } from 'node:os'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { approvalsPath } from '../approvals/file.ts'
import { approvedRun } from '../approvals/run.ts'
import { describeAddress } from '../auth/addresses.ts'
import type { Env } from '../config/paths.ts'
import { notConnected } from '../nodes/refusals.ts'
import { approvalMethods, partyOf } from '../rpc/methods/approvals.ts'
import { auditMethods } from '../rpc/methods/audit.ts'
import { configMethods } from '../rpc/methods/config.ts'
import { deviceTokenMethods } from '../rpc/methods/device-tokens.ts'
import { deviceMethods } from '../rpc/methods/devices.ts'
import { diagnosticMethods } from '../rpc/methods/diagnostics.ts'
import { type NodeInvoke, policyMethods } from '../rpc/methods/exec-approvals.ts'
import { logMethods } from '../rpc/methods/logs.ts'
import { nodeEventMethods } from '../rpc/methods/node-events.ts'
import { invokeMethods } from '../rpc/methods/node-invoke.ts'
import { nodeOffersMethods } from '../rpc/methods/node-offers.ts'
import { nodePendingMethods } from '../rpc/methods/node-pending.ts'
import { nodeMethods } from '../rpc/methods/nodes.ts'
import { setupMethods } from '../rpc/methods/setup-codes.ts'
import { systemMethods } from '../rpc/methods/system.ts'
import { tokenMethods } from '../rpc/methods/tokens.ts'
import { upgradeMethods } from '../rpc/methods/upgrades.ts'
import { voiceWakeMethods } from '../rpc/methods/voice-wake.ts'
import { Registry } from '../rpc/registry.ts'

/** What the plugin is told. */
export interface MethodsOptions {
  env: Env
  logFile: string
}

/** Every RPC method that clients can call, by family. */
async function methods(app: FastifyInstance, { env, logFile }: MethodsOptions): Promise<void> {
  const { approvals, devices, health, hub, identity, live, log, nodes, presence, serverInfo, tls, tokens, trail } = app
  const system = systemMethods({
    config: () => live.config,
    reload: () => app.reloader?.state,
    exposure: () => app.exposure?.state(),
    advertised: () => app.advertised(),
    listeners: () => [...app.addresses().map(describeAddress), ...app.alsoListening],
    hub,
    presence,
    health,
    identity,
    server: serverInfo,
    systemEvents: app.systemEvents,
    tls
  })
  const config = configMethods({
    paths: live.config.paths,
    env,
    version: serverInfo.version,
    publish: (event, payload) => hub.publish(event, payload),
    log,
    reloader: () => app.reloader
  })
  const pairing = { devices, news: app.pairingNews, hub, trail }
  const setup = setupMethods({
    devices,
    trail,
    codes: app.setupCodes,
    links: app.joinLinks,
    auth: () => (live.config.gateway.auth.mode === 'password' ? 'password' : 'token'),
    whereabouts: () => ({
      gateway: live.config.gateway,
      tailnetUrl: app.exposure?.state().url,
      fingerprint: tls?.current.fingerprint,
      addresses: hostAddresses()
    })
  })
  const path = approvalsPath(live.config.paths.stateDir)
  const invoke: NodeInvoke = async (nodeId, ...command) => {
    // An admin sees every node, so nothing is given away by saying the same of one that is none.
    if (nodes.registry.serving(nodeId) === undefined) throw notConnected()
    return nodes.broker.ask(nodeId, ...command)
  }
  app.decorate(
    'registry',
    new Registry([
      ...system,
      ...config,
      ...logMethods({ file: logFile }),
      ...diagnosticMethods({ stability: app.stability }),
      ...deviceMethods(pairing),
      ...deviceTokenMethods(pairing),
      ...upgradeMethods(pairing),
      ...setup,
      ...tokenMethods({ tokens, hub, trail }),
      ...auditMethods({ trail }),
      ...approvalMethods({ approvals, hub, trail, path, log }),
      ...policyMethods({ path, trail, invoke }),
      ...nodeMethods({ ...nodes, news: app.pairingNews, trail }),
      ...invokeMethods({
        broker: nodes.broker,
        approvedRun: (nodeId, params, caller) => approvedRun(approvals, { nodeId, params, by: partyOf(caller) })
      }),
      ...nodePendingMethods(nodes),
      ...nodeEventMethods({
        ...nodes,
        runs: nodes.broker.runs,
        events: app.systemEvents,
        presence,
        publish: (event, payload) => hub.publish(event, payload)
      }),
      ...nodeOffersMethods(nodes),
      ...voiceWakeMethods(nodes)
    ])
  )
}

// Where other machines may reach this one.
function hostAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return all.filter(({ internal, family }) => !internal && family === 'IPv4').map(({ address }) => address)
}

declare module 'fastify' {
  interface FastifyInstance {
    registry: Registry
  }
}

export default fp(methods, { name: 'methods', dependencies: ['state', 'nodes', 'tls', 'reload'], fastify: '5.x' })
