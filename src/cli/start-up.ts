import { setTimeout as sleep } from 'node:timers/promises'
import { backoff } from '../client/backoff.ts'
import { type Connection, type ConnectOptions, connectConfigured, nobodyListens } from '../client/connect.ts'
import { ConnectFailure } from '../client/connect-failure.ts'
import { refusalDetails } from '../client/gateway-error.ts'
import { describeEndpoint } from '../client/target.ts'
import { isUpgradeUnavailable } from '../client/upgrade-refusal.ts'
import { runningGateway } from './doctor/running.ts'
import { CliError, type Io } from './io.ts'

const RESTART = 1012

/** Connects; for as long as `patienceMs`, a gateway that is only starting is tried again. A wrong credential never is. */
export async function connectPatiently(
  io: Io,
  options: ConnectOptions,
  { patienceMs, onWait }: { patienceMs: number; onWait(): void }
): Promise<Connection> {
  const deadline = performance.now() + patienceMs
  for (let attempt = 0; ; attempt++) {
    try {
      return await connectConfigured(attempt === 0 ? options : { ...options, timeoutMs: left(deadline) })
    } catch (error) {
      if (!(error instanceof ConnectFailure)) throw error
      const delay = await delayAfter(io, error, attempt, options)
      if (delay === undefined) throw error
      if (delay.ms >= left(deadline)) throw delay.starting === undefined ? error : stillStarting(error, delay.starting)
      onWait()
      await sleep(delay.ms)
    }
  }
}

function left(deadline: number): number {
  return Math.max(1, Math.round(deadline - performance.now()))
}

// Undefined: time alone does not mend it. `starting`: how it is known that the gateway is no further.
async function delayAfter(
  io: Io,
  { reason, endpoint }: ConnectFailure,
  attempt: number,
  { paths }: ConnectOptions
): Promise<{ ms: number; starting?: string } | undefined> {
  const ms = Math.max(reason.retryAfterMs ?? 0, backoff(attempt, { base: 200, cap: 1_000 }))
  if (reason.code === 'UNAVAILABLE' && reason.retryable === true) {
    return refusalDetails(reason).reason === 'startup-sidecars' ? { ms, starting: reason.message } : { ms }
  }
  if (reason.closeCode === RESTART || isUpgradeUnavailable(reason.cause)) return { ms, starting: reason.message }
  const own = endpoint.source === 'local socket' || endpoint.source === 'local loopback'
  if (!own || !nobodyListens(reason)) return undefined
  const { running, pid } = await runningGateway(paths)
  if (running) return { ms, starting: `pid ${pid} holds the state folder, and does not listen yet` }
  const service = await runningService(io)
  return service === undefined ? undefined : { ms, starting: `${service} runs, and does not listen yet` }
}

// A process that a service has just begun needs a moment to say anything at all.
async function runningService(io: Io): Promise<string | undefined> {
  const { gatewayService } = await import('./service/gateway.ts')
  const service = await gatewayService(io).catch(() => undefined)
  if (service === undefined) return undefined
  const { installed, name, runtime } = service.status
  const other = service.drift.some(({ what }) => what === 'state' || what === 'config')
  return installed && !other && runtime.status === 'running' ? name : undefined
}

function stillStarting(failure: ConnectFailure, evidence: string): CliError {
  const url = describeEndpoint(failure.endpoint)
  return new CliError('GATEWAY_STARTING', `the gateway at ${url} is still starting: ${evidence}`, {
    cause: failure,
    fix: 'pass a longer --timeout, in milliseconds; "openclaw doctor" says what it waits for',
    type: 'gateway_transport_error',
    extra: { status: 'starting', gateway: { url, urlSource: failure.endpoint.source } }
  })
}
