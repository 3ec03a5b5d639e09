import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { describeAddress } from './auth/addresses.ts'
import type { IssuedCredentials, Witness } from './auth/authenticate.ts'
import type { Env } from './config/paths.ts'
import type { Config } from './config/types.ts'
import { Tailnet } from './identity/tailnet.ts'
import { createWitness } from './identity/witness.ts'
import { Live } from './live.ts'
import { VERSION } from './package.ts'
import audit from './plugins/audit.ts'
import authentication from './plugins/authentication.ts'
import errors from './plugins/errors.ts'
import ingress from './plugins/ingress.ts'
import notFound from './plugins/not-found.ts'
import reload from './plugins/reload.ts'
import securityHeaders from './plugins/security-headers.ts'
import surfaces from './plugins/surfaces.ts'
import tls from './plugins/tls.ts'
import controlUi from './routes/control-ui.ts'
import gateway from './routes/gateway.ts'
import metrics from './routes/metrics.ts'
import probes from './routes/probes.ts'
import { startClock } from './rpc/clock.ts'
import { drain } from './rpc/drain.ts'
import { Health } from './rpc/health.ts'
import { Hub } from './rpc/hub.ts'
import { LIMITS } from './rpc/limits.ts'
import { auditMethods } from './rpc/methods/audit.ts'
import { configMethods } from './rpc/methods/config.ts'
import { deviceMethods } from './rpc/methods/devices.ts'
import { logMethods } from './rpc/methods/logs.ts'
import { systemMethods } from './rpc/methods/system.ts'
import { tokenMethods } from './rpc/methods/tokens.ts'
import { PreauthSockets } from './rpc/preauth.ts'
import { Presence, selfEntry } from './rpc/presence.ts'
import { Registry } from './rpc/registry.ts'
import { createGatewayServer } from './server.ts'
import { DeviceStore } from './store/devices.ts'
import { type GatewayIdentity, gatewayIdentity } from './store/identity.ts'
import { TokenStore } from './store/tokens.ts'
import { Trail } from './store/trail.ts'
import type { Exposure } from './tailscale/exposure.ts'
import type { TlsMaterial } from './tls/material.ts'

/** What a gateway is built from, besides its configuration. */
export interface AppDeps {
  /** The state database; `openDatabase(':memory:')` for a gateway that remembers nothing. */
  db: DatabaseSync
  log?: FastifyBaseLogger
  /** The file that `logs.tail` reads. */
  logFile: string
  /** The environment that `${VAR}` in the configuration file is read from, for `config.*`. */
  env?: Env
  /** Reads the configuration again; without it, edits of the file take effect at the next start. */
  load?: () => Promise<Config>
}

