import { networkInterfaces } from 'node:os'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { approvalsPath } from '../approvals/file.ts'
import { describeAddress } from '../auth/addresses.ts'
import type { Env } from '../config/paths.ts'
import { RpcError } from '../protocol/errors.ts'
import { approvalMethods } from '../rpc/methods/approvals.ts'
import { auditMethods } from '../rpc/methods/audit.ts'
import { configMethods } from '../rpc/methods/config.ts'
import { deviceTokenMethods } from '../rpc/methods/device-tokens.ts'
import { deviceMethods } from '../rpc/methods/devices.ts'
import { policyMethods } from '../rpc/methods/exec-approvals.ts'
import { logMethods } from '../rpc/methods/logs.ts'
import { setupMethods } from '../rpc/methods/setup-codes.ts'
import { systemMethods } from '../rpc/methods/system.ts'
import { tokenMethods } from '../rpc/methods/tokens.ts'
import { upgradeMethods } from '../rpc/methods/upgrades.ts'
import { Registry } from '../rpc/registry.ts'

/** What the plugin is told. */
export interface MethodsOptions {
  env: Env
  logFile: string
}

/** Every RPC method that clients can call, by family. */
async function methods(app: FastifyInstance, { env, logFile }: MethodsOptions): Promise<void> {
  const { approvals, devices, health, hub, identity, live, log, presence, serverInfo, tls, tokens, trail } = app
  const system = systemMethods({
    config: () => live.config,
    reload: () => app.reloader?.state,
    exposure: () => app.exposure?.state(),
    listeners: () => [...app.addresses().map(describeAddress), ...app.alsoListening],
    hub,
    presence,
    health,
    identity,
    server: serverInfo,
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
  app.decorate(
    'registry',
    new Registry([
      ...system,
      ...config,
      ...logMethods({ file: logFile }),
      ...deviceMethods(pairing),
      ...deviceTokenMethods(pairing),
      ...upgradeMethods(pairing),
      ...setup,
      ...tokenMethods({ tokens, hub, trail }),
      ...auditMethods({ trail }),
      ...approvalMethods({ approvals, hub, trail, path, log }),
      ...policyMethods({ path, trail, invoke: noNode })
    ])
  )
}

// Where other machines may reach this one.
function hostAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return all.filter(({ internal, family }) => !internal && family === 'IPv4').map(({ address }) => address)
}

// Until nodes connect, none does.
async function noNode(): Promise<never> {
  const [code, message] = ['NOT_CONNECTED', 'node not connected']
  const details = { nodeError: { code, message }, nodeCommandDispatched: false }
  throw new RpcError('UNAVAILABLE', `${code}: ${message}`, { details })
}

declare module 'fastify' {
  interface FastifyInstance {
    registry: Registry
  }
}

export default fp(methods, { name: 'methods', dependencies: ['state', 'tls', 'reload'], fastify: '5.x' })
