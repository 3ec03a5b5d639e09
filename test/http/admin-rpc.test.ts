import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { RpcError } from '../../src/protocol/errors.ts'
import { type Scope, satisfies } from '../../src/protocol/scopes.ts'
import { defineMethod } from '../../src/rpc/method.ts'
import { asJson, askApi, namedToken } from '../support/api.ts'
import { RawClient } from '../support/client.ts'
import { startApp, startProcess, TOKEN } from '../support/gateway.ts'
import { everyRoute } from '../support/routes.ts'

type Json = Record<string, unknown>

t.setTimeout(60_000)

const PATH = '/api/v1/admin/rpc'
const start = (t: Test, gateway: Json = {}, sections: Json = everyRoute) =>
  startApp(t, { gateway, sections, local: true })

/** One call over HTTP. */
const call = (
  where: { port: number } | { socketPath: string },
  body: unknown,
  headers: Record<string, string> = asJson()
) => askApi(where, PATH, { headers, body: JSON.stringify(body) })

t.test('off, it is as if it were not there, for everybody', async (t) => {
  const gateway = await start(t, { trustedProxies: ['127.0.0.1'] }, {})
  const admin = await namedToken(gateway, ['operator.admin'])
  const places = [{ port: gateway.port }, { socketPath: gateway.localSocket }]
  const headers: Record<string, string>[] = [
    asJson(),
    asJson(admin),
    asJson('wrong'),
    {},
    { ...asJson(), 'content-type': 'text/plain' },
    { ...asJson(), 'x-forwarded-for': '203.0.113.5' },
    { ...asJson(), origin: 'https://evil.example' },
    { ...asJson(), host: 'rebound.example' }
  ]
  for (const place of places)
    for (const each of headers)
      for (const method of ['POST', 'GET', 'HEAD', 'PUT', 'OPTIONS', 'DELETE']) {
        const body = method === 'POST' || method === 'PUT' ? { body: '{"method":"health"}' } : {}
        const ask = async (path: string) => {
          const {
            status,
            body: text,
            headers: got
          } = await askApi(place, path, { method, headers: each, ...body }).catch((error) => ({
            status: error.code,
            body: '',
            headers: {} as Json
          }))
          const { date: _moment, ...rest } = got
          return { status, text, headers: rest }
        }
        t.strictSame(await ask(PATH), await ask('/api/v1/admin/nothing'), `${method} ${JSON.stringify(each)}`)
      }
  t.equal((await call(gateway, { method: 'health' })).body, 'Not Found')
  const document = await askApi(gateway, '/openapi.json', { method: 'GET', headers: asJson() })
  t.notOk(document.body.includes(PATH), 'the description does not tell of it either')
})

t.test('plugins.entries["admin-http-rpc"].enabled opens and closes it while the gateway runs', async (t) => {
  const config = (enabled: boolean) =>
    JSON.stringify({
      gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } },
      plugins: { entries: { 'admin-http-rpc': { enabled } } }
    })
  const gateway = await startProcess(t, { config: config(false) })
  const edit = async (enabled: boolean, n: number) => {
    const file = join(gateway.stateDir, 'openclaw.json')
    writeFileSync(`${file}.new`, config(enabled), { mode: 0o600 })
    renameSync(`${file}.new`, file)
    await gateway.said('configuration applied', n)
  }
  t.equal((await call(gateway, { method: 'health' })).status, 404)
  await edit(true, 1)
  t.equal((await call(gateway, { method: 'health' })).status, 200)
  t.ok((await askApi(gateway, '/openapi.json', { method: 'GET', headers: asJson() })).body.includes(PATH))
  const trail = await call(gateway, { method: 'gateway.audit.list', params: { kind: 'access.changed' } })
  t.match(trail.json, { payload: { events: [{ detail: 'plugins.entries["admin-http-rpc"].enabled' }] } })
  await edit(false, 2)
  t.equal((await call(gateway, { method: 'health' })).status, 404)
})

