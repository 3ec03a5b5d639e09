import type { Duplex } from 'node:stream'
import { GatewayError } from '../gateway-error.ts'
import type { Tunnel } from '../target.ts'
import { portOf } from './endpoints.ts'
import { connectLocalEnd, localEnd } from './local-end.ts'
import { describeTarget } from './route.ts'
import { SshStream } from './stream.ts'

/** What is known of the tunnel that a connection goes through. */
export interface TunnelFacts {
  /** `user@host:port` */
  target: string
  remotePort: number
  /** The process of ssh. */
  pid: number | undefined
  /** The port of the tunnel that was up before; undefined for one that the connection opened for itself. */
  localPort: number | undefined
}

/**
 * Opens one connection through ssh: to the local end of the tunnel that is up, if it is one, or through an ssh of its own.
 * Rejects with a GatewayError when no tunnel is up, and with a ClientError where there is no ssh.
 */
export async function openTunnel(
  url: URL,
  { route, opens }: Tunnel,
  options: { env: Readonly<Record<string, string | undefined>>; timeoutMs: number }
): Promise<{ stream: Duplex; facts: TunnelFacts }> {
  const facts = { target: describeTarget(route.target), remotePort: route.remotePort }
  if (opens) {
    const stream = new SshStream(route, options)
    return { stream, facts: { ...facts, pid: stream.pid, localPort: undefined } }
  }
  const localPort = portOf(url)
  const end = await localEnd(localPort)
  const stream = end.state === 'ssh' ? await connectLocalEnd(localPort, end.id) : undefined
  if (end.state === 'ssh' && stream !== undefined) return { stream, facts: { ...facts, pid: end.pid, localPort } }
  throw new GatewayError(
    'CONNECTION_FAILED',
    end.state === 'taken'
      ? `${end.who} listens on 127.0.0.1:${localPort}, and is no ssh of this user: it was sent nothing`
      : `no tunnel is up on 127.0.0.1:${localPort}`
  )
}
