import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Approvals } from '../approvals/approvals.ts'
import { listed, resolvedEvent } from '../approvals/presentation.ts'
import type { IssuedCredentials, Witness } from '../auth/authenticate.ts'
import type { Env } from '../config/paths.ts'
import type { Config } from '../config/types.ts'
import { JoinLinks } from '../devices/join.ts'
import { PairingNews } from '../devices/news.ts'
import { expireRequests } from '../devices/requests.ts'
import { Tailnet } from '../identity/tailnet.ts'
import { createWitness } from '../identity/witness.ts'
import { Live } from '../live.ts'
import { VERSION } from '../package.ts'
import { Authority } from '../rpc/authority.ts'
import { startClock } from '../rpc/clock.ts'
import { drain } from '../rpc/drain.ts'
import { Health } from '../rpc/health.ts'
import { Hub } from '../rpc/hub.ts'
import { LIMITS } from '../rpc/limits.ts'
import { PreauthSockets } from '../rpc/preauth.ts'
import { Presence, selfEntry } from '../rpc/presence.ts'
import { Quota } from '../rpc/quota.ts'
import { Stability } from '../rpc/stability.ts'
import { SystemEvents } from '../rpc/system-events.ts'
import { ApprovalStore } from '../store/approvals.ts'
import { DeviceStore } from '../store/devices.ts'
import { type GatewayIdentity, gatewayIdentity } from '../store/identity.ts'
import { SetupCodeStore } from '../store/setup-codes.ts'
import { TokenStore } from '../store/tokens.ts'
import { Trail } from '../store/trail.ts'
import type { Exposure } from '../tailscale/exposure.ts'

/** What the plugin is told. */
export interface StateOptions {
  config: Config
  db: DatabaseSync
  env: Env
}

/** The state that everything shares: the stores, the policy in force, and who is connected. */
async function state(app: FastifyInstance, { config, db, env }: StateOptions): Promise<void> {
  const server = { version: VERSION, buildId: `openclaw-gateway-${VERSION}`, bootId: randomUUID() }
  const live = new Live(config)
  const devices = new DeviceStore(db)
  const codes = new SetupCodeStore(db)
  const tokens = new TokenStore(db)
  const trail = new Trail(db, app.log)
  const tailnet = new Tailnet({ env, socket: config.gateway.tailscale.socket }, app.log)
  const hub = new Hub()
  const stability = new Stability()
  const health = new Health((eventLoop) => stability.sampled(eventLoop))
  const presence = new Presence(hub, selfEntry(server))
  const waiting = new PreauthSockets(LIMITS.handshakeMs)
  const news = new PairingNews({
    publish: (event, payload) => hub.publish(event, payload),
    record: (event) => trail.record(event),
    connected: () => new Set([...hub].map(({ caller }) => caller?.deviceId))
  })
  const approvals = new Approvals({
    store: new ApprovalStore(db),
    requested: (approval) => hub.publish('exec.approval.requested', listed(approval)),
    resolved: (approval) => hub.publish('exec.approval.resolved', resolvedEvent(approval)),
    log: app.log
  })
  const witness = createWitness(() => live.access, tailnet, app.log)

  app.decorate('serverInfo', server)
  app.decorate('identity', gatewayIdentity(db))
  app.decorate('live', live)
  app.decorate('config', { getter: () => live.config })
  app.decorate('devices', devices)
  app.decorate('setupCodes', codes)
  app.decorate('joinLinks', new JoinLinks())
  app.decorate('pairingNews', news)
  app.decorate('tokens', tokens)
  app.decorate('trail', trail)
  app.decorate('tailnet', tailnet)
  app.decorate('exposure', undefined)
  app.decorate('alsoListening', [])
  app.decorate('witness', witness)
  app.decorate('credentials', {
    findToken: (hash) => devices.findToken(hash),
    presentCode: (hash, deviceId) => codes.present(hash, deviceId),
    findNamedToken: (hash) => tokens.find(hash),
    namedTokenUsed: (id, address) => void tokens.used(id, address)
  })
  app.decorate('hub', hub)
  const authority = new Authority(
    () => live.access,
    () => hub.receivers()
  )
  app.decorate('authority', authority)
  // After the answer is on its way: the caller may have made the change that ends its own socket.
  live.onChange(() => setImmediate(() => authority.review()))
  app.decorate('stability', stability)
  app.decorate('health', health)
  app.decorate('presence', presence)
  app.decorate('waiting', waiting)
  app.decorate('approvals', approvals)
  app.decorate('systemEvents', new SystemEvents())
  app.decorate('drain', () => {
    news.stop()
    // Whoever waits for a person waits for longer than the gateway would.
    approvals.stop()
    return drain(hub, waiting, health)
  })
  app.decorate('calls', new Quota(LIMITS.inFlight, LIMITS.callsOverHttp))

  app.addHook('onReady', () => approvals.start())
  const stopClock = startClock(hub, health)
  const expiring = setInterval(() => void expireRequests(devices, news), EXPIRY_MS).unref()
  app.addHook('onClose', () => {
    stopClock()
    clearInterval(expiring)
    approvals.stop()
    waiting.stop()
    presence.stop()
    health.stop()
    trail.close()
  })
}

// How late the operators hear at most that a request was not decided in time.
const EXPIRY_MS = 5_000

declare module 'fastify' {
  interface FastifyInstance {
    serverInfo: { version: string; buildId: string; bootId: string }
    identity: GatewayIdentity
    /** The configuration and the access policy in force, which edits replace. */
    live: Live
    config: Config
    devices: DeviceStore
    setupCodes: SetupCodeStore
    joinLinks: JoinLinks
    /** Tells operators and waiting devices what becomes of pairing. */
    pairingNews: PairingNews
    tokens: TokenStore
    trail: Trail
    tailnet: Tailnet
    /** How Tailscale exposes this gateway; set by the process, when it does. */
    exposure: Pick<Exposure, 'state'> | undefined
    /** Addresses of listeners beside the app's own, which hand their sockets to it. */
    alsoListening: string[]
    witness: Witness
    credentials: IssuedCredentials
    hub: Hub
    /** Commands that wait for a person. */
    approvals: Approvals
    /** Ends sockets and streams whose authority ends. */
    authority: Authority
    health: Health
    /** What happened to the process lately. */
    stability: Stability
    presence: Presence
    systemEvents: SystemEvents
    /** Sockets without a caller. */
    waiting: PreauthSockets
    /** Calls over HTTP under way. */
    calls: Quota
    /** Tells every client that the gateway stops, waits a bounded time for calls under way, and closes every socket. */
    drain(): Promise<void>
  }
}

export default fp(state, { name: 'state', fastify: '5.x' })
