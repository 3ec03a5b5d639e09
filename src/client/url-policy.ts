import { isIP } from 'node:net'
import { canonicalAddress, isLoopbackHost, isPrivate } from '../auth/addresses.ts'
import { ClientError } from './errors.ts'

/**
 * Takes a gateway URL apart and returns the one spelling that may be connected to (R33, S17): `wss://` to anywhere,
 * plaintext `ws://` only to this host, a private, link-local or carrier-grade-NAT address, `.local` and `.ts.net`.
 * Throws a ClientError otherwise. The address is parsed, so that no spelling of a public host passes for a private one.
 */
export function checkGatewayUrl(text: string): URL {
  const url = parse(text)
  if (url.username !== '' || url.password !== '') {
    throw new ClientError('URL_CREDENTIALS', 'the gateway URL must not contain a user name or password', {
      fix: 'pass --token or --password instead'
    })
  }
  // A query is logged by every proxy on the way, and a fragment is never sent at all.
  if (url.search !== '' || url.hash !== '') {
    throw new ClientError(
      'URL_INVALID',
      'the gateway URL must end with its path: nothing is read from a query or a fragment',
      {
        fix: 'pass --token or --password for a credential'
      }
    )
  }
  const host = hostOf(url)
  if (host === undefined || url.port === '0') throw invalid(text)
  url.hostname = isIP(host) === 6 ? `[${host}]` : host
  if (url.protocol === 'ws:' && !mayBePlaintext(host)) {
    throw new ClientError(
      'URL_INSECURE',
      `${url.origin} is plaintext to a host that is not private; the credential could be read on the way`,
      {
        fix: `use wss://${url.host}, or an SSH tunnel: ssh -N -L 18789:127.0.0.1:18789 user@${url.hostname}`
      }
    )
  }
  return url
}

/** Reports whether plaintext may go to a host (R33); the host is canonical, see `hostOf`. */
export function mayBePlaintext(host: string): boolean {
  if (isIP(host) !== 0) return isPrivate(host)
  return isLoopbackHost(host) || /[^.]\.local$/.test(host) || /[^.]\.ts\.net$/.test(host)
}

/** Reports whether a checked URL stays on this machine. */
export function isLoopbackUrl(url: URL): boolean {
  const host = hostOf(url)
  return host !== undefined && isLoopbackHost(host)
}

// The URL parser has already made octal, hex and short IPv4 forms into dotted decimals, and mapped digits of other scripts.
function hostOf(url: URL): string | undefined {
  const host = url.hostname.replace(/\.$/, '')
  if (host === '' || host.split('.').includes('')) return undefined
  return canonicalAddress(host) ?? (host.startsWith('[') ? undefined : host)
}

function parse(text: string): URL {
  let url: URL
  try {
    url = new URL(text.trim())
  } catch (cause) {
    throw invalid(text, cause)
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') throw invalid(text)
  return url
}

function invalid(text: string, cause?: unknown): ClientError {
  // A URL that does not parse may hold a credential anywhere: only its scheme is shown.
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(text.trim())?.[0] ?? ''
  return new ClientError(
    'URL_INVALID',
    `not a gateway URL${scheme === '' ? '' : ` (${scheme}…)`}; it must be ws://HOST:PORT or wss://HOST`,
    {
      fix: 'for example --url ws://127.0.0.1:18789',
      cause
    }
  )
}
