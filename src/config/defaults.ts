import type { Scope } from '../protocol/scopes.ts'
import type { RateLimitConfig } from './types.ts'

/** `gateway.port` when nothing names one (R1). */
export const DEFAULT_PORT = 18789

/** `gateway.auth.rateLimit` when the file is silent. */
export const DEFAULT_RATE_LIMIT: Readonly<RateLimitConfig> = {
  maxAttempts: 10,
  windowMs: 60_000,
  lockoutMs: 300_000,
  exemptLoopback: true
}

/** `gateway.auth.trustedProxy.deviceAutoApprove.scopes` when the file is silent. */
export const DEFAULT_AUTO_APPROVE_SCOPES: readonly Scope[] = [
  'operator.read',
  'operator.write',
  'operator.approvals',
  'operator.questions'
]

/** `gateway.auth.trustedProxy.socketMode`: the owner and the proxy's group. */
export const DEFAULT_SOCKET_MODE = '0660'
