import type { Socket } from 'node:net'
import type { FrontOwner } from '../auth/ingress.ts'
import type { TailscaleWitness } from '../auth/tailscale.ts'

/** What the gateway asks of the tailnet that its machine is in. */
export interface Tailnet extends TailscaleWitness {
  /** Whose process holds the other end of a loopback socket. */
  ownerOf(socket: Socket): Promise<FrontOwner>
}

/** A machine without a tailnet. */
export const noTailnet: Tailnet = {
  whois: async () => undefined,
  owner: async () => undefined,
  ownerOf: async () => 'unknown'
}
