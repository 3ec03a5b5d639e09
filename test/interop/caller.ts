import http, { type IncomingHttpHeaders } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import type { ClientOptions } from 'ws'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { cli, RawClient, TestDevice } from '../support/client.ts'
import { type Answer, compare, type Expected, settled, titleOf } from './answer.ts'
import { type Pair, shape } from './pair.ts'

type Json = Record<string, unknown>
type Headers = Record<string, string>
type RequestHeaders = Record<string, string | string[]>

/** How a caller reaches a gateway: straight, or through a front end. */
export interface Way {
  webSocket(headers: Headers): [url: string, options: ClientOptions]
  request(path: string, options: { method?: string; headers?: RequestHeaders; send?: string }): Promise<Reply>
}

/** An HTTP answer as it came. */
export interface Reply {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/** A way to each gateway of a pair. */
export type Ways = readonly [ours: Way, reference: Way]

/** One socket: what it brings, and what is compared. */
export interface SocketCase extends Expected {
  name: string
  headers?: Headers
  /** Sent in `connect`, over the CLI's own; made of the gateway and the token that it gave the device, if need be. */
  params?: Json | ((gateway: GatewayProcess, deviceToken: string | undefined) => Json)
  /** A device: `new`, or a name for one that comes back. */
  device?: string
  /** A call after `hello-ok`, and what is compared of its answer. */
  call?: { method: string; params?: Json; pick(payload: never): unknown }
}

/** One HTTP request, and how much of its answer is compared. */
export interface RequestCase extends Expected {
  name: string
  /** Where the gateways serve the same at different paths, one for each. */
  path: string | { ours: string; reference: string }
  method?: string
  headers?: RequestHeaders | ((gateway: GatewayProcess) => RequestHeaders)
  /** The body that is sent. */
  send?: string
  /** Default: all of it. A page or a document that is each gateway's own: its keys, or nothing. */
  body?: 'keys' | 'none'
}

/** The way to a gateway's own port. */
export function straight({ url, port }: GatewayProcess): Way {
  return {
    webSocket: (headers) => [url, { headers }],
    request: (path, { method = 'GET', headers = {}, send }) =>
      new Promise((resolve, reject) => {
        const options = { host: '127.0.0.1', port, path, method, headers, agent: false }
        const request = http.request(options, (response) => resolve(reply(response)))
        request.on('error', reject).end(send)
      })
  }
}

/** Straight to both gateways of a pair. */
export function straightTo({ ours, reference }: Pair): Ways {
  return [straight(ours), straight(reference)]
}

async function reply(response: http.IncomingMessage): Promise<Reply> {
  const body = Buffer.concat((await response.toArray()) as Buffer[]).toString()
  return { status: response.statusCode ?? 0, headers: response.headers, body }
}

const devices = new Map<string, TestDevice>()
const deviceTokens = new WeakMap<GatewayProcess, Map<string, string>>()

function deviceOf(name: string | undefined): TestDevice | undefined {
  if (name === undefined) return undefined
  const device = devices.get(name) ?? new TestDevice()
  if (name !== 'new') devices.set(name, device)
  return device
}

/** Runs each case against both gateways, in one subtest each, in order. */
export async function socketTests(t: Test, pair: Pair, ways: Ways, cases: readonly SocketCase[]): Promise<void> {
  for (const item of cases) {
    await t.test(titleOf(item), async (t) => compare(t, await knockBoth(pair, ways, item), item))
  }
}

/** Runs each case against both gateways, in one subtest each. */
export async function requestTests(t: Test, pair: Pair, ways: Ways, cases: readonly RequestCase[]): Promise<void> {
  for (const item of cases) {
    await t.test(titleOf(item), async (t) => compare(t, await askBoth(pair, ways, item), item))
  }
}

/** Asks again until both gateways answer with a status: when they read an edited file is their affair. */
export async function settle(pair: Pair, ways: Ways, item: RequestCase): Promise<void> {
  const deadline = performance.now() + 20_000
  while (performance.now() < deadline) {
    const answers = await askBoth(pair, ways, item)
    if (answers.every(({ word }) => word === item.want)) return
    await delay(50)
  }
  throw new Error(`no ${item.want}: ${item.name}`)
}

/** Opens the same socket to both, with the same device. */
function knockBoth(pair: Pair, ways: Ways, item: Omit<SocketCase, 'want'>): Promise<[Answer, Answer]> {
  const device = deviceOf(item.device)
  return Promise.all([
    knock(ways[0], item, pair.ours, device, pair.buildId),
    knock(ways[1], item, pair.reference, device, pair.buildId)
  ])
}

/** Sends the same request to both. */
export function askBoth(pair: Pair, ways: Ways, item: RequestCase): Promise<[Answer, Answer]> {
  const { path, method = 'GET', headers = {}, send, body } = item
  const ask = async (way: Way, path: string, gateway: GatewayProcess) => {
    const sent = typeof headers === 'function' ? headers(gateway) : headers
    return httpAnswer(await way.request(path, { method, headers: sent, ...(send === undefined ? {} : { send }) }), body)
  }
  const of = (side: 'ours' | 'reference') => (typeof path === 'string' ? path : path[side])
  return Promise.all([ask(ways[0], of('ours'), pair.ours), ask(ways[1], of('reference'), pair.reference)])
}

async function knock(
  way: Way,
  { headers = {}, params = {}, device: name = '', call }: Omit<SocketCase, 'want'>,
  gateway: GatewayProcess,
  device: TestDevice | undefined,
  buildId: string
): Promise<Answer> {
  const client = new RawClient(...way.webSocket(headers))
  const refused = new Promise<Reply>((resolve) => {
    client.socket.once('unexpected-response', (_request, response) => resolve(reply(response)))
  })
  const first = await Promise.race([refused, client.event('connect.challenge')])
  if ('status' in first) {
    client.socket.terminate()
    const { word, told } = httpAnswer(first)
    return { word, told: { upgrade: told } }
  }
  const tokens = deviceTokens.get(gateway) ?? new Map<string, string>()
  deviceTokens.set(gateway, tokens)
  const sent = {
    client: cli,
    scopes: [],
    ...(typeof params === 'function' ? params(gateway, tokens.get(name)) : params)
  }
  // The reference lets its own page in by the name of its build alone (D11).
  if (sent.client.id === ('openclaw-control-ui' as string)) Object.assign(sent, { client: { ...sent.client, buildId } })
  const { ok, payload, error } = await client.connect(sent, device)
  if (!ok) {
    const details = error?.details ?? {}
    const word = details.authReason ?? details.reason ?? details.code ?? error?.code
    const told = JSON.stringify({ error, close: await client.closed }).replaceAll(device?.id ?? 'none', 'DEVICE')
    return { word: String(word), told: settled(JSON.parse(told)) as Json }
  }
  const { auth, snapshot } = payload!
  if (auth.deviceToken !== undefined) tokens.set(name, auth.deviceToken)
  const told: Json = { auth, identityUrl: snapshot.controlUiIdentityUrl }
  if (call !== undefined) {
    const answer = await client.call(call.method, call.params ?? {})
    told.call = answer.ok ? call.pick(answer.payload as never) : { error: answer.error }
  }
  await client.close()
  return { word: 'ok', told: settled(told) as Json }
}

/** Approves every device that waits at either gateway, as an operator who may. */
export async function approveAll(ways: Ways, headers: Headers, params: (side: 0 | 1) => Json): Promise<void> {
  for (const side of [0, 1] as const) {
    const client = await RawClient.open(...ways[side].webSocket(headers))
    const { ok, error } = await client.connect({ client: cli, scopes: ['operator.admin'], ...params(side) })
    if (!ok) throw new Error(error?.message)
    const { pending } = (await client.call('device.pair.list', {})).payload as { pending: { requestId: string }[] }
    for (const { requestId } of pending) {
      const approved = await client.call('device.pair.approve', { requestId })
      if (!approved.ok) throw new Error(approved.error?.message)
    }
    await client.close()
  }
}

// A 401 of ours says how to authenticate (D6); there is one way, so every answer is compared without it.
function httpAnswer({ status, headers, body }: Reply, content?: 'keys' | 'none'): Answer {
  const { 'content-type': type, 'cache-control': cache, allow, 'retry-after': retry } = headers
  const told: Json = { status, allow, retry: retry === undefined ? undefined : 'SECONDS' }
  if (content !== 'none' || status >= 400) {
    const json: unknown = type?.startsWith('application/json') === true && body !== '' ? JSON.parse(body) : undefined
    const keys = content === 'keys' && status < 400
    Object.assign(told, { type, cache, content: keys ? Object.keys(json ?? {}).sort() : (json ?? shape(body)) })
  }
  return { word: status, told: settled(told) as Json }
}