t.test('what is asked and answered', async (t) => {
  const gateway = await start(t)
  const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
  const rows: [name: string, body: string, status: number, json: Json][] = [
    ['a call', '{"method":"health"}', 200, { id: uuid, ok: true, payload: { ok: true } }],
    [
      'with an id',
      '{"id":"a","method":"status","params":{}}',
      200,
      { id: 'a', ok: true, payload: { runtimeVersion: String } }
    ],
    ['with an id of another kind', '{"id":5,"method":"health"}', 200, { id: uuid, ok: true }],
    ['with an empty id', '{"id":"","method":"health"}', 200, { id: uuid, ok: true }],
    ['with keys that nobody knows', '{"method":"health","bogus":1}', 200, { ok: true }],
    ['without params', '{"method":"device.pair.list"}', 200, { payload: { pending: [], paired: [] } }],
    ['with null for params', '{"method":"device.pair.list","params":null}', 200, { payload: { pending: [] } }],
    [
      'wrong params',
      '{"id":"p","method":"device.pair.list","params":5}',
      400,
      {
        id: 'p',
        ok: false,
        error: { code: 'INVALID_REQUEST', message: 'invalid device.pair.list params: must be object' }
      }
    ],
    [
      'a param too many',
      '{"method":"device.pair.list","params":{"x":1}}',
      400,
      {
        id: uuid,
        error: { code: 'INVALID_REQUEST', message: "invalid device.pair.list params: at root: unexpected property 'x'" }
      }
    ],
    [
      'no method',
      '{}',
      400,
      { ok: false, error: { type: 'invalid_request', message: 'method must be a non-empty string' } }
    ],
    ['an empty method', '{"method":""}', 400, { error: { message: 'method must be a non-empty string' } }],
    ['a method of another kind', '{"method":5}', 400, { error: { message: 'method must be a non-empty string' } }],
    ['a list', '[]', 400, { ok: false, error: { type: 'invalid_request', message: 'request body must be an object' } }],
    ['null', 'null', 400, { error: { message: 'request body must be an object' } }],
    ['nothing', '', 400, { ok: false, error: { type: 'invalid_request', message: 'request body must be JSON' } }],
    [
      'broken JSON',
      '{"method":\n"health",}',
      400,
      {
        ok: false,
        error: { type: 'invalid_request', message: 'Unexpected token in JSON at position 20 (line 2 column 10)' }
      }
    ],
    [
      'poison',
      '{"method":"health","__proto__":{}}',
      400,
      { ok: false, error: { type: 'invalid_request', message: /__proto__/ } }
    ],
    [
      'an unknown method',
      '{"id":"u","method":"no.such"}',
      400,
      { id: 'u', error: { code: 'INVALID_REQUEST', message: 'unknown method: no.such' } }
    ],
    ['what objects have', '{"method":"constructor"}', 400, { error: { message: 'unknown method: constructor' } }],
    [
      'the handshake',
      '{"method":"connect","params":{}}',
      400,
      {
        error: {
          code: 'INVALID_REQUEST',
          message: /^connect needs a WebSocket/,
          details: { code: 'WEBSOCKET_REQUIRED' }
        }
      }
    ]
  ]
  for (const [name, body, status, json] of rows) {
    const answer = await askApi(gateway, PATH, { headers: asJson(), body })
    t.equal(answer.status, status, name)
    t.match(answer.json, json, name)
    t.equal(answer.headers['cache-control'], 'no-store', name)
  }
  t.match(
    (await call({ socketPath: gateway.localSocket }, { method: 'status' }, {})).json,
    { ok: true },
    'the owner needs no token'
  )
  const large = (bytes: number) => `{"method":"health"}${' '.repeat(bytes - 19)}`
  t.equal((await askApi(gateway, PATH, { headers: asJson(), body: large(1_048_576) })).status, 200, '1 MB')
  const over = await askApi(gateway, PATH, { headers: asJson(), body: large(1_048_577) }).catch(() => undefined)
  if (over !== undefined) {
    t.equal(over.status, 413)
    t.same(over.json, { ok: false, error: { type: 'invalid_request', message: 'Payload too large' } })
  }
  const plain = await askApi(gateway, PATH, { headers: { ...asJson(), 'content-type': 'text/plain' }, body: '{}' })
  t.equal(plain.status, 415)
  t.match(plain.json, { ok: false, error: { type: 'invalid_request' } })
})

