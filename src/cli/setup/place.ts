import { describeTarget, parseSshTarget, type SshTarget } from '../../client/ssh/route.ts'
import { checkGatewayUrl } from '../../client/url-policy.ts'
import { CliError } from '../io.ts'

/** Where a gateway elsewhere is: a host to log in to, a URL, or whatever a setup code names. */
export type Place = { kind: 'ssh'; target: SshTarget } | { kind: 'direct'; url: URL } | { kind: 'code'; text: string }

const EXAMPLES = 'ssh://user@gateway-host, wss://gateway-host, or ws://HOST:18789 in a private network'

/**
 * Reads where a gateway is, as people write it. Throws before anything is sent: a plaintext URL to a public host, and what ssh
 * could take for an option, get no further (R33).
 */
export function parsePlace(text: string): Place {
  const word = text.trim()
  const [, host] = /^ssh:\/\/([^/]+)\/?$/i.exec(word) ?? []
  if (host !== undefined) return { kind: 'ssh', target: parseSshTarget(host, '--remote ssh://') }
  if (/^wss?:\/\//i.test(word)) return { kind: 'direct', url: checkGatewayUrl(word) }
  if (/^oc-pair:\/\//i.test(word) || /^[\w-]{40,}={0,2}$/.test(word)) return { kind: 'code', text: word }
  const web = /^https?:\/\//i.test(word) ? URL.parse(word) : null
  // Not in its own words: it may be a setup code that was copied badly, a join link, or a secret in the wrong place.
  throw new CliError('USAGE', `this is no address of a gateway; use ${EXAMPLES}`, {
    fix: `openclaw setup --remote ${web === null ? 'ssh://user@gateway-host' : `${web.protocol.replace('http', 'ws')}//${web.host}`}`
  })
}

/** A place as a person writes it. */
export function describePlace(place: Exclude<Place, { kind: 'code' }>): string {
  return place.kind === 'ssh' ? `ssh://${describeTarget(place.target)}` : place.url.href.replace(/\/$/, '')
}
