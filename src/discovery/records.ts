/** The service that gateways announce, in any domain. */
export const SERVICE = '_openclaw-gw._tcp'
/** The domain of multicast DNS. */
export const LOCAL = 'local'

/** A question of DNS. */
export interface Question {
  name: string
  type: string
}

/** The records of DNS that service discovery is made of. Names have no dot at the end; `ttl` is in seconds. */
export type DnsRecord = { name: string; ttl: number } & (
  | { type: 'PTR'; target: string }
  | { type: 'SRV'; target: string; port: number }
  | { type: 'TXT'; entries: readonly string[] }
  | { type: 'A' | 'AAAA'; address: string }
)

/** What one gateway says of itself. */
export interface Announced {
  /** This host's own label, which its name in `.local` begins with. */
  label: string
  /** Counts the gateways of one name: the second is called `… (2)`. */
  number: number
  port: number
  tls: boolean
}

// As RFC 6762 advises: short for what changes with a host's address, long for the rest.
const HOST_TTL = 120
const SERVICE_TTL = 4_500
/** A name's label holds 63 bytes, of which the words around the host's take up to 18. */
const LABEL_BYTES = 44

/** The label by which this host is known in `.local`: its name's first one, when that can be one. */
export function hostLabel(hostname: string): string {
  const label = hostname.toLowerCase().split('.')[0] ?? ''
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label) ? label : 'openclaw'
}

/** The full name of a gateway's service. */
export function instanceName({ label, number }: Announced): string {
  const suffix = number === 1 ? '' : ` (${number})`
  return `${label.slice(0, LABEL_BYTES)} (OpenClaw)${suffix}.${SERVICE}.${LOCAL}`
}

/**
 * Everything that is announced on a network with these addresses. It names the service, the port and whether TLS is
 * spoken there; never a path, a user, a version or a fingerprint (S15).
 */
export function recordsOf(announced: Announced, addresses: readonly string[]): DnsRecord[] {
  const name = instanceName(announced)
  const host = `${announced.label}.${LOCAL}`
  const entries = ['role=gateway', 'transport=gateway', `gatewayPort=${announced.port}`]
  if (announced.tls) entries.push('gatewayTls=1')
  return [
    { name: `${SERVICE}.${LOCAL}`, type: 'PTR', ttl: SERVICE_TTL, target: name },
    { name: `_services._dns-sd._udp.${LOCAL}`, type: 'PTR', ttl: SERVICE_TTL, target: `${SERVICE}.${LOCAL}` },
    { name, type: 'SRV', ttl: HOST_TTL, target: host, port: announced.port },
    { name, type: 'TXT', ttl: SERVICE_TTL, entries },
    ...addresses.map((address): DnsRecord => {
      return { name: host, type: address.includes(':') ? 'AAAA' : 'A', ttl: HOST_TTL, address }
    })
  ]
}

/** Reports whether two names are the same to DNS. */
export function sameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

/** Reports whether a query asks for one of these records and does not already know the answer. */
export function isAsked(
  query: { questions: readonly Question[]; answers: readonly DnsRecord[] },
  records: readonly DnsRecord[]
): boolean {
  const asked = records.filter((record) =>
    query.questions.some(({ name, type }) => sameName(name, record.name) && (type === record.type || type === 'ANY'))
  )
  const known = (record: DnsRecord): boolean =>
    record.type === 'PTR' &&
    query.answers.some(
      (each) =>
        each.type === 'PTR' &&
        sameName(each.name, record.name) &&
        sameName(each.target, record.target) &&
        each.ttl >= record.ttl / 2
    )
  return asked.some((record) => !known(record))
}

/** How somebody else's claim of a service's name stands to ours: negative when ours gives way, 0 when it is the same. */
export function compareClaims(own: { port: number; target: string }, other: { port: number; target: string }): number {
  if (own.port !== other.port) return own.port - other.port
  const [ours, theirs] = [own.target.toLowerCase(), other.target.toLowerCase()]
  if (ours === theirs) return 0
  return ours < theirs ? -1 : 1
}
