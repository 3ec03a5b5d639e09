import { authFindings } from './auth.ts'
import { exposureFindings } from './exposure.ts'
import type { Facts } from './facts.ts'
import { fileFindings } from './files.ts'
import type { Finding } from './finding.ts'
import { identityFindings } from './identities.ts'
import { nodeFindings } from './nodes.ts'
import { proxyFindings } from './proxy.ts'
import { sharedSecretFindings, storedSecretFindings } from './secrets.ts'
import { remoteFindings, settingsFindings } from './settings.ts'
import { tailscaleFindings } from './tailscale.ts'
import { tlsFindings } from './tls.ts'
import { trustedProxyFindings } from './trusted-proxy.ts'

/** Everything that an audit finds in the facts, at a moment in milliseconds since 1970. Pure. */
export function findingsOf(facts: Facts, now: number): Finding[] {
  const always = [
    ...settingsFindings(facts),
    ...storedSecretFindings(facts),
    ...fileFindings(facts),
    ...remoteFindings(facts)
  ]
  // What a file says of a server is without effect on a host whose gateway is elsewhere.
  if (facts.gateway === undefined || facts.gateway.mode === 'remote') return always
  return [
    ...authFindings(facts),
    ...sharedSecretFindings(facts),
    ...exposureFindings(facts),
    ...proxyFindings(facts),
    ...trustedProxyFindings(facts),
    ...identityFindings(facts),
    ...tailscaleFindings(facts),
    ...tlsFindings(facts, now),
    ...nodeFindings(facts),
    ...always
  ]
}