t.test('S21: the same methods, the same scopes as over a socket', async (t) => {
  const gateway = await start(t)
  const { registry } = gateway.app
  registry.add(defineMethod({ name: 'test.node', scope: 'node', params: Type.Unknown(), handler: () => ({}) }))
  registry.add(
    defineMethod({
      name: 'test.socket',
      scope: 'operator.read',
      socket: true,
      params: Type.Unknown(),
      handler: () => ({})
    })
  )
  const sets: Scope[][] = [
    ['operator.admin'],
    ['operator.read'],
    ['operator.write'],
    ['operator.pairing'],
    ['operator.approvals', 'operator.talk']
  ]
  for (const scopes of sets) {
    const token = await namedToken(gateway, scopes)
    for (const name of registry.names) {
      const method = registry.get(name)!
      // Params that nothing takes: whoever may call is told so, and nothing is done.
      const { status, json } = await call(gateway, { method: name, params: 'wrong' }, asJson(token))
      const { code, details } = (json.error ?? {}) as { code?: string; details?: Json }
      const title = `${scopes.join(', ')}: ${name}`
      if (method.scope === 'node' || method.socket) {
        t.match([status, code, details], [400, 'INVALID_REQUEST', { code: 'WEBSOCKET_REQUIRED', method: name }], title)
      } else if (method.scope === 'any' || satisfies(new Set(scopes), method.scope)) {
        t.not(status, 403, title)
      } else {
        t.match(
          [status, code, details],
          [403, 'FORBIDDEN', { code: 'MISSING_SCOPE', missingScope: method.scope }],
          title
        )
      }
    }
    const unknown = await call(gateway, { method: 'no.such' }, asJson(token))
    t.equal(unknown.status, scopes.includes('operator.admin') ? 400 : 403, 'an unknown method is told to admins only')
    const { payload } = (await call(gateway, { method: 'commands.list' }, asJson(token))).json as {
      payload: { methods: string[] }
    }
    t.ok(payload.methods.includes('health') && payload.methods.includes('device.pair.list'))
    t.notOk(
      payload.methods.includes('test.node') || payload.methods.includes('test.socket'),
      'what needs a socket is not listed'
    )
  }
})

t.test('errors have a status', async (t) => {
  const gateway = await start(t)
  const codes = {
    INVALID_REQUEST: 400,
    FORBIDDEN: 403,
    NOT_FOUND: 404,
    NOT_PAIRED: 409,
    UNAVAILABLE: 503,
    OTHER: 500
  } as const
  for (const [code, status] of Object.entries(codes)) {
    const method = `test.${code.toLowerCase()}`
    const error = new RpcError(code as never, `it is ${code}`, { details: { x: 1 }, retryAfterMs: 1_500 })
    const handler = () => Promise.reject(error)
    gateway.app.registry.add(defineMethod({ name: method, scope: 'operator.read', params: Type.Unknown(), handler }))
    const answer = await call(gateway, { id: 'e', method })
    t.equal(answer.status, status, code)
    t.same(answer.json, {
      id: 'e',
      ok: false,
      error: { code, message: `it is ${code}`, details: { x: 1 }, retryAfterMs: 1_500 }
    })
    t.equal(answer.headers['retry-after'], '2')
  }
  const broken = () => {
    throw new Error('a secret of the inside')
  }
  gateway.app.registry.add(
    defineMethod({ name: 'test.broken', scope: 'operator.read', params: Type.Unknown(), handler: broken })
  )
  const answer = await call(gateway, { id: 'b', method: 'test.broken' })
  t.equal(answer.status, 503)
  t.same(answer.json, {
    id: 'b',
    ok: false,
    error: { code: 'UNAVAILABLE', message: 'internal error', retryable: false }
  })
})

