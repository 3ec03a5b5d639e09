import { Command } from 'commander'
import type { Config } from '../../../config/types.ts'
import type { Beacon } from '../../discovery/beacons.ts'
import { parseTimeout, placesOf } from '../../gateway-call.ts'
import type { Io } from '../../io.ts'
import { printJson, printRows, styleOf, withProgress } from '../../output.ts'

const TIMEOUT_MS = 2_000

/** `openclaw gateway discover`: the gateways that are announced around here. It connects to none of them. */
export function buildDiscover(io: Io): Command {
  return new Command('discover')
    .description('Show the gateways that are announced on the local network, and in the configured DNS domain')
    .option('--timeout <ms>', 'How long to look, in milliseconds', String(TIMEOUT_MS))
    .option('--zone', 'Print the DNS records of the gateway on this host instead, for the zone of that domain')
    .option('--json', 'Print JSON')
    .addHelpText('after', EXAMPLES)
    .action((options: DiscoverOptions) => (options.zone === true ? zone(io, options) : discover(io, options)))
}

const EXAMPLES = `
Examples:
  openclaw gateway discover --json | jq -r '.beacons[].wsUrl'
  openclaw config set discovery.mdns.mode minimal           announce the gateway on this host
  openclaw config set discovery.wideArea.domain gateways.example.com`

interface DiscoverOptions {
  timeout?: string
  zone?: boolean
  json?: boolean
}

async function discover(io: Io, options: DiscoverOptions): Promise<void> {
  const timeoutMs = parseTimeout(options.timeout, TIMEOUT_MS)
  const { domain } = (await configOf(io)).discovery.wideArea
  const { lookAround } = await import('../../discovery/look.ts')
  const looking = lookAround(domain, timeoutMs)
  const { domains, beacons, problems } = await withProgress(io, 'Looking for gateways', looking)
  if (options.json === true) {
    return printJson(io, { timeoutMs, domains, count: beacons.length, beacons, problems })
  }
  for (const { place, reason } of problems) io.stderr(`warning: ${place}: ${reason}`)
  io.stdout(`Found ${beacons.length} ${beacons.length === 1 ? 'gateway' : 'gateways'} (${domains.join(', ')})`)
  for (const beacon of beacons) print(io, beacon)
  io.stdout(
    beacons.length === 0
      ? 'A gateway is announced where its host says so: openclaw config set discovery.mdns.mode minimal'
      : '\nAnybody can announce any name: compare the address, and with TLS the fingerprint, before you use one.'
  )
}

async function configOf(io: Io): Promise<Config> {
  const { loadConfig } = await import('../../../config/load.ts')
  return loadConfig({ ...placesOf(io), client: true })
}

function print(io: Io, { displayName, domain, host, addresses, gatewayTls, port, wsUrl }: Beacon): void {
  io.stdout(`\n${styleOf(io).bold(displayName)} ${styleOf(io).dim(domain)}`)
  printRows(io, [
    ['Host', `${host} (${addresses.join(', ')}), port ${port}`],
    ['TLS', gatewayTls ? 'yes' : 'no'],
    ['URL', wsUrl ?? 'none: plaintext goes to private addresses only'],
    ['Use it', `openclaw setup --remote ${wsUrl ?? `ssh://USER@${host}`}`]
  ])
}

async function zone(io: Io, options: DiscoverOptions): Promise<void> {
  const { zoneOf } = await import('../../discovery/zone.ts')
  const config = await configOf(io)
  const { lines, records } = zoneOf(config)
  if (options.json === true) return printJson(io, { records })
  for (const line of lines) io.stdout(line)
}
