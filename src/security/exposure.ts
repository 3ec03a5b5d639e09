import { isLoopbackHost } from '../auth/addresses.ts'
import type { Facts } from './facts.ts'
import { type Finding, keepFix, quoteAll, setFix } from './finding.ts'
import { reachOf } from './reach.ts'

/** How far the port reaches, and which pages may talk to it. */
export function exposureFindings(facts: Facts): Finding[] {
  return [...plaintext(facts), ...origins(facts), ...publicOrigin(facts)]
}

function plaintext({ gateway, addresses }: Facts): Finding[] {
  if (gateway === undefined || gateway.tls.enabled) return []
  const reach = reachOf(gateway, addresses)
  // A tailnet encrypts by itself.
  if (reach === 'loopback' || reach === 'tailnet') return []
  const host = gateway.bind === 'custom' ? ` (${gateway.customBindHost})` : ''
  return [
    {
      checkId: 'gateway.bind_plaintext',
      severity: reach === 'public' ? 'critical' : 'warn',
      title: reach === 'public' ? 'The internet reaches the gateway, unencrypted' : 'The network can listen in',
      detail: `gateway.bind is "${gateway.bind}"${host}, without TLS: tokens and messages cross ${reach === 'public' ? 'a public address of this host' : 'the local network'} as plain text.`,
      remediation:
        'Keep it on loopback and come through an SSH tunnel or Tailscale Serve, or put TLS in front of it (gateway.tls.enabled, or a proxy).',
      fix: setFix('gateway.bind', 'loopback')
    }
  ]
}

function origins({ gateway }: Facts): Finding[] {
  const allowed = gateway?.controlUi.allowedOrigins ?? []
  const key = 'gateway.controlUi.allowedOrigins'
  const without = (entries: readonly string[]) =>
    keepFix(
      key,
      allowed.filter((origin) => !entries.includes(origin))
    )
  const found: Finding[] = []
  const wild = allowed.filter((origin) => origin.includes('*'))
  if (wild.length > 0) {
    found.push({
      checkId: 'gateway.control_ui.allowed_origins_wildcard',
      severity: 'warn',
      title: 'The list of allowed origins has a wildcard',
      detail: `${key} has ${quoteAll(wild)}. Origins are compared whole here, so it allows nobody; another OpenClaw gateway that reads this file would let every website in.`,
      remediation: 'Name each origin: "https://control.example.com".',
      fix: without(wild)
    })
  }
  const plain = allowed.filter((origin) => !wild.includes(origin) && isPlainRemote(origin))
  if (plain.length > 0) {
    found.push({
      checkId: 'gateway.control_ui.allowed_origins_plaintext',
      severity: 'warn',
      title: 'Pages that came unencrypted may talk to the gateway',
      detail: `${key} has ${quoteAll(plain)}: whoever is on the way can put a script into such a page, and it speaks with the visitor's rights.`,
      remediation: 'Serve the page over https, and allow that origin.',
      fix: without(plain)
    })
  }
  const useless = allowed.filter((origin) => !wild.includes(origin) && !URL.canParse(origin))
  if (useless.length > 0) {
    found.push({
      checkId: 'gateway.control_ui.allowed_origins_ineffective',
      severity: 'info',
      title: 'Allowed origins that match nothing',
      detail: `${key} has ${quoteAll(useless)}, which is no origin.`,
      remediation: 'An origin is scheme, host and port: "https://control.example.com".',
      fix: without(useless)
    })
  }
  return found
}

function isPlainRemote(origin: string): boolean {
  const url = URL.parse(origin)
  return url?.protocol === 'http:' && !isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ''))
}

function publicOrigin({ gateway, addresses }: Facts): Finding[] {
  if (gateway === undefined || gateway.publicOrigin !== undefined || gateway.controlUi.allowedOrigins.length > 0) {
    return []
  }
  const proxied = gateway.trustedProxies.length > 0
  const served = gateway.tls.enabled && reachOf(gateway, addresses) !== 'loopback'
  if (gateway.tailscale.mode !== 'off' || !(proxied || served)) return []
  const why = proxied
    ? `gateway.trustedProxies is ${quoteAll(gateway.trustedProxies)}`
    : `gateway.bind is "${gateway.bind}" with TLS`
  return [
    {
      checkId: 'gateway.public_origin_missing',
      severity: 'info',
      title: 'The gateway does not know its public name',
      detail: `${why}, and gateway.publicOrigin is not set: requests for a name that nobody configured are refused, because a page could have pointed that name here.`,
      remediation: 'Set gateway.publicOrigin to the address in the browser: "https://gateway.example.com".'
    }
  ]
}
