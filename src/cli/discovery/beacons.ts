import { isIP } from 'node:net'
import { canonicalAddress, isLoopback, isPrivate } from '../../auth/addresses.ts'
import { checkGatewayUrl } from '../../client/url-policy.ts'
import type { Sighting } from '../../discovery/sightings.ts'

/** One gateway that somebody announces, as the reference names its parts. It is a candidate, and nothing else. */
export interface Beacon {
  instanceName: string
  displayName: string
  domain: string
  host: string
  port: number
  addresses: string[]
  role: string | null
  transport: string | null
  gatewayPort: number | null
  gatewayTls: boolean
  /** Where it could be reached under the URL policy (R33); null where nothing that was announced may be connected to. */
  wsUrl: string | null
}

const MAX_TEXT = 100

/**
 * The beacon that a sighting amounts to (S15). Where it is comes from SRV, A and AAAA alone; a path, a fingerprint or
 * another host in its TXT record is not even read.
 */
export function beaconOf({ instance, domain, host, port, addresses, txt }: Sighting): Beacon {
  const text = (name: string): string | null => shown(txt.get(name) ?? '') || null
  const gatewayPort = Number(txt.get('gatewayPort'))
  const gatewayTls = /^(1|true|yes)$/i.test(txt.get('gatewayTls') ?? '')
  const usable = addresses.flatMap((address) => elsewhere(address) ?? []).toSorted(byUse)
  return {
    instanceName: shown(instance),
    displayName: text('displayName') ?? shown(instance),
    domain: `${domain}.`,
    host,
    port,
    addresses: usable,
    role: text('role'),
    transport: text('transport'),
    gatewayPort: Number.isInteger(gatewayPort) && gatewayPort > 0 && gatewayPort < 65_536 ? gatewayPort : null,
    gatewayTls,
    wsUrl: urlOf({ host, port, gatewayTls, addresses: usable })
  }
}

// An address is where it is; what a name leads to is found out again by whoever connects. But certificates are for names.
function urlOf(at: { host: string; port: number; gatewayTls: boolean; addresses: readonly string[] }): string | null {
  const named = at.gatewayTls && !at.host.toLowerCase().endsWith('.local')
  const hosts = named ? [at.host] : at.addresses.filter((address) => !address.startsWith('fe80:'))
  for (const host of hosts) {
    try {
      const authority = isIP(host) === 6 ? `[${host}]:${at.port}` : `${host}:${at.port}`
      return checkGatewayUrl(`${at.gatewayTls ? 'wss' : 'ws'}://${authority}`).href.replace(/\/$/, '')
    } catch {}
  }
  return null
}

// No gateway of the network is on our own loopback, or everywhere: there, something else would be sent a credential.
function elsewhere(address: string): string | undefined {
  const canonical = canonicalAddress(address)
  if (canonical === undefined || isLoopback(canonical)) return undefined
  return /^(0\.|2(2[4-9]|[34]\d|5[0-5])\.|::$|ff)/.test(canonical) ? undefined : canonical
}

// What most likely works comes first: a private address, and IPv4.
function byUse(a: string, b: string): number {
  const rank = (address: string) => (isPrivate(address) ? 0 : 2) + (isIP(address) === 6 ? 1 : 0)
  return rank(a) - rank(b) || (a < b ? -1 : 1)
}

// Text of strangers: no control characters, none that hide or turn others around, and not much of it (S25).
function shown(text: string): string {
  return text
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\ufffd')
    .trim()
    .slice(0, MAX_TEXT)
}
