import { DEFAULT_RATE_LIMIT } from '../config/defaults.ts'
import type { Facts } from './facts.ts'
import { type Finding, hostFix, setFix, unsetFix } from './finding.ts'
import { isExposed, reachOf } from './reach.ts'
import { secretFix } from './secrets.ts'

/** Who is asked for a credential, and how often one may be guessed. */
export function authFindings(facts: Facts): Finding[] {
  return [...withoutAuth(facts), ...rateLimit(facts)]
}

function withoutAuth(facts: Facts): Finding[] {
  const { gateway, addresses, secrets, config } = facts
  if (gateway === undefined) return []
  const { mode } = gateway.auth
  const reach = reachOf(gateway, addresses)
  const beyond = reach !== 'loopback' || gateway.tailscale.mode !== 'off'
  const missing = (mode === 'token' || mode === 'password') && secrets[mode] === undefined
  const where =
    reach === 'loopback' ? `gateway.tailscale.mode is "${gateway.tailscale.mode}"` : `gateway.bind is "${gateway.bind}"`
  if (beyond && (mode === 'none' || missing)) {
    const why = mode === 'none' ? 'gateway.auth.mode is "none"' : `gateway.auth.mode is "${mode}" without a ${mode}`
    const home = reach === 'loopback' ? setFix('gateway.tailscale.mode', 'off') : setFix('gateway.bind', 'loopback')
    return [
      {
        checkId: 'gateway.bind_no_auth',
        severity: 'critical',
        title: 'The gateway reaches beyond this host without auth',
        detail: `${where} and ${why}: whoever reaches the port would control the gateway. This build does not start like that.`,
        remediation: 'Set a token, or keep the gateway on this host.',
        fix: mode === 'none' ? home : secretFix(mode)
      }
    ]
  }
  if (mode !== 'none') return []
  const fix = config.written.authToken
    ? setFix('gateway.auth.mode', 'token')
    : hostFix(`openclaw config patch "{ gateway: { auth: { mode: 'token', token: '$(openssl rand -hex 32)' } } }"`)
  return [
    {
      checkId: 'gateway.loopback_no_auth',
      severity: 'critical',
      title: 'Every program and user of this host controls the gateway',
      detail:
        'gateway.auth.mode is "none": the loopback port asks nobody for a credential, and neither would a proxy that forwards to it without saying so.',
      remediation: 'Use token auth; commands on this host need no token even then.',
      fix
    }
  ]
}

const LOOSE = { maxAttempts: 50, windowMs: 10_000, lockoutMs: 30_000 }
const NONE = { maxAttempts: 1_000, windowMs: 1_000, lockoutMs: 1 }

function rateLimit(facts: Facts): Finding[] {
  const limit = facts.gateway?.auth.rateLimit ?? DEFAULT_RATE_LIMIT
  const loose = loosest(limit, LOOSE)
  if (loose === undefined) return []
  const none = loosest(limit, NONE)
  const key = none ?? loose
  return [
    {
      checkId: none === undefined ? 'gateway.auth_rate_limit_loose' : 'gateway.auth_no_rate_limit',
      severity: isExposed(facts) ? 'warn' : 'info',
      title: none === undefined ? 'Failed sign-ins are limited loosely' : 'Failed sign-ins are as good as unlimited',
      detail: `gateway.auth.rateLimit.${key} is ${limit[key]}; the default is ${DEFAULT_RATE_LIMIT[key]}. Somebody may guess faster.`,
      remediation: 'Remove the key: the defaults allow 10 failures a minute, then wait five minutes.',
      fix: unsetFix('gateway.auth.rateLimit')
    }
  ]
}

function loosest(
  limit: { maxAttempts: number; windowMs: number; lockoutMs: number },
  bound: typeof LOOSE
): keyof typeof LOOSE | undefined {
  if (limit.maxAttempts >= bound.maxAttempts) return 'maxAttempts'
  if (limit.lockoutMs < bound.lockoutMs) return 'lockoutMs'
  return limit.windowMs < bound.windowMs ? 'windowMs' : undefined
}
