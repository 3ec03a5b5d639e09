/** Error codes of a response frame. */
const ERROR_CODES = ['INVALID_REQUEST', 'NOT_PAIRED', 'FORBIDDEN', 'UNAVAILABLE', 'NOT_FOUND'] as const

/** One error code of a response frame. */
export type ErrorCode = (typeof ERROR_CODES)[number]

/** The WebSocket close codes this gateway sends, and what each one means. */
export const CLOSE = {
  /** The handshake deadline passed in silence. */
  normal: 1000,
  /** The client's protocol range does not include ours. */
  protocolMismatch: 1002,
  /** Refused: bad frame, failed authentication, revoked credential, slow consumer. */
  policy: 1008,
  /** A frame was larger than the limit in force. */
  tooBig: 1009,
  /** The gateway is stopping or restarting; come back. */
  serviceRestart: 1012,
  /** The device of this socket was removed, or its tokens ended. */
  deviceRemoved: 4001,
  /** What this socket's authority rested on changed; it may come again. */
  authChanged: 4001
} as const

/** The protocol version spoken, and the lowest one a probe or a node may negotiate. */
export const PROTOCOL = { version: 4, minimumProbe: 3 } as const
