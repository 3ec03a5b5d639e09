import type { TunnelState } from '../../client/ssh/keeper.ts'
import { describeTarget } from '../../client/ssh/route.ts'
import type { Io } from '../io.ts'
import { formatDuration, printable } from '../output.ts'
import type { TunnelTarget } from './target.ts'

/** Tells a person each state of a tunnel that is kept up. */
export function tunnelTeller(io: Io, { route, localPort }: TunnelTarget): (state: TunnelState) => void {
  const where = describeTarget(route.target)
  let trouble = ''
  return (state) => {
    if (state.phase === 'connecting') return io.stdout(`Connecting to ${where}`)
    if (state.phase === 'up') {
      trouble = ''
      const from = `127.0.0.1:${localPort}`
      return io.stdout(`Up: ${from} leads to port ${route.remotePort} of ${where} (ssh, pid ${state.pid})`)
    }
    const { message, fix } = state.error
    if (state.phase === 'waiting') {
      return io.stderr(`Down: ${printable(message)}; again in ${formatDuration(state.retryInMs)}`)
    }
    // Once, however many connections come to it.
    if (message === trouble) return
    trouble = message
    io.stderr(printable(message))
    if (fix !== undefined) io.stderr(`fix: ${printable(fix)}`)
  }
}
