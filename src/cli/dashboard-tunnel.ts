import { createServer } from 'node:net'
import type { SshRoute } from '../client/ssh/route.ts'
import { placesOf } from './gateway-call.ts'
import type { Io } from './io.ts'
import { tunnelTeller } from './tunnel/teller.ts'

/**
 * Keeps a tunnel to the gateway's host up until Ctrl-C, at a port where nobody listens yet; `onUp` hears of that port once it
 * leads there.
 */
export async function holdTunnel(
  io: Io,
  route: SshRoute,
  wanted: number,
  onUp: (port: number) => Promise<void>
): Promise<void> {
  const [{ TunnelKeeper }, { stopSignal }] = await Promise.all([
    import('../client/ssh/keeper.ts'),
    import('./stop-signal.ts')
  ])
  const localPort = await freeEnd(wanted)
  // What the command itself prints may be JSON.
  const tell = tunnelTeller({ ...io, stdout: io.stderr }, { route, localPort })
  let opened: Promise<void> | undefined
  const keeper = new TunnelKeeper(route, {
    localPort,
    env: placesOf(io).env,
    onState(state) {
      tell(state)
      if (state.phase === 'up') opened ??= onUp(localPort)
    }
  })
  void stopSignal().then(() => keeper.stop())
  await keeper.run()
  await opened
}

/** The wanted port of this host's loopback, or one that the system gives where somebody listens there. */
async function freeEnd(wanted: number): Promise<number> {
  return (await listenOnce(wanted)) ?? (await listenOnce(0)) ?? wanted
}

function listenOnce(port: number): Promise<number | undefined> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? address?.port : undefined))
    })
  })
}
