import { deepFreeze } from './load.ts'
import { changedPaths } from './merge-patch.ts'
import type { Config, GatewayConfig } from './types.ts'

/** What a changed configuration means for a gateway that runs. */
export interface ReloadPlan {
  /** The configuration to put in force: the new one, with what is fixed while the gateway runs as it is. */
  config: Config
  /** Keys that differ and take effect now. */
  applied: string[]
  /** Keys that differ and wait for a restart. */
  restart: string[]
}

/** Where a listener, a page or a process was made from the value, so that only a new one can change it. */
const FIXED = [
  'port',
  'bind',
  'customBindHost',
  'auth.mode',
  'auth.trustedProxy.socket',
  'controlUi.enabled',
  'controlUi.basePath',
  'tailscale',
  'tls'
] as const

const READ =
  /^(gateway(\.(?!remote\b)|$)|discovery(\.mdns(\..*)?)?$|logging(\.|$)|plugins(\.entries(\.(admin-http-rpc|bonjour)(\..*)?)?)?$)/

/** Reports whether a running gateway reads a key. The rest of the file is clients', or nobody's yet. */
export function isRead(key: string): boolean {
  return READ.test(key)
}

/** Reports whether a key of the `gateway` section takes effect only after a restart. */
export function needsRestart(key: string): boolean {
  const below = key.replace(/^gateway\./, '')
  return FIXED.some((fixed) => below === fixed || below.startsWith(`${fixed}.`))
}

/** Sorts what differs between the configuration in force and a new one. */
export function planReload(running: Config, next: Config): ReloadPlan {
  const now = running.gateway
  const then = next.gateway
  const gateway: GatewayConfig = {
    ...then,
    port: now.port,
    portSource: now.portSource,
    bind: now.bind,
    customBindHost: now.customBindHost,
    auth: authOf(now.auth, then.auth),
    controlUi: { ...then.controlUi, enabled: now.controlUi.enabled, basePath: now.controlUi.basePath },
    tailscale: now.tailscale,
    tls: now.tls
  }
  const config = deepFreeze({ ...next, gateway })
  return {
    config,
    applied: keysThatDiffer(running, config),
    restart: keysThatDiffer(config, next).filter(needsRestart)
  }
}

function authOf(now: GatewayConfig['auth'], then: GatewayConfig['auth']): GatewayConfig['auth'] {
  // Secrets and rules of another mode mean nothing to this one.
  if (then.mode !== now.mode) return now
  if (then.trustedProxy === undefined || now.trustedProxy === undefined) return then
  return { ...then, trustedProxy: { ...then.trustedProxy, socket: now.trustedProxy.socket } }
}

// By key, never by value; where a secret came from is part of the secret.
function keysThatDiffer(before: Config, after: Config): string[] {
  const keys = changedPaths(before.gateway, after.gateway)
    .filter((key) => !/(^|\.)(portSource|modeExplicit|default)$/.test(key))
    .map((key) => `gateway.${key.replace(/^(auth\.(?:token|password))\..*$/, '$1')}`)
  if (before.discovery.mdns.mode !== after.discovery.mdns.mode) keys.push('discovery.mdns.mode')
  if (before.logLevel !== after.logLevel) keys.push('logging.level')
  if (before.adminHttpRpc !== after.adminHttpRpc) keys.push('plugins.entries["admin-http-rpc"].enabled')
  return [...new Set(keys)]
}
