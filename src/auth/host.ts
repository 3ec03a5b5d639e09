import { isIP } from 'node:net'
import { isPrivate, parseAuthority } from './addresses.ts'

/** The names and addresses this gateway answers to. */
export interface HostPolicy {
  /** Lowercase host names: local names, `gateway.publicOrigin`, allowed origins, the tailnet name. */
  names: ReadonlySet<string>
  /** Addresses of this machine. */
  addresses: ReadonlySet<string>
}

/**
 * Reports whether a `Host` header may reach this gateway (D7). A name that nobody configured is what a rebinding
 * page sends; a private address literal cannot be rebound, and people reach containers and NATed hosts by it.
 */
export function hostAllowed(header: string | undefined, policy: HostPolicy): boolean {
  if (header === undefined) return false
  const authority = parseAuthority(header)
  if (authority === undefined) return false
  const { host } = authority
  if (isIP(host) !== 0) return isPrivate(host) || policy.addresses.has(host) || policy.names.has(host)
  return policy.names.has(host)
}

/** Builds the policy from the machine's names and the configured origins. */
export function hostPolicy(input: {
  hostname: string
  addresses: readonly string[]
  origins: readonly string[]
}): HostPolicy {
  const short = input.hostname.toLowerCase()
  const names = new Set(['localhost', short, `${short.split('.')[0]}.local`])
  for (const origin of input.origins) {
    if (URL.canParse(origin)) names.add(new URL(origin).hostname.replace(/^\[|\]$/g, ''))
  }
  return { names, addresses: new Set(input.addresses) }
}
