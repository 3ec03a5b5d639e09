import type { Connection } from '../client/connect.ts'
import type { TunnelFacts } from '../client/ssh/tunnel.ts'

/** What let this host in, by the name of its place; never a value. */
export function credentialName({ endpoint, credentials }: Pick<Connection, 'endpoint' | 'credentials'>): string {
  if (endpoint.kind === 'socket') return 'owner of this host’s files'
  const { token, password, deviceToken } = credentials ?? {}
  return (token ?? password ?? deviceToken)?.source ?? 'none'
}

/** How a tunnel leads to its gateway; undefined without one. */
export function tunnelText(tunnel: TunnelFacts | undefined): string | undefined {
  if (tunnel === undefined) return undefined
  const { target, remotePort, localPort, pid } = tunnel
  const how = localPort === undefined ? 'for this command alone' : `that is up on port ${localPort}`
  return `ssh ${target}, ${how}${pid === undefined ? '' : ` (pid ${pid})`}, to port ${remotePort} there`
}
