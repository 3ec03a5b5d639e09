import { BlockList, isIPv4 } from 'node:net'
import type { NetworkInterfaceInfo } from 'node:os'
import { canonicalAddress, isTailnet } from '../auth/addresses.ts'

/** A network that this host is on. */
export interface Network {
  /** The interface, as the system calls it. */
  name: string
  /** This host's addresses there that matter, without zones. */
  addresses: readonly string[]
  /** Reports whether a sender is on this very network; multicast DNS listens to nobody else (RFC 6762). */
  has(sender: string): boolean
}

type Interfaces = Readonly<NodeJS.Dict<NetworkInterfaceInfo[]>>

/**
 * The networks that a host is on, with the addresses there at which it listens: `listening` names them, a wildcard
 * stands for all of its family (`::` for both). Loopback is no network, and multicast does not cross a tailnet.
 */
export function networksOf(interfaces: Interfaces, listening: readonly string[]): Network[] {
  const bound = new Set(listening.map((address) => canonicalAddress(address) ?? address))
  const listens = ({ address, family }: NetworkInterfaceInfo): boolean =>
    bound.has('::') || (bound.has('0.0.0.0') && family === 'IPv4') || bound.has(canonicalAddress(address) ?? address)
  return Object.entries(interfaces).flatMap(([name, infos = []]) => {
    const heard = infos.filter((info) => !info.internal && !isTailnet(info.address) && listens(info))
    const addresses = heard.map(({ address }) => address)
    return addresses.length === 0 ? [] : [{ name, addresses, has: onLink(name, infos) }]
  })
}

function onLink(name: string, infos: readonly NetworkInterfaceInfo[]): (sender: string) => boolean {
  const nets = new BlockList()
  for (const { address, cidr, family } of infos) {
    const bits = Number(cidr?.split('/')[1] ?? (family === 'IPv4' ? 32 : 128))
    nets.addSubnet(address, bits, family === 'IPv4' ? 'ipv4' : 'ipv6')
  }
  const zones = new Set([name, ...infos.map(({ scopeid }) => String(scopeid ?? ''))])
  return (sender) => {
    const [address = '', zone] = sender.split('%')
    // Every network has the link-local ones; the zone tells which.
    return zone === undefined ? nets.check(address, isIPv4(address) ? 'ipv4' : 'ipv6') : zones.has(zone)
  }
}
