import type { Connection } from '../client/connect.ts'
import { GatewayError } from '../client/gateway-error.ts'
import type { SshRoute } from '../client/ssh/route.ts'
import { isLoopbackUrl } from '../client/url-policy.ts'
import { loadConfig } from '../config/load.ts'
import { placesOf } from './gateway-call.ts'
import { loopbackUrl, type Status } from './health.ts'
import type { Io } from './io.ts'

/** The Control UI's addresses, and one link into it. */
export interface Dashboard {
  /** Base URL, without any credential. */
  httpUrl: string
  /** The link that signs in once; the base URL where the gateway makes none. */
  browserUrl: string
  wsUrl: string
  port: number
  /** Undefined where the gateway makes no link that signs in. */
  expiresAtMs: number | undefined
  /** Reports whether the link works only on the gateway's own host. */
  loopback: boolean
  /** The way to the gateway's host, where the link leads through a tunnel that has to be opened first. */
  route: SshRoute | undefined
}

interface LaunchLink {
  bootstrapToken: string
  expiresAtMs: number
}

/** Asks a connected gateway for a launch link, and puts it into the URL that reaches this gateway from here. */
export async function dashboardOf(io: Io, { client, endpoint }: Connection, timeoutMs: number): Promise<Dashboard> {
  const [link, status] = await Promise.all([
    client.request<LaunchLink>('device.pair.launchLink', {}, { timeoutMs }).catch(unlessUnknown),
    client.request<Status>('status', {}, { timeoutMs })
  ])
  const { paths, env } = placesOf(io)
  const { gateway } = await loadConfig({ env, paths, client: true })
  const local = endpoint.kind === 'socket' || endpoint.destination === 'local'
  const basePath = local ? gateway.controlUi.basePath : ''
  // The running gateway knows where it is; the file may have changed since it started, or a flag named another port.
  const base = endpoint.kind === 'socket' ? new URL(loopbackUrl(status, gateway.port)) : endpoint.url
  const http = new URL(base.href.replace(/^ws/, 'http'))
  http.pathname = `${basePath === '' ? http.pathname.replace(/\/$/, '') : basePath}/`
  return {
    httpUrl: http.href,
    browserUrl:
      link === undefined ? http.href : `${http.href}#bootstrapToken=${encodeURIComponent(link.bootstrapToken)}`,
    wsUrl: base.href.replace(/\/$/, ''),
    port: Number(base.port || (base.protocol === 'wss:' ? 443 : 80)),
    expiresAtMs: link?.expiresAtMs,
    loopback: isLoopbackUrl(base),
    route: endpoint.kind === 'url' && endpoint.tunnel?.opens === true ? endpoint.tunnel.route : undefined
  }
}

// The method is this implementation's; any other gateway has its Control UI as well.
function unlessUnknown(error: unknown): undefined {
  if (!(error instanceof GatewayError && error.message.startsWith('unknown method'))) throw error
}

/** The same link at another port of this host, where a tunnel to the gateway begins. */
export function atPort(link: Dashboard, port: number): Dashboard {
  const moved = (text: string): string => {
    const url = new URL(text)
    url.port = String(port)
    return url.href
  }
  const { httpUrl, browserUrl, wsUrl } = link
  return {
    ...link,
    httpUrl: moved(httpUrl),
    browserUrl: moved(browserUrl),
    wsUrl: moved(wsUrl).replace(/\/$/, ''),
    port
  }
}
