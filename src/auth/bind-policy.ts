import { isIP } from 'node:net'
import type { GatewayConfig } from '../config/types.ts'
import type { Fix } from '../protocol/errors.ts'
import { canonicalAddress, compileCidrs, isLoopback, isLoopbackHost } from './addresses.ts'
import { hasSecret } from './secrets.ts'

/** Why the gateway must not start, in one sentence, and what to run. */
export interface StartRefusal {
  code: string
  message: string
  fix: Fix
}

/** An address to listen on. A required one that cannot be opened stops the start. */
export interface ListenTarget {
  host: string
  required: boolean
}

/** Reports why this configuration must not start, or nothing when it may (R3, R4, R9, S11). Pure. */
export function startRefusal(gateway: GatewayConfig): StartRefusal | undefined {
  const { auth, tailscale } = gateway
  const exposed = tailscale.mode !== 'off'
  if (gateway.bind === 'custom' && gateway.customBindHost === undefined) {
    return refuse(
      'BIND_HOST_MISSING',
      'gateway.bind=custom requires gateway.customBindHost',
      set('gateway.customBindHost', '192.168.1.10')
    )
  }
  if (gateway.bind === 'custom' && isIP(gateway.customBindHost ?? '') === 0) {
    return refuse(
      'BIND_HOST_INVALID',
      `gateway.customBindHost must be an IP address of this host, not "${gateway.customBindHost}"`,
      set('gateway.customBindHost', '192.168.1.10')
    )
  }
  if (exposed && !loopbackOnly(gateway)) {
    return refuse(
      'TAILSCALE_BIND',
      'tailscale serve/funnel requires gateway bind=loopback (127.0.0.1)',
      set('gateway.bind', 'loopback')
    )
  }
  if (tailscale.mode === 'funnel' && auth.mode !== 'password') {
    return refuse(
      'FUNNEL_AUTH',
      'tailscale funnel requires gateway auth mode=password (set gateway.auth.password or OPENCLAW_GATEWAY_PASSWORD)',
      set('gateway.auth.mode', 'password')
    )
  }
  if (exposed && auth.mode === 'none') {
    return refuse(
      'EXPOSED_WITHOUT_AUTH',
      `gateway.auth.mode=none cannot be used with gateway.tailscale.mode=${tailscale.mode}; configure token, password, or trusted-proxy auth before exposing the gateway through Tailscale`,
      set('gateway.auth.mode', 'token')
    )
  }
  return authRefusal(gateway)
}

function authRefusal(gateway: GatewayConfig): StartRefusal | undefined {
  const { auth } = gateway
  const nodes = compileCidrs(gateway.nodes.pairing.autoApproveCidrs)
  if ('invalid' in nodes) {
    return refuse(
      'AUTO_APPROVE_CIDRS_INVALID',
      `gateway.nodes.pairing.autoApproveCidrs: "${nodes.invalid}" is neither an IP address nor a CIDR that names less than everyone`,
      set('gateway.nodes.pairing.autoApproveCidrs', '\'["192.168.1.0/24"]\'')
    )
  }
  const proxies = compileCidrs(gateway.trustedProxies)
  if ('invalid' in proxies) {
    return refuse(
      'TRUSTED_PROXY_INVALID',
      `gateway.trustedProxies: "${proxies.invalid}" is neither an IP address nor a CIDR that names less than everyone`,
      set('gateway.trustedProxies', '["10.0.0.1"]')
    )
  }
  switch (auth.mode) {
    case 'none':
      if (loopbackOnly(gateway)) return undefined
      return refuse(
        'BIND_WITHOUT_AUTH',
        withoutAuth(`bind gateway to ${gateway.bind}`),
        set('gateway.auth.mode', 'token')
      )
    case 'token':
      if (hasSecret(auth.token)) return undefined
      return loopbackOnly(gateway)
        ? refuse(
            'TOKEN_MISSING',
            'Gateway auth is set to token, but no token is configured. Set gateway.auth.token (or OPENCLAW_GATEWAY_TOKEN), or pass --token.',
            generate
          )
        : refuse('BIND_WITHOUT_AUTH', withoutAuth(`bind gateway to ${gateway.bind}`), generate)
    case 'password':
      if (hasSecret(auth.password)) return undefined
      return refuse(
        'PASSWORD_MISSING',
        'Gateway auth is set to password, but no password is configured. Set gateway.auth.password (or OPENCLAW_GATEWAY_PASSWORD), or pass --password.',
        set('gateway.auth.password', '"…"')
      )
    case 'trusted-proxy':
      return trustedProxyRefusal(gateway)
  }
}

