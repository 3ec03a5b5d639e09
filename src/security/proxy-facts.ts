import { valueAt } from '../config/key-path.ts'
import { resolveGateway } from '../config/resolve.ts'
import { GATEWAY_SCHEMA, type GatewayInput } from '../config/schema.ts'
import type { ConfigSource } from '../config/source.ts'
import type { Paths, TrustedProxyConfig } from '../config/types.ts'
import { validate } from '../config/validate.ts'

const SCHEMA = GATEWAY_SCHEMA.properties.auth.properties.trustedProxy

type Written = Required<NonNullable<GatewayInput['auth']>>['trustedProxy']

/** `gateway.auth.trustedProxy`, which a client's configuration leaves out; undefined when it is missing or invalid. */
export async function proxyFacts(
  source: ConfigSource | undefined,
  paths: Paths
): Promise<TrustedProxyConfig | undefined> {
  const written = valueAt(source?.value, ['gateway', 'auth', 'trustedProxy'])
  if (written === undefined || validate(SCHEMA, written).length > 0) return undefined
  const { auth } = await resolveGateway({
    // With nothing but this part there is no secret to resolve.
    file: { mode: 'local', auth: { mode: 'none', trustedProxy: written as Written } },
    fileExists: true,
    env: {},
    flags: {},
    paths,
    client: false,
    fileSecret: async () => undefined
  })
  return auth.trustedProxy
}
