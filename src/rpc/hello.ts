import { createHmac } from 'node:crypto'
import type { AuthMethod } from '../auth/surfaces.ts'
import type { Config } from '../config/types.ts'
import { PROTOCOL } from '../protocol/codes.ts'
import { satisfies } from '../protocol/scopes.ts'
import type { GatewayIdentity } from '../store/identity.ts'
import { EVENT_NAMES } from './events.ts'
import type { Admitted } from './handshake.ts'
import type { Health } from './health.ts'
import type { Hub } from './hub.ts'
import { LIMITS } from './limits.ts'
import type { Presence } from './presence.ts'
import type { Registry } from './registry.ts'

/** What `hello-ok` is made of. */
export interface HelloDeps {
  /** The configuration in force. */
  config(): Config
  server: { version: string; buildId: string; bootId: string }
  registry: Registry
  hub: Hub
  presence: Presence
  health: Health
  identity: GatewayIdentity
  /** Where a tailnet user reaches the Control UI without a token; undefined where nobody does. */
  identityUrl(): string | undefined
}

// Methods of ours, by the protocol's nearest word.
const WIRE_METHODS: Partial<Record<AuthMethod, string>> = { 'setup-code': 'bootstrap-token', 'named-token': 'token' }

/** Builds the `hello-ok` maker: what never changes is made once. */
export function helloFor(deps: HelloDeps): (admitted: Admitted) => unknown {
  const { hub, presence, health } = deps
  const key = `${deps.identity.deviceId} ${deps.config().paths.stateDir}`
  const mac = (text: string) => createHmac('sha256', key).update(text).digest('base64url')
  const features = { methods: deps.registry.names, events: EVENT_NAMES, capabilities: [] }
  const policy = {
    maxPayload: LIMITS.payload,
    maxBufferedBytes: LIMITS.hardBuffer,
    tickIntervalMs: LIMITS.tickMs,
    attachments: { maxBytes: 19_464_192, maxImageBytes: 6_291_456 },
    allowedSessionVisibilities: ['shared', 'read-only', 'suggest', 'draft'],
    hasMultipleSessionSharingIdentities: false
  }
  const sessionDefaults = {
    defaultAgentId: 'main',
    modelConfigured: false,
    ownership: 'sole',
    selectionRequired: false,
    mainKey: 'main',
    mainSessionKey: 'agent:main:main',
    scope: 'per-sender'
  }
  let applied = { hash: '', text: '' }
  const appliedHash = ({ file: { hash } }: Config) => {
    if (applied.hash !== hash) applied = { hash, text: `hmac-sha256:v1:${mac(hash)}` }
    return applied.text
  }

  return ({ caller, auth, deviceToken, handed }) => {
    const config = deps.config()
    const operator = caller.role === 'operator'
    const admin = operator && satisfies(caller.scopes, 'operator.admin')
    const scoped = operator && caller.scopes.size > 0
    const reader = operator && satisfies(caller.scopes, 'operator.read')
    const identityUrl = deps.identityUrl()
    const recovery = operator && (auth.method !== 'none' || caller.deviceId !== undefined)
    return {
      type: 'hello-ok',
      protocol: PROTOCOL.version,
      server: { ...deps.server, controlUiBuildSource: 'bundled', connId: caller.connId },
      features,
      snapshot: {
        suspension: { phase: health.draining ? 'draining' : 'accepting' },
        presence: reader ? presence.list() : [],
        health: health.report(),
        stateVersion: hub.stateVersion,
        uptimeMs: health.uptimeMs,
        appliedConfigHash: appliedHash(config),
        sessionDefaults,
        ...(identityUrl === undefined ? {} : { controlUiIdentityUrl: identityUrl }),
        ...(scoped ? { updateSchedule: { channel: 'stable', autoEnabled: false, install: { kind: 'package' } } } : {}),
        // Paths and the auth mode say something about the host: admins only.
        ...(admin
          ? { configPath: config.paths.configPath, stateDir: config.paths.stateDir, authMode: config.gateway.auth.mode }
          : {})
      },
      ...(scoped ? { controlUiWidgetKinds: [] } : {}),
      auth: {
        method: WIRE_METHODS[auth.method] ?? auth.method,
        role: caller.role,
        scopes: [...caller.scopes],
        ...(recovery ? { recoveryScope: mac(`${caller.deviceId ?? auth.method}`) } : {}),
        ...(recovery && deviceToken !== undefined && auth.method !== 'trusted-proxy'
          ? { recoveryMigrationAllowed: true }
          : {}),
        ...(deviceToken === undefined ? {} : { deviceToken: deviceToken.value, issuedAtMs: deviceToken.issuedAtMs }),
        ...(handed.length === 0
          ? {}
          : { deviceTokens: handed.map(({ value, ...token }) => ({ deviceToken: value, ...token })) })
      },
      policy
    }
  }
}
