import { canonicalAddress, isLoopback, isLoopbackHost, parseAuthority } from './addresses.ts'
import { type FrontHeaders, type HeaderKinds, readFront, SCOPES_HEADER } from './headers.ts'

/** The kinds of listener a request can come through; only the process that opened the socket decides which. */
export type Listener = 'main' | 'local' | 'tailscale' | 'proxy'

/** What the front end that a request came through says of its caller. Unproven until `authenticate` has looked at it. */
export type Claims =
  | { by: 'proxy'; headers: ReadonlyMap<string, string> }
  | { by: 'tailscale'; login: string | undefined; funnel: boolean }

/** Where a request comes from, decided once and never again. */
export interface Ingress {
  listener: Listener
  /** Canonical peer address of the TCP socket; empty on a Unix socket. */
  peer: string
  /** The client's address for limits and logs: the peer, or what a trusted front end says. */
  client: string
  /** Reports whether any forwarding header was present. */
  forwarded: boolean
  /** Reports whether the caller is a process of this machine talking to us directly. */
  local: boolean
  /** The host that the client asked for, port and all. */
  host: string | undefined
  /** What a front end that may speak for its callers says of this one. */
  claims: Claims | undefined
  /** `x-openclaw-scopes`: what the caller is narrowed to, where its scopes come from no secret. */
  cap: readonly string[] | undefined
}

/** Why a request was refused before anyone looked at its credentials. */
export interface IngressRefusal {
  refused: 'proxy_attribution_required'
}

/** What `ingress` needs to know of the configuration. */
export interface IngressPolicy {
  trustedProxies: { has(address: string): boolean }
  allowRealIpFallback: boolean
  kindOf: HeaderKinds
  /** A proxy has a listener of its own: no other one takes its word on who is calling (S4). */
  proxySocket: boolean
  /** An operator's own `tailscale serve` may lead to the main port (D4). */
  operatorServe: boolean
}

/** Whose process is at the other end of a loopback socket, as far as the system can tell. */
export type FrontOwner = 'tailscaled' | 'other' | 'unknown'

interface Raw {
  listener: Listener
  peer: string | undefined
  /** Name, value, name, … as they came. */
  rawHeaders: readonly string[]
  /** Asked only where `asksForOwner` says so. */
  owner?: FrontOwner
}

const refused: IngressRefusal = { refused: 'proxy_attribution_required' }

/** Decides where a request comes from. The order of the checks is the security argument. */
export function ingress(raw: Raw, policy: IngressPolicy): Ingress | IngressRefusal {
  const front = readFront(raw.rawHeaders, policy.kindOf)
  if (front === undefined) return refused
  const peer = canonicalAddress(raw.peer ?? '') ?? ''
  switch (raw.listener) {
    case 'local':
      // Whoever put a front end before the owner's socket would hand the whole gateway to its visitors.
      if (front.hop || front.claim || front.identity) return refused
      return found(raw, front, { peer: '', client: 'local', forwarded: false, local: true })
    case 'tailscale':
      return raw.owner === 'other' || front.identity ? refused : throughTailscale(raw, front, peer)
    case 'proxy': {
      // Nothing but the proxy can open this socket, so what it says of its client needs no second witness.
      const client = forwardedClient(front, policy, () => true)
      return client === undefined ? refused : throughProxy(raw, front, peer, client)
    }
    case 'main':
      return throughMain(raw, front, peer, policy)
  }
}

/** Reports whether the owner of the peer's socket decides anything for this request: it costs a look into the system. */
export function asksForOwner(raw: Omit<Raw, 'owner'>, policy: IngressPolicy): boolean {
  if (!isLoopback(raw.peer ?? '')) return false
  if (raw.listener === 'tailscale') return true
  return raw.listener === 'main' && policy.operatorServe && hasLogin(readFront(raw.rawHeaders, policy.kindOf))
}

function throughMain(raw: Raw, front: FrontHeaders, peer: string, policy: IngressPolicy): Ingress | IngressRefusal {
  if (!front.claim && !front.identity) {
    const authority = parseAuthority(front.host ?? '')
    const host = authority !== undefined && isLoopbackHost(authority.host)
    return found(raw, front, {
      peer,
      client: peer,
      forwarded: front.hop,
      local: !front.hop && isLoopback(peer) && host
    })
  }
  if (front.identity && policy.proxySocket) return refused
  const served = policy.operatorServe && isLoopback(peer) && raw.owner !== 'other' && hasLogin(front)
  if (served) return throughTailscale(raw, front, peer)
  if (!policy.trustedProxies.has(peer)) return refused
  const client = forwardedClient(front, policy, (hop) => !isLoopback(hop))
  return client === undefined ? refused : throughProxy(raw, front, peer, client)
}

function hasLogin(front: FrontHeaders | undefined): boolean {
  return front?.values.has('tailscale-user-login') === true
}

function throughProxy({ listener }: Raw, front: FrontHeaders, peer: string, client: string): Ingress {
  const claims: Claims = { by: 'proxy', headers: front.values }
  return { ...found({ listener }, front, { peer, client, forwarded: true, local: false }), claims }
}

// tailscaled overwrites these three with what it saw: one address, the scheme, and the host that was asked for.
function throughTailscale({ listener }: Raw, front: FrontHeaders, peer: string): Ingress | IngressRefusal {
  const { values } = front
  const client = canonicalAddress(values.get('x-forwarded-for') ?? '')
  const host = values.get('x-forwarded-host')
  if (client === undefined || isLoopback(client) || !values.has('x-forwarded-proto') || !host) return refused
  const claims: Claims = {
    by: 'tailscale',
    login: values.get('tailscale-user-login'),
    funnel: values.has('tailscale-funnel-request')
  }
  return { ...found({ listener }, front, { peer, client, forwarded: true, local: false }), host, claims }
}

function found(
  { listener }: Pick<Raw, 'listener'>,
  front: FrontHeaders,
  where: Pick<Ingress, 'peer' | 'client' | 'forwarded' | 'local'>
): Ingress {
  const cap = front.values.get(SCOPES_HEADER)?.split(',')
  return { listener, ...where, host: front.host, claims: undefined, cap: cap?.map((scope) => scope.trim()) }
}

// From the right, through trusted hops only: what stands left of the first untrusted hop was written by the client (S5).
function forwardedClient(
  { values }: FrontHeaders,
  policy: IngressPolicy,
  acceptable: (hop: string) => boolean
): string | undefined {
  const header = values.get('x-forwarded-for')
  if (header === undefined) {
    const real = policy.allowRealIpFallback ? canonicalAddress(values.get('x-real-ip') ?? '') : undefined
    return real !== undefined && acceptable(real) ? real : undefined
  }
  const hops = header.split(',')
  for (let i = hops.length - 1; i >= 0; i--) {
    const hop = canonicalAddress(hops[i]!)
    if (hop === undefined || !acceptable(hop)) return undefined
    if (!policy.trustedProxies.has(hop) || i === 0) return hop
  }
  return undefined
}
