import t from 'tap'
import { Type } from 'typebox'
import { isScope } from '../../src/protocol/scopes.ts'
import { LIMITS } from '../../src/rpc/limits.ts'
import { type Access, defineMethod } from '../../src/rpc/method.ts'
import { Registry } from '../../src/rpc/registry.ts'
import { nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { startApp, TOKEN } from '../support/gateway.ts'
import { publishedScope, schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>

const app = await startApp(t)

/** A connected client with these scopes, or a node. */
async function connected(who: readonly string[] | 'node'): Promise<RawClient> {
  const client = await RawClient.open(app.ws)
  const auth = { token: TOKEN }
  const { ok, error } =
    who === 'node'
      ? await client.connect({ auth, client: nodeHost, role: 'node', scopes: [] }, new TestDevice())
      : await client.connect({ auth, scopes: [...who] })
  if (!ok) throw new Error(error?.message)
  return client
}

const admin = await connected(['operator.admin'])
const reader = await connected(['operator.read'])
const writer = await connected(['operator.write'])
const pairer = await connected(['operator.pairing'])
const nobody = await connected([])
const node = await connected('node')
t.teardown(() => Promise.all([admin, reader, writer, pairer, nobody, node].map((client) => client.close())))

const missing = (scope: string) => ({
  code: 'FORBIDDEN',
  message: `missing scope: ${scope}`,
  details: { code: 'MISSING_SCOPE', missingScope: scope, requiredScopes: [scope] }
})
const invalid = (message: string) => ({ code: 'INVALID_REQUEST', message })

app.app.registry.add(
  defineMethod({ name: 'test.node', scope: 'node', params: Type.Object({}), handler: () => ({ ok: true }) })
)
app.app.registry.add(
  defineMethod({
    name: 'test.fails',
    scope: 'operator.read',
    params: Type.Unknown(),
    handler() {
      throw new Error('a secret of the inside')
    }
  })
)

t.test('who may call what (§1.4, §3)', async (t) => {
  const rows: { who: RawClient; name: string; method: string; params?: unknown; error?: Json }[] = [
    {
      who: admin,
      name: 'admin',
      method: 'connect',
      params: {},
      error: invalid('connect is only valid as the first request')
    },
    { who: nobody, name: 'no scopes', method: 'connect', error: invalid('connect is only valid as the first request') },
    { who: admin, name: 'admin', method: 'no.such.method', error: invalid('unknown method: no.such.method') },
    { who: admin, name: 'admin', method: 'constructor', error: invalid('unknown method: constructor') },
    { who: reader, name: 'reader', method: 'no.such.method', error: missing('operator.admin') },
    { who: nobody, name: 'no scopes', method: 'no.such.method', error: missing('operator.admin') },
    { who: node, name: 'node', method: 'no.such.method', error: invalid('unauthorized role: node') },
    { who: node, name: 'node', method: 'status', error: invalid('unauthorized role: node') },
    { who: node, name: 'node', method: 'config.set', params: 5, error: invalid('unauthorized role: node') },
    { who: admin, name: 'admin', method: 'test.node', error: invalid('unauthorized role: operator') },
    { who: nobody, name: 'no scopes', method: 'test.node', error: invalid('unauthorized role: operator') },
    { who: node, name: 'node', method: 'test.node' },
    ...[nobody, reader, node].flatMap((who) =>
      [[1], null, undefined, { anything: true }].map((params) => ({ who, name: 'anyone', method: 'health', params }))
    ),
    ...['status', 'config.get', 'system-presence', 'gateway.identity.get', 'last-heartbeat', 'channels.status'].flatMap(
      (method) => [
        { who: nobody, name: 'no scopes', method, error: missing('operator.read') },
        { who: pairer, name: 'pairing', method, error: missing('operator.read') },
        { who: reader, name: 'reader', method },
        { who: writer, name: 'writer', method },
        { who: admin, name: 'admin', method }
      ]
    ),
    { who: nobody, name: 'no scopes', method: 'users.self', error: missing('operator.write') },
    { who: reader, name: 'reader', method: 'users.self', error: missing('operator.write') },
    {
      who: admin,
      name: 'admin by shared secret',
      method: 'users.self',
      error: { code: 'FORBIDDEN', message: 'users.self requires an authenticated user' }
    },
    ...['device.pair.list', 'device.pair.approve', 'device.token.rotate'].map((method) => ({
      who: reader,
      name: 'reader',
      method,
      error: missing('operator.pairing')
    })),
    ...['config.set', 'config.patch', 'config.apply', 'set-heartbeats', 'system-event'].map((method) => ({
      who: writer,
      name: 'writer, scope before params',
      method,
      params: 5,
      error: missing('operator.admin')
    })),
    { who: pairer, name: 'pairing', method: 'device.pair.launchLink', error: missing('operator.admin') },
    {
      who: admin,
      name: 'bad params',
      method: 'set-heartbeats',
      params: { enabled: 'yes' },
      error: invalid('invalid set-heartbeats params: at /enabled: must be boolean')
    },
    {
      who: admin,
      name: 'an unexpected key',
      method: 'set-heartbeats',
      params: { enabled: true, bogus: 1 },
      error: invalid("invalid set-heartbeats params: at root: unexpected property 'bogus'")
    },
    {
      who: admin,
      name: 'missing params',
      method: 'set-heartbeats',
      error: invalid("invalid set-heartbeats params: must have required property 'enabled'")
    },
    {
      who: admin,
      name: 'a failure of the inside',
      method: 'test.fails',
      error: { code: 'UNAVAILABLE', message: 'internal error', retryable: false }
    }
  ]
  for (const { who, name, method, params, error } of rows) {
    const answer = await who.call(method, params)
    t.strictSame(answer.error, error, `${name}: ${method} ${JSON.stringify(params) ?? ''}`)
    t.equal(answer.ok, error === undefined)
  }
})

t.test('frames that are wrong are answered, and the socket stays (§1.4)', async (t) => {
  const frame = (more: Json) => ({ type: 'req', id: 'f', method: 'health', ...more })
  const rows: { name: string; send: unknown; id?: unknown; message: string; details?: Json }[] = [
    { name: 'an extra key', send: frame({ bogus: 1 }), message: "at root: unexpected property 'bogus'" },
    { name: 'a numeric id', send: frame({ id: 5 }), id: 5, message: 'at /id: must be string' },
    {
      name: 'no id',
      send: { type: 'req', method: 'health' },
      id: 'invalid',
      message: "must have required property 'id'"
    },
    {
      name: 'an empty id',
      send: frame({ id: '' }),
      id: 'invalid',
      message: 'at /id: must not have fewer than 1 characters'
    },
    {
      name: 'an event',
      send: { type: 'event', event: 'x', method: 'x' },
      id: 'invalid',
      message:
        "must have required property 'id'; at root: unexpected property 'event'; at /type: must be equal to constant"
    },
    {
      name: 'a response',
      send: { type: 'res', id: 'r', ok: true },
      id: 'r',
      message: "must have required property 'method'"
    },
    { name: 'a number', send: '42', id: 'invalid', message: 'must be object' },
    { name: 'null', send: 'null', id: 'invalid', message: 'must be object' },
    { name: 'a list', send: '[]', id: 'invalid', message: 'must be object' },
    { name: 'invalid JSON (D5)', send: '{nope', id: 'invalid', message: 'not JSON' },
    { name: 'binary junk (D5)', send: Buffer.from([0, 1, 0xff]), id: 'invalid', message: 'not JSON' },
    {
      name: 'a traceparent of 129 characters',
      send: frame({ traceparent: 'x'.repeat(129) }),
      message: 'at /traceparent: must not have more than 128 characters'
    }
  ]
  for (const { name, send, id = 'f', message } of rows) {
    const client = await connected([])
    client.send(send)
    const { ok, error } = await client.response(id)
    t.notOk(ok)
    t.equal(error?.code, 'INVALID_REQUEST', name)
    t.ok(error?.message.startsWith(`invalid request frame: ${message}`), `${name}: ${error?.message}`)
    t.ok((await client.call('health')).ok, 'goes on')
    await client.close()
  }

  const client = await connected([])
  client.send(frame({ traceparent: 'x'.repeat(128) }))
  t.ok((await client.response('f')).ok, 'a traceparent of 128 characters is fine')
  client.send(frame({ id: 'p', expectedProfileId: 'somebody' }))
  t.strictSame((await client.response('p')).error, {
    code: 'INVALID_REQUEST',
    message: 'Selected account changed or is unavailable. Select the account again before retrying.',
    details: { reason: 'EXPECTED_PROFILE_MISMATCH', execution: 'not_started' }
  })
  client.send(frame({ id: 'twin' }))
  client.send(frame({ id: 'twin' }))
  await client.call('health')
  t.equal(client.responses.filter(({ id }) => id === 'twin').length, 2, 'one id twice is answered twice')
  await client.close()
})

t.test('a frame beyond 25 MiB closes 1009', async (t) => {
  const client = await connected([])
  client.socket.send(Buffer.alloc(LIMITS.payload + 1, 0x20))
  t.strictSame(await client.closed, { code: 1009, reason: '' })
})

t.test('calls under way are bounded; answers come as they are ready', async (t) => {
  const waiting: (() => void)[] = []
  app.app.registry.add(
    defineMethod({
      name: 'test.slow',
      scope: 'operator.read',
      params: Type.Unknown(),
      handler: () => new Promise((resolve) => waiting.push(() => resolve({ done: true })))
    })
  )
  const client = await connected(['operator.read'])
  const call = (id: string) => client.send({ type: 'req', id, method: 'test.slow' })
  for (let i = 0; i < LIMITS.inFlight; i++) call(`slow${i}`)
  call('over')
  t.strictSame((await client.response('over')).error, {
    code: 'UNAVAILABLE',
    message: 'The server is busy. Please try again in a moment.',
    retryable: true
  })
  t.equal(waiting.length, LIMITS.inFlight)
  waiting[1]!()
  t.ok((await client.response('slow1')).ok, 'the second before the first')
  call('next')
  t.ok((await reader.call('health')).ok, 'and nobody else waits')
  t.equal(waiting.length, LIMITS.inFlight + 1, 'room for one again')
  for (const release of waiting) release()
  t.ok((await client.response('next')).ok)
  await client.close()
})

t.test('results are what the protocol says', async (t) => {
  const rows: { method: string; params?: unknown; definition?: string; shape?: unknown }[] = [
    {
      method: 'health',
      shape: {
        ok: true,
        ts: Number,
        durationMs: Number,
        agents: Array,
        channels: {},
        eventLoop: { utilization: Number }
      }
    },
    { method: 'system.info', params: {}, definition: 'SystemInfoResult' },
    { method: 'logs.tail', params: {}, definition: 'LogsTailResult' },
    { method: 'config.schema', params: {}, definition: 'ConfigSchemaResponse' },
    { method: 'config.schema.lookup', params: { path: 'gateway.port' }, definition: 'ConfigSchemaLookupResult' },
    { method: 'gateway.identity.get', shape: { deviceId: /^[0-9a-f]{64}$/, publicKey: /^[\w-]{43}$/ } },
    { method: 'set-heartbeats', params: { enabled: true }, shape: { ok: true, enabled: true } },
    { method: 'system-event', params: { text: 'hello', reason: 'test' }, shape: { ok: true } },
    {
      method: 'status',
      shape: {
        runtimeVersion: String,
        heartbeat: Object,
        channelSummary: Array,
        queuedSystemEvents: Array,
        sessions: Object
      }
    },
    { method: 'device.pair.list', params: {}, shape: { pending: Array, paired: Array } },
    { method: 'device.pair.launchLink', params: {}, shape: { bootstrapToken: /^[\w-]{43}$/, expiresAtMs: Number } },
    {
      method: 'config.get',
      params: {},
      shape: { path: String, exists: true, valid: true, hash: String, config: Object }
    },
    { method: 'channels.status', shape: { ts: Number, channelOrder: Array, channels: Object } }
  ]
  for (const { method, params, definition, shape } of rows) {
    const { ok, payload, error } = await admin.call(method, params)
    t.ok(ok, `${method} ${error?.message ?? ''}`)
    if (definition !== undefined) t.strictSame(schemaErrors(definition, payload), [], `${method} is a ${definition}`)
    if (shape !== undefined) t.match(payload, shape as Json, method)
  }
  t.equal((await admin.call('last-heartbeat')).payload, null)

  const { payload: entries } = (await admin.call('system-presence')) as unknown as { payload: Json[] }
  for (const entry of entries) t.strictSame(schemaErrors('PresenceEntry', entry), [])
  t.match(entries[0], { mode: 'gateway', reason: 'self', instanceId: String, text: /^Gateway: / })
  t.ok(entries.some(({ text, reason }) => text === 'hello' && reason === 'test'))
  t.ok(entries.some(({ mode, roles }) => mode === 'node' && `${roles}` === 'node'))
  t.notOk(
    entries.some(({ mode }) => mode === 'backend'),
    'helpers come and go unseen'
  )
  for (const response of [...admin.responses, ...node.responses]) {
    t.strictSame(schemaErrors('ResponseFrame', response), [])
  }
})

t.test('logs.tail gives whole lines from a cursor on', async (t) => {
  const { appendFile, writeFile } = await import('node:fs/promises')
  const file = `${app.stateDir}/logs/gateway.log`
  const tail = async (params: Json) => {
    const { payload } = await reader.call('logs.tail', params)
    t.strictSame(schemaErrors('LogsTailResult', payload), [])
    return payload as { lines: string[]; cursor: number; truncated?: boolean; reset?: boolean; skippedBytes?: number }
  }
  await writeFile(file, 'one\ntwo\nthr')
  const first = await tail({})
  t.match(first, { lines: ['one', 'two'], cursor: 8 })
  t.strictSame((await tail({ cursor: first.cursor })).lines, [], 'half a line is not there yet')
  await appendFile(file, 'ee\nfour\n')
  const second = await tail({ cursor: first.cursor })
  t.strictSame(second.lines, ['three', 'four'])
  t.match(await tail({ limit: 1 }), { lines: ['four'], truncated: true })
  t.match(await tail({ maxBytes: 8 }), { lines: ['four'], truncated: true, skippedBytes: 14 })
  t.match(await tail({ cursor: 9999 }), { lines: ['one', 'two', 'three', 'four'], reset: true }, 'a rotated file')
})

t.test('logs.tail goes over from a file that was put aside to the new one', async (t) => {
  const { rename, writeFile } = await import('node:fs/promises')
  const file = `${app.stateDir}/logs/gateway.log`
  const tail = async (params: Json) =>
    (await reader.call('logs.tail', params)).payload as { lines: string[]; cursor: number }
  await writeFile(file, 'one\ntwo\nthree\n')
  const { cursor } = await tail({ limit: 1 })
  await writeFile(file, 'one\ntwo\nthree\nfour\n')
  await rename(file, `${file}.1`)
  await writeFile(file, 'five\n')
  t.match(await tail({ cursor }), { lines: ['four', 'five'], cursor: 5, reset: true }, 'nothing is missed')
  t.match(await tail({ limit: 3 }), { lines: ['three', 'four', 'five'], truncated: true })
  t.match(await tail({}), { lines: ['one', 'two', 'three', 'four', 'five'], cursor: 5 })
  t.match(await tail({ cursor: 9_999 }), { lines: ['five'], reset: true }, 'a cursor of neither')
})

/** What every call of a method needs, where some calls need more. */
const LEAST: Record<string, Access> = { 'node.invoke': 'operator.write' }

t.test('S20: every method has a scope, or the process does not start', async (t) => {
  const method = (more: Json) =>
    ({ name: 'x.y', params: undefined, result: undefined, handler: () => 1, ...more }) as never
  for (const scope of [undefined, '', 'operator', 'operator.bogus', 'admin', null]) {
    t.throws(() => new Registry([method({ scope })]), { message: /must name its scope/ }, String(scope))
  }
  t.throws(() => new Registry([method({ scope: 'any', name: '' })]), { message: /needs a name/ })
  t.throws(() => new Registry([method({ scope: 'any' }), method({ scope: 'any' })]), { message: /declared twice/ })

  const { registry } = (await startApp(t)).app
  for (const name of registry.names) {
    const scope = registry.get(name)!.scope as Access
    t.ok(scope === 'any' || scope === 'node' || isScope(scope), `${name}: ${scope}`)
    const wanted = publishedScope(name)
    // The published map gives `health` a scope; every gateway answers it to anyone.
    if (wanted === 'dynamic') t.equal(scope, LEAST[name], `${name} asks for the least of its scopes`)
    else if (wanted !== undefined && name !== 'health') t.equal(scope, wanted, `${name} has the published scope`)
  }
})

t.test('a client that asks without reading is closed, not buffered for', async (t) => {
  const big = 'x'.repeat(1_000_000)
  app.app.registry.add(defineMethod({ name: 'test.big', scope: 'any', params: Type.Unknown(), handler: () => big }))
  const client = await connected([])
  client.socket.pause()
  for (let i = 0; i < 80; i++) client.send({ type: 'req', id: `${i}`, method: 'test.big' })
  while ([...app.app.hub].some(({ open, caller }) => open && caller?.connId === connId(client)))
    await reader.call('health')
  client.socket.resume()
  const { code, reason } = await client.closed
  t.strictSame({ code, reason }, { code: 1008, reason: 'slow consumer' })
})

function connId(client: RawClient): string {
  const hello = client.responses[0] as { payload: { server: { connId: string } } }
  return hello.payload.server.connId
}
