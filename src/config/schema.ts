import type { XStatic } from 'typebox/schema'
import { SCOPES } from '../protocol/scopes.ts'

// Plain JSON Schema, typed by TypeBox: importing TypeBox itself costs more than reading the whole configuration, and
// every CLI command reads it. `validate.ts` walks this subset.

const text = { type: 'string' } as const
const filled = { type: 'string', minLength: 1 } as const
const printable = { type: 'string', pattern: '^[ -~]*$' } as const
const flag = { type: 'boolean' } as const
const texts = { type: 'array', items: text } as const
const port = { type: 'integer', minimum: 1, maximum: 65535 } as const
const count = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const
const amount = { type: 'integer', exclusiveMinimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const
const scopes = { type: 'array', items: { type: 'string', enum: SCOPES } } as const
const octal = { type: 'string', pattern: '^0?[0-7]{3}$' } as const

const PROVIDER = '^[a-z][a-z0-9_-]{0,63}$'
const ENV_ID = '^[A-Z][A-Z0-9_]{0,127}$'

const ref = <S extends string, I extends object>(source: S, id: I) =>
  ({
    type: 'object',
    additionalProperties: false,
    required: ['source', 'provider', 'id'],
    properties: { source: { const: source }, provider: { type: 'string', pattern: PROVIDER }, id }
  }) as const

/** A string, or a reference to a secret that lives elsewhere. */
const SECRET_INPUT = {
  anyOf: [
    text,
    ref('env', { type: 'string', pattern: ENV_ID } as const),
    ref('file', text),
    ref('exec', text),
    ref('store', { type: 'string', pattern: ENV_ID } as const)
  ],
  secret: true
} as const

const fetchLimits = {
  allowUrl: flag,
  urlAllowlist: texts,
  allowedMimes: texts,
  maxBytes: amount,
  maxRedirects: count,
  timeoutMs: amount
} as const

/** The keys of the `gateway` section that this gateway honours. */
export const GATEWAY_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: {
    mode: { anyOf: [{ const: 'local' }, { const: 'remote' }] },
    port,
    bind: {
      anyOf: [{ const: 'auto' }, { const: 'lan' }, { const: 'loopback' }, { const: 'custom' }, { const: 'tailnet' }]
    },
    customBindHost: text,
    publicOrigin: { type: 'string', format: 'origin' },
    controlUi: {
      type: 'object',
      additionalProperties: false,
      properties: { enabled: flag, basePath: text, allowedOrigins: texts }
    },
    auth: {
      type: 'object',
      additionalProperties: false,
      properties: {
        mode: { anyOf: [{ const: 'none' }, { const: 'token' }, { const: 'password' }, { const: 'trusted-proxy' }] },
        token: SECRET_INPUT,
        password: SECRET_INPUT,
        allowTailscale: flag,
        identityScopes: { type: 'object', additionalProperties: scopes },
        rateLimit: {
          type: 'object',
          additionalProperties: false,
          properties: {
            maxAttempts: { type: 'number', minimum: 1 },
            windowMs: { type: 'number', exclusiveMinimum: 0 },
            lockoutMs: { type: 'number', minimum: 0 },
            exemptLoopback: flag
          }
        },
        trustedProxy: {
          type: 'object',
          additionalProperties: false,
          required: ['userHeader'],
          properties: {
            userHeader: filled,
            requiredHeaders: texts,
            allowUsers: texts,
            allowLoopback: flag,
            // Ours: a listener for a proxy of this host, and the proxy's signed assertion.
            socket: filled,
            socketMode: octal,
            socketGroup: filled,
            jwt: {
              type: 'object',
              additionalProperties: false,
              required: ['issuer', 'audience', 'jwks', 'header'],
              properties: {
                issuer: filled,
                audience: { anyOf: [filled, { type: 'array', items: filled }] },
                jwks: filled,
                header: filled,
                userClaim: filled
              }
            },
            deviceAutoApprove: {
              type: 'object',
              additionalProperties: false,
              properties: { enabled: flag, scopes }
            }
          }
        }
      }
    },
    trustedProxies: texts,
    allowRealIpFallback: flag,
    tools: { type: 'object', additionalProperties: false, properties: { deny: texts, allow: texts } },
    tailscale: {
      type: 'object',
      additionalProperties: false,
      properties: {
        mode: { anyOf: [{ const: 'off' }, { const: 'serve' }, { const: 'funnel' }] },
        // Ours: where tailscaled's LocalAPI listens, when it is not the usual place.
        socket: filled
      }
    },
    remote: {
      type: 'object',
      additionalProperties: false,
      properties: {
        url: text,
        transport: { anyOf: [{ const: 'ssh' }, { const: 'direct' }] },
        remotePort: port,
        token: SECRET_INPUT,
        password: SECRET_INPUT,
        edgeAuth: { type: 'object', additionalProperties: SECRET_INPUT },
        tlsFingerprint: text,
        sshTarget: text,
        sshIdentity: text,
        sshHostKeyPolicy: { anyOf: [{ const: 'strict' }, { const: 'openssh' }] }
      }
    },
    reload: {
      type: 'object',
      additionalProperties: false,
      properties: { mode: { anyOf: [{ const: 'off' }, { const: 'hybrid' }] } }
    },
    tls: {
      type: 'object',
      additionalProperties: false,
      properties: { enabled: flag, autoGenerate: flag, certPath: text, keyPath: text, caPath: text }
    },
    http: {
      type: 'object',
      additionalProperties: false,
      properties: {
        endpoints: {
          type: 'object',
          additionalProperties: false,
          properties: {
            chatCompletions: {
              type: 'object',
              additionalProperties: false,
              properties: {
                enabled: flag,
                images: { type: 'object', additionalProperties: false, properties: fetchLimits }
              }
            },
            responses: {
              type: 'object',
              additionalProperties: false,
              properties: {
                enabled: flag,
                maxUrlParts: count,
                files: {
                  type: 'object',
                  additionalProperties: false,
                  properties: {
                    ...fetchLimits,
                    maxChars: amount,
                    pdf: {
                      type: 'object',
                      additionalProperties: false,
                      properties: { maxPages: amount, maxPixels: amount, minTextChars: count }
                    }
                  }
                },
                images: { type: 'object', additionalProperties: false, properties: fetchLimits }
              }
            }
          }
        },
        securityHeaders: {
          type: 'object',
          additionalProperties: false,
          properties: { strictTransportSecurity: { anyOf: [printable, { const: false }] } }
        }
      }
    },
    nodes: {
      type: 'object',
      additionalProperties: false,
      properties: {
        pairing: {
          type: 'object',
          additionalProperties: false,
          properties: { autoApproveLocal: flag, autoApproveCidrs: texts }
        },
        commands: { type: 'object', additionalProperties: false, properties: { allow: texts, deny: texts } }
      }
    }
  }
} as const

