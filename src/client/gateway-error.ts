import type { ErrorShape } from '../protocol/frames.ts'

/** Error codes that never cross the wire: what went wrong on this side of it. */
export type LocalErrorCode = 'CONNECTION_FAILED' | 'CONNECTION_LOST' | 'TIMEOUT' | 'CLOSED' | 'PROTOCOL'

interface GatewayErrorOptions {
  details?: unknown
  retryable?: boolean | undefined
  retryAfterMs?: number | undefined
  closeCode?: number | undefined
  cause?: unknown
}

/** Why a call or a connection failed: the gateway's refusal, or what happened to the socket. */
export class GatewayError extends Error {
  readonly code: ErrorShape['code'] | LocalErrorCode
  readonly details: unknown
  readonly retryable: boolean | undefined
  readonly retryAfterMs: number | undefined
  readonly closeCode: number | undefined

  constructor(code: GatewayError['code'], message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'GatewayError'
    this.code = code
    this.details = options.details
    this.retryable = options.retryable
    this.retryAfterMs = options.retryAfterMs
    this.closeCode = options.closeCode
  }

  /** The error of a response frame. */
  static from(shape: ErrorShape): GatewayError {
    return new GatewayError(shape.code, shape.message, shape)
  }
}

/** Reports whether an error is a gateway's own answer, and not what happened on the way to it. */
export function isAnswer({ code }: Pick<GatewayError, 'code'>): boolean {
  return !LOCAL.has(code)
}

const LOCAL = new Set<GatewayError['code']>(['CONNECTION_FAILED', 'CONNECTION_LOST', 'TIMEOUT', 'CLOSED', 'PROTOCOL'])

/** The parts of a refusal's details that any client may act on. */
export interface RefusalDetails {
  code?: string
  reason?: string
  requestId?: string
  deviceId?: string
  fix?: { command: string; where: string }
  retryable?: boolean
  recommendedNextStep?: string
}

/** The details of a refusal, or an empty object when there are none. */
export function refusalDetails(error: GatewayError): RefusalDetails {
  return typeof error.details === 'object' && error.details !== null ? error.details : {}
}
