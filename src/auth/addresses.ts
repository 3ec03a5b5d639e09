import { type AddressInfo, BlockList, isIP, isIPv4, isIPv6 } from 'node:net'

const loopback = list(['127.0.0.0', 8], ['::1', 128])
const privateNets = list(
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
  ['fc00::', 7],
  ['fe80::', 10]
)

const tailnet = list(['100.64.0.0', 10], ['fd7a:115c:a1e0::', 48])
// Inside the carrier-grade range, but ChromeOS's own.
const notTailnet = list(['100.115.92.0', 23])

function list(...subnets: [string, number][]): BlockList {
  const block = new BlockList()
  for (const [net, prefix] of subnets) block.addSubnet(net, prefix, isIPv4(net) ? 'ipv4' : 'ipv6')
  return block
}

/** The one spelling of an address: IPv4-mapped IPv6 becomes IPv4, zones and brackets go, IPv6 is compressed. */
export function canonicalAddress(text: string): string | undefined {
  let address = text.trim()
  if (address.startsWith('[') && address.endsWith(']')) address = address.slice(1, -1)
  if (isIPv4(address)) return address
  if (!isIPv6(address)) return undefined
  const zone = address.indexOf('%')
  if (zone !== -1) address = address.slice(0, zone)
  const compressed = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(compressed)
  if (!mapped) return compressed
  const high = Number.parseInt(mapped[1]!, 16)
  const low = Number.parseInt(mapped[2]!, 16)
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/** Reports whether an address (in any spelling) is loopback. */
export function isLoopback(address: string): boolean {
  return within(loopback, address)
}

/** Reports whether an address is loopback, RFC 1918, link-local, carrier-grade NAT or unique-local. */
export function isPrivate(address: string): boolean {
  return within(loopback, address) || within(privateNets, address)
}

/** Reports whether an address is one that Tailscale gives to a host. */
export function isTailnet(address: string): boolean {
  return within(tailnet, address) && !within(notTailnet, address)
}

function within(block: BlockList, address: string): boolean {
  const canonical = canonicalAddress(address)
  return canonical !== undefined && block.check(canonical, isIPv4(canonical) ? 'ipv4' : 'ipv6')
}

/**
 * Compiles addresses and CIDRs (`gateway.trustedProxies`) into a matcher; the first unusable entry is returned instead.
 * A net of everyone is unusable: whoever is trusted names its own address, and so escapes every limit.
 */
export function compileCidrs(entries: readonly string[]): { has(address: string): boolean } | { invalid: string } {
  const block = new BlockList()
  for (const entry of entries) {
    const [, net = '', prefix] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(entry.trim()) ?? []
    const address = canonicalAddress(net)
    if (address === undefined) return { invalid: entry }
    const whole = isIPv4(address) ? 32 : 128
    // The prefix of a mapped net counts the 96 bits that say so.
    const mapped = whole === 32 && !isIPv4(net.trim()) ? 96 : 0
    const bits = prefix === undefined ? whole : Number(prefix) - mapped
    if (bits < 1 || bits > whole) return { invalid: entry }
    block.addSubnet(address, bits, whole === 32 ? 'ipv4' : 'ipv6')
  }
  return { has: (address) => within(block, address) }
}

/**
 * The key a limiter counts an address under: IPv4 whole, IPv6 by /64, and loopback as one, because a process of this
 * machine can call from any of its sixteen million addresses (S19).
 */
export function limiterKey(address: string): string {
  const canonical = canonicalAddress(address)
  if (canonical === undefined) return 'unknown'
  if (isLoopback(canonical)) return 'loopback'
  if (isIP(canonical) === 4) return canonical
  const groups = expandIPv6(canonical)
  return `${groups.slice(0, 4).join(':')}::/64`
}

function expandIPv6(address: string): string[] {
  const [head = '', tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  return tail === undefined ? left : [...left, ...Array(8 - left.length - right.length).fill('0'), ...right]
}

/** A `Host` header or URL authority taken apart: lowercase host without brackets or trailing dot, and its port. */
export function parseAuthority(text: string): { host: string; port: string } | undefined {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]\\]+)(?::(\d{1,5}))?$/.exec(text)
  if (!match) return undefined
  const host = match[1]!.toLowerCase().replace(/\.$/, '')
  return { host: canonicalAddress(host) ?? host, port: match[2] ?? '' }
}

/** Reports whether a host name is one that only this machine answers to. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopback(host)
}

/** A listener's address as people write it: `127.0.0.1:18789`, `[::1]:18789`, or a socket's path. */
export function describeAddress(address: AddressInfo | string): string {
  if (typeof address === 'string') return address
  return isIPv6(address.address) ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`
}
