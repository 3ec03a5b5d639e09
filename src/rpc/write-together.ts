import type { Duplex } from 'node:stream'

const held: Duplex[] = []

/**
 * Holds back what is written to a socket until this turn of the event loop is over, so that it leaves in one write: a
 * caller that is answered by many nodes at once, or that asked for many things at once, costs one system call.
 */
export function writeTogether(socket: Duplex): void {
  // More than none: it is held already.
  if (socket.writableCorked > 0) return
  socket.cork()
  if (held.push(socket) === 1) setImmediate(release)
}

function release(): void {
  for (const socket of held.splice(0)) socket.uncork()
}
