import { isLoopbackName } from '../loopback.ts'

/** How Tailscale exposes the gateway, as `status` tells it. Times are milliseconds since 1970 by the gateway's clock. */
export interface TailscaleExposure {
  mode?: string
  actual?: string
  phase?: string
  url?: string
  error?: string
  fix?: { command: string; where: string }
  retryAtMs?: number
}

/** The part of `status` that says how the gateway can be reached. */
export interface Exposure {
  bind?: string
  port?: number
  authMode?: string
  tailscale?: TailscaleExposure
  /** What the main port serves; `notAfter` as ISO 8601. */
  tls?: { enabled: boolean; fingerprint?: string; notAfter?: string; problem?: string }
  /** `127.0.0.1:18789`, `[::1]:18789`, or a socket's path, in the order in which they were opened. */
  listeners?: readonly string[]
}

/** Somewhere that the gateway can be reached from. */
export interface WayIn {
  from: string
  /** True when that is everywhere. */
  everyone: boolean
}

/** Everywhere that the gateway can be reached from; undefined while it is not known. `page` is where this page is. */
export function waysIn(exposure: Exposure, page: Pick<URL, 'host' | 'hostname'>): WayIn[] | undefined {
  const { bind, listeners, tailscale } = exposure
  if (listeners === undefined) return undefined
  const network = networkAddresses(listeners)
  const socket = proxySocket(exposure)
  const more = [
    network.length > 0 && `${bind === 'tailnet' ? 'The tailnet' : 'The network'} (${addressWords(network)})`,
    tailscale?.actual === 'serve' && 'The tailnet (Serve)',
    tailscale?.actual === 'funnel' && 'The internet (Funnel)',
    socket !== undefined && `The proxy at ${socket}`,
    // Somebody put it there, and the gateway cannot know: an operator's own Serve, a reverse proxy.
    !explained(exposure, page) && `The front end at ${page.host}`
  ].filter((each) => each !== false)
  return [more.length === 0 ? 'This machine only' : 'This machine', ...more].map((from) => ({
    from,
    everyone: from === 'The internet (Funnel)'
  }))
}

/** The addresses, without ports, at which other machines reach the gateway by itself. */
export function networkAddresses(listeners: readonly string[]): string[] {
  const hosts = listeners.flatMap((each) => /^(?!\/)\[?(.*?)\]?:\d+$/.exec(each)?.[1] ?? [])
  return [...new Set(hosts.filter((host) => !isLoopbackName(host)))]
}

/** The socket that only a proxy of this machine can open. */
export function proxySocket({ authMode, listeners = [] }: Exposure): string | undefined {
  // The owner's socket is opened after the proxy's, and Serve's is named after the owner's.
  const sockets = listeners.filter((each) => each.startsWith('/') && !isServeSocket(each))
  return authMode === 'trusted-proxy' && sockets.length > 1 ? sockets[0] : undefined
}

/** What a listener is for, where its address does not say so. */
export function purposeOf(listener: string, exposure: Exposure): string | undefined {
  if (!listener.startsWith('/')) return undefined
  if (listener === proxySocket(exposure)) return 'for the proxy'
  return isServeSocket(listener) ? 'for Tailscale' : 'for its owner'
}

function isServeSocket(path: string): boolean {
  return path.endsWith('-tailscale.sock')
}

function addressWords(hosts: readonly string[]): string {
  return hosts.some((host) => host === '0.0.0.0' || host === '::') ? 'every address of this machine' : hosts.join(', ')
}

function explained({ listeners = [], tailscale, ...rest }: Exposure, { hostname }: Pick<URL, 'hostname'>): boolean {
  if (isLoopbackName(hostname) || networkAddresses(listeners).length > 0) return true
  if (proxySocket({ ...rest, listeners }) !== undefined) return true
  return tailscale?.url !== undefined && new URL(tailscale.url).hostname === hostname
}
