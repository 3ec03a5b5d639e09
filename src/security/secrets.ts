import type { Facts } from './facts.ts'
import { type Finding, hostFix, type Severity, unsetFix } from './finding.ts'
import { isExposed } from './reach.ts'
import type { SecretFact } from './secret-facts.ts'
import { GUESSABLE_BITS, MIN_BITS, MIN_CHARS } from './strength.ts'

/** The command that gives the gateway a fresh shared secret. */
export function secretFix(mode: 'token' | 'password') {
  if (mode === 'token') return hostFix('openclaw doctor --generate-gateway-token')
  return hostFix('openclaw config set gateway.auth.password "$(openssl rand -base64 24)"')
}

/** The gateway's shared secret: how well it resists guessing, and which of two places counts. */
export function sharedSecretFindings(facts: Facts): Finding[] {
  const { gateway, secrets, config } = facts
  const mode = gateway?.auth.mode
  // `trusted-proxy` takes the password beside the proxy's word.
  const name = mode === 'trusted-proxy' ? 'password' : mode
  if (name !== 'token' && name !== 'password') return []
  const fact = secrets[name]
  if (fact === undefined) return []
  const found = weak(name, fact, isExposed(facts))
  const written = name === 'token' ? config.written.authToken : config.written.authPassword
  if (fact.kind === 'environment' && written) {
    found.push({
      checkId: 'config.env_override',
      severity: 'info',
      title: `The environment decides the ${name}, not the file`,
      detail: `${fact.from} is set, so gateway.auth.${name} is not used: changing it in the file closes nothing.`,
      remediation: `Remove one of the two. A change of the ${name} has to be made in ${fact.from}.`,
      fix: unsetFix(`gateway.auth.${name}`)
    })
  }
  return found
}

/** Secrets that stand in the configuration file, where a reference would do. */
export function storedSecretFindings({ config }: Facts): Finding[] {
  const found: Finding[] = []
  if (config.plainSecrets.includes('gateway.auth.password')) {
    found.push({
      checkId: 'config.secrets.gateway_password_in_config',
      severity: 'warn',
      title: 'The password stands in the configuration file',
      detail:
        'gateway.auth.password is text: every copy and backup of the file holds a password that people tend to use elsewhere too.',
      remediation:
        'Set OPENCLAW_GATEWAY_PASSWORD for the gateway process and remove the key, or make the key a SecretRef to a file of mode 0600.'
    })
  }
  // The gateway's own random token is left out: it opens this gateway alone, and one command replaces it.
  const others = config.plainSecrets.filter((key) => key !== 'gateway.auth.token' && key !== 'gateway.auth.password')
  if (others.length > 0) {
    const more = others.length > 8 ? ` and ${others.length - 8} more` : ''
    found.push({
      checkId: 'config.secrets.plaintext',
      severity: 'info',
      title: 'Secrets stand in the configuration file as text',
      detail: `${others.slice(0, 8).join(', ')}${more}: every copy and backup of the file holds them.`,
      remediation: 'Make each a SecretRef to the environment, to a file of mode 0600, or to a password manager.'
    })
  }
  return found
}

function weak(name: 'token' | 'password', fact: SecretFact, exposed: boolean): Finding[] {
  const { from, kind, strength, unresolved } = fact
  if (unresolved !== undefined) {
    return [
      {
        checkId: 'gateway.secret_unresolved',
        severity: 'warn',
        title: `The reference to the ${name} does not resolve`,
        detail: `${unresolved}. A gateway does not start with it, and no other source is tried.`,
        remediation: 'Make what the reference names available to the gateway, or change the reference.'
      }
    ]
  }
  if (strength === undefined) return []
  const { chars, bits, placeholder } = strength
  const change = kind === 'text' ? { fix: secretFix(name) } : {}
  const remediation =
    kind === 'text'
      ? `Replace it by a random one.`
      : `Replace it where it is kept: ${from}. "openssl rand -hex 32" makes one.`
  if (placeholder) {
    return [
      {
        checkId: `gateway.${name}_placeholder_value`,
        severity: 'critical',
        title: `The ${name} is a placeholder`,
        detail: `${from} is blank or a text that examples use. Everybody knows it.`,
        remediation,
        ...change
      }
    ]
  }
  if (chars >= MIN_CHARS && bits >= MIN_BITS) return []
  const severity: Severity = exposed && bits < GUESSABLE_BITS ? 'critical' : 'warn'
  const short = chars < MIN_CHARS
  const guess = `about ${bits} bits to guess`
  return [
    {
      checkId: short ? `gateway.${name}_too_short` : `gateway.${name}_weak`,
      severity,
      title: short ? `The ${name} is short` : `The ${name} is easy to guess`,
      detail: short
        ? `${from} has ${chars} characters, ${guess}; ${MIN_CHARS} random ones are out of reach.`
        : `${from} has ${chars} characters, but few different ones or common words: ${guess}.`,
      remediation,
      ...change
    }
  ]
}
