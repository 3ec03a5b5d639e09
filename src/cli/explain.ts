import { nobodyListens } from '../client/connect.ts'
import { ConnectFailure } from '../client/connect-failure.ts'
import type { CredentialSource, Credentials, Destination } from '../client/credentials.ts'
import { ClientError } from '../client/errors.ts'
import { GatewayError, isAnswer, refusalDetails } from '../client/gateway-error.ts'
import { describeEndpoint, type Endpoint } from '../client/target.ts'
import { isLoopbackUrl } from '../client/url-policy.ts'
import { CliError } from './io.ts'

/** Turns what the connection or the gateway answered into what a person can act on; other errors pass through. */
export function explain(error: unknown): unknown {
  if (error instanceof ConnectFailure) return explainConnect(error)
  if (!(error instanceof GatewayError)) return error
  const fix = error.code === 'TIMEOUT' ? 'pass a longer --timeout, in milliseconds' : fixOf(error)
  return new CliError(error.code, error.message, {
    fix,
    cause: error,
    type: 'gateway_request_error',
    told: toldBy(error)
  })
}

// What repairs it stands in its own place.
function toldBy(error: GatewayError): Record<string, unknown> {
  const { retryable, retryAfterMs } = error
  const { fix: _fix, ...details } = refusalDetails(error)
  return {
    ...(Object.keys(details).length === 0 ? {} : { details }),
    retryable: retryable === true,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs })
  }
}

function explainConnect(failure: ConnectFailure): CliError {
  const { reason, endpoint } = failure
  const where = describeEndpoint(endpoint)
  const extra = { gateway: { url: where, urlSource: endpoint.source } }
  const transport = { cause: failure, type: 'gateway_transport_error', extra }
  if (reason.cause instanceof ClientError) {
    const { code, message, fix } = reason.cause
    return new CliError(code, message, { ...transport, fix })
  }
  if (nobodyListens(reason)) return unreachable(failure, transport)
  if (reason.code === 'TIMEOUT') {
    return new CliError('GATEWAY_TIMEOUT', `the gateway at ${where} did not answer in time`, {
      ...transport,
      fix: 'pass a longer --timeout, in milliseconds'
    })
  }
  if (!isAnswer(reason)) {
    return new CliError('GATEWAY_UNREACHABLE', `no connection to the gateway at ${where}: ${reason.message}`, {
      ...transport,
      fix:
        endpoint.kind === 'url' && endpoint.tunnel?.opens === false
          ? 'openclaw tunnel up'
          : `check that a gateway listens there: curl ${where.replace(/^ws/, 'http')}/healthz`
    })
  }
  if (reason.code === 'UNAVAILABLE') {
    return new CliError('UNAVAILABLE', `the gateway at ${where} takes nobody at the moment: ${reason.message}`, {
      ...transport,
      fix: fixOf(reason) ?? 'try again in a few seconds'
    })
  }
  const code = refusalDetails(reason).code ?? reason.code
  // The wire's word for it is of no use to whoever has simply set nothing yet.
  const why = code === 'DEVICE_IDENTITY_REQUIRED' ? 'missing credentials' : reason.message
  const sent = describeSent(failure.credentials)
  return new CliError(code, `the gateway at ${where} refused the connection: ${why}${sent}`, {
    fix: fixOf(reason, endpoint, failure.credentials),
    cause: failure,
    type: 'gateway_request_error',
    told: toldBy(reason),
    extra
  })
}

function unreachable(failure: ConnectFailure, options: ConstructorParameters<typeof CliError>[2]): CliError {
  const { endpoint } = failure
  const where = describeEndpoint(endpoint)
  if (endpoint.kind === 'socket' || endpoint.destination === 'local') {
    const places = [...failure.tried.map((one) => describeEndpoint(one.endpoint)), where]
    const message = `the gateway is not running on this host: nothing answers at ${places.join(' or ')}`
    const fix = 'openclaw gateway run, or where its service is installed: openclaw gateway start'
    return new CliError('GATEWAY_UNREACHABLE', message, { ...options, fix })
  }
  const message = `no gateway answers at ${where} (from ${endpoint.source})`
  const fix = isLoopbackUrl(endpoint.url)
    ? `if this is an SSH tunnel, open it: ssh -N -L ${endpoint.url.port || 80}:127.0.0.1:18789 user@gateway-host`
    : `check the address, and that the gateway runs: curl ${where.replace(/^ws/, 'http')}/healthz`
  return new CliError('GATEWAY_UNREACHABLE', message, { ...options, fix })
}

function describeSent(credentials: Credentials | undefined): string {
  const sent = [credentials?.token, credentials?.password, credentials?.deviceToken]
    .filter((credential) => credential !== undefined)
    .map((credential) => (credential.source === 'explicit' ? 'the one given' : credential.source))
  if (sent.length > 0) return ` (sent: ${sent.join(', ')})`
  const tried = credentials?.chain.map(({ source }) => source) ?? []
  return tried.length === 0 ? '' : ` (nothing was sent; not set: ${tried.join(', ')})`
}

function fixOf(error: GatewayError, endpoint?: Endpoint, credentials?: Credentials): string | undefined {
  const details = refusalDetails(error)
  switch (details.code) {
    case 'AUTH_TOKEN_MISSING':
    case 'AUTH_TOKEN_MISMATCH':
    case 'DEVICE_IDENTITY_REQUIRED':
      // The gateway knows where its token is; where it has to go is known here.
      if (endpoint !== undefined) return tokenFix(endpoint, credentials)
  }
  if (details.fix !== undefined) {
    return `${details.fix.command}${details.fix.where === 'gateway host' ? ' (on the gateway host)' : ''}`
  }
  switch (details.code) {
    case 'AUTH_PASSWORD_MISSING':
    case 'AUTH_PASSWORD_MISMATCH':
      return 'pass --password, or set OPENCLAW_GATEWAY_PASSWORD'
    case 'AUTH_RATE_LIMITED':
      return `wait${error.retryAfterMs === undefined ? '' : ` ${Math.ceil(error.retryAfterMs / 1000)} s`}; too many wrong attempts came from this address`
    case 'AUTH_BOOTSTRAP_TOKEN_INVALID':
      return 'make another setup code: openclaw qr (on the gateway host)'
    case 'PAIRING_REQUIRED':
      return `openclaw devices approve ${details.requestId ?? ''} (on the gateway host)`
    case 'MISSING_SCOPE':
      return 'use a credential that has this scope, or run the command on the gateway host'
    case 'PROTOCOL_MISMATCH':
      return 'update openclaw-gateway on the older side'
    default:
      return undefined
  }
}

function tokenFix(endpoint: Endpoint, credentials: Credentials | undefined): string {
  const place = credentials?.token?.source ?? placeFor(endpoint.kind === 'socket' ? 'local' : endpoint.destination)
  const then =
    place === 'explicit'
      ? 'pass it with --token'
      : place.startsWith('OPENCLAW_')
        ? `set ${place}`
        : `openclaw config set ${place} "<token>"`
  return `read the token with "openclaw gateway auth-token --show" on the gateway host, then ${then}`
}

function placeFor(destination: Destination): CredentialSource {
  if (destination === 'explicit') return 'explicit'
  return destination === 'remote' ? 'gateway.remote.token' : 'OPENCLAW_GATEWAY_TOKEN'
}
