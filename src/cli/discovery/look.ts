import { getServers } from 'node:dns'
import { browseLocal } from '../../discovery/browse.ts'
import { browseDomain } from '../../discovery/wide-area.ts'
import { CliError } from '../io.ts'
import { type Beacon, beaconOf } from './beacons.ts'

/** What a look around came to. */
export interface Found {
  /** Where was looked, with a dot at the end. */
  domains: string[]
  beacons: Beacon[]
  problems: { place: string; reason: string }[]
}

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i

/** Looks for gateways on the local networks, and in a domain of unicast DNS when one is configured. Connects to none. */
export async function lookAround(domain: string | undefined, timeoutMs: number): Promise<Found> {
  const wide = domain === undefined ? undefined : checkedDomain(domain)
  const places = await Promise.all([
    browseLocal(timeoutMs),
    ...(wide === undefined ? [] : [browseDomain(wide, { servers: getServers(), timeoutMs })])
  ])
  return {
    domains: ['local.', ...(wide === undefined ? [] : [`${wide}.`])],
    beacons: places
      .flatMap(({ sightings }) => sightings.map(beaconOf))
      .toSorted((a, b) => a.displayName.localeCompare(b.displayName)),
    problems: places.flatMap(({ problems }) => problems)
  }
}

/** The name of a discovery domain, without its last dot. */
export function checkedDomain(text: string): string {
  const domain = text.replace(/\.$/, '').toLowerCase()
  const valid = domain.length < 200 && domain !== 'local' && domain.split('.').every((label) => LABEL.test(label))
  if (valid) return domain
  throw new CliError('CONFIG_INVALID', 'discovery.wideArea.domain is not a name of DNS', {
    fix: 'openclaw config set discovery.wideArea.domain gateways.example.com'
  })
}
