import type { Config } from '../config/types.ts'
import { type GatewayTls, type HandPin, tlsFor } from './gateway-tls.ts'
import type { KnownGateways } from './known-gateways.ts'
import { openUrl } from './node-socket.ts'
import type { TunnelFacts } from './ssh/tunnel.ts'
import type { Endpoint } from './target.ts'
import type { SocketLike } from './types.ts'

/** What a way to a gateway is made of. */
export interface WayInput {
  env: Readonly<Record<string, string | undefined>>
  config: Config | undefined
  known: KnownGateways
  /** The pin that this one connection goes by, before all configured ones. */
  pin: HandPin | undefined
  /** For each handshake, in milliseconds. */
  timeoutMs: number
  /** For the connection of TCP, in milliseconds; default: as long as this system tries. */
  connectMs?: number | undefined
  onWarning?: ((text: string) => void) | undefined
}

/** A way to a gateway that is settled, and not yet gone. */
export interface Way {
  open(): SocketLike
  tls?: GatewayTls | undefined
  tunnel?: TunnelFacts | undefined
}

/** Settles how a gateway is reached: whose word its certificate is taken on, the headers for a proxy, the tunnel. */
export async function wayTo(endpoint: Endpoint & { kind: 'url' }, input: WayInput): Promise<Way> {
  const { url, tunnel } = endpoint
  const { env, config, known, pin, timeoutMs, connectMs, onWarning } = input
  const tls = await tlsFor(endpoint, { gateway: config?.gateway, known, pin, timeoutMs, onWarning })
  const headers = await headersFor(endpoint, config, onWarning)
  const options = { tls: tls?.options, headers, connectMs }
  if (tunnel === undefined) return { open: () => openUrl(url, options), tls }
  const { openTunnel } = await import('./ssh/tunnel.ts')
  const { stream, facts } = await openTunnel(url, tunnel, { env, timeoutMs })
  return { open: () => openUrl(url, { ...options, stream }), tls, tunnel: facts }
}

async function headersFor(
  { url, destination }: Endpoint & { kind: 'url' },
  config: Config | undefined,
  onWarning: WayInput['onWarning']
): Promise<Record<string, string>> {
  if (destination !== 'remote' || config === undefined || config.gateway.remote.edgeAuth.length === 0) return {}
  if (url.protocol !== 'wss:') {
    onWarning?.(`gateway.remote.edgeAuth goes over wss:// alone; none of it is sent to ${url.origin}`)
    return {}
  }
  const { edgeHeaders } = await import('./edge-auth.ts')
  return edgeHeaders(url, config)
}
