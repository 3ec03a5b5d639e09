import { isIP } from 'node:net'
import { isPrivate, parseAuthority } from './addresses.ts'
import type { Ingress } from './ingress.ts'

/** The names and addresses this gateway answers to. */
export interface HostPolicy {
  /** Lowercase host names: local names, `gateway.publicOrigin`, allowed origins, the tailnet name. */
  names: ReadonlySet<string>
  /** Addresses of this machine now; undefined when the system does not say. */
  addresses(): ReadonlySet<string> | undefined
}

/**
 * Reports whether a `Host` header may reach this gateway (D7). A name that nobody configured is what a rebinding
 * page sends; a private address literal cannot be rebound, and people reach containers and NATed hosts by it.
 */
export function hostAllowed({ host: asked, claims }: Pick<Ingress, 'host' | 'claims'>, policy: HostPolicy): boolean {
  const authority = asked === undefined ? undefined : parseAuthority(asked)
  if (authority === undefined) return false
  const { host } = authority
  if (policy.names.has(host)) return true
  if (isIP(host) !== 0) return isPrivate(host) || policy.addresses()?.has(host) === true
  // Serve answers to this machine's own names, and nobody can point one of them elsewhere.
  return claims?.by === 'tailscale' && host.endsWith('.ts.net')
}

/** Builds the policy from the machine's names and the configured origins. */
export function hostPolicy(input: {
  hostname: string
  localNames: readonly string[]
  addresses: HostPolicy['addresses']
  origins: readonly (string | undefined)[]
}): HostPolicy {
  const short = input.hostname.toLowerCase()
  const names = new Set(['localhost', short, `${short.split('.')[0]}.local`, ...input.localNames])
  for (const origin of input.origins) {
    if (origin !== undefined && URL.canParse(origin)) names.add(new URL(origin).hostname.replace(/^\[|\]$/g, ''))
  }
  return { names, addresses: input.addresses }
}
