import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Setup } from '../../scripts/gateway-process.ts'
import { controlUi } from '../support/client.ts'
import { startTailnet, TAILNET_NAME, type Tailnet } from '../support/tailscaled.ts'
import type { Way, Ways } from './caller.ts'
import { withApi } from './clients.ts'
import { type Pair, startPair } from './pair.ts'

type Json = Record<string, unknown>

/** The Control UI's document, its page as a browser of the tailnet names it, and its `connect`. */
export const config = '/control-ui-config.json'
export const page = { origin: `https://${TAILNET_NAME}` }
export function ui(scopes: string[], auth?: Json): Json {
  return { client: controlUi, scopes, ...(auth === undefined ? {} : { auth }) }
}

/** A pair whose gateways Tailscale exposes, and the way there from each peer. */
export interface Exposed {
  pair: Pair
  tailnets: readonly [ours: Tailnet, reference: Tailnet]
  from(peer: string): Ways
}

/** Starts a pair: each gateway has a machine of its own, with the same peers. */
export async function exposed(t: Test, mode: 'serve' | 'funnel', gateway: (token: string) => Json): Promise<Exposed> {
  const peers = {
    alice: { ip: '100.64.0.1', login: 'alice@example.com', displayName: 'Alice' },
    bob: { ip: '100.64.0.2', login: 'bob@example.com', displayName: 'Jürgen Böb' },
    carol: { ip: '100.64.0.4', login: 'carol@example.com', displayName: 'Carol' },
    runner: { ip: '100.64.0.3', tagged: true },
    public: { ip: '203.0.113.9', funnel: true }
  }
  const tailnets = await Promise.all([startTailnet(t, { peers }), startTailnet(t, { peers })])
  const setup = ({ env }: Tailnet, tailscale: Json): Setup => ({
    gateway: (token) => ({ ...withApi, ...gateway(token), tailscale: { mode, ...tailscale } }),
    env
  })
  // Ours asks tailscaled's socket, the reference the command.
  const pair = await startPair({
    ours: setup(tailnets[0], { socket: tailnets[0].socket }),
    reference: setup(tailnets[1], {})
  })
  t.teardown(() => pair.stop())
  // Ours is ready before its route is (D3).
  while ((await tailnets[0].route()) === undefined) await delay(20)
  return { pair, tailnets, from: (peer) => [through(tailnets[0], peer), through(tailnets[1], peer)] }
}

function through(tailnet: Tailnet, peer: string): Way {
  return {
    webSocket: (headers) => tailnet.webSocket(peer, '/', headers),
    request: (path, options) => tailnet.request(peer, path, options)
  }
}
