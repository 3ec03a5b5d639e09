import type { IncomingMessage } from 'node:http'
import { ClientError } from './errors.ts'

/** Why an upgrade was answered with a page instead of a WebSocket; nothing of the answer's body is read. */
export function upgradeRefusal(url: URL, { statusCode = 0, headers }: IncomingMessage): Error {
  const leadsTo = destination(url, headers.location)
  const redirected = statusCode >= 300 && statusCode < 400
  if (redirected && url.protocol === 'ws:' && leadsTo?.protocol === 'https:' && leadsTo.hostname === url.hostname) {
    return new ClientError('URL_INSECURE', `${url.origin} answers with a redirect to TLS`, {
      fix: `use wss://${leadsTo.host}`
    })
  }
  const type = headers['content-type'] ?? ''
  const page = /^text\/html\b/i.test(type)
  // A gateway says no in JSON.
  const asks = statusCode === 401 && !/^application\/json\b/i.test(type)
  if (redirected || asks || (page && (statusCode === 200 || statusCode === 403))) {
    const where = leadsTo === undefined ? '' : ` to ${leadsTo.origin}`
    const message = `edge login required: a proxy in front of ${url.origin} answered with ${statusCode}${where}, not with a WebSocket`
    return new ClientError('EDGE_LOGIN_REQUIRED', message, {
      fix: `name the headers that it wants: openclaw config set 'gateway.remote.edgeAuth["HEADER"]' VALUE`
    })
  }
  return new UpgradeRefused(statusCode)
}

class UpgradeRefused extends Error {
  readonly statusCode: number

  constructor(statusCode: number) {
    super(`Unexpected server response: ${statusCode}`)
    this.statusCode = statusCode
  }
}

/** Reports whether an upgrade was answered with 503: nobody is behind that address, yet. */
export function isUpgradeUnavailable(cause: unknown): boolean {
  return cause instanceof UpgradeRefused && cause.statusCode === 503
}

function destination(url: URL, location: string | undefined): URL | undefined {
  const base = url.href.replace(/^ws/, 'http')
  const target = location === undefined ? null : URL.parse(location, base)
  return target !== null && /^https?:$/.test(target.protocol) ? target : undefined
}
