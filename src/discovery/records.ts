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

/** A record of DNS that says where a service is. */
export type ServiceRecord = DnsRecord & { type: 'SRV' }

/** What a gateway says of itself to whoever looks for gateways. */
export interface Announced {
  /** The host's own label, see `hostLabel`. */
  label: string
  /** Tells gateways of one name apart: the second is called `… (2)`. */
  number: number
  /** The same for hosts of one name: `box-2.local`. */
  hostNumber: number
  /** `local`, or the domain of a zone. */
  domain: string
  port: number
  tls: boolean
}

// As RFC 6762 advises: short for what changes with a host's address, long for the rest.
const HOST_TTL = 120
const SERVICE_TTL = 4_500
/** A name's label holds 63 bytes, of which the words around the host's take up to 18. */
const LABEL_BYTES = 44

/** The label by which this host is known in a domain: its name's first one, when that can be one. */
export function hostLabel(hostname: string): string {
  const label = hostname.toLowerCase().split('.')[0] ?? ''
  return /^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$/.test(label) ? label : 'openclaw'
}

/** The full name of a gateway's service. */
export function instanceName({ label, number, domain }: Announced): string {
  const suffix = number === 1 ? '' : ` (${number})`
  return `${label.slice(0, LABEL_BYTES)} (OpenClaw)${suffix}.${SERVICE}.${domain}`
}

/** The full name of a gateway's host. */
export function hostName({ label, hostNumber, domain }: Announced): string {
  return `${label}${hostNumber === 1 ? '' : `-${hostNumber}`}.${domain}`
}

/** The record that says where a gateway is. */
export function serviceRecord(announced: Announced): ServiceRecord {
  const { port } = announced
  return { name: instanceName(announced), type: 'SRV', ttl: HOST_TTL, target: hostName(announced), port }
}

/**
 * What belongs to one gateway alone. It names the service, the port and whether TLS is spoken there; never a path, a
 * user, a version or a fingerprint (S15).
 */
export function ownRecords(announced: Announced): DnsRecord[] {
  const name = instanceName(announced)
  const entries = ['role=gateway', 'transport=gateway', `gatewayPort=${announced.port}`]
  if (announced.tls) entries.push('gatewayTls=1')
  return [
    { name: `${SERVICE}.${announced.domain}`, type: 'PTR', ttl: SERVICE_TTL, target: name },
    serviceRecord(announced),
    { name, type: 'TXT', ttl: SERVICE_TTL, entries }
  ]
}

/** Where a gateway's host is. */
export function addressRecords(announced: Announced, addresses: readonly string[]): DnsRecord[] {
  const name = hostName(announced)
  return addresses.map((address) => {
    return { name, type: address.includes(':') ? 'AAAA' : 'A', ttl: HOST_TTL, address }
  })
}

/** Everything that is announced on a network with these addresses. */
export function recordsOf(announced: Announced, addresses: readonly string[]): DnsRecord[] {
  const { domain } = announced
  return [
    ...ownRecords(announced),
    { name: `_services._dns-sd._udp.${domain}`, type: 'PTR', ttl: SERVICE_TTL, target: `${SERVICE}.${domain}` },
    ...addressRecords(announced, addresses)
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

/**
 * How somebody else's claim of a service's name stands to ours, when both claim it at once: negative when ours gives way,
 * 0 when it is the same. As in RFC 6762, types are compared first, then the data as it is sent; ours is an SRV record alone.
 */
export function compareClaims(own: ServiceRecord, others: readonly DnsRecord[]): number {
  // Every other type that discovery knows has a lower number.
  const other = others.every(({ type }) => type === 'SRV') ? others[0] : undefined
  return other?.type === 'SRV' ? Buffer.compare(dataOf(own), dataOf(other)) : 1
}

function dataOf({ port, target }: ServiceRecord): Buffer {
  const labels = target.split('.').flatMap((label) => [Buffer.of(Buffer.byteLength(label)), Buffer.from(label)])
  return Buffer.concat([Buffer.of(port >> 8, port & 255), ...labels])
}
