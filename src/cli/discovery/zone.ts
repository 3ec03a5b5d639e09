import { hostname, networkInterfaces } from 'node:os'
import { canonicalAddress, isTailnet } from '../../auth/addresses.ts'
import type { Config, GatewayConfig } from '../../config/types.ts'
import { type DnsRecord, hostLabel, recordsOf } from '../../discovery/records.ts'
import { CliError } from '../io.ts'
import { checkedDomain } from './look.ts'

/** The records by which the gateway of this host is found in its DNS domain, and the same as lines of a zone file. */
export function zoneOf({ gateway, discovery }: Config): { records: DnsRecord[]; lines: string[] } {
  const { domain } = discovery.wideArea
  if (domain === undefined) {
    throw new CliError('CONFIG_INVALID', 'discovery.wideArea.domain is not set', {
      fix: 'openclaw config set discovery.wideArea.domain gateways.example.com'
    })
  }
  const addresses = reachableAt(gateway)
  if (addresses.length === 0) {
    throw new CliError('NOT_REACHABLE', `with gateway.bind=${gateway.bind} no other machine reaches this gateway`, {
      fix: 'openclaw config set gateway.bind tailnet'
    })
  }
  const about = { label: hostLabel(hostname()), number: 1, hostNumber: 1, domain: checkedDomain(domain) }
  const records = recordsOf({ ...about, port: gateway.port, tls: gateway.tls.enabled }, addresses)
  return { records, lines: records.map(lineOf) }
}

// Addresses of this host that others can use, as far as the gateway listens there.
function reachableAt({ bind, customBindHost }: GatewayConfig): string[] {
  const infos = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  const custom = canonicalAddress(customBindHost ?? '')
  return infos
    .filter(({ internal, address, family }) => {
      if (internal || /^(fe80:|169\.254\.)/.test(address)) return false
      if (bind === 'tailnet') return isTailnet(address)
      if (bind === 'lan') return family === 'IPv4'
      if (bind !== 'custom') return false
      return custom === '::' || (custom === '0.0.0.0' && family === 'IPv4') || custom === canonicalAddress(address)
    })
    .map(({ address }) => address)
}

function lineOf(record: DnsRecord): string {
  return `${nameOf(record.name)} ${record.ttl} IN ${record.type} ${dataOf(record)}`
}

function dataOf(record: DnsRecord): string {
  switch (record.type) {
    case 'PTR':
      return nameOf(record.target)
    case 'SRV':
      return `0 0 ${record.port} ${nameOf(record.target)}`
    case 'TXT':
      return record.entries.map((entry) => `"${entry}"`).join(' ')
    default:
      return record.address
  }
}

// What a zone file would read as something else is written by its number.
function nameOf(name: string): string {
  const escaped = name.replace(/[^A-Za-z0-9._-]/g, (char) => `\\${String(char.charCodeAt(0)).padStart(3, '0')}`)
  return `${escaped}.`
}
