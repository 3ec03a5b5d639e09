import type { Access } from '../auth/access.ts'
import type { Witness } from '../auth/authenticate.ts'
import type { TailscaleWitness } from '../auth/tailscale.ts'
import { type AssertionLog, AssertionVerifier } from './assertion.ts'

/** Whom front ends speak for: tailscaled for tailnet addresses, a proxy's keys for its signed assertions. */
export function createWitness(access: () => Access, tailnet: TailscaleWitness, log: AssertionLog): Witness {
  let verifier: { for: unknown; verify(assertion: string): Promise<string | undefined> } | undefined
  return {
    whois: (address) => tailnet.whois(address),
    isOwner: (user) => tailnet.isOwner(user),
    async verifyAssertion(assertion) {
      const config = access().gateway.auth.trustedProxy?.jwt
      if (config === undefined) return undefined
      // A new configuration may name other keys; what was verified with the old ones is forgotten with them.
      if (verifier?.for !== config) {
        const made = new AssertionVerifier(config, log)
        verifier = { for: config, verify: (text) => made.verify(text) }
      }
      return verifier.verify(assertion)
    }
  }
}