t.test('writes are limited as over a socket, for each caller', async (t) => {
  const gateway = await start(t)
  const one = await namedToken(gateway, ['operator.admin'])
  const other = await namedToken(gateway, ['operator.admin'])
  const write = (token: string) =>
    call(gateway, { method: 'gateway.tokens.revoke', params: { name: 'nobody' } }, asJson(token))
  for (let i = 0; i < 30; i++) t.equal((await write(one)).status, 400)
  const client = await RawClient.open(gateway.ws)
  await client.connect({ auth: { token: one }, scopes: ['operator.admin'] })
  const overSocket = await client.call('gateway.tokens.revoke', { name: 'nobody' })
  t.match(
    overSocket.error,
    { code: 'UNAVAILABLE', details: { limit: '30 per 60s' } },
    'HTTP and WebSocket count together'
  )
  await client.close()
  const limited = await write(one)
  t.equal(limited.status, 503)
  t.match(limited.json, { error: { code: 'UNAVAILABLE', retryable: true, retryAfterMs: Number } })
  t.ok(Number(limited.headers['retry-after']) >= 1)
  t.equal((await write(other)).status, 400, 'another caller is not affected')
})

t.test('what is done over HTTP is on the trail as that, and a revoked token ends with the next request', async (t) => {
  const gateway = await start(t)
  const made = await call(gateway, {
    method: 'gateway.tokens.create',
    params: { name: 'ci', scopes: ['operator.admin'] }
  })
  const token = (made.json.payload as Json).token as string
  t.equal((await call(gateway, { method: 'status' }, asJson(token))).status, 200)
  const { json } = await call(
    gateway,
    { method: 'gateway.audit.list', params: { kind: 'token.created' } },
    asJson(token)
  )
  t.match(json, {
    payload: {
      events: [
        { surface: 'http-api', method: 'token', address: '127.0.0.1', listener: 'main', who: 'token', detail: /^ci: / }
      ]
    }
  })
  const revoked = await call(gateway, { method: 'gateway.tokens.revoke', params: { name: 'ci' } }, asJson(token))
  t.equal(revoked.status, 200, 'it may end itself')
  const after = await call(gateway, { method: 'status' }, asJson(token))
  t.equal(after.status, 401, 'S14')
  t.match(after.headers['www-authenticate'], /error="invalid_token", error_description="the token was revoked"/)
})

t.test('any body gets an answer of a known shape, and breaks nothing', async (t) => {
  const gateway = await start(t)
  const token = await namedToken(gateway, ['operator.read', 'operator.pairing', 'operator.write'])
  const methods = gateway.app.registry.names
  const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.string({ unit: 'binary', maxLength: 20 }))
  const body = fc.oneof(
    fc
      .record(
        {
          id: fc.oneof(fc.string({ maxLength: 400 }), value),
          method: fc.oneof(
            { arbitrary: fc.constantFrom(...methods), weight: 4 },
            fc.string({ unit: 'binary', maxLength: 20 }),
            value
          ),
          params: fc.oneof(
            value,
            fc.dictionary(fc.constantFrom('limit', 'deviceId', 'requestId', 'path', '__proto__'), value)
          )
        },
        { requiredKeys: [] }
      )
      .map((each) => JSON.stringify(each)),
    fc.json(),
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc
      .integer({ min: 1, max: 20_000 })
      .map((depth) => `{"method":"health","params":${'['.repeat(depth)}${']'.repeat(depth)}}`)
  )
  for (const each of fc.sample(body, { numRuns: 1_500, seed: 23 })) {
    const { status, json } = await askApi(gateway, PATH, { headers: asJson(token), body: each })
    const { ok, id, error } = json as { ok?: boolean; id?: string; error?: { message?: string } }
    const known = status === 200 ? ok === true : ok === false && typeof error?.message === 'string'
    const shaped = id === undefined || (typeof id === 'string' && id.length <= 256)
    if (!known || !shaped || status >= 500) return t.fail(`${status} for ${each.slice(0, 200)}`)
  }
  t.equal((await call(gateway, { method: 'health' })).status, 200)
})
