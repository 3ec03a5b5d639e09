import { isIP } from 'node:net'
import { certificatePin } from '../client/certificate-pin.ts'
import type { Destination } from '../client/credentials.ts'
import { ClientError } from '../client/errors.ts'
import { resolveTargets } from '../client/target.ts'
import { checkGatewayUrl, isLoopbackUrl } from '../client/url-policy.ts'
import { DEFAULT_PORT } from '../config/defaults.ts'
import type { Config } from '../config/types.ts'
import type { PairedGateway } from './state.ts'

/** The gateway that the command line names; without a host, port, path and TLS choice it is the configured one. */
export interface GatewayFlags {
  host?: string | undefined
  port?: number | undefined
  contextPath?: string | undefined
  tls?: boolean | undefined
  tlsFingerprint?: string | undefined
}

/** The one gateway that a node host connects to. */
export interface NodeTarget {
  url: URL
  /** Decides which credentials may go there. */
  destination: Destination
  /** The SHA-256 of the only certificate that is accepted; undefined: the system's trust decides. */
  pin: { fingerprint: string; fix: string } | undefined
}

/** Finds the gateway, and how its certificate is known (R33, R34). */
export async function nodeTarget(
  flags: GatewayFlags,
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
  paired?: PairedGateway
): Promise<NodeTarget> {
  const { host, port, contextPath, tls } = flags
  const named = [host, port, contextPath, tls].some((flag) => flag !== undefined)
  if (!named && paired !== undefined) return pairedTarget(paired, flags)
  const { url, destination } = named ? byFlags(flags, config) : byConfiguration(config, env)
  if (url.protocol === 'ws:' && flags.tlsFingerprint !== undefined) {
    throw new ClientError('TARGET_INVALID', `--tls-fingerprint is for TLS, and ${url.origin} is plaintext`, {
      fix: 'pass --tls beside it'
    })
  }
  return { url, destination, pin: url.protocol === 'wss:' ? await pinOf(url, flags, config) : undefined }
}

/** The gateway of a setup code. What this machine keeps for another gateway does not go there. */
export function pairedTarget({ url, fingerprint }: PairedGateway, { tlsFingerprint }: GatewayFlags = {}): NodeTarget {
  const pin = tlsFingerprint ?? fingerprint
  const fix = 'pair it again: openclaw node run --pair CODE'
  return {
    url: checkGatewayUrl(url),
    destination: 'explicit',
    pin: pin === undefined ? undefined : { fingerprint: pin, fix }
  }
}

// A host that is named by hand gets the credentials of this machine's configuration all the same: node commands take
// none, so that none shows in a process list or lands in a service file.
function byFlags(flags: GatewayFlags, { gateway }: Config): { url: URL; destination: Destination } {
  const { host = '127.0.0.1', contextPath = '', tlsFingerprint } = flags
  const authority = isIP(host) === 6 ? `[${host}]` : host
  const path = contextPath.replace(/^\/*/, '/')
  const own = isLoopbackUrl(checkGatewayUrl(`wss://${authority}`)) && gateway.mode !== 'remote'
  const tls = flags.tls ?? (tlsFingerprint !== undefined || (own && gateway.tls.enabled))
  const port = flags.port ?? (own ? gateway.port : DEFAULT_PORT)
  const url = checkGatewayUrl(`${tls ? 'wss' : 'ws'}://${authority}:${port}${path}`)
  return { url, destination: gateway.mode === 'remote' ? 'remote' : 'local' }
}

function byConfiguration({ gateway, paths }: Config, env: Readonly<Record<string, string | undefined>>) {
  const [endpoint] = resolveTargets({
    // The owner's socket is for commands: a node proves itself by its key.
    hasCredential: true,
    envUrl: env.OPENCLAW_GATEWAY_URL,
    mode: gateway.mode,
    remoteUrl: gateway.remote.url,
    localPort: gateway.port,
    localTls: gateway.tls.enabled,
    localSocket: paths.localSocket
  })
  if (endpoint.kind === 'socket') throw new Error('unreachable: a socket is never first when a credential is given')
  return endpoint
}

async function pinOf(url: URL, { tlsFingerprint }: GatewayFlags, { gateway }: Config): Promise<NodeTarget['pin']> {
  if (tlsFingerprint !== undefined) {
    const fix =
      'compare it with "openclaw status" on the gateway host, then: openclaw node run --tls-fingerprint sha256:…'
    return { fingerprint: tlsFingerprint, fix }
  }
  if (gateway.mode === 'remote') {
    const { tlsFingerprint: fingerprint, url: remote } = gateway.remote
    if (fingerprint === undefined || remote === undefined || checkGatewayUrl(remote).href !== url.href) return undefined
    return { fingerprint, fix: 'openclaw config set gateway.remote.tlsFingerprint sha256:…' }
  }
  if (!isLoopbackUrl(url)) return undefined
  const { certPath } = gateway.tls
  const fingerprint = await certificatePin(certPath)
  return fingerprint === undefined ? undefined : { fingerprint, fix: `compare "openclaw status" with ${certPath}` }
}
