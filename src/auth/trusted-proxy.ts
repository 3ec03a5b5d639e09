import type { TrustedProxyConfig } from '../config/types.ts'
import { isLoopback } from './addresses.ts'
import type { Ingress } from './ingress.ts'

/** Who a trusted proxy says is calling, or why it is not believed (R9). Reasons are the protocol's `authReason`. */
export type ProxyVerdict =
  | { user: string }
  | {
      reason: string
      /** True when the proxy named somebody and it is nobody we let in: no other credential makes up for that. */
      final: boolean
    }

/** What the decision needs beside the request and the configuration. */
export interface ProxyWitness {
  /** Reports whether an address is one of this machine's own; undefined when the system does not say. */
  isOwnAddress(address: string): boolean | undefined
  /** Reads the user out of a signed assertion; undefined when it does not hold. */
  verifyAssertion(assertion: string): Promise<string | undefined>
  trustedProxies: { has(address: string): boolean }
}

/** Decides who a request through an identity-aware proxy is from. The order of the checks is the reference's. */
export async function proxyIdentity(
  { listener, peer, claims }: Ingress,
  config: TrustedProxyConfig,
  witness: ProxyWitness
): Promise<ProxyVerdict> {
  if (listener !== 'proxy') {
    const source = untrustedSource(peer, listener, config, witness)
    if (source !== undefined) return denied(source)
  }
  const headers = claims?.by === 'proxy' ? claims.headers : nothing
  const value = (name: string) => headers.get(name)?.trim() ?? ''
  const { jwt } = config
  for (const name of [...config.requiredHeaders, ...(jwt === undefined ? [] : [jwt.header])]) {
    if (value(name) === '') return denied(`trusted_proxy_missing_header_${name}`)
  }
  const named = value(config.userHeader)
  const user = jwt === undefined ? named : (await witness.verifyAssertion(value(jwt.header)))?.trim()
  if (user === undefined) return { reason: 'trusted_proxy_assertion_invalid', final: true }
  if (user === '') return denied('trusted_proxy_user_missing')
  // The signature decides; a header beside it that names somebody else was not written by the same proxy.
  if (named !== '' && !sameUser(named, user)) return { reason: 'trusted_proxy_assertion_mismatch', final: true }
  if (config.allowUsers.length > 0 && !config.allowUsers.includes(user)) {
    return { reason: 'trusted_proxy_user_not_allowed', final: true }
  }
  return { user }
}

const nothing: ReadonlyMap<string, string> = new Map()

function untrustedSource(
  peer: string,
  listener: Ingress['listener'],
  config: TrustedProxyConfig,
  { trustedProxies, isOwnAddress }: ProxyWitness
): string | undefined {
  // With a socket of its own, the proxy comes through nothing else (S4).
  if (listener !== 'main' || config.socket !== undefined) return 'trusted_proxy_untrusted_source'
  if (isLoopback(peer)) {
    return config.allowLoopback && trustedProxies.has(peer) ? undefined : 'trusted_proxy_loopback_source'
  }
  if (!trustedProxies.has(peer)) return 'trusted_proxy_untrusted_source'
  // A process of this machine that calls by another of its addresses is no proxy, whatever list names it.
  const own = isOwnAddress(peer)
  if (own === undefined) return 'trusted_proxy_local_interface_check_failed'
  return own ? 'trusted_proxy_local_interface_source' : undefined
}

function sameUser(a: string, b: string): boolean {
  return a === b || (a.includes('@') && a.toLowerCase() === b.toLowerCase())
}

function denied(reason: string): ProxyVerdict {
  return { reason, final: false }
}
