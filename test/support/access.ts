import { type Access, compileAccess, type Machine } from '../../src/auth/access.ts'
import type { IssuedCredentials, Witness } from '../../src/auth/authenticate.ts'
import type { Ingress } from '../../src/auth/ingress.ts'
import { resolveConfig } from '../../src/config/load.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { interpret } from '../../src/config/source.ts'
import type { GatewayConfig } from '../../src/config/types.ts'

/** The resolved `gateway` section of a configuration file that holds this. */
export async function gatewayOf(section: Record<string, unknown>): Promise<GatewayConfig> {
  const text = JSON.stringify({ gateway: { mode: 'local', ...section } })
  const source = interpret(text, '/nowhere/openclaw.json', {})
  return (await resolveConfig(source, { env: {}, paths: resolvePaths({ HOME: '/nowhere' }) })).gateway
}

/** The access policy of a configuration file's `gateway` section. */
export async function accessOf(section: Record<string, unknown>, machine: Partial<Machine> = {}): Promise<Access> {
  const own = new Set(['127.0.0.1', '::1', '192.168.7.7'])
  return compileAccess(await gatewayOf(section), {
    hostname: 'box',
    addresses: () => own,
    tailnetName: undefined,
    localNames: [],
    ...machine
  })
}

/** A request of a process of this machine, or with other facts. */
export function ingressOf(more: Partial<Ingress> = {}): Ingress {
  const here = { listener: 'main', peer: '127.0.0.1', client: '127.0.0.1', forwarded: false, local: true } as const
  return { ...here, host: '127.0.0.1:18789', claims: undefined, cap: undefined, ...more }
}

/** A store that has issued nothing, and a world in which nobody vouches for anybody. */
export const nobody: IssuedCredentials & Witness = {
  findToken: async () => undefined,
  presentCode: async () => undefined,
  findNamedToken: async () => undefined,
  namedTokenUsed: () => {},
  whois: async () => undefined,
  isOwner: async () => false,
  verifyAssertion: async () => undefined
}
