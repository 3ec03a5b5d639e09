import type { GatewayConfig, SharedSecret } from '../config/types.ts'
import type { Scope } from '../protocol/scopes.ts'
import { compileCidrs } from './addresses.ts'
import { compileHeaders } from './headers.ts'
import { type HostPolicy, hostPolicy } from './host.ts'
import type { Ingress, IngressPolicy } from './ingress.ts'
import { checkOrigin, compileOrigins } from './origin.ts'
import { digest, hasSecret } from './secrets.ts'
import type { AuthMethod } from './surfaces.ts'

/** What the access policy needs to know of this machine. */
export interface Machine {
  hostname: string
  /** Its own addresses now; undefined when the system does not say. */
  addresses(): ReadonlySet<string> | undefined
  /** Its name in the tailnet, once tailscaled has told it. */
  tailnetName: string | undefined
  /** Its names in `.local`, beside its own. */
  localNames: readonly string[]
}

/** Everything that decides who gets in, compiled from one configuration. A changed configuration makes a new one. */
export interface Access {
  readonly gateway: GatewayConfig
  readonly ingress: IngressPolicy
  readonly hosts: HostPolicy
  readonly origins: ReadonlySet<string>
  /** The server's shared secret as it is compared (`id` is the digest in hex), and where it came from. */
  readonly secret: { digest: Buffer; id: string; source: string } | undefined
  /** Reports whether a verified Tailscale identity lets anybody in (R7). */
  readonly tailscale: boolean
  readonly isOwnAddress: (address: string) => boolean | undefined
  /** Where a new node may come from without being asked about (`gateway.nodes.pairing.autoApproveCidrs`). */
  readonly autoApproveCidrs: { has(address: string): boolean }
}

/** Compiles the access policy; throws on what `startRefusal` refuses. */
export function compileAccess(gateway: GatewayConfig, machine: Machine): Access {
  const { auth, tailscale, controlUi, publicOrigin } = gateway
  const proxies = compileCidrs(gateway.trustedProxies)
  if ('invalid' in proxies) throw new Error(`gateway.trustedProxies: "${proxies.invalid}" is unusable`)
  const nodes = compileCidrs(gateway.nodes.pairing.autoApproveCidrs)
  if ('invalid' in nodes) throw new Error(`gateway.nodes.pairing.autoApproveCidrs: "${nodes.invalid}" is unusable`)
  const proxy = auth.mode === 'trusted-proxy' ? auth.trustedProxy : undefined
  const serves = tailscale.mode !== 'funnel'
  const tailnetOrigin = machine.tailnetName === undefined ? undefined : `https://${machine.tailnetName}`
  const origins = [...controlUi.allowedOrigins, publicOrigin, tailnetOrigin]
  return {
    gateway,
    ingress: {
      trustedProxies: proxies,
      allowRealIpFallback: gateway.allowRealIpFallback,
      kindOf: compileHeaders({
        identity: proxy === undefined ? [] : [proxy.userHeader, ...(proxy.jwt === undefined ? [] : [proxy.jwt.header])],
        single: proxy?.requiredHeaders ?? []
      }),
      proxySocket: proxy?.socket !== undefined,
      operatorServe: serves && auth.allowTailscale === true
    },
    hosts: hostPolicy({ ...machine, origins }),
    origins: compileOrigins(origins),
    secret: sharedSecret(gateway),
    tailscale: serves && (auth.allowTailscale ?? tailscale.mode === 'serve'),
    isOwnAddress: (address) => machine.addresses()?.has(address),
    autoApproveCidrs: nodes
  }
}

// In trusted-proxy mode the password is for callers of this machine that no proxy stands before.
function sharedSecret({ auth }: GatewayConfig): Access['secret'] {
  const name = auth.mode === 'token' ? 'token' : 'password'
  const secret: SharedSecret | undefined = auth.mode === 'none' ? undefined : auth[name]
  // Blank text is no secret: a caller could send the same.
  if (!hasSecret(secret)) return undefined
  const hash = digest(secret.value.trim())
  return { digest: hash, id: hash.toString('hex'), source: sourceOf(name, secret) }
}

function sourceOf(name: 'token' | 'password', { source }: SharedSecret): string {
  if (source === 'flag') return `--${name}`
  return source === 'env' ? `OPENCLAW_GATEWAY_${name.toUpperCase()}` : `gateway.auth.${name}`
}

/** The scopes that `gateway.auth.identityScopes` grants to a verified identity. */
export function identityScopes(gateway: GatewayConfig, user: string): ReadonlySet<Scope> {
  const granted = gateway.auth.identityScopes
  const key = user.includes('@') ? user.toLowerCase() : user
  return new Set(Object.hasOwn(granted, key) ? granted[key] : [])
}

/** How somebody came in. */
export interface Entry {
  method: AuthMethod
  user: string | undefined
  ingress: Ingress
  origin: string | undefined
}

/**
 * What an entry rests on that a configuration can change, as text: when a new policy yields another text, or none,
 * the sockets of that entry end and come again under the new one (S14). What the store grants ends by itself.
 */
export function footing(access: Access, { method, user, ingress, origin }: Entry): string | undefined {
  const { gateway } = access
  const page = checkOrigin({ origin, host: ingress.host, ingress, required: false, allowed: access.origins })
  if (!page.ok) return undefined
  const proxied = ingress.claims?.by === 'proxy' && ingress.listener === 'main'
  if (proxied && !access.ingress.trustedProxies.has(ingress.peer)) return undefined
  switch (method) {
    case 'token':
    case 'password':
      return access.secret?.id
    case 'trusted-proxy': {
      const { allowUsers = [], deviceAutoApprove: _later, ...rules } = gateway.auth.trustedProxy ?? {}
      if (user === undefined || (allowUsers.length > 0 && !allowUsers.includes(user))) return undefined
      return JSON.stringify([rules, [...identityScopes(gateway, user)]])
    }
    case 'tailscale':
      if (!access.tailscale || (ingress.listener === 'main' && !access.ingress.operatorServe)) return undefined
      return JSON.stringify([...identityScopes(gateway, user ?? '')])
    default:
      return method
  }
}
