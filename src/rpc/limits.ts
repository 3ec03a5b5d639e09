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
  /** Streams of events, of one caller and of all; how often they show that they live, and how long one may not read. */
  streamsPerCaller: 256,
  streams: 1_024,
  streamBeatMs: 15_000,
  streamStallMs: 60_000,
  /** How long events are kept for streams to come back to, after the last one left. */
  replayMs: 600_000,
  tickMs: 30_000,
  healthMs: 60_000,
  pingMs: 25_000,
  /** Calls under way when the gateway stops get this long. */
  drainMs: 2_000
} as const
