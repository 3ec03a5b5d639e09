import type { Facts } from './facts.ts'
import { type Finding, quoteAll, unsetFix } from './finding.ts'

/** What identities of a proxy or a tailnet are granted. */
export function identityFindings({ gateway }: Facts): Finding[] {
  const granted = Object.entries(gateway?.auth.identityScopes ?? {})
  const found: Finding[] = []
  const admins = granted.filter(([, scopes]) => scopes.includes('operator.admin')).map(([identity]) => identity)
  if (admins.length > 0) {
    found.push({
      checkId: 'gateway.identity_scopes_admin',
      severity: 'info',
      title: 'Identities are administrators without pairing',
      detail: `gateway.auth.identityScopes grants operator.admin to ${quoteAll(admins)}: whoever signs in elsewhere under such a name controls this gateway.`,
      remediation: 'Keep it to accounts that are protected by a second factor.'
    })
  }
  for (const [identity] of granted.filter(([name]) => looksWrong(name))) {
    found.push({
      checkId: 'gateway.identity_scopes_key',
      severity: 'warn',
      title: 'An identity in the configuration looks like a pattern or a slip',
      detail: `gateway.auth.identityScopes has the key ${quoteAll([identity])}. Identities are compared whole; there are no patterns.`,
      remediation: 'Write each login in full, as the proxy or the tailnet names it: "user@example.com".',
      fix: unsetFix(`gateway.auth.identityScopes[${JSON.stringify(identity)}]`)
    })
  }
  return found
}

function looksWrong(identity: string): boolean {
  return /[*?\s,;]|^@|@$|@.*@|:\/\/|^(?:all|any|anyone|everyone|default|undefined|null)?$/i.test(identity)
}