/** The keys of the `discovery` section, all of which this gateway honours. */
const DISCOVERY_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: {
    mdns: {
      type: 'object',
      additionalProperties: false,
      properties: { mode: { type: 'string', enum: ['off', 'minimal', 'full'] } }
    },
    wideArea: { type: 'object', additionalProperties: false, properties: { domain: text } }
  }
} as const

/** The sections of the file that this gateway owns; every other one is somebody else's. */
export const SECTIONS = { gateway: GATEWAY_SCHEMA, discovery: DISCOVERY_SCHEMA } as const

/** The `gateway` section as it stands in a file, validated. */
export type GatewayInput = XStatic<typeof GATEWAY_SCHEMA>

/** Keys of the reference that this gateway does not honour: a warning. */
export const UNSUPPORTED: ReadonlySet<string> = new Set([
  'gateway.auth.trustedProxy.cloudflareAccessOidc',
  'gateway.cliAgents',
  'gateway.controlUi.allowExternalEmbedUrls',
  'gateway.controlUi.automaticallyFetchFavicons',
  'gateway.controlUi.communityInvite',
  'gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback',
  'gateway.controlUi.dangerouslyDisableDeviceAuth',
  'gateway.controlUi.embedSandbox',
  'gateway.controlUi.environment',
  'gateway.controlUi.experimental',
  'gateway.controlUi.github',
  'gateway.controlUi.root',
  'gateway.controlUi.sessionObserver',
  'gateway.nodes.allowSkills',
  'gateway.nodes.browser',
  'gateway.nodes.pairing.sshVerify',
  'gateway.nodes.pluginTools',
  'gateway.portals',
  'gateway.push',
  'gateway.tailscale.preserveFunnel',
  'gateway.terminal'
])

/** Keys of the reference that narrow access and that this gateway cannot enforce: ignoring one would widen access. */
export const REFUSED: ReadonlySet<string> = new Set(['gateway.roles'])
