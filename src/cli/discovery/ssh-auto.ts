import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { canonicalAddress } from '../../auth/addresses.ts'
import type { Io } from '../io.ts'
import { withProgress } from '../output.ts'
import type { Beacon } from './beacons.ts'
import { lookAround } from './look.ts'

/** What `--ssh-auto` came to: a host for ssh, or why there is none. */
export interface SshAuto {
  found?: { host: string; port: number }
  reason?: string
  discovery: { timeoutMs: number; count: number; beacons: readonly Beacon[] }
}

/** How long at most it looks, as the reference does. */
const DISCOVERY_MS = 1_200

/** Looks for the one other machine on which a gateway is announced, and says which it is before anything is tried. */
export async function sshAuto(io: Io, domain: string | undefined, atMostMs: number): Promise<SshAuto> {
  const timeoutMs = Math.min(DISCOVERY_MS, atMostMs)
  const { beacons } = await withProgress(io, 'Looking for gateways', lookAround(domain, timeoutMs))
  const picked = await pick(beacons)
  if (picked.found !== undefined) io.stderr(`found ${picked.found.host}: trying it through ssh`)
  return { ...picked, discovery: { timeoutMs, count: beacons.length, beacons } }
}

// Between several nobody but a person can choose: who comes first is up to whoever announces.
async function pick(beacons: readonly Beacon[]): Promise<Omit<SshAuto, 'discovery'>> {
  const own = new Set(Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address)))
  const others = beacons.filter(({ addresses }) => addresses.length > 0 && !addresses.some((each) => own.has(each)))
  const [first] = others
  if (first === undefined) return { reason: 'no gateway is announced on another machine' }
  const hosts = new Set(others.map(({ host }) => host.toLowerCase()))
  if (hosts.size > 1) {
    return { reason: `gateways are announced on ${[...hosts].join(', ')}; choose one with --ssh user@host` }
  }
  const { host, port, addresses } = first
  return { found: { host: (await leadsThere(host, addresses)) ? host : addresses[0]!, port } }
}

// Host keys are known by name; but not every system resolves names of `.local`.
async function leadsThere(host: string, addresses: readonly string[]): Promise<boolean> {
  const found = await lookup(host, { all: true }).catch(() => [])
  return found.some(({ address }) => addresses.includes(canonicalAddress(address) ?? address))
}
