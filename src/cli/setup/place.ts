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
  const web = /^http(s?):\/\/(.+)$/i.exec(word)
  throw new CliError('USAGE', `"${word.slice(0, 80)}" is no address of a gateway; use ${EXAMPLES}`, {
    fix:
      web === null
        ? 'openclaw setup --remote ssh://user@gateway-host'
        : `openclaw setup --remote ws${web[1]?.toLowerCase()}://${web[2]?.replace(/[/?#].*$/, '')}`
  })
}

/** A place as a person writes it. */
export function describePlace(place: Exclude<Place, { kind: 'code' }>): string {
  return place.kind === 'ssh' ? `ssh://${describeTarget(place.target)}` : place.url.href.replace(/\/$/, '')
}
