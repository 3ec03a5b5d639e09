import type { AuthFailure } from '../auth/authenticate.ts'
import type { Ingress } from '../auth/ingress.ts'
import type { OriginVerdict } from '../auth/origin.ts'
import { authRefusal, type NextStep, spentCode } from '../protocol/details.ts'
import { type Fix, invalidRequest, RpcError } from '../protocol/errors.ts'
import type { ConnectParams } from '../protocol/frames.ts'

interface Words {
  code: string
  next: NextStep
  message(hint: string): string
}

const words: Record<
  Exclude<AuthFailure['reason'], 'rate_limited' | 'bootstrap_token_invalid' | 'unauthorized'>,
  Words
> = {
  token_missing: {
    code: 'AUTH_TOKEN_MISSING',
    next: 'update_auth_configuration',
    message: (hint) => `unauthorized: gateway token missing (${hint})`
  },
  token_mismatch: {
    code: 'AUTH_TOKEN_MISMATCH',
    next: 'update_auth_credentials',
    message: (hint) => `unauthorized: gateway token mismatch (${hint})`
  },
  password_missing: {
    code: 'AUTH_PASSWORD_MISSING',
    next: 'update_auth_configuration',
    message: (hint) => `unauthorized: gateway password missing (${hint})`
  },
  password_mismatch: {
    code: 'AUTH_PASSWORD_MISMATCH',
    next: 'update_auth_credentials',
    message: (hint) => `unauthorized: gateway password mismatch (${hint})`
  },
  token_expired: {
    code: 'AUTH_TOKEN_MISMATCH',
    next: 'update_auth_credentials',
    message: () => 'unauthorized: this token has expired (make a new one: openclaw tokens create)'
  },
  token_revoked: {
    code: 'AUTH_TOKEN_MISMATCH',
    next: 'update_auth_credentials',
    message: () => 'unauthorized: this token was revoked (make a new one: openclaw tokens create)'
  },
  device_token_mismatch: {
    code: 'AUTH_DEVICE_TOKEN_MISMATCH',
    next: 'update_auth_credentials',
    message: () => 'unauthorized: device token mismatch (rotate/reissue device token)'
  }
}

/** The refusal of a credential, with the hint that fits the client and where it runs. */
export function refusedCredential(failure: AuthFailure, params: ConnectParams, ingress: Ingress): RpcError {
  if (failure.reason === 'rate_limited') {
    return authRefusal({
      message: 'unauthorized: too many failed authentication attempts (retry later)',
      code: 'AUTH_RATE_LIMITED',
      reason: 'rate_limited',
      next: 'wait_then_retry',
      retryAfterMs: Math.ceil(failure.retryAfterMs ?? 0),
      cause: failure,
      fix: { command: 'openclaw dashboard', where: 'gateway host' }
    })
  }
  if (failure.reason === 'bootstrap_token_invalid') return spentCode(params, failure.detail)
  if (failure.reason === 'unauthorized') return unbelieved(failure)
  const { code, next, message } = words[failure.reason]
  const retry = failure.reason === 'token_mismatch' && params.device !== undefined && Boolean(params.auth?.token)
  return authRefusal({
    message: message(hint(failure.reason, params, ingress)),
    code,
    reason: failure.reason,
    next: retry ? 'retry_with_device_token' : next,
    canRetryWithDeviceToken: retry,
    cause: failure,
    fix: fixes[failure.reason] ?? { command: 'openclaw gateway auth-token --show', where: 'gateway host' }
  })
}

const fixes: Partial<Record<AuthFailure['reason'], Fix>> = {
  password_missing: { command: 'openclaw config get gateway.auth.mode', where: 'gateway host' },
  password_mismatch: { command: 'openclaw config get gateway.auth.mode', where: 'gateway host' },
  token_expired: { command: 'openclaw tokens list', where: 'gateway host' },
  token_revoked: { command: 'openclaw tokens list', where: 'gateway host' }
}

/** The refusal of a caller whom no trusted front end vouched for; the reason is the protocol's word for why. */
function unbelieved({ detail = 'unauthorized' }: AuthFailure): RpcError {
  const header = /^trusted_proxy_missing_header_(.+)$/.exec(detail)?.[1]
  return authRefusal({
    message: 'unauthorized',
    code: header === undefined ? 'AUTH_UNAUTHORIZED' : 'AUTH_IDENTITY_HEADER_REQUIRED',
    reason: detail,
    next: 'review_auth_configuration',
    fix: { command: 'openclaw config get gateway.auth.trustedProxy', where: 'gateway host' }
  })
}

function hint(reason: string, { client }: ConnectParams, ingress: Ingress): string {
  const secret = reason.startsWith('password') ? 'password' : 'token'
  if (client.mode === 'webchat' || client.id === 'openclaw-control-ui') {
    if (secret === 'password') return 'enter the password in Control UI settings'
    return reason.endsWith('missing')
      ? 'paste the token in Control UI settings, or open a link made by openclaw dashboard on the gateway host'
      : 'open the dashboard URL and paste the token in Control UI settings'
  }
  if (!ingress.local) return `set gateway.remote.${secret} to match gateway.auth.${secret}`
  if (client.id === 'cli' && client.mode === 'cli') {
    return secret === 'token'
      ? "use this gateway's gateway.auth.token or pair the device"
      : "use this gateway's gateway.auth.password"
  }
  return `provide gateway auth ${secret}`
}

/** The refusal of a client that must bring a device identity. */
export function deviceRequired(params: ConnectParams): RpcError {
  if (isOperatorUi(params)) {
    return invalidRequest('control ui requires device identity (use HTTPS or localhost secure context)', {
      code: 'CONTROL_UI_DEVICE_IDENTITY_REQUIRED',
      fix: { command: 'openclaw dashboard', where: 'gateway host' } satisfies Fix
    })
  }
  const fix: Fix = { command: 'openclaw gateway auth-token --show', where: 'gateway host' }
  return new RpcError('NOT_PAIRED', 'device identity required', { details: { code: 'DEVICE_IDENTITY_REQUIRED', fix } })
}

/** Reports whether a client is one of the operator UIs, which always bring a device. */
export function isOperatorUi({ client }: ConnectParams): boolean {
  return client.id === 'openclaw-control-ui' || client.id === 'openclaw-tui'
}

/** The refusal of a page's Origin. */
export function refusedOrigin(verdict: OriginVerdict & { ok: false }): RpcError {
  return invalidRequest(
    'origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)',
    {
      code: 'CONTROL_UI_ORIGIN_NOT_ALLOWED',
      reason: verdict.reason,
      fix: {
        command: 'openclaw config set gateway.controlUi.allowedOrigins \'["https://your.host"]\'',
        where: 'gateway host'
      }
    }
  )
}
