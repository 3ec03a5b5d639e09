import type { IncomingHttpHeaders } from 'node:http'
import { canonicalAddress, isLoopback, isLoopbackHost, parseAuthority } from './addresses.ts'

/** The kinds of listener a request can come through; only the process that opened the socket decides which. */
export type Listener = 'main' | 'local' | 'tailscale' | 'proxy'

/** Where a request comes from, decided once and never again. */
export interface Ingress {
  listener: Listener
  /** Canonical peer address of the TCP socket; empty on a Unix socket. */
  peer: string
  /** The client's address for limits and logs: the peer, or what a trusted proxy says. */
  client: string
  /** Reports whether any forwarding header was present. */
  forwarded: boolean
  /** Reports whether the caller is a process of this machine talking to us directly. */
  local: boolean
}

/** Why a request was refused before anyone looked at its credentials. */
export interface IngressRefusal {
  refused: 'proxy_attribution_required'
}

/** What `ingress` needs to know of the configuration. */
export interface IngressPolicy {
  trustedProxies: { has(address: string): boolean }
  allowRealIpFallback: boolean
}

// Headers that only a front end writes. Any of them removes locality (S3).
const hopHeader =
  /^(?:forwarded|x-forwarded(?:-.*)?|x-original-forwarded-for|x-real-ip|via|tailscale-.*|cf-.*|(?:true|x|x-cluster)-client-ip|x-envoy-.*)$/
// Of those, the ones that claim something about the client: they need a sender we trust.
const claimHeader = /^(?:forwarded|x-forwarded(?:-.*)?|x-real-ip|tailscale-.*)$/

/** What a header's name says about the path a request took. */
type HeaderKind = 'plain' | 'host' | 'hop' | 'claim' | 'imitation'

// The same few names come with every request; asking the patterns once for each is enough.
const kinds = new Map<string, HeaderKind>()
const MAX_KINDS = 512

function headerKind(name: string): HeaderKind {
  const known = kinds.get(name)
  if (known !== undefined) return known
  // `X_Forwarded_For` reaches some back ends as `X-Forwarded-For`: treat both as the header they imitate.
  const lower = name.toLowerCase()
  const plain = lower.replaceAll('_', '-')
  const kind = !hopHeader.test(plain)
    ? lower === 'host'
      ? 'host'
      : 'plain'
    : plain !== lower
      ? 'imitation'
      : claimHeader.test(plain)
        ? 'claim'
        : 'hop'
  if (kinds.size < MAX_KINDS) kinds.set(name, kind)
  return kind
}

/** The host that raw headers (name, value, name, …) ask for, when they hold nothing that a front end writes. */
export function directHost(rawHeaders: readonly string[]): string | undefined {
  let host: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const kind = headerKind(rawHeaders[i]!)
    if (kind === 'host') host ??= rawHeaders[i + 1]
    else if (kind !== 'plain') return undefined
  }
  return host
}

interface Raw {
  listener: Listener
  peer: string | undefined
  headers: IncomingHttpHeaders
}

/** Decides where a request comes from. The order of the checks is the security argument. */
export function ingress(raw: Raw, policy: IngressPolicy): Ingress | IngressRefusal {
  const peer = canonicalAddress(raw.peer ?? '') ?? ''
  let hop = false
  let claim = false
  for (const name in raw.headers) {
    const kind = headerKind(name)
    if (kind === 'plain' || kind === 'host') continue
    hop = true
    if (kind === 'imitation') return { refused: 'proxy_attribution_required' }
    if (kind === 'claim') claim = true
  }
  if (raw.listener === 'local') {
    // Whoever put a front end before the owner's socket would hand the whole gateway to its visitors.
    if (hop) return { refused: 'proxy_attribution_required' }
    return { listener: 'local', peer: '', client: 'local', forwarded: false, local: true }
  }
  if (!claim) {
    const authority = parseAuthority(raw.headers.host ?? '')
    const host = authority !== undefined && isLoopbackHost(authority.host)
    const local = raw.listener === 'main' && !hop && isLoopback(peer) && host
    return { listener: raw.listener, peer, client: peer, forwarded: hop, local }
  }
  if (!policy.trustedProxies.has(peer)) return { refused: 'proxy_attribution_required' }
  const client = forwardedClient(raw.headers, policy)
  if (client === undefined) return { refused: 'proxy_attribution_required' }
  return { listener: raw.listener, peer, client, forwarded: true, local: false }
}

// From the right, through trusted hops only: what stands left of the first untrusted hop was written by the client (S5).
function forwardedClient(headers: IncomingHttpHeaders, policy: IngressPolicy): string | undefined {
  const header = headers['x-forwarded-for']
  if (header === undefined) {
    const real = headers['x-real-ip']
    if (!policy.allowRealIpFallback || typeof real !== 'string') return undefined
    return external(canonicalAddress(real))
  }
  const hops = (Array.isArray(header) ? header.join(',') : header).split(',')
  for (let i = hops.length - 1; i >= 0; i--) {
    const hop = canonicalAddress(hops[i]!)
    if (hop === undefined || isLoopback(hop)) return undefined
    if (!policy.trustedProxies.has(hop) || i === 0) return hop
  }
  return undefined
}

function external(address: string | undefined): string | undefined {
  return address === undefined || isLoopback(address) ? undefined : address
}
