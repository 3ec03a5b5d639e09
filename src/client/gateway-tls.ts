import type { GatewayConfig } from '../config/types.ts'
import type { Certificate } from './certificate.ts'
import { ClientError } from './errors.ts'
import type { KnownGateways } from './known-gateways.ts'
import type { TlsOptions } from './open-tls.ts'
import type { Endpoint } from './target.ts'
import { parsePins } from './tls-pin.ts'
import type { Trust, TrustFix } from './tls-trust.ts'

/** A certificate that was accepted, and on whose word. */
export interface AcceptedTls {
  certificate: Certificate
  /** Who vouches for it, as a person reads it. */
  by: string
}

/** A pin that was given by hand, or came with a setup code, and what to do when it does not fit. */
export interface HandPin {
  fingerprint: string
  /** Where it comes from, as a person reads it. */
  source: string
  fix: string
}

/** What the trust in a gateway's certificate is made of. */
export interface TlsInput {
  gateway: GatewayConfig | undefined
  known: KnownGateways
  /** The pin that this one connection goes by, before all configured ones. */
  pin: HandPin | undefined
  /** For the handshake, in milliseconds. */
  timeoutMs: number
  onWarning?: ((text: string) => void) | undefined
}

type UrlEndpoint = Endpoint & { kind: 'url' }

/** The options of one TLS connection, and what came of it once it is open. */
export interface GatewayTls {
  options: TlsOptions
  accepted(): AcceptedTls | undefined
  /** Keeps the certificate when it was trusted on first use, or accepted in place of the one that was (R34). */
  remember(): Promise<void>
}

/** How TLS is made with one gateway; undefined for plaintext. */
export async function tlsFor(endpoint: UrlEndpoint, input: TlsInput): Promise<GatewayTls | undefined> {
  const { url } = endpoint
  if (url.protocol === 'wss:') return gatewayTls(endpoint, input)
  if (input.pin === undefined) return undefined
  const { source } = input.pin
  throw new ClientError('TLS_PIN_INVALID', `${source} is for wss://, and ${url.origin} is plaintext`, {
    fix: `leave ${source} out, or use wss:// in the URL`
  })
}

async function gatewayTls(endpoint: UrlEndpoint, input: TlsInput): Promise<GatewayTls> {
  const { known, timeoutMs } = input
  const { origin } = endpoint.url
  const own = endpoint.destination === 'local'
  const before = own ? undefined : (await known.find(origin))?.certificate
  const trust = await trustIn(endpoint, input, before)
  let accepted: AcceptedTls | undefined
  let bySystem = false
  const onAccepted = (certificate: Certificate, trusted: boolean): void => {
    bySystem = trusted
    accepted = { certificate, by: trust.by === 'pin' ? trust.source : 'this system' }
  }
  return {
    options: { trust, timeoutMs, onAccepted },
    accepted: () => accepted,
    async remember() {
      // What only a pin vouches for needs the pin each time; the certificate of this host's own gateway is at hand.
      if (own || accepted === undefined || !bySystem || before?.sha256 === accepted.certificate.sha256) return
      const certificate = { ...accepted.certificate, firstSeenMs: Date.now() }
      await known.change(origin, (gateway) => ({ ...gateway, certificate }))
    }
  }
}

async function trustIn(
  endpoint: UrlEndpoint,
  { gateway, pin: given, onWarning }: TlsInput,
  known: Extract<Trust, { by: 'system' }>['known']
): Promise<Trust> {
  if (given !== undefined) {
    const { fingerprint, source, fix } = given
    return { by: 'pin', pins: parsePins(fingerprint, source), source, fix }
  }
  const local = endpoint.destination === 'local'
  if (local && gateway !== undefined) {
    // Whoever can read the certificate of this host's gateway needs nobody to vouch for it.
    const { certificatePin } = await import('./certificate-pin.ts')
    const { certPath } = gateway.tls
    const pin = await certificatePin(certPath)
    if (pin !== undefined) {
      const fix = `compare "openclaw status" with ${certPath}, or restart the gateway`
      return { by: 'pin', pins: parsePins(pin, certPath), source: certPath, fix }
    }
    onWarning?.(`local_tls_runtime_unavailable: ${certPath} holds no certificate that can be read`)
  }
  const pinned = configuredPin(endpoint, gateway)
  if (pinned !== undefined) {
    const source = 'gateway.remote.tlsFingerprint'
    return { by: 'pin', pins: parsePins(pinned, source), source, fix: `${COMPARE}, then: ${set('sha256:…')}` }
  }
  return { by: 'system', known, fix: (seen) => fixes(endpoint, seen) }
}

const COMPARE = 'compare it with the fingerprint that "openclaw status" prints on the gateway host'

/** The pin of `--tls-fingerprint`. */
export function pinByHand(fingerprint: string): HandPin {
  return { fingerprint, source: '--tls-fingerprint', fix: `${COMPARE}, and pass that one` }
}

// The pin is the gateway's, however its URL was named: one given by hand is not a way around it.
function configuredPin({ url, destination }: UrlEndpoint, gateway: GatewayConfig | undefined): string | undefined {
  if (gateway === undefined) return undefined
  const { url: configured, tlsFingerprint } = gateway.remote
  return destination === 'remote' || (configured !== undefined && URL.parse(configured)?.origin === url.origin)
    ? tlsFingerprint
    : undefined
}

function fixes({ destination }: UrlEndpoint, seen: string): TrustFix {
  const remote = destination === 'remote'
  return {
    untrusted: `${COMPARE}, then: ${remote ? set(seen) : `add --tls-fingerprint ${seen}`}`,
    // Once is enough: this host then remembers the new one.
    changed: `${COMPARE}; if it is the gateway's, accept it: add --tls-fingerprint ${seen} to a command, once`
  }
}

function set(pin: string): string {
  return `openclaw config set gateway.remote.tlsFingerprint ${pin}`
}
