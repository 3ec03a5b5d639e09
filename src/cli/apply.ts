import { existsSync } from 'node:fs'
import { platform } from 'node:os'
import { VERSION } from '../package.ts'
import { placesOf } from './gateway-call.ts'
import type { Io } from './io.ts'

const TIMEOUT_MS = 5_000

/** What the running gateway of this host made of the configuration file. */
export interface Applied {
  applied: string[]
  restart: string[]
  secretSource?: string
}

/**
 * Lets the gateway of this host apply its configuration file now; undefined when none runs. Rejects when it cannot, or
 * (unless forced) when `gateway.reload.mode` is off.
 */
export async function applyNow(io: Io, { force = false } = {}): Promise<Applied | undefined> {
  const { paths } = placesOf(io)
  if (!existsSync(paths.localSocket)) return undefined
  const [{ GatewayClient, GatewayError }, { openUnix }] = await Promise.all([
    import('../client/core.ts'),
    import('../client/node-socket.ts')
  ])
  const client = new GatewayClient({
    createSocket: () => openUnix(paths.localSocket),
    client: { id: 'cli', mode: 'cli', version: VERSION, platform: platform() },
    scopes: ['operator.admin'],
    handshakeTimeoutMs: TIMEOUT_MS
  })
  try {
    await client.connect()
    return await client.request<Applied>('config.reload', { force }, { timeoutMs: TIMEOUT_MS })
  } catch (error) {
    // A socket that nobody listens on is what a gateway that died leaves behind.
    if (error instanceof GatewayError && error.code === 'CONNECTION_FAILED') return undefined
    const { explain } = await import('./explain.ts')
    throw explain(error)
  } finally {
    client.close()
  }
}
