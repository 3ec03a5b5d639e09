import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { WebSocketServer } from 'ws'
import { GatewayClient, nodeClient } from '../../src/client/index.ts'
import type { SocketLike } from '../../src/client/types.ts'
import { METHODS, type MethodName } from '../../src/protocol/methods.ts'
import { checker } from '../../src/protocol/validate.ts'
import { connectParams } from '../support/client.ts'
import { startApp, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { fingerprintOf, makePair } from '../support/tls.ts'
import { tlsFront } from '../support/tls-front.ts'

const { client: info } = connectParams()
const options = { client: info, scopes: ['operator.read'], auth: () => ({ token: TOKEN }) }

t.test('a gateway answers what the types of request say', async (t) => {
  const { ws } = await startApp(t)
  const client = nodeClient({ url: ws }, options)
  await client.connect()
  t.teardown(() => client.close())
  for (const method of Object.keys(METHODS) as MethodName[]) {
    t.equal(checker(METHODS[method].result)(await client.request(method, {})), undefined, method)
  }
  // Compiles only while the types are inferred.
  const { lines }: { lines: string[] } = await client.request('logs.tail', { limit: 1 })
  t.ok(Array.isArray(lines))
})

t.test('R34: a library client pins the certificate of every connection', async (t) => {
  const { port } = await startApp(t)
  const pair = await makePair()
  const front = await tlsFront(t, pair, port)
  const pinned = { url: front.wss, tlsFingerprint: fingerprintOf(pair.cert) }
  const client = nodeClient(pinned, options)
  t.match(await client.connect(), { type: 'hello-ok' })
  client.close()
  front.show(await makePair())
  front.taken()
  const again = nodeClient(pinned, { ...options, reconnect: true })
  await t.rejects(again.connect(), { code: 'CONNECTION_FAILED', cause: { code: 'TLS_PIN_MISMATCH' } }, 'and gives up')
  t.equal(front.taken(), '')
  t.throws(() => nodeClient({ url: 'ws://127.0.0.1:1', headers: { a: 'b' } }, options), { code: 'URL_INSECURE' })
})

t.test('subscriptions live on over a reconnection, and their calls are made again', async (t) => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  const calls: string[] = []
  let connections = 0
  server.on('connection', (socket) => {
    const connection = ++connections
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n' } }))
    socket.on('message', (data) => {
      const { id, method, params } = JSON.parse(String(data))
      const ok = { type: 'res', id, ok: true }
      if (method === 'connect') {
        socket.send(JSON.stringify({ ...ok, payload: { type: 'hello-ok', policy: { tickIntervalMs: 30_000 } } }))
        return
      }
      calls.push(`${connection} ${method} ${JSON.stringify(params)}`)
      socket.send(JSON.stringify({ ...ok, payload: {} }))
      socket.send(JSON.stringify({ type: 'event', event: 'news', payload: connection }))
      if (connection === 1) socket.close(1012)
    })
  })
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  const errors: unknown[] = []
  const client = nodeClient(
    { url },
    {
      ...options,
      reconnect: true,
      onListenerError: (error) => errors.push((error as Error).message),
      onState: (state) => {
        if (state.phase === 'waiting') client.retry()
      }
    }
  )
  t.teardown(() => client.close())
  const heard: unknown[] = []
  const twice = Promise.withResolvers<void>()
  client.subscribe('*', () => {
    throw new Error('mine')
  })
  const call = { method: 'news.subscribe', params: { about: 'x' } }
  client.subscribe('news', () => {}, call)
  const end = client.subscribe(
    'news',
    ({ payload }) => {
      heard.push(payload)
      if (heard.length === 2) twice.resolve()
    },
    call
  )
  client.subscribe('other', () => t.fail('another event'))
  await client.connect()
  await twice.promise
  t.same(heard, [1, 2])
  t.same(calls, ['1 news.subscribe {"about":"x"}', '2 news.subscribe {"about":"x"}'], 'once a connection')
  t.ok(errors.includes('mine'), 'a listener that throws keeps nobody else from it')
  end()
  client.subscribe('news', () => {}, { method: 'third.call' })
  await client.request('x')
  t.ok(calls.includes('2 third.call undefined'), 'one that comes later is asked for at once')
  t.equal(heard.length <= 3, true)
})

t.test('a gateway that does not read is not sent more', async (t) => {
  const listeners = new Map<string, (event: never) => void>()
  const sent: string[] = []
  // Its buffer is what no real socket can be made to show at will.
  const socket = {
    readyState: 1,
    bufferedAmount: 0,
    send: (data: string) => void sent.push(data),
    close: () => listeners.get('close')?.({ code: 1000, reason: '' } as never),
    addEventListener: (type: string, listener: (event: never) => void) => void listeners.set(type, listener)
  }
  const client = new GatewayClient({ ...options, createSocket: () => socket as unknown as SocketLike })
  const connected = client.connect()
  const say = (frame: unknown) => listeners.get('message')!({ data: JSON.stringify(frame) } as never)
  say({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n' } })
  while (sent.length === 0) await new Promise(setImmediate)
  say({ type: 'res', id: 'connect', ok: true, payload: { type: 'hello-ok', policy: { tickIntervalMs: 30_000 } } })
  await connected
  socket.bufferedAmount = 64 * 1024 * 1024
  await t.rejects(client.request('health', {}), { code: 'UNAVAILABLE', retryable: true })
  t.equal(sent.length, 1)
  socket.bufferedAmount = 0
  const asked = client.request('health', {})
  t.equal(sent.length, 2)
  client.close()
  await t.rejects(asked, { code: 'CLOSED' })
})

t.test('every example of docs/client.md runs', async (t) => {
  const gateway = await startProcess(t, {
    config: JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
  })
  const page = readFileSync(new URL('../../docs/client.md', import.meta.url), 'utf8')
  const examples = [...page.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code!)
  t.equal(examples.length, 4)
  const dir = tempDir(t)
  const library = new URL('../../src/client/index.ts', import.meta.url).href
  const env = {
    PATH: process.env.PATH,
    HOME: gateway.stateDir,
    OPENCLAW_STATE_DIR: gateway.stateDir,
    GATEWAY_URL: gateway.ws,
    GATEWAY_TOKEN: TOKEN
  }
  const wants = [/^socket true$/, /^version .*\nlines \d+$/, /state open/, /^refused AUTH_TOKEN_MISMATCH$/]
  for (const [index, code] of examples.entries()) {
    const file = join(dir, `example-${index}.mjs`)
    writeFileSync(file, code.replace("'openclaw-gateway/client'", JSON.stringify(library)))
    const { stdout } = await promisify(execFile)(process.execPath, [file], { env, timeout: 20_000 })
    t.match(stdout.trim(), wants[index], `example ${index + 1}`)
  }
})
