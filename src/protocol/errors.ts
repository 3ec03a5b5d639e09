import type { ErrorCode } from './codes.ts'
import type { ErrorShape } from './frames.ts'
import type { Scope } from './scopes.ts'

/** What a refusal tells its reader to do: a command, and the machine to run it on. */
export interface Fix {
  command: string
  where: 'gateway host' | 'this client'
}

/** An error that may go over the wire as it is. Anything else becomes a plain `UNAVAILABLE`. */
export class RpcError extends Error {
  readonly code: ErrorCode
  readonly details: unknown
  readonly retryable: boolean | undefined
  readonly retryAfterMs: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    extra: { details?: unknown; retryable?: boolean; retryAfterMs?: number; cause?: unknown } = {}
  ) {
    super(message, extra.cause === undefined ? {} : { cause: extra.cause })
    this.name = 'RpcError'
    this.code = code
    this.details = extra.details
    this.retryable = extra.retryable
    this.retryAfterMs = extra.retryAfterMs
  }

  /** The error as a response frame carries it. */
  toShape(): ErrorShape {
    const shape: ErrorShape = { code: this.code, message: this.message }
    if (this.details !== undefined) shape.details = this.details
    if (this.retryable !== undefined) shape.retryable = this.retryable
    if (this.retryAfterMs !== undefined) shape.retryAfterMs = this.retryAfterMs
    return shape
  }
}

/** Refuses a caller whose scopes do not suffice. */
export function missingScope(scope: Scope): RpcError {
  return new RpcError('FORBIDDEN', `missing scope: ${scope}`, {
    details: { code: 'MISSING_SCOPE', missingScope: scope, requiredScopes: [scope] }
  })
}

/** Refuses a request for what it says. */
export function invalidRequest(message: string, details?: unknown, cause?: unknown): RpcError {
  return new RpcError('INVALID_REQUEST', message, {
    ...(details === undefined ? {} : { details }),
    ...(cause === undefined ? {} : { cause })
  })
}