function trustedProxyRefusal(gateway: GatewayConfig): StartRefusal | undefined {
  const { auth } = gateway
  if (auth.token !== undefined) {
    return refuse(
      'TRUSTED_PROXY_AND_TOKEN',
      'gateway auth mode is trusted-proxy, but a shared token is also configured; remove gateway.auth.token / OPENCLAW_GATEWAY_TOKEN because trusted-proxy and token auth are mutually exclusive.',
      { command: 'openclaw config unset gateway.auth.token', where: 'gateway host' }
    )
  }
  if (auth.trustedProxy === undefined) {
    return refuse(
      'TRUSTED_PROXY_UNSET',
      'gateway auth mode is trusted-proxy, but no trustedProxy config was provided (set gateway.auth.trustedProxy)',
      set('gateway.auth.trustedProxy.userHeader', 'x-forwarded-user')
    )
  }
  if (auth.trustedProxy.userHeader.trim() === '') {
    return refuse(
      'TRUSTED_PROXY_HEADER',
      'gateway auth mode is trusted-proxy, but trustedProxy.userHeader is empty (set gateway.auth.trustedProxy.userHeader)',
      set('gateway.auth.trustedProxy.userHeader', 'x-forwarded-user')
    )
  }
  const { userHeader, requiredHeaders, jwt, socket } = auth.trustedProxy
  const unusable = [userHeader, ...requiredHeaders, ...(jwt === undefined ? [] : [jwt.header])].find(notForProxies)
  if (unusable !== undefined) {
    return refuse(
      'TRUSTED_PROXY_HEADER',
      `gateway.auth.trustedProxy: "${unusable}" is not a header that only a proxy sets`,
      set('gateway.auth.trustedProxy.userHeader', 'x-forwarded-user')
    )
  }
  if (gateway.trustedProxies.length === 0 && socket === undefined) {
    return refuse(
      'TRUSTED_PROXIES_EMPTY',
      'gateway auth mode=trusted-proxy requires gateway.trustedProxies to be configured with at least one proxy IP',
      set('gateway.trustedProxies', '["10.0.0.1"]')
    )
  }
  return jwt === undefined ? undefined : jwksRefusal(jwt.jwks)
}

// A name that clients send by themselves says nothing of a proxy, and anything else is no header's name.
function notForProxies(name: string): boolean {
  return !/^[a-z0-9_-]+$/.test(name) || ['authorization', 'cookie', 'host', 'origin', 'connection'].includes(name)
}

// Keys that anybody on the way could swap are worth nothing.
function jwksRefusal(jwks: string): StartRefusal | undefined {
  const url = URL.canParse(jwks) && /^https?:/i.test(jwks) ? new URL(jwks) : undefined
  if (url === undefined || url.protocol === 'https:' || isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ''))) {
    return undefined
  }
  return refuse(
    'TRUSTED_PROXY_JWKS',
    `gateway.auth.trustedProxy.jwt.jwks: "${jwks}" is plaintext; use https://, or the path of a file`,
    set('gateway.auth.trustedProxy.jwt.jwks', 'https://login.example.com/.well-known/jwks.json')
  )
}

/** Reports whether the bind mode reaches loopback only. */
export function loopbackOnly(gateway: Pick<GatewayConfig, 'bind' | 'customBindHost'>): boolean {
  if (gateway.bind === 'loopback' || gateway.bind === 'auto') return true
  return gateway.bind === 'custom' && isLoopback(gateway.customBindHost ?? '')
}

/**
 * The addresses to listen on (R2), from plain values. `auto` opens all interfaces only where loopback cannot be
 * bound, and then needs auth as `lan` does; `tailnet` without a tailnet address stays on loopback.
 */
export function listenTargets(
  gateway: Pick<GatewayConfig, 'bind' | 'customBindHost'>,
  host: { loopbackWorks: boolean; tailnetAddress: string | undefined }
): ListenTarget[] {
  const local = [
    { host: '127.0.0.1', required: true },
    { host: '::1', required: false }
  ]
  switch (gateway.bind) {
    case 'loopback':
      return local
    case 'auto':
      return host.loopbackWorks ? local : [{ host: '0.0.0.0', required: true }]
    case 'lan':
      return [{ host: '0.0.0.0', required: true }]
    case 'tailnet':
      return host.tailnetAddress === undefined ? local : [{ host: host.tailnetAddress, required: true }, ...local]
    case 'custom': {
      const custom = gateway.customBindHost ?? '127.0.0.1'
      const canonical = canonicalAddress(custom) ?? custom
      if (canonical === '127.0.0.1' || canonical === '::1') return local
      // A wildcard already contains loopback. A link-local address keeps its zone: it cannot be bound without.
      const target = { host: custom.includes('%') ? custom : canonical, required: true }
      return canonical === '0.0.0.0' || canonical === '::' ? [target] : [target, ...local]
    }
  }
}

/** Reports why listening on one address is unsafe under this configuration; the last check before a socket opens. */
export function listenRefusal(gateway: GatewayConfig, host: string): StartRefusal | undefined {
  if (isLoopback(host) || host === 'localhost') return undefined
  const { auth } = gateway
  const secured =
    (auth.mode === 'token' && hasSecret(auth.token)) ||
    (auth.mode === 'password' && hasSecret(auth.password)) ||
    (auth.mode === 'trusted-proxy' && trustedProxyRefusal(gateway) === undefined)
  if (secured) return undefined
  return refuse('BIND_WITHOUT_AUTH', withoutAuth(`listen on ${host}`), set('gateway.auth.mode', 'token'))
}

function withoutAuth(what: string): string {
  return `Refusing to ${what} without auth; set gateway.auth.token or gateway.auth.password (OPENCLAW_GATEWAY_TOKEN, OPENCLAW_GATEWAY_PASSWORD, --token, --password), or gateway.bind=loopback.`
}

const generate: Fix = {
  command: 'openclaw config set gateway.auth.token "$(openssl rand -base64 32)"',
  where: 'gateway host'
}

function set(key: string, value: string): Fix {
  return { command: `openclaw config set ${key} ${value}`, where: 'gateway host' }
}

function refuse(code: string, message: string, fix: Fix): StartRefusal {
  return { code, message, fix }
}