/** Builds the gateway. Nothing listens yet: `listen` the app, or hand it sockets as `main.ts` does. */
export async function buildApp(config: Config, deps: AppDeps): Promise<FastifyInstance> {
  const material = await openTls(config, deps.log)
  const app = fastify({
    serverFactory: (handler) => createGatewayServer(handler, config.gateway, material),
    // With a server that is made elsewhere, this only says how Fastify is to write its address.
    ...(material === undefined ? {} : { https: {} as never }),
    bodyLimit: 1_048_576,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: 256 }
  })

  // Given as an option, Fastify would listen to every response and make every request a logger of its own, and half of
  // what `/healthz` costs would be logging that never happens. One log serves all; `ingress` puts it on requests.
  if (deps.log !== undefined) app.log = deps.log

  // The state that everything shares.
  const server = { version: VERSION, buildId: `openclaw-gateway-${VERSION}`, bootId: randomUUID() }
  const identity = gatewayIdentity(deps.db)
  const live = new Live(config)
  const devices = new DeviceStore(deps.db)
  const tokens = new TokenStore(deps.db)
  const trail = new Trail(deps.db, app.log)
  const hub = new Hub()
  const health = new Health()
  const presence = new Presence(hub, selfEntry(server))
  const waiting = new PreauthSockets(LIMITS.handshakeMs)
  app.decorate('live', live)
  app.decorate('config', { getter: () => live.config })
  app.decorate('serverInfo', server)
  app.decorate('identity', identity)
  app.decorate('devices', devices)
  app.decorate('tokens', tokens)
  app.decorate('trail', trail)
  app.decorate('tailnet', new Tailnet({ env: deps.env ?? {}, socket: config.gateway.tailscale.socket }, app.log))
  app.decorate('exposure', undefined)
  app.decorate(
    'witness',
    createWitness(() => live.access, app.tailnet, app.log)
  )
  app.decorate('credentials', {
    findToken: (hash) => devices.findToken(hash),
    findLaunchCode: (hash) => devices.findLaunchCode(hash),
    findNamedToken: (hash) => tokens.find(hash),
    namedTokenUsed: (id, address) => void tokens.used(id, address)
  })
  app.decorate('hub', hub)
  app.decorate('health', health)
  app.decorate('presence', presence)
  app.decorate('page', undefined)
  app.decorate('waiting', waiting)
  app.decorate('drain', () => drain(hub, waiting, health))

  // What can be called.
  const alsoListening: string[] = []
  app.decorate('alsoListening', alsoListening)
  const listeners = () => [...app.addresses().map(describeAddress), ...alsoListening]
  app.decorate(
    'registry',
    new Registry([
      ...systemMethods({
        config: () => live.config,
        reload: () => app.reloader?.state,
        exposure: () => app.exposure?.state(),
        hub,
        presence,
        health,
        identity,
        server,
        listeners,
        tls: material
      }),
      ...configMethods({
        paths: config.paths,
        env: deps.env ?? {},
        version: VERSION,
        publish: (event, payload) => hub.publish(event, payload),
        log: app.log,
        reloader: () => app.reloader
      }),
      ...logMethods({ file: deps.logFile }),
      ...deviceMethods({ devices, hub, trail }),
      ...tokenMethods({ tokens, hub, trail }),
      ...auditMethods({ trail })
    ])
  )

  await app.register(reload, { load: deps.load })
  await app.register(tls, { material })

  // In the order that makes it safe: refuse unattributed and misdirected requests, then unknown pages, then authenticate.
  await app.register(errors)
  await app.register(audit)
  await app.register(surfaces)
  await app.register(ingress)
  await app.register(authentication)
  await app.register(securityHeaders)
  await app.register(notFound)

  // What can be reached.
  await app.register(probes)
  await app.register(metrics)
  await app.register(controlUi)
  await app.register(gateway)

  const stopClock = startClock(hub, health)
  app.addHook('onClose', () => {
    stopClock()
    waiting.stop()
    presence.stop()
    health.stop()
    trail.close()
  })
  return app
}

async function openTls({ gateway }: Config, log: FastifyBaseLogger | undefined): Promise<TlsMaterial | undefined> {
  if (!gateway.tls.enabled) return undefined
  const { TlsMaterial } = await import('./tls/material.ts')
  return TlsMaterial.open(gateway.tls, log)
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The configuration and the access policy in force, which edits replace. */
    live: Live
    config: Config
    tailnet: Tailnet
    /** How Tailscale exposes this gateway; set by the process, when it does. */
    exposure: Pick<Exposure, 'state'> | undefined
    witness: Witness
    credentials: IssuedCredentials
    serverInfo: { version: string; buildId: string; bootId: string }
    identity: GatewayIdentity
    devices: DeviceStore
    tokens: TokenStore
    trail: Trail
    hub: Hub
    health: Health
    presence: Presence
    /** Sockets without a caller. */
    waiting: PreauthSockets
    registry: Registry
    /** Addresses of listeners beside the app's own, which hand their sockets to it. */
    alsoListening: string[]
    /** Tells every client that the gateway stops, waits a bounded time for calls under way, and closes every socket. */
    drain(): Promise<void>
  }
}
