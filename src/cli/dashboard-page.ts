import { request } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Connection } from '../client/connect.ts'

const TIMEOUT_MS = 5_000

/** Why the Control UI will not work at a URL as this gateway is set up, with what mends it; undefined when it will. */
export async function pageProblem(httpUrl: string, tls: Connection['tls']): Promise<string | undefined> {
  const url = new URL(httpUrl)
  const status = await statusOf(url, tls)
  if (status === 403) {
    return `the gateway takes no page of ${url.origin}; on its host: openclaw config set gateway.publicOrigin ${url.origin}`
  }
  if (status === 404) {
    return `the gateway serves no Control UI at ${httpUrl}; on its host: openclaw config get gateway.controlUi`
  }
  return undefined
}

/** What is worth knowing before a link is opened over plaintext: a browser trusts such a page less, and so should people. */
export function plaintextWarning(httpUrl: string, loopback: boolean): string | undefined {
  const { protocol, hostname } = new URL(httpUrl)
  if (protocol === 'https:' || loopback) return undefined
  return `http://${hostname} is plaintext: others in that network can read along, and browsers give such a page no secure context; through SSH it has both: openclaw setup --remote ssh://user@${hostname}`
}

// As the page itself would ask. Undefined where nothing answers in time: the browser will say why.
async function statusOf(url: URL, tls: Connection['tls']): Promise<number | undefined> {
  let stream: Duplex | undefined
  if (url.protocol === 'https:') {
    if (tls === undefined) return undefined
    stream = await openSame(url, tls.certificate.sha256).catch(() => undefined)
    if (stream === undefined) return undefined
  }
  return new Promise((resolve) => {
    const asked = request(
      {
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port,
        path: url.pathname,
        headers: { host: url.host, origin: url.origin, accept: 'text/html', connection: 'close' },
        timeout: TIMEOUT_MS,
        ...(stream && { createConnection: () => stream })
      },
      (response) => {
        response.destroy()
        resolve(response.statusCode)
      }
    )
    asked.once('timeout', () => asked.destroy(new Error('no answer')))
    asked.once('error', () => resolve(undefined))
    asked.end()
  })
}

// The certificate that the connection before has shown, whoever vouched for it.
async function openSame(url: URL, certificate: string): Promise<Duplex> {
  const { openTls } = await import('../client/open-tls.ts')
  const wss = new URL(url.href.replace(/^http/, 'ws'))
  const trust = { by: 'pin', pins: [{ certificate }], source: 'the connection before', fix: '' } as const
  return openTls(wss, { trust, timeoutMs: TIMEOUT_MS })
}
