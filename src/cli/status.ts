import type { Connection, ConnectOptions } from '../client/connect.ts'
import type { TunnelFacts } from '../client/ssh/tunnel.ts'
import { describeEndpoint } from '../client/target.ts'
import type { HelloOk, PresenceEntry } from '../protocol/frames.ts'
import { credentialName } from './connection-words.ts'
import type { Facts } from './facts.ts'
import { placesOf, type TargetOptions, withGateway } from './gateway-call.ts'
import { clientCount, type Status } from './health.ts'
import { CliError, type Io } from './io.ts'

/** What can be said of one gateway; without `error` it let this host in and answered. */
export interface GatewayReport {
  url: string
  urlSource: string
  /** A gateway answered there, be it with a refusal. */
  reachable: boolean
  capability:
    | 'admin_capable'
    | 'write_capable'
    | 'read_only'
    | 'pairing_pending'
    | 'connected_no_operator_scope'
    | 'unknown'
  facts: Facts
  connectMs?: number
  version?: string
  /** Tells one life of a gateway process from every other. */
  bootId?: string
  uptimeMs?: number
  clients?: number
  /** The gateway as it lists itself among who is around. */
  self?: Pick<PresenceEntry, 'host' | 'ip' | 'version' | 'platform'> | undefined
  auth?: { method: string; role: string; scopes: readonly string[]; credential: string }
  tunnel?: TunnelFacts
  status?: Status
  health?: unknown
  /** The configuration kept it from being tried. */
  misconfigured?: true
  /** It was still starting when the time was up. */
  readiness?: 'still-starting'
  /** What of the configuration does not hold, and did not stop this. */
  warnings?: readonly string[]
  error?: { code: string; message: string; fix?: string | undefined }
}

/** Looks at one gateway, strictly by R28, and reports; only a mistake in the command line is thrown. */
export async function inspectGateway(
  io: Io,
  options: TargetOptions,
  wants: {
    timeoutMs: number
    deep?: boolean
    mode?: 'local' | 'remote'
    ssh?: ConnectOptions['ssh']
    /** Waits within the time while the gateway is starting. */
    waits?: boolean
  }
): Promise<GatewayReport> {
  const warnings: string[] = []
  const report = await look(io, options, wants, (text) => {
    warnings.push(text)
    io.stderr(`warning: ${text}`)
  })
  return warnings.length === 0 ? report : { ...report, warnings }
}

/**
 * The same, for whoever has to say something in any case: a configuration that keeps a gateway from being tried is
 * reported as well.
 */
export async function inspectAnyway(
  io: Io,
  options: TargetOptions,
  wants: Parameters<typeof inspectGateway>[2]
): Promise<GatewayReport> {
  try {
    return await inspectGateway(io, options, wants)
  } catch (error) {
    const [{ ConfigError }, { ClientError }, { factsOfNothing }] = await Promise.all([
      import('../config/errors.ts'),
      import('../client/errors.ts'),
      import('./facts.ts')
    ])
    const { url, port, token, password, tlsFingerprint, expectUrl } = options
    const byHand = [url, port, token, password, tlsFingerprint, expectUrl].some((each) => each !== undefined)
    const ofConfiguration = error instanceof ConfigError || (error instanceof ClientError && !byHand)
    if (!ofConfiguration) throw error
    const { code, message } = error
    const fix = typeof error.fix === 'object' ? error.fix.command : error.fix
    const report: GatewayReport = {
      url: 'unknown',
      urlSource: 'configuration',
      reachable: false,
      capability: 'unknown',
      misconfigured: true,
      facts: factsOfNothing(code),
      error: { code, message, fix }
    }
    await lookForProcess(io, report)
    return report
  }
}

