import { type GatewayError, refusalDetails } from '../../src/client/core.ts'

/** A refusal as a person reads it: what happened, and what to run where. */
export interface Refusal {
  title: string
  text: string
  fix?: { command: string; where: string }
}

const onHost = 'gateway host'
const freshLink = { command: 'openclaw dashboard', where: onHost }

const words: Record<string, Refusal> = {
  AUTH_TOKEN_MISMATCH: {
    title: 'That token is not right',
    text: 'Paste the token again, or open a fresh link made on the gateway host.',
    fix: { command: 'openclaw gateway auth-token --show', where: onHost }
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
    text: `The gateway does not accept pages served as ${window.location.origin}. Open it by another address, or allow this one.`,
    fix: {
      command: `openclaw config set gateway.controlUi.allowedOrigins '["${window.location.origin}"]'`,
      where: onHost
    }
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

/** Puts an error into words. Where this page knows the way back in, it says so; else the gateway's own fix stands. */
export function explain(error: GatewayError): Refusal {
  const { code, fix } = refusalDetails(error)
  const known = code === undefined ? undefined : words[code]
  const best = known?.fix ?? fix
  return {
    title: known?.title ?? 'The gateway refused the connection',
    text: known?.text ?? sentence(error.message),
    ...(best ? { fix: best } : {})
  }
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(first) ? first : `${first}.`
}
