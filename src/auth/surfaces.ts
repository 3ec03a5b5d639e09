/** What a route is. Every route names its surface; the table below says what may authenticate on it. */
export type Surface = 'probe' | 'static' | 'control-ui' | 'http-api' | 'websocket'

/** The route of the surface `websocket`: every upgrade leads here, whatever path it names. */
export const SOCKET_PATH = '/__openclaw__/socket'

/** How a caller proved who they are. */
export type AuthMethod =
  | 'owner'
  | 'none'
  | 'token'
  | 'password'
  | 'named-token'
  | 'device-token'
  | 'setup-code'
  | 'trusted-proxy'
  | 'tailscale'

/** Surfaces that answer without credentials; the rest of a route on them never sees a caller's authority. */
const open: readonly Surface[] = ['probe', 'static']

// Default deny: a method that does not stand in a surface's row never authenticates there. Tailscale identity
// stands in `control-ui` and `websocket` only, so no HTTP API can be opened by it (R7, R8, S10).
const table: Record<Exclude<Surface, 'probe' | 'static'>, readonly AuthMethod[]> = {
  'http-api': ['owner', 'none', 'token', 'password', 'named-token', 'trusted-proxy'],
  'control-ui': ['owner', 'none', 'token', 'password', 'named-token', 'trusted-proxy', 'device-token', 'tailscale'],
  websocket: [
    'owner',
    'none',
    'token',
    'password',
    'named-token',
    'trusted-proxy',
    'device-token',
    'tailscale',
    'setup-code'
  ]
}

/** The surfaces, for the route guard. */
export const SURFACES: readonly Surface[] = [...open, ...(Object.keys(table) as Surface[])]

/** Reports whether a surface answers without credentials. */
export function isOpen(surface: Surface): surface is 'probe' | 'static' {
  return open.includes(surface)
}

/** Reports whether a method may authenticate on a surface. */
export function accepts(surface: Surface, method: AuthMethod): boolean {
  return !isOpen(surface) && table[surface].includes(method)
}
