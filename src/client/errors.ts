/** A refusal of this side of the connection, before anything was sent: what is wrong, and the command that mends it. */
export class ClientError extends Error {
  readonly code: ClientErrorCode
  readonly fix: string | undefined
  /** The certificate that was refused, as a pin names it. */
  readonly fingerprint: string | undefined

  constructor(
    code: ClientErrorCode,
    message: string,
    options: { fix?: string; cause?: unknown; fingerprint?: string } = {}
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'ClientError'
    this.code = code
    this.fix = options.fix
    this.fingerprint = options.fingerprint
  }
}

/** Why this side refused. */
export type ClientErrorCode =
  | 'URL_INVALID'
  | 'URL_INSECURE'
  | 'URL_CREDENTIALS'
  | 'TARGET_INVALID'
  | 'TARGET_CHANGED'
  | 'CREDENTIALS_MISSING'
  | 'TLS_PIN_INVALID'
  | 'TLS_PIN_MISMATCH'
  | 'SSH_TARGET_INVALID'
  | 'SSH_MISSING'
  | 'SSH_HOST_KEY_CHANGED'
  | 'SSH_HOST_KEY_UNKNOWN'
  | 'SSH_IDENTITY'
  | 'SSH_DENIED'
  | 'SSH_FORWARDING_REFUSED'
  | 'SSH_GATEWAY_DOWN'
  | 'SSH_PORT_TAKEN'
  | 'SSH_UNREACHABLE'
  | 'SSH_FAILED'
  | 'TLS_PIN_CHANGED'
  | 'TLS_UNTRUSTED'
  | 'EDGE_AUTH_INVALID'
  | 'EDGE_LOGIN_REQUIRED'
  | 'STATE_UNREADABLE'

/** Reports whether the same attempt may come to another end later, without anybody's doing on this side. */
export function mayPass({ code }: ClientError): boolean {
  return PASSING.has(code)
}

const PASSING: ReadonlySet<ClientErrorCode> = new Set(['SSH_UNREACHABLE', 'SSH_GATEWAY_DOWN', 'SSH_FAILED'])
