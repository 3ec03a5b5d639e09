import { isLoopback } from '../auth/addresses.ts'
import type { Facts, Gateway } from './facts.ts'
import { type Finding, quoteAll, type Severity, setFix, unsetFix } from './finding.ts'
import { isExposed } from './reach.ts'

/** Whose word is believed about who is calling: trusted proxies, and the identities that they name. */
export function proxyFindings(facts: Facts): Finding[] {
  const { gateway } = facts
  if (gateway === undefined) return []
  const byProxy = gateway.auth.mode === 'trusted-proxy'
  return [...proxies(gateway, byProxy), ...realIp(facts), ...(byProxy ? identity(gateway, facts) : [])]
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

function identity(gateway: Gateway, { stateDir, config }: Facts): Finding[] {
  const { trustedProxy: proxy } = gateway.auth
  // What is invalid in it has a finding of its own.
  if (proxy === undefined && config.written.userHeader) return []
  if (proxy === undefined || proxy.userHeader === '') {
    return [
      {
        checkId: 'gateway.trusted_proxy_no_user_header',
        severity: 'critical',
        title: 'Nothing says which header holds the user',
        detail: 'gateway.auth.mode is "trusted-proxy", and gateway.auth.trustedProxy.userHeader is not set.',
        remediation: 'Name the header in which the proxy puts the user: "x-forwarded-user".',
        fix: setFix('gateway.auth.trustedProxy.userHeader', 'x-forwarded-user')
      }
    ]
  }
  const found: Finding[] = []
  const { socket, jwt } = proxy
  if (gateway.trustedProxies.length === 0 && socket === undefined) {
    found.push({
      checkId: 'gateway.trusted_proxy_no_proxies',
      severity: 'critical',
      title: 'No proxy is named whose word counts',
      detail: 'gateway.auth.mode is "trusted-proxy", and gateway.trustedProxies is empty.',
      remediation: 'Name the address from which the proxy connects.'
    })
  }
  const proof: Severity =
    socket !== undefined || jwt !== undefined ? 'info' : proxy.requiredHeaders.length > 0 ? 'warn' : 'critical'
  found.push({
    checkId: 'gateway.trusted_proxy_auth',
    severity: proof,
    title: 'The proxy alone decides who gets in',
    detail: `gateway.auth.mode is "trusted-proxy": ${PROOF[proof]}`,
    remediation:
      proof === 'info'
        ? 'Nothing to do; keep the proxy as safe as the gateway.'
        : 'Let the proxy sign what it says (gateway.auth.trustedProxy.jwt), or connect through a socket of its own (gateway.auth.trustedProxy.socket); and let nothing else reach the port.'
  })
  if (proxy.allowUsers.length === 0) {
    found.push({
      checkId: 'gateway.trusted_proxy_no_allowlist',
      severity: 'warn',
      title: 'Every user of the proxy gets in',
      detail: 'gateway.auth.trustedProxy.allowUsers is empty: whoever can sign in at the proxy is an operator here.',
      remediation: `List the users: openclaw config set gateway.auth.trustedProxy.allowUsers '["you@example.com"]'.`
    })
  }
  if (proxy.allowLoopback && socket === undefined && jwt === undefined) {
    found.push({
      checkId: 'gateway.trusted_proxy_allow_loopback',
      severity: 'warn',
      title: 'Any program of this host can pose as the proxy',
      detail:
        'gateway.auth.trustedProxy.allowLoopback is true: on loopback a header proves nothing, and every local user can send one.',
      remediation:
        'Give the proxy a Unix socket of its own and let it connect there; put it where the proxy may enter, and name its group in gateway.auth.trustedProxy.socketGroup.',
      fix: setFix('gateway.auth.trustedProxy.socket', `${stateDir}/proxy.sock`)
    })
  }
  if (socket !== undefined && (socket.mode & 0o002) !== 0) {
    found.push({
      checkId: 'gateway.trusted_proxy_socket_open',
      severity: jwt === undefined ? 'critical' : 'warn',
      title: "Every user of this host can open the proxy's socket",
      detail: `gateway.auth.trustedProxy.socketMode is ${socket.mode.toString(8)}: who opens ${socket.path} is believed to be the proxy.`,
      remediation: "Leave it to the owner and the proxy's group.",
      fix: setFix('gateway.auth.trustedProxy.socketMode', '"0660"')
    })
  }
  if (proxy.deviceAutoApprove.enabled && proxy.deviceAutoApprove.scopes.includes('operator.admin')) {
    found.push({
      checkId: 'gateway.trusted_proxy_auto_approve_admin',
      severity: 'critical',
      title: 'Every device of a proxy user becomes an administrator by itself',
      detail:
        'gateway.auth.trustedProxy.deviceAutoApprove grants operator.admin without anybody approving: a borrowed session at the proxy is enough to keep the gateway for good.',
      remediation: 'Remove the list of scopes (the default has no admin), and grant admin to devices one by one.',
      fix: unsetFix('gateway.auth.trustedProxy.deviceAutoApprove.scopes')
    })
  }
  return found
}

const PROOF: Record<Severity, string> = {
  critical: 'whoever can connect from a trusted address is whoever it says in a header. Nothing proves it.',
  warn: 'headers name the user. The required ones are no secret: whoever connects from a trusted address can write them.',
  info: 'who calls is proven by its socket or its signature, and the proxy is the boundary.'
}