async function look(
  io: Io,
  options: TargetOptions,
  wants: Parameters<typeof inspectGateway>[2],
  onWarning: (text: string) => void
): Promise<GatewayReport> {
  const started = performance.now()
  try {
    const { timeoutMs } = wants
    return await withGateway(
      io,
      options,
      {
        // All, so that the answer shows what the credential is good for.
        scopes: ['operator.admin', 'operator.write', 'operator.read'],
        purpose: 'probe',
        timeoutMs,
        ...(wants.mode === undefined ? {} : { mode: wants.mode }),
        ssh: wants.ssh,
        waits: wants.waits === true,
        onWarning
      },
      async (connection) => {
        // Here and not above: help and mistakes need no WebSocket.
        const { factsOf, no, yes } = await import('./facts.ts')
        const report = reportOf(connection, performance.now() - started, factsOf)
        const { client } = connection
        try {
          const asked = performance.now()
          const status = await client.request<Status>('status', {}, { timeoutMs })
          report.status = status
          report.facts.rpc = yes(`status answered in ${Math.round(performance.now() - asked)}ms`)
          const clients = clientCount(status ?? {})
          if (clients !== undefined) report.clients = clients
          if (wants.deep === true) report.health = await client.request('health', { probe: true }, { timeoutMs })
        } catch (error) {
          const { message } = error as Error
          report.error = { code: codeOf(error), message }
          report.facts.rpc = no(message)
        }
        return report
      }
    )
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    const [{ ConnectFailure }, { isAnswer }, { factsOfFailure }] = await Promise.all([
      import('../client/connect-failure.ts'),
      import('../client/gateway-error.ts'),
      import('./facts.ts')
    ])
    if (!(error.cause instanceof ConnectFailure)) throw error
    const { reason, endpoint } = error.cause
    const { code, message, fix } = error
    const report: GatewayReport = {
      url: describeEndpoint(endpoint),
      urlSource: endpoint.source,
      reachable: isAnswer(reason),
      capability: code === 'PAIRING_REQUIRED' ? 'pairing_pending' : 'unknown',
      facts: factsOfFailure(reason, endpoint),
      ...(code === 'GATEWAY_STARTING' ? { readiness: 'still-starting' as const } : {}),
      error: { code, message, fix }
    }
    if (endpoint.kind === 'socket' || endpoint.destination === 'local') await lookForProcess(io, report)
    return report
  }
}

// What does not answer may run all the same: the state folder knows.
async function lookForProcess(io: Io, { facts }: GatewayReport): Promise<void> {
  if (facts.process.state === 'yes') return
  const [{ runningGateway }, { no, yes }] = await Promise.all([import('./doctor/running.ts'), import('./facts.ts')])
  const { running, pid } = await runningGateway(placesOf(io).paths)
  facts.process = running
    ? yes(`${pid === undefined ? 'a process' : `pid ${pid}`} holds the state folder`)
    : no('no process holds the state folder')
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'UNEXPECTED'
}

function reportOf(
  connection: Connection,
  connectMs: number,
  factsOf: typeof import('./facts.ts').factsOf
): GatewayReport {
  const { hello, endpoint, tunnel } = connection
  const { method, role, scopes } = hello.auth
  const credential = credentialName(connection)
  return {
    url: describeEndpoint(endpoint),
    urlSource: endpoint.source,
    reachable: true,
    capability: capabilityOf(scopes),
    connectMs: Math.round(connectMs),
    ...(tunnel === undefined ? {} : { tunnel }),
    version: hello.server.version,
    bootId: hello.server.bootId,
    uptimeMs: hello.snapshot.uptimeMs,
    self: selfOf(hello),
    auth: { method, role, scopes, credential },
    facts: factsOf(connection, credential, connectMs)
  }
}

function selfOf({ snapshot }: HelloOk): GatewayReport['self'] {
  const entry = snapshot.presence?.find(({ mode, reason }) => mode === 'gateway' && reason === 'self')
  if (entry === undefined) return undefined
  const { host, ip, version, platform } = entry
  return Object.fromEntries(Object.entries({ host, ip, version, platform }).filter(([, value]) => value !== undefined))
}

function capabilityOf(scopes: readonly string[]): GatewayReport['capability'] {
  if (scopes.includes('operator.admin')) return 'admin_capable'
  if (scopes.includes('operator.write')) return 'write_capable'
  return scopes.includes('operator.read') ? 'read_only' : 'connected_no_operator_scope'
}
