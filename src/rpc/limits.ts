/** Bounds of a socket's life. Sizes in bytes, times in milliseconds. */
export const LIMITS = {
  /** Largest frame before `connect` succeeded, and after. */
  preauthPayload: 65_536,
  payload: 26_214_400,
  /** A socket that says nothing is closed after this long. */
  handshakeMs: 15_000,
  /** A closing handshake that the peer does not finish is cut off after this long. */
  closeMs: 2_000,
  /** Sockets without a caller, from one address and in all. */
  preauthPerAddress: 32,
  preauthTotal: 512,
  /** Above this, droppable events skip a socket; above the second, the socket is closed. */
  softBuffer: 1_048_576,
  hardBuffer: 52_428_800,
  /** Calls of one socket under way at once. */
  inFlight: 64,
  /** Calls over HTTP under way at once, of all callers; each has as many as a socket. */
  callsOverHttp: 1_024,
  tickMs: 30_000,
  healthMs: 60_000,
  pingMs: 25_000,
  /** Calls under way when the gateway stops get this long. */
  drainMs: 2_000
} as const
