import { backoff, retryDelay } from '../client/backoff.ts'
import { type GatewayError, refusalDetails } from '../client/core.ts'

/** Why there is no connection, in words, and what mends it. */
export interface Trouble {
  message: string
  fix?: string
  /** Who has to act before it can work: then trying often helps nobody. */
  needs: 'time' | 'approval' | 'owner'
}

/** What an error of the connection means for the person who runs this node; `byCode`: who paired it by a setup code. */
export function troubleOf(error: GatewayError, url: string, byCode = false): Trouble {
  const { code, requestId, fix } = refusalDetails(error)
  if (code === 'PAIRING_REQUIRED') {
    return {
      message: `not paired: the gateway at ${url} has to approve this node (request ${requestId ?? 'unknown'}); it comes in by itself once that is done`,
      fix: `openclaw devices approve ${requestId ?? ''}`.trimEnd() + ON_GATEWAY,
      needs: 'approval'
    }
  }
  if (error.closeCode === 4001) {
    return { message: `the gateway ended this node's access (${error.message}); asking again`, needs: 'time' }
  }
  if (TRANSIENT.has(error.code)) {
    const cause = causeFix(error)
    return {
      message: `no connection to ${url}: ${error.message}`,
      ...cause,
      needs: cause.fix === undefined ? 'time' : 'owner'
    }
  }
  // Nothing else that this machine has would be sent there.
  if (byCode && code?.startsWith('AUTH_')) {
    return { message: `the gateway at ${url} does not know this node any more`, fix: PAIR_AGAIN, needs: 'owner' }
  }
  const told = fix === undefined ? fixFor(code) : `${fix.command}${fix.where === 'gateway host' ? ON_GATEWAY : ''}`
  return {
    message: `the gateway at ${url} refused this node: ${error.message}`,
    ...(told === undefined ? {} : { fix: told }),
    needs: error.retryable === true || error.code === 'UNAVAILABLE' ? 'time' : 'owner'
  }
}

/** Milliseconds until the next try: for ever, and never more than five minutes. */
export function patience(error: GatewayError, needs: Trouble['needs'], attempt: number, random = Math.random): number {
  const least = Math.min(error.retryAfterMs ?? 0, LONGEST_MS)
  if (needs === 'approval') return Math.max(least, backoff(attempt, { base: 1_000, cap: 10_000, random }))
  // Each wrong credential is a guess that the gateway counts, against everyone at this address.
  if (needs === 'owner') return Math.max(least, backoff(attempt, { base: 5_000, cap: LONGEST_MS, random }))
  // Where nobody answers, nobody is bothered by being asked; and whoever mends a network wants to see the node back.
  if (TRANSIENT.has(error.code)) return Math.max(least, backoff(attempt, { cap: 8_000, random }))
  return Math.min(retryDelay(error, attempt, random) ?? backoff(attempt, { random }), LONGEST_MS)
}

const LONGEST_MS = 300_000
const PAIR_AGAIN = 'openclaw devices join-code (on the gateway host), and here the command that it prints'
const ON_GATEWAY = ' (on the gateway host)'
const TRANSIENT = new Set<GatewayError['code']>(['CONNECTION_FAILED', 'CONNECTION_LOST', 'TIMEOUT', 'PROTOCOL'])

// What was refused on this side, before anything was sent, says itself how it is mended.
function causeFix({ cause }: GatewayError): { fix?: string } {
  if (typeof cause !== 'object' || cause === null || !('fix' in cause)) return {}
  const { fix } = cause as { fix: unknown }
  if (typeof fix === 'string') return { fix }
  const command = (fix as { command?: unknown } | undefined)?.command
  return typeof command === 'string' ? { fix: command } : {}
}

function fixFor(code: string | undefined): string | undefined {
  switch (code) {
    case 'AUTH_TOKEN_MISSING':
    case 'AUTH_TOKEN_MISMATCH':
      return 'read it with "openclaw gateway auth-token --show" on the gateway host; here set OPENCLAW_GATEWAY_TOKEN, or gateway.auth.token'
    case 'AUTH_PASSWORD_MISSING':
    case 'AUTH_PASSWORD_MISMATCH':
      return 'set OPENCLAW_GATEWAY_PASSWORD'
    case 'PROTOCOL_MISMATCH':
      return 'update openclaw-gateway on the older side'
    default:
      return undefined
  }
}
