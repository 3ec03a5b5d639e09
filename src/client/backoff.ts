import { ClientError, mayPass } from './errors.ts'
import { type GatewayError, refusalDetails } from './gateway-error.ts'

const RESTART = 1012
const LOCAL = new Set(['CONNECTION_FAILED', 'CONNECTION_LOST', 'TIMEOUT'])

/** Exponential delay with equal jitter: between half of and the whole of `base * 2^attempt`, capped. */
export function backoff(attempt: number, { base = 500, cap = 30_000, random = Math.random } = {}): number {
  const ceiling = Math.min(cap, base * 2 ** Math.min(attempt, 20))
  return Math.round(ceiling * (0.5 + random() / 2))
}

/** Milliseconds until the next try after `error`, or undefined when trying again cannot help. */
export function retryDelay(
  error: GatewayError,
  attempt: number,
  random: () => number = Math.random
): number | undefined {
  // This side refused, and mostly will again: only a person can change that.
  if (error.cause instanceof ClientError) return mayPass(error.cause) ? backoff(attempt, { random }) : undefined
  const least = error.retryAfterMs ?? 0
  // A planned restart is short, and its clients should be back before anyone notices.
  if (error.closeCode === RESTART) return Math.max(least, backoff(attempt, { base: 200, cap: 2_000, random }))
  if (LOCAL.has(error.code) || error.code === 'UNAVAILABLE') return Math.max(least, backoff(attempt, { random }))
  const details = refusalDetails(error)
  if (error.retryable || details.retryable || details.recommendedNextStep === 'wait_then_retry') {
    // Someone is about to press a button on the other side: poll at a steady pace.
    return Math.max(least, backoff(Math.min(attempt, 2), { base: 1_000, random }))
  }
  return undefined
}
