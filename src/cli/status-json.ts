import { realpathSync } from 'node:fs'
import { VERSION } from '../package.ts'
import type { HostFacts, portFacts } from './host-facts.ts'
import type { GatewayReport } from './status.ts'

/** What a failed look comes to, in the reference's words and with our own beside them. */
function failureJson({ error }: Pick<GatewayReport, 'error'>) {
  if (error === undefined) return { error: null }
  const { code, message, fix } = error
  return { error: message, errorCode: code, ...(fix === undefined ? {} : { fix }) }
}

/** What this command is. */
export function cliJson({ stateDir, localSocket }: Pick<HostFacts, 'stateDir' | 'localSocket'>) {
  const entrypoint = process.argv[1] === undefined ? null : realpathSync(process.argv[1])
  return { version: VERSION, entrypoint, stateDir, localSocket }
}

/** `status --json`: at the top what the gateway says of itself, in `gateway` how it was reached. */
export function statusJson(report: GatewayReport, host: HostFacts): Record<string, unknown> {
  const {
    status = {},
    health,
    connectMs,
    error: _error,
    warnings: _warnings,
    misconfigured: _misconfigured,
    self,
    ...seen
  } = report
  const { gateway: said, ...told } = status as { gateway?: object }
  return {
    ...told,
    gateway: {
      ...said,
      mode: host.gateway?.mode ?? null,
      misconfigured: report.misconfigured === true,
      connectLatencyMs: connectMs ?? null,
      self: self ?? null,
      authWarning: authWarning(report),
      ...seen,
      ...failureJson(report)
    },
    ...(health === undefined ? {} : { health })
  }
}

/** `gateway status --json`. */
export function gatewayStatusJson(
  report: GatewayReport | undefined,
  host: HostFacts,
  port: Awaited<ReturnType<typeof portFacts>> | undefined
): Record<string, unknown> {
  const { config, gateway: local, logFile } = host
  const { controlUi, mode: _mode, loopbackUrl: _loopbackUrl, ...listens } = local ?? {}
  return {
    cli: cliJson(host),
    logFile,
    config: { cli: config },
    gateway: {
      ...listens,
      ...(controlUi === undefined ? {} : { controlUiLinks: controlUi }),
      ...(report === undefined ? {} : gatewayJson(report))
    },
    ...(port === undefined ? {} : { port }),
    ...(report === undefined ? {} : { rpc: rpcJson(report) }),
    ...(report?.health === undefined ? {} : { health: report.health })
  }
}

function gatewayJson({ url, urlSource, version, bootId, uptimeMs, clients, facts, tunnel, readiness }: GatewayReport) {
  const more = { bootId, uptimeMs, clients, tunnel, readiness }
  return { probeUrl: url, urlSource, version: version ?? null, ...more, facts }
}

function rpcJson(report: GatewayReport) {
  const { url, version, reachable, capability, auth, connectMs, facts } = report
  const { role = null, scopes = [], ...how } = auth ?? {}
  const warning = authWarning(report)
  return {
    ok: facts.rpc.state === 'yes',
    kind: 'read',
    gatewayReached: reachable,
    capability,
    auth: { role, scopes, capability, ...how },
    server: { version: version ?? null },
    ...(version === undefined ? {} : { version }),
    ...(connectMs === undefined ? {} : { connectLatencyMs: connectMs }),
    url,
    ...(report.error === undefined ? {} : failureJson(report)),
    ...(warning === null ? {} : { authWarning: warning })
  }
}

// Not the gateway refused: this host has no credential that it could have sent.
function authWarning({ error }: GatewayReport): string | null {
  return error?.code === 'CONFIG_SECRET_UNRESOLVED' ? error.message : null
}
