import type { TrustedProxyConfig } from '../config/types.ts'
import type { Facts } from './facts.ts'
import { type Finding, type Severity, setFix, unsetFix } from './finding.ts'

/** Whose word is believed about who is calling: `gateway.auth.mode: "trusted-proxy"`. */
export function trustedProxyFindings({ gateway, config, stateDir }: Facts): Finding[] {
  if (gateway?.auth.mode !== 'trusted-proxy') return []
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
  return [...boundary(proxy, gateway.trustedProxies), ...users(proxy), ...sameHost(proxy, stateDir)]
}

function boundary(proxy: TrustedProxyConfig, proxies: readonly string[]): Finding[] {
  const found: Finding[] = []
  if (proxies.length === 0 && proxy.socket === undefined) {
    found.push({
      checkId: 'gateway.trusted_proxy_no_proxies',
      severity: 'critical',
      title: 'No proxy is named whose word counts',
      detail: 'gateway.auth.mode is "trusted-proxy", and gateway.trustedProxies is empty.',
      remediation: 'Name the address from which the proxy connects.'
    })
  }
  const proof: Severity =
    proxy.socket !== undefined || proxy.jwt !== undefined
      ? 'info'
      : proxy.requiredHeaders.length > 0
        ? 'warn'
        : 'critical'
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
  return found
}

const PROOF: Record<Severity, string> = {
  critical: 'whoever can connect from a trusted address is whoever it says in a header. Nothing proves it.',
  warn: 'headers name the user. The required ones are no secret: whoever connects from a trusted address can write them.',
  info: 'who calls is proven by its socket or its signature, and the proxy is the boundary.'
}

function users(proxy: TrustedProxyConfig): Finding[] {
  const found: Finding[] = []
  if (proxy.allowUsers.length === 0) {
    found.push({
      checkId: 'gateway.trusted_proxy_no_allowlist',
      severity: 'warn',
      title: 'Every user of the proxy gets in',
      detail: 'gateway.auth.trustedProxy.allowUsers is empty: whoever can sign in at the proxy is an operator here.',
      remediation: `List the users: openclaw config set gateway.auth.trustedProxy.allowUsers '["you@example.com"]'.`
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

// On a host with several users, the address of a proxy proves nothing (S4).
function sameHost({ allowLoopback, socket, jwt }: TrustedProxyConfig, stateDir: string): Finding[] {
  const found: Finding[] = []
  if (allowLoopback && socket === undefined && jwt === undefined) {
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
  return found
}
