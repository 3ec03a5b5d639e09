import { certificateText } from '../client/certificate.ts'
import { type Connection, nobodyListens } from '../client/connect.ts'
import { ClientError } from '../client/errors.ts'
import { type GatewayError, isAnswer, refusalDetails } from '../client/gateway-error.ts'
import type { Endpoint } from '../client/target.ts'

/** One thing that is so, is not so, or cannot be told from here, and how that is known. */
export interface Fact {
  state: 'yes' | 'no' | 'unknown'
  evidence: string
}

/** What is known of a gateway, each part by itself: one that is wrong says nothing of the others. */
export interface Facts {
  /** A gateway process runs. */
  process: Fact
  /** Something accepts connections there. */
  port: Fact
  /** The way there is encrypted, and the certificate accepted. */
  tls: Fact
  /** The credential was accepted. */
  auth: Fact
  /** The credential is good for something. */
  scope: Fact
  /** A read call was answered. */
  rpc: Fact
}

/** What a connection shows; `rpc` is known once a call was made. */
export function factsOf({ hello, endpoint, tls }: Connection, credential: string, connectMs: number): Facts {
  const { method, role, scopes } = hello.auth
  return {
    process: yes(`version ${hello.server.version} answers`),
    port: yes(`connected in ${Math.round(connectMs)}ms`),
    tls: tls === undefined ? plaintext(endpoint) : yes(`${certificateText(tls.certificate)}; trusted by ${tls.by}`),
    auth: yes(`${method} (${credential})`),
    scope: scopes.length > 0 ? yes(scopes.join(', ')) : no(`none as ${role}`),
    rpc: unknown('not asked')
  }
}

/** What a connection that did not come about shows. */
export function factsOfFailure(error: GatewayError, endpoint: Endpoint): Facts {
  const { code, requestId } = refusalDetails(error)
  const never = unknown('never asked')
  const facts: Facts = {
    process: unknown('it is not known from here'),
    port: unknown(error.message),
    tls: mayEncrypt(endpoint) ? never : plaintext(endpoint),
    auth: never,
    scope: never,
    rpc: never
  }
  if (nobodyListens(error)) return { ...facts, port: no(error.message) }
  if (error.cause instanceof ClientError) {
    const { code: own, message } = error.cause
    if (own.startsWith('SSH_')) return own === 'SSH_GATEWAY_DOWN' ? { ...facts, port: no(message) } : facts
    const there = { ...facts, port: yes('it accepts connections') }
    if (own.startsWith('TLS_')) return { ...there, tls: no(message) }
    return own === 'EDGE_LOGIN_REQUIRED' ? { ...there, tls: encrypted(facts), auth: no(message) } : there
  }
  if (!isAnswer(error)) return facts
  const reached: Facts = {
    ...facts,
    process: yes('it answers'),
    port: yes('it accepts connections'),
    tls: encrypted(facts)
  }
  if (code === 'PAIRING_REQUIRED') {
    const request = requestId === undefined ? '' : ` (request ${requestId})`
    return { ...reached, auth: yes('the credential is right'), scope: no(`${error.message}${request}`) }
  }
  // One that is starting or full has looked at no credential.
  if (error.code === 'UNAVAILABLE') return { ...reached, auth: unknown(error.message) }
  return { ...reached, auth: no(error.message) }
}

/** What is known of a gateway that was not tried. */
export function factsOfNothing(why: string): Facts {
  const nothing = unknown(`nothing was tried (${why})`)
  return { process: nothing, port: nothing, tls: nothing, auth: nothing, scope: nothing, rpc: nothing }
}

function encrypted({ tls }: Facts): Fact {
  return tls.state === 'unknown' ? yes('its certificate was accepted') : tls
}

function mayEncrypt(endpoint: Endpoint): boolean {
  return endpoint.kind === 'url' && (endpoint.url.protocol === 'wss:' || endpoint.tunnel !== undefined)
}

function plaintext(endpoint: Endpoint): Fact {
  if (endpoint.kind === 'url' && endpoint.tunnel !== undefined) return yes('ssh encrypts the way there')
  return no(endpoint.kind === 'socket' ? 'a Unix socket of this host' : `plaintext to ${endpoint.url.hostname}`)
}

/** A fact that holds. */
export function yes(evidence: string): Fact {
  return { state: 'yes', evidence }
}

/** A fact that does not hold. */
export function no(evidence: string): Fact {
  return { state: 'no', evidence }
}

function unknown(evidence: string): Fact {
  return { state: 'unknown', evidence }
}
