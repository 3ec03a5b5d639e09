import { isIP } from 'node:net'
import { canonicalAddress, isLoopbackHost, isPrivate, isTailnet } from '../auth/addresses.ts'
import { loopbackOnly } from '../auth/bind-policy.ts'
import type { GatewayConfig } from '../config/types.ts'
import type { Fix } from '../protocol/errors.ts'

/** How a device that holds a setup code reaches this gateway. */
export interface PairingUrl {
  url: string
  /** Every address of the same kind, the first included. */
  urls: readonly string[]
  /** Where it comes from: a key of the configuration, or the request itself. */
  source: string
  /** True where anyone on the way could read along. */
  plaintext: boolean
  /** The certificate to pin, where the gateway itself serves it at this address. */
  fingerprint: string | undefined
}

/** Why no device could reach this gateway, and what to run. */
export interface NoPairingUrl {
  unreachable: string
  fix: Fix
}

/** What is known of where this gateway is. */
export interface Whereabouts {
  gateway: Pick<GatewayConfig, 'bind' | 'customBindHost' | 'publicOrigin' | 'port' | 'remote' | 'tailscale' | 'tls'>
  /** Where Tailscale leads to it, while it does. */
  tailnetUrl: string | undefined
  /** The certificate of the main listener. */
  fingerprint: string | undefined
  /** The addresses of this host, loopback aside. */
  addresses: readonly string[]
}

const MAX_URLS = 8

/** Finds the address that belongs into a setup code. Plaintext goes no further than a private network. */
export function pairingUrl(
  where: Whereabouts,
  wish: { publicUrl?: string | undefined; preferRemoteUrl?: boolean | undefined }
): PairingUrl | NoPairingUrl {
  const { gateway, tailnetUrl } = where
  if (wish.publicUrl !== undefined) return named(wish.publicUrl, 'request.publicUrl')
  const { url: remote, tlsFingerprint } = gateway.remote
  if (wish.preferRemoteUrl === true && remote !== undefined) return named(remote, 'gateway.remote.url', tlsFingerprint)
  if (gateway.publicOrigin !== undefined) return named(gateway.publicOrigin, 'gateway.publicOrigin')
  if (tailnetUrl !== undefined) return named(tailnetUrl, `gateway.tailscale.mode=${gateway.tailscale.mode}`)
  return bound(where)
}

function bound({ gateway, addresses, fingerprint }: Whereabouts): PairingUrl | NoPairingUrl {
  const { bind, customBindHost, port, tls } = gateway
  if (loopbackOnly(gateway)) {
    return {
      unreachable:
        'this gateway listens on loopback only, where no other device reaches it; expose it with gateway.tailscale.mode, ' +
        'gateway.bind or gateway.publicOrigin, or run openclaw qr --url with the address that reaches it',
      fix: onHost('openclaw config set gateway.tailscale.mode serve')
    }
  }
  const custom = bind === 'custom' ? (canonicalAddress(customBindHost ?? '') ?? '') : ''
  const all = bind === 'lan' || custom === '0.0.0.0' || custom === '::'
  const wanted = bind === 'tailnet' ? isTailnet : (address: string) => isPrivate(address) && !isTailnet(address)
  const hosts = bind === 'custom' && !all ? [custom] : addresses.filter(wanted)
  if (hosts.length === 0) {
    const kind = bind === 'tailnet' ? 'tailnet' : 'private'
    return {
      unreachable: `gateway.bind is "${bind}", but this host has no ${kind} address; run openclaw qr --url with its address`,
      fix: onHost('openclaw qr --url wss://YOUR.HOST')
    }
  }
  const scheme = tls.enabled ? 'wss' : 'ws'
  const urls = hosts.slice(0, MAX_URLS).map((host) => `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`)
  const found = named(urls[0]!, `gateway.bind=${bind}`, tls.enabled ? fingerprint : undefined)
  return 'unreachable' in found ? found : { ...found, urls }
}

function named(text: string, source: string, fingerprint?: string): PairingUrl | NoPairingUrl {
  const url = parse(text)
  if (url === undefined) {
    return {
      unreachable: `${source} is not the URL of a gateway; it must be wss://HOST, or ws://ADDRESS:PORT in a private network`,
      fix: onHost('openclaw qr --url wss://YOUR.HOST')
    }
  }
  const host = canonicalAddress(url.hostname) ?? url.hostname
  const plaintext = url.protocol === 'ws:' && !isLoopbackHost(host)
  const near = isIP(host) === 0 ? /[^.]\.local$/.test(host) : isPrivate(host) && !isTailnet(host)
  if (plaintext && !near) {
    return {
      unreachable: `${url.origin} (from ${source}) is plaintext: apps connect so in a private network only, and never through a tailnet`,
      fix: onHost(
        source.startsWith('gateway.bind')
          ? 'openclaw config set gateway.tls.enabled true'
          : `openclaw qr --url wss://${url.host}`
      )
    }
  }
  const href = url.href.replace(/\/$/, '')
  return {
    url: href,
    urls: [href],
    source,
    plaintext,
    fingerprint: fingerprint?.replace(/^sha256:/i, '').toLowerCase()
  }
}

function parse(text: string): URL | undefined {
  const trimmed = text.trim()
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed) ? trimmed : `wss://${trimmed}`
  if (!URL.canParse(full)) return undefined
  const url = new URL(full.replace(/^http/i, 'ws'))
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  return (url.protocol === 'ws:' || url.protocol === 'wss:') && url.hostname !== '' && plain ? url : undefined
}

function onHost(command: string): Fix {
  return { command, where: 'gateway host' }
}
