import type { FastifyRequest } from 'fastify'
import { footing } from '../auth/access.ts'
import { scopesOf } from '../auth/scopes.ts'
import { VERSION } from '../package.ts'
import type { Caller } from '../rpc/method.ts'

/** How a caller without a handshake is introduced. */
const client = { id: 'gateway-client', mode: 'backend', version: VERSION, platform: 'http' } as const

/** Who is calling over HTTP, as methods, tools and limits know a caller: with every scope that its credential allows. */
export function callerOf(request: FastifyRequest): Caller {
  const { auth, headers, id, ingress, routeOptions, server } = request
  const { method, user, token, device } = auth
  const entry = { method, user: user?.id, ingress, origin: headers.origin }
  return {
    connId: id,
    surface: routeOptions.config.surface!,
    role: 'operator',
    scopes: scopesOf(auth),
    client,
    declared: undefined,
    owner: method === 'owner',
    method,
    deviceId: device?.deviceId,
    token,
    user,
    address: ingress.client,
    entry,
    footing: footing(server.live.access, entry)
  }
}
