import http from 'node:http'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { type Pair, shape, withoutFix } from './pair.ts'

type Json = Record<string, unknown>

/** Frames sent on one socket, and what to do before the comparison. */
interface FrameCase {
  name: string
  /** What `connect` sends, merged over a good one; undefined: no `connect`. */
  connect?: (gateway: GatewayProcess) => Json
  /** Sent as they are, after `hello-ok` when there is a `connect`. */
  send?: readonly (Json | string)[]
  /** True when the server closes the socket by itself. */
  closes?: boolean
}

const read = { scopes: ['operator.read'] }
const req = (method: string, params?: unknown): Json => ({ type: 'req', id: 'a', method, params })

const frames: readonly FrameCase[] = [
  { name: 'a first request that is not connect', send: [req('health')], closes: true },
  { name: 'a first frame that is an event', send: [{ type: 'event', event: 'x' }], closes: true },
  { name: 'a first frame without an id', send: [{ type: 'req', method: 'connect' }], closes: true },
  { name: 'a first frame that is a number', send: ['42'], closes: true },
  { name: 'a first frame of 65,537 bytes', send: ['x'.repeat(65_537)], closes: true },
  { name: 'connect without params', send: [req('connect')], closes: true },
  { name: 'connect with empty params', send: [req('connect', {})], closes: true },
  { name: 'an unknown key in connect', connect: () => ({ bogus: 1 }), closes: true },
  { name: 'protocol 0', connect: () => ({ minProtocol: 0 }), closes: true },
  { name: 'a protocol range that is too old', connect: () => ({ minProtocol: 1, maxProtocol: 3 }), closes: true },
  { name: 'a protocol range that is too new', connect: () => ({ minProtocol: 5, maxProtocol: 9 }), closes: true },
  { name: 'an unknown role', connect: () => ({ role: 'superuser' }), closes: true },
  { name: 'an empty role', connect: () => ({ role: '' }), closes: true },
  { name: 'no credentials and no device', connect: () => ({ auth: undefined }), closes: true },
  { name: 'an empty token', connect: () => ({ auth: { token: '' } }), closes: true },
  {
    name: 'the right secret in auth.password',
    connect: (g) => ({ auth: { password: g.token } }),
    send: [req('health')]
  },
  { name: 'missing scope: no scopes', connect: () => ({ scopes: [] }), send: [req('status')] },
  { name: 'missing scope: read is not pairing', connect: () => read, send: [req('device.pair.list', {})] },
  { name: 'missing scope: read is not admin', connect: () => read, send: [req('set-heartbeats', { enabled: true })] },
  { name: 'missing scope comes before params', connect: () => read, send: [req('config.set', 5)] },
  { name: 'no scopes and health', connect: () => ({ scopes: [] }), send: [req('health', null)] },
  { name: 'an unknown method, admin', connect: () => ({}), send: [req('no.such.method')] },
  { name: 'an unknown method, read', connect: () => read, send: [req('no.such.method')] },
  { name: 'a second connect', connect: () => ({}), send: [req('connect', {})] },
  { name: 'an extra key in a frame', connect: () => ({}), send: [{ ...req('health'), bogus: 1 }] },
  { name: 'a numeric id', connect: () => ({}), send: [{ ...req('health'), id: 5 }] },
  { name: 'a frame without id', connect: () => ({}), send: [{ type: 'req', method: 'health' }] },
  {
    name: 'a traceparent that is too long',
    connect: () => ({}),
    send: [{ ...req('health'), traceparent: 'x'.repeat(129) }]
  },
  { name: 'last-heartbeat', connect: () => read, send: [req('last-heartbeat')] },
  { name: 'a wrong token', connect: () => ({ auth: { token: 'not-the-token' } }), closes: true },
  { name: 'a wrong token and a bad role', connect: () => ({ role: 'x', auth: { token: 'wrong' } }), closes: true }
]

