import type { IncomingMessage } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import { platform } from 'node:os'
import { isLoopbackHost } from '../auth/addresses.ts'
import { GatewayClient, GatewayError } from '../client/core.ts'
import { openUrl } from '../client/node-socket.ts'
import { VERSION } from '../package.ts'
import type { Facts } from '../security/facts.ts'
import type { Attempt, LiveFacts } from '../security/live.ts'
import type { TargetOptions } from './gateway-call.ts'
import type { Io } from './io.ts'
import { withProgress } from './output.ts'
import { inspectGateway } from './status.ts'

const MAX_DOORS = 8
// What no stranger may read; a gateway without such a path refuses in its own way.
const PATHS = ['/metrics', '/v1/models']

/** What a `status` answer tells of the gateway's own settings; every part may be missing. */
interface StatusAnswer {
  gateway?: {
    bind?: string
    port?: number
    authMode?: string
    tailscale?: { mode?: string }
    listeners?: readonly string[]
  }
}

/** Asks the running gateway what it is, and tries to get into it without a credential. */
export async function lookLive(io: Io, options: TargetOptions, facts: Facts, timeoutMs: number): Promise<LiveFacts> {
  const given = options.url === undefined ? 'the gateway' : options.url
  let report: Awaited<ReturnType<typeof inspectGateway>>
  try {
    report = await inspectGateway(io, options, { timeoutMs })
  } catch (error) {
    // A mistake in the flags is for the command to report; one in the configuration is a finding.
    if (options.url !== undefined || !(error instanceof Error) || !('code' in error)) throw error
    const { code, message } = error as Error & { code: string }
    return { url: given, own: false, error: { code, message }, attempts: [] }
  }
  const own = report.urlSource === 'local socket' || report.urlSource === 'local loopback'
  const status = statusOf(report.status)
  const doors = own ? doorsOf(status?.listeners ?? [], facts) : [report.url]
  const reached = report.reachable || report.error?.code?.startsWith('GATEWAY_') === false
  const tries = reached ? Promise.all(doors.flatMap((door) => knock(door, status?.authMode, timeoutMs))) : []
  return {
    url: report.url,
    own,
    ...(report.error === undefined ? {} : { error: { code: report.error.code, message: report.error.message } }),
    ...(status === undefined ? {} : { status }),
    attempts: await withProgress(io, 'Trying the doors', Promise.resolve(tries))
  }
}

function statusOf(answer: unknown): LiveFacts['status'] {
  const gateway = (answer as StatusAnswer | undefined)?.gateway
  if (gateway === undefined) return undefined
  const { bind, port, authMode, tailscale, listeners = [] } = gateway
  return {
    ...(bind === undefined ? {} : { bind }),
    ...(port === undefined ? {} : { port }),
    ...(authMode === undefined ? {} : { authMode }),
    ...(tailscale?.mode === undefined ? {} : { tailscale: tailscale.mode }),
    listeners
  }
}

// Of a listener on every address, this host's own ones: from them we come as somebody from elsewhere would.
function doorsOf(listeners: readonly string[], { addresses, gateway }: Facts): string[] {
  const scheme = gateway?.tls.enabled === true ? 'wss' : 'ws'
  const hosts = listeners.flatMap((listener) => {
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(listener) ?? []
    if (port === '') return []
    if (host === '0.0.0.0') return ['127.0.0.1', ...addresses.filter(isIPv4)].map((address) => `${address}:${port}`)
    if (host !== '[::]') return [listener]
    return ['127.0.0.1', ...addresses].map((address) => `${isIPv6(address) ? `[${address}]` : address}:${port}`)
  })
  return [...new Set(hosts)].slice(0, MAX_DOORS).map((host) => `${scheme}://${host}`)
}

function knock(door: string, authMode: string | undefined, timeoutMs: number): Promise<Attempt>[] {
  const url = new URL(door)
  const web = new URL(door.replace(/^ws/, 'http'))
  // Without auth, this host is let in by design; that it is has a finding of its own.
  const meant = authMode === 'none' && isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ''))
  return [tryWebSocket(url, timeoutMs), ...PATHS.map((path) => tryHttp(new URL(path, web), timeoutMs))].map(
    async (attempt) => {
      const outcome = await attempt
      return meant && outcome.refused === false ? { ...outcome, refused: undefined } : outcome
    }
  )
}

async function tryWebSocket(url: URL, timeoutMs: number): Promise<Attempt> {
  const client = new GatewayClient({
    createSocket: () => openUrl(url),
    // A backend without a device is the one kind of client that could keep its scopes.
    client: { id: 'gateway-client', mode: 'backend', version: VERSION, platform: platform() },
    scopes: ['operator.admin'],
    handshakeTimeoutMs: timeoutMs
  })
  const attempt = { kind: 'websocket' as const, url: url.href }
  try {
    const { auth } = await client.connect()
    const scopes = auth?.scopes ?? []
    return { ...attempt, refused: false, detail: `a connection was let in with ${scopes.join(', ') || 'no scopes'}` }
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    const local = ['CONNECTION_FAILED', 'CONNECTION_LOST', 'TIMEOUT', 'PROTOCOL'].includes(error.code)
    const refused = !local || /server response: 4\d\d/.test(error.message)
    return { ...attempt, refused: refused ? true : undefined, detail: error.message }
  } finally {
    client.close()
  }
}

async function tryHttp(url: URL, timeoutMs: number): Promise<Attempt> {
  const attempt = { kind: 'http' as const, url: url.href }
  try {
    const { statusCode = 0, headers } = await get(url, timeoutMs)
    // The page of a web interface holds no secret, and answers on any path.
    const open = statusCode === 200 && !/^text\/html\b/.test(headers['content-type'] ?? '')
    return { ...attempt, refused: !open, detail: `the answer was ${statusCode}` }
  } catch (error) {
    return { ...attempt, refused: undefined, detail: error instanceof Error ? error.message : 'no answer' }
  }
}

async function get(url: URL, timeoutMs: number): Promise<IncomingMessage> {
  const { request } = url.protocol === 'https:' ? await import('node:https') : await import('node:http')
  return new Promise((resolve, reject) => {
    // Nothing secret is sent, so whose certificate it is does not matter.
    const sent = request(url, { agent: false, rejectUnauthorized: false, timeout: timeoutMs }, (response) => {
      response.resume()
      resolve(response)
    })
    sent.once('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.once('error', reject)
    sent.end()
  })
}
