import type { Config } from '../config/types.ts'
import { ClientError } from './errors.ts'

const KEY = 'gateway.remote.edgeAuth'
const MAX_HEADERS = 16
const MAX_VALUE = 8_192

// What the handshake itself says, and what would make a browser of us.
const OWN =
  /^(host|connection|upgrade|content-length|transfer-encoding|te|trailer|keep-alive|expect|origin|sec-websocket-.*)$/

/**
 * The headers that a proxy in front of the configured gateway wants to see on the upgrade. They go to that gateway alone,
 * over TLS, and never to another that a redirect names. Rejects when one of them does not resolve (R6).
 */
export async function edgeHeaders(
  url: URL,
  { gateway, edgeAuth }: Pick<Config, 'gateway' | 'edgeAuth'>
): Promise<Record<string, string>> {
  const names = gateway.remote.edgeAuth
  if (url.protocol !== 'wss:') throw invalid(`${KEY} is not for ${url.origin}: it goes over TLS alone`)
  if (names.length > MAX_HEADERS) throw invalid(`${KEY} names more than ${MAX_HEADERS} headers`)
  const seen = new Set<string>()
  for (const name of names) {
    const lower = name.toLowerCase()
    if (!/^[!#$%&'*+\-.^_`|~0-9a-z]{1,128}$/.test(lower)) throw invalid(`${KEY}: ${JSON.stringify(name)} is no header`)
    if (OWN.test(lower)) throw invalid(`${KEY}: ${name} belongs to the connection itself`)
    if (seen.has(lower)) throw invalid(`${KEY} names ${name} twice`)
    seen.add(lower)
  }
  const entries = await Promise.all(names.map(async (name) => [name, await valueFor(name, edgeAuth)] as const))
  return Object.fromEntries(entries)
}

async function valueFor(name: string, read: Config['edgeAuth']): Promise<string> {
  const value = (await read(name))?.trim() ?? ''
  // Anything else would end the header, or begin another.
  if (value === '' || value.length > MAX_VALUE || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
    throw invalid(`${KEY}.${name} cannot be sent as a header: it is empty, too long, or holds control characters`)
  }
  return value
}

function invalid(message: string): ClientError {
  return new ClientError('EDGE_AUTH_INVALID', message, { fix: `openclaw config get ${KEY}` })
}
