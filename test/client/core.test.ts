import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { backoff, retryDelay } from '../../src/client/backoff.ts'
import { type ClientState, GatewayClient, type GatewayClientOptions, GatewayError } from '../../src/client/core.ts'
import { devicePayload } from '../../src/client/device-payload.ts'
import type { ErrorShape } from '../../src/protocol/frames.ts'
import { connectParams } from '../support/client.ts'
import { startApp, TOKEN } from '../support/gateway.ts'

type Frame = { id: string; method: string; params: Record<string, unknown> }

/** A peer that says exactly what a test wants, as a gateway that misbehaves would. */
async function peer(
  t: Test,
  answer: (frame: Frame, socket: WebSocket, connection: number) => unknown
): Promise<string> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  let connections = 0
  server.on('connection', (socket) => {
    const connection = ++connections
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n-1' } }))
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as Frame
      const payload = answer(frame, socket, connection)
      if (payload !== undefined) socket.send(JSON.stringify({ type: 'res', id: frame.id, ok: true, payload }))
    })
  })
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function hello(tickIntervalMs = 30_000): unknown {
  return { type: 'hello-ok', policy: { tickIntervalMs } }
}

function clientOf(t: Test, url: string, options: Partial<GatewayClientOptions> = {}): GatewayClient {
  const client = new GatewayClient({
    createSocket: () => new WebSocket(url),
    client: connectParams().client,
    ...options
  })
  t.teardown(() => client.close())
  return client
}

t.test('the delay before another try', async (t) => {
  const middle = () => 0.5
  const error = (code: GatewayError['code'], more: Partial<ErrorShape> & { closeCode?: number } = {}) =>
    new GatewayError(code, 'x', more)
  const rows = [
    { name: 'a dead connection: half a second', error: error('CONNECTION_FAILED'), attempt: 0, want: 375 },
    { name: 'doubling', error: error('CONNECTION_FAILED'), attempt: 3, want: 3_000 },
    { name: 'capped', error: error('CONNECTION_LOST'), attempt: 30, want: 22_500 },
    { name: 'a restart: soon', error: error('CONNECTION_LOST', { closeCode: 1012 }), attempt: 0, want: 150 },
    { name: 'a busy gateway', error: error('UNAVAILABLE'), attempt: 0, want: 375 },
    { name: 'as late as it says', error: error('UNAVAILABLE', { retryAfterMs: 9_000 }), attempt: 0, want: 9_000 },
    {
      name: 'a wrong token: never',
      error: error('INVALID_REQUEST', { details: { code: 'AUTH_TOKEN_MISMATCH' } }),
      attempt: 0,
      want: undefined
    },
    {
      name: 'unpaired: never',
      error: error('NOT_PAIRED', { details: { code: 'PAIRING_REQUIRED' } }),
      attempt: 0,
      want: undefined
    },
    {
      name: 'unpaired, told to wait: steadily',
      error: error('NOT_PAIRED', { details: { recommendedNextStep: 'wait_then_retry' } }),
      attempt: 9,
      want: 3_000
    },
    {
      name: 'rate limited: when it is over',
      error: error('INVALID_REQUEST', { retryable: true, retryAfterMs: 60_000 }),
      attempt: 0,
      want: 60_000
    }
  ]
  for (const { name, error, attempt, want } of rows) t.equal(retryDelay(error, attempt, middle), want, name)
  t.equal(backoff(0, { random: () => 0 }), 250, 'jitter takes at most half')
  t.equal(backoff(0, { random: () => 1 }), 500)
})

t.test('the device payload is the v3 layout, platform and family in ASCII lower case', async (t) => {
  const input = {
    deviceId: 'd',
    clientId: 'cli',
    clientMode: 'cli',
    role: 'operator',
    scopes: ['a', 'b'],
    signedAtMs: 7,
    token: 't',
    nonce: 'n'
  }
  t.equal(
    devicePayload({ ...input, platform: ' LINUX İ', deviceFamily: 'Pi' }),
    'v3|d|cli|cli|operator|a,b|7|t|n|linux İ|pi'
  )
  t.equal(devicePayload({ ...input, platform: 'web', deviceFamily: undefined }), 'v3|d|cli|cli|operator|a,b|7|t|n|web|')
})

