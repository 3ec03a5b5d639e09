import { connect } from 'node:net'
import { checkGatewayUrl, isLoopbackUrl } from '../client/url-policy.ts'
import { NodeHostError } from './errors.ts'

/** What a setup code says: where the gateway is, how its certificate is known, and what lets one device in, once. */
export interface SetupCode {
  /** In the order in which to try them. */
  urls: readonly URL[]
  bootstrapToken: string
  fingerprint: string | undefined
}

const FETCH_MS = 10_000
const LOOK_MS = 3_000
const MAX_LENGTH = 8_192
const ANOTHER = 'openclaw devices join-code (on the gateway host)'

/** Reads a setup code as it was copied: bare, as an `oc-pair://` link, or as a join link, which is fetched, once. */
export async function readSetupCode(text: string): Promise<SetupCode> {
  const word = text.trim()
  const payload = /^https?:\/\//i.test(word) ? await fetchPayload(word) : decode(word.replace(/^oc-pair:\/\//i, ''))
  const { url, urls = [url], bootstrapToken, tlsFingerprint, expiresAtMs } = payload
  const places = Array.isArray(urls) ? urls : [url]
  if (typeof bootstrapToken !== 'string' || bootstrapToken === '' || places.some((each) => typeof each !== 'string')) {
    throw malformed()
  }
  if (typeof expiresAtMs === 'number' && expiresAtMs <= Date.now()) {
    throw new NodeHostError('SETUP_CODE_EXPIRED', 'this setup code has expired', { fix: ANOTHER })
  }
  return {
    urls: places.slice(0, 8).map((each) => checkGatewayUrl(each as string)),
    bootstrapToken,
    fingerprint: typeof tlsFingerprint === 'string' ? tlsFingerprint : undefined
  }
}

/** The first of several addresses of one gateway that anybody answers at; the first of all when nobody does. */
export async function firstReachable(urls: readonly URL[]): Promise<URL> {
  for (const url of urls.length > 1 ? urls : []) if (await answers(url)) return url
  return urls[0]!
}

function decode(code: string): Record<string, unknown> {
  if (code.length > MAX_LENGTH || !/^[\w-]+={0,2}$/.test(code)) throw malformed()
  try {
    const value: unknown = JSON.parse(Buffer.from(code, 'base64url').toString())
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Said below.
  }
  throw malformed()
}

async function fetchPayload(link: string): Promise<Record<string, unknown>> {
  const url = URL.canParse(link) ? new URL(link) : undefined
  // Whoever reads the answer on the way could use it first.
  if (url === undefined || (url.protocol !== 'https:' && !isLoopbackUrl(url))) {
    throw new NodeHostError('SETUP_CODE_INVALID', 'a join link begins with https://', { fix: ANOTHER })
  }
  let response: Response
  try {
    response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(FETCH_MS) })
  } catch (cause) {
    const why = (cause as Error).cause instanceof Error ? ((cause as Error).cause as Error).message : String(cause)
    throw new NodeHostError('SETUP_CODE_UNREACHABLE', `${url.origin} does not answer: ${why}`, {
      fix: 'check the link, and that this machine reaches the gateway',
      cause
    })
  }
  const text = response.ok ? await response.text() : ''
  if (!response.ok || text.length > MAX_LENGTH) {
    throw new NodeHostError('SETUP_CODE_EXPIRED', 'this join link was used already, or has expired', { fix: ANOTHER })
  }
  return decode(Buffer.from(text).toString('base64url'))
}

function answers(url: URL): Promise<boolean> {
  return new Promise((resolve) => {
    const port = Number(url.port) || (url.protocol === 'wss:' ? 443 : 80)
    const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port, timeout: LOOK_MS })
    const end = (found: boolean) => {
      socket.destroy()
      resolve(found)
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(false))
    socket.once('error', () => end(false))
  })
}

function malformed(): NodeHostError {
  return new NodeHostError('SETUP_CODE_INVALID', 'this is no setup code, or only a part of one', { fix: ANOTHER })
}
