import { isLoopbackHost, parseAuthority } from '../auth/addresses.ts'
import type { Facts } from './facts.ts'
import { type Finding, quoteAll } from './finding.ts'
import { reachOf } from './reach.ts'

/** What a running gateway was found to be. */
export interface LiveFacts {
  /** The gateway that was asked. */
  url: string
  /** Reports whether it is the one that this host's configuration file describes. */
  own: boolean
  /** Why it did not answer as it should. */
  error?: { code: string; message: string }
  /** What it says of itself. */
  status?: { bind?: string; port?: number; authMode?: string; tailscale?: string; listeners: readonly string[] }
  attempts: readonly Attempt[]
}

/** One try to get in without any credential. */
export interface Attempt {
  kind: 'websocket' | 'http'
  url: string
  /** Undefined when the other side could not be reached, or let this host in as it is meant to. */
  refused: boolean | undefined
  detail: string
}

/** What only a running gateway shows: whether it is as the file says, and whether it refuses strangers. */
export function liveFindings(facts: Facts, live: LiveFacts): Finding[] {
  return [...probe(live), ...(live.own ? drift(facts, live) : []), ...openDoors(live)]
}

function probe({ url, error }: LiveFacts): Finding[] {
  if (error === undefined) return []
  if (error.code === 'CONFIG_SECRET_UNRESOLVED') {
    return [
      {
        checkId: 'gateway.probe_auth_secretref_unavailable',
        severity: 'warn',
        title: 'The gateway was not asked: the credential for it does not resolve',
        detail: error.message,
        remediation: 'Make what the SecretRef names available, or pass --token or --password.'
      }
    ]
  }
  return [
    {
      checkId: 'gateway.probe_failed',
      severity: 'warn',
      title: 'The running gateway could not be looked at',
      detail: `${url}: ${error.message}.`,
      remediation: 'Start it, or find out why it does not answer: openclaw doctor'
    }
  ]
}

function drift(facts: Facts, { status }: LiveFacts): Finding[] {
  const { gateway } = facts
  if (status === undefined || gateway === undefined) return []
  const found: Finding[] = []
  const beyond = beyondLoopback(status.listeners)
  if (beyond.length > 0 && reachOf(gateway, facts.addresses) === 'loopback') {
    found.push({
      checkId: 'gateway.live_exposure',
      severity: status.authMode === 'none' ? 'critical' : 'warn',
      title: 'The running gateway reaches further than its configuration',
      detail: `It listens on ${quoteAll(beyond)}, while gateway.bind is "${gateway.bind}": it was started with --bind, or before the file changed.`,
      remediation: 'Restart it without the flag, or write into the file what is meant.'
    })
  }
  const differing = [
    ['gateway.port', status.port, gateway.port],
    ['gateway.auth.mode', status.authMode, gateway.auth.mode],
    ['gateway.tailscale.mode', status.tailscale, gateway.tailscale.mode]
  ].filter(([, running, written]) => running !== undefined && running !== written)
  if (differing.length > 0) {
    const lines = differing.map(([key, running, written]) => `${key} is "${written}" and runs as "${running}"`)
    found.push({
      checkId: 'gateway.live_drift',
      severity: 'warn',
      title: 'The running gateway is not what the configuration says',
      detail: `${lines.join('; ')}. The rest of this audit speaks of the file.`,
      remediation: 'Restart the gateway, or leave out the flags that override the file.'
    })
  }
  return found
}

/** The TCP addresses of a list of listeners that others than this host can reach. */
function beyondLoopback(listeners: readonly string[]): string[] {
  return listeners.filter((listener) => {
    const host = parseAuthority(listener)?.host
    return host !== undefined && !isLoopbackHost(host)
  })
}

function openDoors({ attempts }: LiveFacts): Finding[] {
  return attempts
    .filter(({ refused }) => refused === false)
    .map(({ kind, url, detail }) => ({
      checkId: `gateway.unauthenticated_${kind}`,
      severity: 'critical',
      title: kind === 'http' ? 'The gateway answers HTTP without a credential' : 'The gateway lets strangers in',
      detail: `${url}: ${detail}. No credential was sent.`,
      remediation: 'Stop the gateway until auth is on and this no longer happens.'
    }))
}