t.test('against a gateway', async (t) => {
  const { ws } = await startApp(t)

  t.test('connects, calls, and rejects what is refused with its code', async (t) => {
    const client = clientOf(t, ws, { auth: () => ({ token: TOKEN }), scopes: ['operator.read'] })
    const { protocol } = await client.connect()
    t.equal(protocol, 4)
    t.equal((await client.request<{ ok: boolean }>('health', {})).ok, true)
    await t.rejects(client.request('no.such.method', {}), { name: 'GatewayError', code: 'FORBIDDEN' })
    await t.rejects(client.connect(), { code: 'CLOSED' })
  })

  t.test('signs with a device, and comes back with the token it was given', async (t) => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
    const signer = {
      id: createHash('sha256').update(raw).digest('hex'),
      publicKey: raw.toString('base64url'),
      sign: (payload: string) => sign(null, Buffer.from(payload), privateKey).toString('base64url')
    }
    const scopes = ['operator.read']
    const info = { ...connectParams().client, id: 'cli' as const, mode: 'cli' as const }
    const first = clientOf(t, ws, { client: info, auth: () => ({ token: TOKEN }), device: signer, scopes })
    const { deviceToken } = (await first.connect()).auth
    t.ok(deviceToken)
    const second = clientOf(t, ws, {
      client: info,
      auth: () => ({ deviceToken: deviceToken! }),
      device: signer,
      scopes
    })
    t.equal((await second.connect()).auth.method, 'device-token')
  })

  t.test('a refusal is final, even for a client that reconnects', async (t) => {
    const states: ClientState['phase'][] = []
    const client = clientOf(t, ws, {
      auth: () => ({ token: 'wrong' }),
      reconnect: true,
      onState: ({ phase }) => states.push(phase)
    })
    await t.rejects(client.connect(), { code: 'INVALID_REQUEST', details: { code: 'AUTH_TOKEN_MISMATCH' } })
    t.same(states, ['connecting', 'refused'])
  })
})

t.test('a call ends with its deadline, its signal, or its connection', async (t) => {
  const url = await peer(t, ({ method }) => (method === 'connect' ? hello() : undefined))
  const client = clientOf(t, url)
  await t.rejects(client.request('early'), { code: 'CONNECTION_LOST', retryable: true })
  await client.connect()
  await t.rejects(client.request('slow', {}, { timeoutMs: 20 }), { code: 'TIMEOUT', message: /slow/ })
  const controller = new AbortController()
  const aborted = client.request('slow', {}, { signal: controller.signal })
  controller.abort(new Error('changed my mind'))
  await t.rejects(aborted, { message: 'changed my mind' })
  const calls = Array.from({ length: 1_024 }, () => client.request('slow').catch((error: GatewayError) => error.code))
  await t.rejects(client.request('one.too.many'), { code: 'UNAVAILABLE' })
  client.close()
  t.same(new Set(await Promise.all(calls)), new Set(['CLOSED']))
})

t.test('a socket that comes too late, after the client was closed, is closed and harms nobody', async (t) => {
  const url = await peer(t, () => hello())
  const late = Promise.withResolvers<WebSocket>()
  const client = clientOf(t, url, { createSocket: () => late.promise })
  const connected = client.connect()
  client.close()
  const socket = new WebSocket(url)
  late.resolve(socket)
  await t.rejects(connected, { code: 'CLOSED' })
  // Not by `once`, which would hear of the error itself.
  await new Promise((resolve) => socket.on('close', resolve))
  t.equal(socket.readyState, WebSocket.CLOSED)
})

t.test('expectFinal waits past "accepted"', async (t) => {
  const url = await peer(t, ({ id, method }, socket) => {
    if (method === 'connect') return hello()
    for (const status of ['accepted', 'ok']) {
      socket.send(JSON.stringify({ type: 'res', id, ok: true, payload: { status } }))
    }
    return undefined
  })
  const client = clientOf(t, url)
  await client.connect()
  t.same(await client.request('agent', {}), { status: 'accepted' })
  t.same(await client.request('agent', {}, { expectFinal: true }), { status: 'ok' })
})

t.test('a hole in the numbering is reported', async (t) => {
  const url = await peer(t, ({ method }, socket) => {
    if (method === 'connect') return hello()
    for (const seq of [1, 2, 5]) socket.send(JSON.stringify({ type: 'event', event: 'x', seq }))
    return {}
  })
  const gaps: unknown[] = []
  const client = clientOf(t, url, { onGap: (gap) => gaps.push(gap) })
  await client.connect()
  await client.request('go')
  t.same(gaps, [{ expected: 3, received: 5 }])
})

t.test('silence is a loss: closes 4000 and comes back', async (t) => {
  const closes: number[] = []
  const url = await peer(t, ({ method }, socket, connection) => {
    if (method !== 'connect') return undefined
    socket.on('close', (code) => closes.push(code))
    return hello(connection === 1 ? 20 : 30_000)
  })
  let greetings = 0
  const back = new Promise<void>((resolve) => {
    const client = clientOf(t, url, {
      reconnect: true,
      onHello: () => {
        if (++greetings === 2) resolve()
      },
      onState: (state) => {
        if (state.phase === 'waiting') client.retry()
      }
    })
    void client.connect()
  })
  await back
  t.same(closes, [4000])
})

t.test('no handshake in time, no gateway at all, no address: each has its code', async (t) => {
  const mute = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(mute, 'listening')
  const url = `ws://127.0.0.1:${(mute.address() as AddressInfo).port}`
  await t.rejects(clientOf(t, url, { handshakeTimeoutMs: 50 }).connect(), { code: 'TIMEOUT' })
  for (const socket of mute.clients) socket.terminate()
  mute.close()
  await once(mute, 'close')
  await t.rejects(clientOf(t, url).connect(), { code: 'CONNECTION_FAILED' })
  await t.rejects(clientOf(t, 'not a url').connect(), { code: 'PROTOCOL' })
})
