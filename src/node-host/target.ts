import { isIP } from 'node:net'
import type { Destination } from '../client/credentials.ts'
import { ClientError } from '../client/errors.ts'
import { type HandPin, pinByHand } from '../client/gateway-tls.ts'
import { KnownGateways } from '../client/known-gateways.ts'
import { resolveTargets } from '../client/target.ts'
import { checkGatewayUrl, isLoopbackUrl } from '../client/url-policy.ts'
import { type Way, wayTo } from '../client/way.ts'
import { DEFAULT_PORT } from '../config/defaults.ts'
import { loadConfig } from '../config/load.ts'
import type { Env } from '../config/paths.ts'
import type { Config, Paths } from '../config/types.ts'
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
  /** Decides whose word its certificate is taken on, and which headers go there: a host named by hand is any host. */
  place: Destination
  /** The only certificate that is accepted, before all configured ones. */
  pin: HandPin | undefined
}

const HANDSHAKE_TIMEOUT_MS = 15_000
// A network without a way says nothing, and a system asks it ever less often: this is soon after the third time.
const CONNECT_TIMEOUT_MS = 4_000

/** Finds the gateway (R33). */
export function nodeTarget(flags: GatewayFlags, config: Config, env: Env, paired?: PairedGateway): NodeTarget {
  const { host, port, contextPath, tls, tlsFingerprint } = flags
  const named = [host, port, contextPath, tls].some((flag) => flag !== undefined)
  if (!named && paired !== undefined) return pairedTarget(paired, flags)
  const target = named ? byFlags(flags, config) : byConfiguration(config, env)
  if (tlsFingerprint === undefined) return { ...target, pin: undefined }
  if (target.url.protocol === 'wss:') return { ...target, pin: pinByHand(tlsFingerprint) }
  throw new ClientError('TARGET_INVALID', `--tls-fingerprint is for TLS, and ${target.url.origin} is plaintext`, {
    fix: 'pass --tls beside it'
  })
}

/** Settles the way to the gateway (R34), as every client does; the configuration is read anew, so that what is mended counts at once. */
export async function nodeWay(
  target: NodeTarget,
  { env, paths, onWarning }: { env: Env; paths: Paths; onWarning(text: string): void }
): Promise<Way> {
  const { url, place, pin } = target
  const config = await loadConfig({ env, paths, client: true })
  refuseReplaced(target, config)
  return wayTo(
    { kind: 'url', url, source: 'config gateway.remote.url', destination: place },
    {
      env,
      config,
      known: new KnownGateways(paths.stateDir),
      pin,
      timeoutMs: HANDSHAKE_TIMEOUT_MS,
      connectMs: CONNECT_TIMEOUT_MS,
      onWarning
    }
  )
}

/** Refuses the gateway that the configuration named when this node started, and names no longer: what it holds now is for another. */
export function refuseReplaced({ url, place }: NodeTarget, { gateway }: Config): void {
  if (place !== 'remote') return
  const named = gateway.remote.url
  if (named !== undefined && checkGatewayUrl(named).href === url.href) return
  throw new ClientError('TARGET_CHANGED', `gateway.remote.url does not name ${url.origin} any more`, {
    fix: 'openclaw node restart'
  })
}

/** The gateway of a setup code. What this machine keeps for another gateway does not go there. */
export function pairedTarget({ url, fingerprint }: PairedGateway, { tlsFingerprint }: GatewayFlags = {}): NodeTarget {
  const ofCode = fingerprint && {
    fingerprint,
    source: 'the setup code',
    fix: 'pair it again: openclaw node run --pair CODE'
  }
  const pin = tlsFingerprint === undefined ? ofCode || undefined : pinByHand(tlsFingerprint)
  return { url: checkGatewayUrl(url), destination: 'explicit', place: 'explicit', pin }
}

// A host that is named by hand gets the credentials of this machine's configuration all the same: node commands take
// none, so that none shows in a process list or lands in a service file.
function byFlags(flags: GatewayFlags, { gateway }: Config): Omit<NodeTarget, 'pin'> {
  const { host = '127.0.0.1', contextPath = '', tlsFingerprint } = flags
  const authority = isIP(host) === 6 ? `[${host}]` : host
  const path = contextPath.replace(/^\/*/, '/')
  const own = isLoopbackUrl(checkGatewayUrl(`wss://${authority}`)) && gateway.mode !== 'remote'
  const tls = flags.tls ?? (tlsFingerprint !== undefined || (own && gateway.tls.enabled))
  const port = flags.port ?? (own ? gateway.port : DEFAULT_PORT)
  const url = checkGatewayUrl(`${tls ? 'wss' : 'ws'}://${authority}:${port}${path}`)
  return { url, destination: gateway.mode === 'remote' ? 'remote' : 'local', place: own ? 'local' : 'explicit' }
}

function byConfiguration({ gateway, paths }: Config, env: Env): Omit<NodeTarget, 'pin'> {
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
  const { url, destination } = endpoint
  return { url, destination, place: destination }
}
