import { invalidRequest, RpcError } from './errors.ts'
import type { ConnectParams } from './frames.ts'

/** What the reference tells a client to do next after a refused credential. */
export type NextStep =
  | 'update_auth_configuration'
  | 'update_auth_credentials'
  | 'retry_with_device_token'
  | 'review_auth_configuration'
  | 'wait_then_retry'

/** Refuses a credential in the protocol's shape; `fix` says what to run and where (D12). */
export function authRefusal(input: {
  message: string
  code: string
  reason: string
  next: NextStep
  canRetryWithDeviceToken?: boolean
  retryAfterMs?: number
  fix?: { command: string; where: string } | undefined
  /** What stays inside: it is logged, and never sent. */
  cause?: unknown
}): RpcError {
  const details = {
    code: input.code,
    authReason: input.reason,
    canRetryWithDeviceToken: input.canRetryWithDeviceToken ?? false,
    recommendedNextStep: input.next,
    ...(input.fix === undefined ? {} : { fix: input.fix })
  }
  const { message, retryAfterMs, cause } = input
  if (retryAfterMs === undefined) return invalidRequest(message, details, cause)
  return new RpcError('INVALID_REQUEST', message, { details, retryable: true, retryAfterMs, cause })
}

/** The refusal of a one-time code that is wrong, old or already spent; `why` stays inside. */
export function spentCode({ client }: ConnectParams, why: string | undefined): RpcError {
  return authRefusal({
    message:
      'unauthorized: setup code invalid, expired, revoked, or already used (create a new code; review `openclaw devices list`)',
    code: 'AUTH_BOOTSTRAP_TOKEN_INVALID',
    reason: 'bootstrap_token_invalid',
    next: 'review_auth_configuration',
    cause: { ok: false, reason: 'bootstrap_token_invalid', detail: why },
    fix: { command: client.mode === 'webchat' ? 'openclaw dashboard' : 'openclaw qr', where: 'gateway host' }
  })
}
