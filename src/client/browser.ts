import { GatewayClient, type GatewayClientOptions } from './core.ts'
import { ClientError } from './errors.ts'

export * from './public.ts'

/**
 * A client for browsers, not yet connected: call `connect()`. A page that came over HTTPS can reach `wss://` alone; which
 * certificate is right is for the browser to say.
 */
export function browserClient(url: string, options: Omit<GatewayClientOptions, 'createSocket'>): GatewayClient {
  const parsed = URL.parse(url)
  if (parsed === null || !/^wss?:$/.test(parsed.protocol) || parsed.username !== '' || parsed.search !== '') {
    throw new ClientError(
      'URL_INVALID',
      'not a gateway URL; it must be ws://HOST:PORT or wss://HOST, without credentials'
    )
  }
  return new GatewayClient({ ...options, createSocket: () => new WebSocket(parsed) })
}
