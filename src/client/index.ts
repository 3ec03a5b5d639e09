import { GatewayClient, type GatewayClientOptions } from './core.ts'
import { openUnix, openUrl } from './node-socket.ts'
import { checkGatewayUrl } from './url-policy.ts'

export type { EventFrame, HelloOk } from '../protocol/frames.ts'
export { type ClientState, type DeviceSigner, GatewayClient, type GatewayClientOptions, GatewayError } from './core.ts'
export { ClientError } from './errors.ts'
export { checkGatewayUrl } from './url-policy.ts'

/** Where a Node program finds its gateway: a `ws://` or `wss://` URL, or the Unix socket of the gateway on this host. */
export type NodeEndpoint = { url: string } | { socketPath: string }

/**
 * A client for Node programs, not yet connected: call `connect()`. Throws a ClientError when the URL may not be used
 * (R33), before anything is sent.
 */
export function nodeClient(endpoint: NodeEndpoint, options: Omit<GatewayClientOptions, 'createSocket'>): GatewayClient {
  if ('socketPath' in endpoint)
    return new GatewayClient({ ...options, createSocket: () => openUnix(endpoint.socketPath) })
  const url = checkGatewayUrl(endpoint.url)
  return new GatewayClient({ ...options, createSocket: () => openUrl(url) })
}
