import { isLoopback } from '../auth/addresses.ts'
import type { Facts, Gateway } from './facts.ts'
import { type Finding, quoteAll, unsetFix } from './finding.ts'
import { isExposed } from './reach.ts'

/** Whose word is believed about where a request comes from. */
export function proxyFindings(facts: Facts): Finding[] {
  const { gateway } = facts
  if (gateway === undefined) return []
  const byProxy = gateway.auth.mode === 'trusted-proxy'
  return [...proxies(gateway, byProxy), ...realIp(facts)]
}

function proxies({ trustedProxies, auth }: Gateway, byProxy: boolean): Finding[] {
  const found: Finding[] = []
  const proof = auth.trustedProxy?.socket !== undefined || auth.trustedProxy?.jwt !== undefined
  const local = trustedProxies.filter((entry) => isLoopback(entry.split('/')[0] ?? ''))
  if (local.length > 0 && !(byProxy && auth.trustedProxy?.allowLoopback === true)) {
    found.push({
      checkId: 'gateway.trusted_proxies_loopback',
      severity: byProxy && !proof ? 'warn' : 'info',
      title: 'Programs of this host may say where a request comes from',
      detail: `gateway.trustedProxies has ${quoteAll(local)}, as a proxy on this host needs: any local program can write the forwarding headers too, and so name any client address.`,
      remediation: 'Remove it when no proxy runs on this host.'
    })
  }
  const wide = trustedProxies.filter((entry) => bitsMissing(entry) > MAX_NET)
  if (wide.length > 0) {
    const huge = wide.some((entry) => bitsMissing(entry) > HUGE_NET)
    found.push({
      checkId: 'gateway.trusted_proxies_wide',
      severity: byProxy && !proof && huge ? 'critical' : 'warn',
      title: 'Whole networks count as trusted proxies',
      detail: `gateway.trustedProxies has ${quoteAll(wide)}: every host in it may name any client address${byProxy ? ' and any user' : ''}.`,
      remediation: 'Name the addresses of the proxies themselves.'
    })
  }
  return found
}

// In bits of the host part: an IPv4 /16 and, as wide for its world, an IPv6 /48; an IPv4 /8 and an IPv6 /32.
const MAX_NET = 16
const HUGE_NET = 24

function bitsMissing(entry: string): number {
  const [net = '', prefix] = entry.split('/')
  if (prefix === undefined) return 0
  return net.includes(':') ? Math.max(0, 64 - Number(prefix)) : 32 - Number(prefix)
}

function realIp(facts: Facts): Finding[] {
  if (facts.gateway?.allowRealIpFallback !== true) return []
  return [
    {
      checkId: 'gateway.real_ip_fallback_enabled',
      severity: isExposed(facts) ? 'critical' : 'warn',
      title: 'X-Real-IP is believed where X-Forwarded-For is missing',
      detail:
        'gateway.allowRealIpFallback is true: a proxy that passes X-Real-IP on from its visitors lets each name an address of its choice, and escape the limit on failed sign-ins.',
      remediation: 'Let the proxy write X-Forwarded-For.',
      fix: unsetFix('gateway.allowRealIpFallback')
    }
  ]
}
