import type { Server } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { openLoopback, openPrivate } from './listeners.ts'
import type { Exposure } from './tailscale/exposure.ts'

const NAME_MS = 60_000

/**
 * Puts the gateway into the tailnet as configured (D3, D4): Serve reaches a listener of its own, so that nothing else on
 * this machine can speak for it. Undefined when Tailscale is off.
 */
export async function expose(app: FastifyInstance, opened: Server[]): Promise<Exposure | undefined> {
  const { gateway, paths } = app.config
  const { mode } = gateway.tailscale
  if (mode === 'off') return undefined
  const [{ startExposure }, { supportsUnixTarget }] = await Promise.all([
    import('./tailscale/exposure.ts'),
    import('./tailscale/serve.ts')
  ])
  const daemon = await app.tailnet.daemon()
  let socket: Promise<string> | undefined
  let port: Promise<string> | undefined
  return startExposure({
    mode,
    daemon,
    log: app.log,
    async target(version) {
      const user = await daemon.user()
      const reachable = user === undefined || user === 0 || user === process.getuid?.()
      // A socket is open to root and to us; a tailscaled of another user, or an old one, needs a port.
      if (supportsUnixTarget(version) && reachable) {
        const path = paths.localSocket.replace(/\.sock$/, '-tailscale.sock')
        socket ??= openPrivate(app, 'tailscale', path, opened).then(() => `unix:${path}`)
        return socket
      }
      port ??= openLoopback(app, 'tailscale', opened).then(String)
      return port
    },
    onChange({ url }) {
      if (url !== undefined) app.live.learnTailnetName(new URL(url).hostname)
    }
  })
}

/** Learns this machine's name in the tailnet where people reach it by that name; until tailscaled tells it. */
export function learnName(app: FastifyInstance): () => void {
  const { bind, tailscale } = app.config.gateway
  if (tailscale.mode === 'off' && bind !== 'tailnet' && !app.live.access.ingress.operatorServe) return () => {}
  const ask = async () => {
    const name = await app.tailnet.name()
    if (name === undefined) return
    clearInterval(timer)
    app.live.learnTailnetName(name)
  }
  const timer = setInterval(ask, NAME_MS).unref()
  void ask()
  return () => clearInterval(timer)
}
