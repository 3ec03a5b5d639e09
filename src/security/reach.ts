import { isIPv4 } from 'node:net'
import { canonicalAddress, isPrivate, isTailnet } from '../auth/addresses.ts'
import { loopbackOnly } from '../auth/bind-policy.ts'
import type { Facts, Gateway } from './facts.ts'

/** Who can open a connection to the main port. */
export type Reach = 'loopback' | 'tailnet' | 'lan' | 'public'

/** How far the main port reaches, from the bind mode and this host's own addresses. */
export function reachOf(gateway: Gateway, addresses: readonly string[]): Reach {
  if (loopbackOnly(gateway)) return 'loopback'
  if (gateway.bind === 'tailnet') return 'tailnet'
  const custom = gateway.bind === 'custom' ? canonicalAddress(gateway.customBindHost ?? '') : undefined
  const everywhere = custom === undefined || custom === '0.0.0.0' || custom === '::'
  const bound = everywhere ? addresses.filter((address) => custom === '::' || isIPv4(address)) : [custom]
  if (bound.some((address) => !isPrivate(address))) return 'public'
  return !everywhere && isTailnet(custom) ? 'tailnet' : 'lan'
}

/** Reports whether anybody beyond this host can knock: directly, through Tailscale, or through a proxy. */
export function isExposed({ gateway, addresses }: Facts): boolean {
  if (gateway === undefined) return false
  const through = gateway.tailscale.mode !== 'off' || gateway.trustedProxies.length > 0
  return through || gateway.publicOrigin !== undefined || reachOf(gateway, addresses) !== 'loopback'
}
