import { setTimeout as sleep } from 'node:timers/promises'
import { retryDelay } from '../../client/backoff.ts'
import { ConnectFailure } from '../../client/connect-failure.ts'
import { GatewayError } from '../../client/core.ts'
import { formatDuration } from '../output.ts'
import type { LogPrinter } from './printer.ts'
import type { Ask } from './source.ts'

const RETRIES = 8

/** What following a log takes. */
export interface Follow {
  printer: LogPrinter
  intervalMs: number
  /** Ends it. */
  left: AbortSignal
}

/** Asks for what is new, again and again, until nobody wants to know any more. */
export async function poll(ask: Ask, { printer, intervalMs, left }: Follow, offline: boolean): Promise<void> {
  while (!left.aborted) {
    printer.print(await ask({ cursor: printer.cursor, limit: 5_000, maxBytes: 1_000_000 }), offline)
    await pause(intervalMs, left)
  }
}

/** Runs work over a connection, and again when it is lost: a gateway that restarts is back in a moment. */
export async function keepConnected(
  { printer, left }: Follow,
  connected: (work: () => void) => Promise<void>
): Promise<void> {
  let attempt = 0
  for (;;) {
    try {
      return await connected(() => {
        if (attempt > 0) printer.notice('gateway reconnected')
        attempt = 0
      })
    } catch (error) {
      if (left.aborted) return
      const reason = reasonOf(error)
      // The first connection has to come about: what keeps it from that is for its user to mend.
      const delay = reason === undefined || printer.cursor === undefined ? undefined : retryDelay(reason, attempt)
      if (delay === undefined || attempt >= RETRIES) throw error
      attempt++
      printer.notice(`${(error as Error).message}; again in ${formatDuration(delay)} (${attempt} of ${RETRIES})`)
      await pause(delay, left)
      if (left.aborted) return
    }
  }
}

function reasonOf(error: unknown): GatewayError | undefined {
  const { cause } = error as Error
  if (cause instanceof ConnectFailure) return cause.reason
  return cause instanceof GatewayError ? cause : undefined
}

async function pause(ms: number, left: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal: left }).catch(() => {})
}
