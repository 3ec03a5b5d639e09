import { type GatewayError, type RefusalDetails, refusalDetails } from '../../src/client/core.ts'
import { sentence } from '../format.ts'
import { isLoopbackName } from '../loopback.ts'
import { proxyRefusal } from './proxy-refusal.ts'

/** A refusal as a person reads it: what happened, what they can do, and what to run where. */
export interface Refusal {
  title: string
  text: string
  /** What the visitor can do, where the fix is for somebody else. */
  advice?: string
  /** What the fix shows or does; it is for whoever runs the gateway. */
  admin?: string
  fix?: { command: string; where: string }
  /** True when nothing that could be typed here would help. */
  final?: boolean
}

/** The details of a refused connection that only this page looks at. */
interface Details extends RefusalDetails {
  authReason?: string
  /** Who waits for approval, where a trusted proxy or Tailscale says so. */
  user?: string
}

const onHost = 'gateway host'
const freshLink = { command: 'openclaw dashboard', where: onHost }

// Whoever was in, and is now told that something is missing, came without typing it.
const noLongerVouched = {
  title: 'The gateway’s settings changed',
  text: 'Who you are is no longer enough: sign in with its token or password, or open a link made on the gateway host.',
  fix: freshLink
}

const words: Record<string, Refusal> = {
  AUTH_TOKEN_MISSING: noLongerVouched,
  AUTH_PASSWORD_MISSING: noLongerVouched,
  AUTH_TOKEN_MISMATCH: {
    title: 'That token is not right',
    text: 'Paste the token again, or open a fresh link made on the gateway host.',
    fix: { command: 'openclaw gateway auth-token --show', where: onHost }
  },
  token_expired: {
    title: 'This token has expired',
    text: 'Its maker gave it an end, and that has come. Sign in with another one, or have a new one made.',
    fix: { command: 'openclaw tokens list', where: onHost }
  },
  token_revoked: {
    title: 'This token was revoked',
    text: 'Somebody who runs this gateway ended it. Sign in with another one, or have a new one made.',
    fix: { command: 'openclaw tokens list', where: onHost }
  },
  AUTH_PASSWORD_MISMATCH: {
    title: 'That password is not right',
    text: 'Check it and try again, or open a fresh link made on the gateway host.',
    fix: freshLink
  },
  AUTH_DEVICE_TOKEN_MISMATCH: {
    title: 'This browser was signed out',
    text: 'Its access was revoked or replaced. Sign in again to continue.',
    fix: freshLink
  },
  AUTH_BOOTSTRAP_TOKEN_INVALID: {
    title: 'This link has been used or has expired',
    text: 'A launch link works once, for ten minutes. Make a new one and open it here.',
    fix: freshLink
  },
  AUTH_SCOPE_MISMATCH: {
    title: 'This browser was approved for less',
    text: 'Its access does not cover what this page needs. Sign in with the shared secret to widen it.',
    fix: freshLink
  },
  CONTROL_UI_ORIGIN_NOT_ALLOWED: {
    title: 'This address is not allowed',
    text: 'The gateway does not accept pages served from here. Open it by another address, or allow this one.'
  },
  DEVICE_AUTH_SIGNATURE_EXPIRED: {
    title: 'The clocks disagree',
    text: 'The clock of this device and that of the gateway are more than two minutes apart. Set them, then try again.'
  },
  PROTOCOL_MISMATCH: {
    title: 'This page is out of date',
    text: 'The gateway speaks another version of the protocol. Reload the page.'
  }
}

/** Reports whether a refusal only says that nothing was sent: the plain sign-in needs no reproach. */
export function isMissingCredential(error: GatewayError): boolean {
  return ['AUTH_TOKEN_MISSING', 'AUTH_PASSWORD_MISSING', 'DEVICE_IDENTITY_REQUIRED'].includes(
    refusalDetails(error).code ?? ''
  )
}

/** Who waits for approval, as far as somebody vouches for it. */
export function waitingUser(error: GatewayError): string | undefined {
  return (refusalDetails(error) as Details).user
}

/** Puts an error into words. Where this page knows the way back in, it says so; else the gateway's own fix stands. */
export function explain(error: GatewayError, page: Pick<URL, 'hostname' | 'origin'> = window.location): Refusal {
  const { code = '', authReason = '', fix } = refusalDetails(error) as Details
  const known = proxyRefusal(authReason, isLoopbackName(page.hostname)) ?? words[authReason] ?? words[code]
  const best = code === 'CONTROL_UI_ORIGIN_NOT_ALLOWED' ? allow(page.origin) : (known?.fix ?? fix)
  return {
    title: 'The gateway refused the connection',
    text: sentence(error.message),
    ...known,
    ...(best ? { fix: best } : {})
  }
}

function allow(origin: string): NonNullable<Refusal['fix']> {
  return { command: `openclaw config set gateway.controlUi.allowedOrigins '["${origin}"]'`, where: onHost }
}
