import { invalidRequest, RpcError } from './errors.ts'

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

/** The refusal of a launch code that is wrong, old or already spent. */
export function spentCode(): RpcError {
  return authRefusal({
    message:
      'unauthorized: setup code invalid, expired, revoked, or already used (create a new code; review `openclaw devices list`)',
    code: 'AUTH_BOOTSTRAP_TOKEN_INVALID',
    reason: 'bootstrap_token_invalid',
    next: 'review_auth_configuration',
    fix: { command: 'openclaw dashboard', where: 'gateway host' }
  })
}
