import type { Credentials } from './credentials.ts'
import type { GatewayError } from './gateway-error.ts'
import { describeEndpoint, type Endpoint } from './target.ts'

/** Places that were tried before, with what happened there. */
export type Tried = readonly { endpoint: Endpoint; error: GatewayError }[]

/** A connection that did not come about: the last place that was tried, and why it failed there. */
export class ConnectFailure extends Error {
  readonly reason: GatewayError
  readonly endpoint: Endpoint
  readonly credentials: Credentials | undefined
  readonly tried: Tried

  constructor(reason: GatewayError, endpoint: Endpoint, credentials: Credentials | undefined, tried: Tried) {
    super(`${describeEndpoint(endpoint)}: ${reason.message}`, { cause: reason })
    this.name = 'ConnectFailure'
    this.reason = reason
    this.endpoint = endpoint
    this.credentials = credentials
    this.tried = tried
  }
}