/** One HTTP request whose status, body and key headers are the same. */
const requests: readonly { method: string; path: string; headers?: Record<string, string>; keysOnly?: boolean }[] = [
  { method: 'GET', path: '/health' },
  { method: 'GET', path: '/healthz' },
  { method: 'HEAD', path: '/healthz' },
  { method: 'POST', path: '/healthz' },
  { method: 'GET', path: '/readyz', keysOnly: true },
  { method: 'GET', path: '/ready', keysOnly: true },
  { method: 'POST', path: '/readyz' },
  { method: 'GET', path: '/startupz', keysOnly: true },
  { method: 'GET', path: '/v1/nothing' },
  { method: 'GET', path: '/api/nothing' },
  { method: 'POST', path: '/' },
  { method: 'GET', path: '/missing.js' },
  { method: 'GET', path: '/control-ui-config.json' },
  { method: 'GET', path: '/readyz', headers: { 'x-forwarded-for': '203.0.113.7' } },
  { method: 'GET', path: '/some/path', headers: { accept: 'application/json' } }
]

/** Sends the same frames and the same requests to both gateways, in one subtest each. */
export async function wireTests(t: Test, pair: Pair): Promise<void> {
  for (const item of frames) {
    await t.test(item.name, async (t) => {
      const [ours, reference] = await Promise.all([talk(pair.ours, item), talk(pair.reference, item)])
      t.same(withoutFix(ours), withoutFix(reference))
    })
  }
  for (const item of requests) {
    const from = item.headers === undefined ? '' : ` with ${Object.entries(item.headers).join(' ')}`
    await t.test(`${item.method} ${item.path}${from}`, async (t) => {
      const [ours, reference] = await Promise.all([fetchFrom(pair.ours, item), fetchFrom(pair.reference, item)])
      t.same(ours, reference)
    })
  }
}

/** What came back on a socket: outcomes of responses in order, and the close when the server closed. */
function talk(gateway: GatewayProcess, item: FrameCase): Promise<unknown[]> {
  const good = {
    minProtocol: 4,
    maxProtocol: 4,
    client: { id: 'gateway-client', version: '1', platform: 'linux', mode: 'backend' },
    role: 'operator',
    scopes: ['operator.admin'],
    auth: { token: gateway.token }
  }
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(gateway.url)
    const seen: unknown[] = []
    const wanted = (item.send?.length ?? 0) + (item.connect === undefined ? 0 : 1)
    const write = (frame: Json | string): void => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
    socket.on('error', reject)
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as Json
      if (frame.event === 'connect.challenge') {
        if (item.connect === undefined) item.send?.forEach(write)
        else write({ type: 'req', id: 'c', method: 'connect', params: { ...good, ...item.connect(gateway) } })
      }
      if (frame.type !== 'res') return
      seen.push({ id: frame.id, ok: frame.ok, error: frame.error })
      if (frame.id === 'c' && frame.ok === true) item.send?.forEach(write)
      if (seen.length === wanted && item.closes !== true) socket.close()
    })
    socket.on('close', (code, reason) => {
      if (item.closes === true) seen.push({ close: code, reason: String(reason) })
      else if (seen.length < wanted) seen.push({ closedEarly: code, reason: String(reason) })
      resolve(seen)
    })
  })
}

function fetchFrom(gateway: GatewayProcess, item: (typeof requests)[number]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: gateway.port, method: item.method, path: item.path, agent: false }
    const request = http.request({ ...options, headers: item.headers ?? {} }, async (response) => {
      const chunks = await response.toArray()
      const body = Buffer.concat(chunks as Buffer[]).toString()
      const { 'content-type': type, 'cache-control': cache, allow } = response.headers
      const json: unknown = type?.startsWith('application/json') === true && body !== '' ? JSON.parse(body) : undefined
      const content = item.keysOnly === true ? Object.keys(json ?? {}).sort() : withoutFix(json ?? shape(body))
      resolve({ status: response.statusCode, type, cache, allow, content })
    })
    request.on('error', reject)
    request.end()
  })
}
