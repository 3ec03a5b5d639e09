/** A refusal of the node host before it connects: what is wrong, and the command that mends it. */
export class NodeHostError extends Error {
  readonly code: NodeHostErrorCode
  readonly fix: string | undefined

  constructor(code: NodeHostErrorCode, message: string, options: { fix?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'NodeHostError'
    this.code = code
    this.fix = options.fix
  }
}

/** Why the node host refused. */
export type NodeHostErrorCode =
  | 'NODE_IDENTITY_MISSING'
  | 'NODE_IDENTITY_UNREADABLE'
  | 'NODE_STATE_UNREADABLE'
  | 'SETUP_CODE_EXPIRED'
  | 'SETUP_CODE_INVALID'
  | 'SETUP_CODE_REFUSED'
  | 'SETUP_CODE_UNREACHABLE'
