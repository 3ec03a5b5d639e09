import { statfs } from 'node:fs/promises'
import * as os from 'node:os'
import { Type } from 'typebox'
import type { Config } from '../../config/types.ts'
import type { AdvertiserState } from '../../discovery/advertiser.ts'
import { RpcError } from '../../protocol/errors.ts'
import type { ReloadState } from '../../reload.ts'
import type { GatewayIdentity } from '../../store/identity.ts'
import type { ExposureState } from '../../tailscale/exposure.ts'
import type { TlsMaterial } from '../../tls/material.ts'
import type { Health } from '../health.ts'
import type { Hub } from '../hub.ts'
import { defineMethod, type Method } from '../method.ts'
import { type Presence, profileOf } from '../presence.ts'
import type { SystemEvents } from '../system-events.ts'

/** What the system methods look at. */
export interface SystemDeps {
  /** The configuration in force. */
  config(): Config
  /** How the file and the running configuration stand to each other; undefined where nothing applies edits. */
  reload(): ReloadState | undefined
  /** How Tailscale exposes the gateway; undefined where it does not. */
  exposure(): ExposureState | undefined
  /** On which networks the gateway is announced; undefined where it is not to be. */
  advertised(): AdvertiserState | undefined
  hub: Hub
  presence: Presence
  health: Health
  systemEvents: SystemEvents
  identity: GatewayIdentity
  server: { version: string; bootId: string }
  /** Addresses the process listens on, as it reports them. */
  listeners(): readonly string[]
  /** What the main listener serves, when it speaks TLS. */
  tls: TlsMaterial | undefined
}

const none = Type.Object({}, { additionalProperties: false })
const anything = Type.Unknown()

/** Health, status and presence: what the gateway says of itself. */
export function systemMethods(deps: SystemDeps): Method[] {
  const { hub, presence, health, identity } = deps

  return [
    // Every client may ask, with or without scopes, with whatever params: it is how they find out that we live.
    defineMethod({ name: 'health', scope: 'any', params: anything, handler: () => health.report() }),
    defineMethod({
      name: 'status',
      scope: 'operator.read',
      params: anything,
      handler() {
        const { gateway, discovery, warnings } = deps.config()
        const { rss, heapUsed } = process.memoryUsage()
        const nodes = [...hub].filter(({ caller }) => caller?.role === 'node').length
        return {
          runtimeVersion: deps.server.version,
          uptimeMs: health.uptimeMs,
          gateway: {
            mode: gateway.mode ?? 'local',
            bind: gateway.bind,
            port: gateway.port,
            authMode: gateway.auth.mode,
            tailscale: { mode: gateway.tailscale.mode, ...deps.exposure() },
            discovery: { mode: discovery.mdns.mode, ...deps.advertised() },
            tls: tlsStatus(deps.tls),
            listeners: deps.listeners()
          },
          memory: { rssBytes: rss, heapUsedBytes: heapUsed },
          eventLoop: health.eventLoop(),
          connections: { total: hub.size, operators: hub.size - nodes, nodes },
          warnings,
          configReload: deps.reload() ?? { mode: 'off', restart: [] },
          heartbeat: { defaultAgentId: 'main', agents: [] },
          channelSummary: [],
          queuedSystemEvents: deps.systemEvents.lines,
          sessions: { paths: [], count: 0, defaults: { model: null, contextTokens: null }, recent: [], byAgent: [] }
        }
      }
    }),
    defineMethod({ name: 'system-presence', scope: 'operator.read', params: anything, handler: () => presence.list() }),
    defineMethod({
      name: 'system-event',
      scope: 'operator.admin',
      params: Type.Object({
        text: Type.String({ minLength: 1, maxLength: 4096 }),
        reason: Type.Optional(Type.String({ minLength: 1, maxLength: 200 }))
      }),
      handler({ text, reason }) {
        presence.note(text, reason)
        return { ok: true }
      }
    }),
    defineMethod({ name: 'last-heartbeat', scope: 'operator.read', params: anything, handler: () => null }),
    defineMethod({
      name: 'set-heartbeats',
      scope: 'operator.admin',
      params: Type.Object({ enabled: Type.Boolean() }, { additionalProperties: false }),
      handler: ({ enabled }) => ({ ok: true, enabled })
    }),
    defineMethod({
      name: 'gateway.identity.get',
      scope: 'operator.read',
      params: anything,
      handler: () => ({ deviceId: identity.deviceId, publicKey: identity.publicKey })
    }),
    defineMethod({
      name: 'users.self',
      scope: 'operator.write',
      params: none,
      handler(_params, { user }) {
        if (user === undefined) throw new RpcError('FORBIDDEN', 'users.self requires an authenticated user')
        const { id, name, email } = profileOf(user)
        return { profile: { id, displayName: name, emails: email === undefined ? [] : [email] } }
      }
    }),
    defineMethod({
      name: 'channels.status',
      scope: 'operator.read',
      params: anything,
      handler: () => ({
        ts: Date.now(),
        channelOrder: [],
        channelLabels: {},
        channelDetailLabels: {},
        channelSystemImages: {},
        channelMeta: [],
        channels: {},
        channelAccounts: {},
        channelDefaultAccountId: {}
      })
    }),
    defineMethod({
      name: 'system.info',
      scope: 'operator.read',
      params: none,
      async handler() {
        const { gateway, paths } = deps.config()
        const disk = await statfs(paths.stateDir)
        const cpus = os.cpus()
        return {
          machineName: os.hostname(),
          hostname: os.hostname(),
          platform: os.platform(),
          release: os.release(),
          arch: os.arch(),
          osLabel: `${os.type()} ${os.release()}`,
          port: gateway.port,
          nodeVersion: process.versions.node,
          pid: process.pid,
          processInstanceId: deps.server.bootId,
          uptimeMs: health.uptimeMs,
          cpuCount: cpus.length,
          ...(cpus[0] === undefined ? {} : { cpuModel: cpus[0].model }),
          loadAverage: os.loadavg(),
          memoryTotalBytes: os.totalmem(),
          memoryFreeBytes: os.freemem(),
          diskTotalBytes: disk.blocks * disk.bsize,
          diskAvailableBytes: disk.bavail * disk.bsize,
          diskPath: paths.stateDir
        }
      }
    })
  ]
}

function tlsStatus(tls: TlsMaterial | undefined) {
  if (tls === undefined) return { enabled: false }
  const { current, problem } = tls
  const { fingerprint, notAfter } = current
  return { enabled: true, fingerprint, notAfter: notAfter.toISOString(), ...(problem === undefined ? {} : { problem }) }
}
