import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import t from 'tap'
import { digest } from '../../src/auth/secrets.ts'
import type { Surface } from '../../src/auth/surfaces.ts'
import { RawClient, TestDevice } from '../support/client.ts'
import { startApp, type TestApp, TOKEN } from '../support/gateway.ts'
import { everyRoute, inventory, questionFor, watchRoutes } from '../support/routes.ts'

const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'content-security-policy': /^(?!.*unsafe).*default-src 'self'.*connect-src 'self'/,
  'permissions-policy': /camera=\(\)/
}

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/** One request with exactly these headers. */
function ask(
  where: Pick<TestApp, 'port'> | { socketPath: string },
  path: string,
  headers: Record<string, string> = {},
  options: { method?: string; body?: string } = {}
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', body } = options
    const target = 'port' in where ? { host: '127.0.0.1', port: where.port } : where
    const length: Record<string, number> = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
    const req = httpRequest(
      { ...target, path, method, headers: { ...headers, ...length }, agent: false },
      async (res) => {
        let text = ''
        // A stream of events has no end.
        if (res.headers['content-type']?.startsWith('text/event-stream')) res.destroy()
        else for await (const chunk of res.setEncoding('utf8')) text += chunk
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text })
      }
    )
    req.on('error', reject)
    req.end(body)
  })
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const forwarding: Record<string, string>[] = [
  { 'x-forwarded-for': '127.0.0.1' },
  { 'x-forwarded-host': 'localhost' },
  { 'x-forwarded-proto': 'https' },
  { x_forwarded_for: '127.0.0.1' },
  { 'x-real-ip': '127.0.0.1' },
  { forwarded: 'for=127.0.0.1' },
  { 'tailscale-user-login': 'boss@example.com' },
  { 'tailscale-user-login': 'boss@example.com', 'x-forwarded-for': '100.64.0.1', 'x-forwarded-proto': 'https' }
]
const hops: Record<string, string>[] = [{ via: '1.1 proxy' }, { 'cf-ray': 'x' }, { 'true-client-ip': '127.0.0.1' }]
const foreignPages: Record<string, string>[] = [
  { origin: 'https://evil.example' },
  { origin: 'null' },
  { origin: 'http://localhost.evil.example' },
  { origin: 'chrome-extension://127.0.0.1' },
  { 'sec-fetch-site': 'cross-site' }
]

t.test('S10 S21: every registered route is in the inventory, with its surface', async (t) => {
  const found = watchRoutes()
  await startApp(t)
  found.stop()
  t.same(found.routes, inventory, 'a new route needs a row, and with it every check of this file')
})

t.test('every route against every credential and every way in', async (t) => {
  const gateway = await startApp(t, {
    sections: everyRoute,
    gateway: { auth: { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 1_000_000 } } }
  })
  const device = new TestDevice()
  const deviceToken = 'device-token-of-a-paired-device'
  await gateway.app.devices.approve({
    facts: {
      deviceId: device.id,
      publicKey: device.publicKey,
      platform: 'linux',
      deviceFamily: undefined,
      clientId: 'cli',
      clientMode: 'cli',
      displayName: undefined,
      remoteIp: undefined
    },
    via: 'owner',
    grant: [{ role: 'operator', scopes: ['operator.admin'], token: digest(deviceToken) }],
    endTokens: false,
    requestId: undefined,
    code: undefined
  })
  const open = (surface: Surface) => surface !== 'http-api' && surface !== 'control-ui'

  for (const [url, surface] of Object.entries(inventory)) {
    const { path, method, body, answer: answered } = questionFor(url)
    const options = { method, ...(body === undefined ? {} : { body }) }
    t.test(`${surface} ${path}`, async (t) => {
      const credentials: [string, Record<string, string>, string, number][] = [
        ['none', {}, '', 401],
        ['right bearer', bearer(TOKEN), '', answered],
        ['right bearer in another case', { authorization: `bEaReR  ${TOKEN}` }, '', answered],
        ['Basic', { authorization: `Basic ${Buffer.from(`:${TOKEN}`).toString('base64')}` }, '', 401],
        ['token alone', { authorization: TOKEN }, '', 401],
        ['query', {}, `?token=${TOKEN}`, 401],
        ['cookie', { cookie: `token=${TOKEN}` }, '', 401],
        ['x-api-key', { 'x-api-key': TOKEN, 'x-openclaw-token': TOKEN }, '', 401],
        ['device token', bearer(deviceToken), '', surface === 'control-ui' ? answered : 401]
      ]
      for (const [name, headers, query, want] of credentials) {
        const status = open(surface) ? answered : want
        const answer = await ask(gateway, path + query, headers, options)
        t.equal(answer.status, status, `${name}: ${status}`)
        // Probes are asked often and say little: JSON of a fixed shape, never a page.
        if (surface === 'probe')
          t.match(answer.headers, { 'content-type': /^application\/json/, 'cache-control': 'no-store' })
        // A plain request to the socket's path is a 404 of two words.
        else if (surface === 'websocket') t.equal(answer.headers['content-type'], 'text/plain; charset=utf-8')
        else t.match(answer.headers, securityHeaders)
        for (const cors of ['access-control-allow-origin', 'x-powered-by', 'server']) t.notOk(answer.headers[cors])
        if (status !== 401) continue
        t.same(JSON.parse(answer.body), { error: { message: 'Unauthorized', type: 'unauthorized' } })
        t.equal(
          answer.headers['www-authenticate'],
          name === 'device token' ? 'Bearer realm="openclaw", error="invalid_token"' : 'Bearer realm="openclaw"',
          'D6'
        )
      }
      for (const headers of forwarding) {
        const answer = await ask(gateway, path, { ...headers, ...bearer(TOKEN) }, options)
        t.equal(answer.status, 403, `${Object.keys(headers).join(' + ')} from an untrusted sender`)
        t.has(JSON.parse(answer.body), { error: { type: 'proxy_attribution_required' } })
        t.equal(answer.headers.connection, 'close')
        t.equal(answer.headers['x-content-type-options'], 'nosniff')
      }
      for (const headers of hops) {
        const { status } = await ask(gateway, path, { ...headers, ...bearer(TOKEN) }, options)
        t.equal(status, answered, JSON.stringify(headers))
        if (!open(surface)) t.equal((await ask(gateway, path, headers, options)).status, 401)
      }
      const foreign = await ask(gateway, path, { host: 'rebound.example', ...bearer(TOKEN) }, options)
      t.equal(foreign.status, 421, 'D7: a foreign Host')
      t.has(JSON.parse(foreign.body), { error: { type: 'host_not_allowed', fix: { where: 'gateway host' } } })
      for (const headers of foreignPages) {
        const answer = await ask(gateway, path, { ...headers, ...bearer(TOKEN) }, options)
        t.equal(answer.status, open(surface) ? answered : 403, `S2: ${JSON.stringify(headers)}`)
        if (!open(surface)) t.has(JSON.parse(answer.body), { error: { type: 'origin_not_allowed' } })
      }
      for (const origin of ['http://127.0.0.1:9', 'http://localhost'])
        t.equal((await ask(gateway, path, { origin, ...bearer(TOKEN) }, options)).status, answered, `${origin} may ask`)

      const head = await ask(gateway, path, bearer(TOKEN), { method: 'HEAD' })
      t.equal(head.status, method === 'GET' ? answered : 405, 'HEAD')
      t.equal(head.body, '')
      for (const other of ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'].filter((each) => each !== method)) {
        const answer = await ask(gateway, path, {}, { method: other, ...(other === 'GET' ? {} : { body: '{}' }) })
        const fixed = surface === 'probe' || surface === 'http-api' || surface === 'control-ui'
        t.equal(answer.status, fixed ? 405 : 404, `${other}, no credential`)
        t.equal(answer.body, fixed ? 'Method Not Allowed' : 'Not Found')
        t.equal(answer.headers['content-type'], 'text/plain; charset=utf-8')
        if (fixed) t.equal(answer.headers.allow, method === 'GET' ? 'GET, HEAD' : 'POST')
      }
    })
  }

  t.test('S2: a foreign page is refused before its guess is looked at', async (t) => {
    const strict = await startApp(t, {
      gateway: {
        trustedProxies: ['127.0.0.1'],
        auth: { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 2, lockoutMs: 60_000 } }
      }
    })
    const through = { 'x-forwarded-for': '203.0.113.5' }
    for (const path of ['/metrics', '/readyz'])
      for (let i = 0; i < 5; i++) {
        const answer = await ask(strict, path, { ...through, ...bearer('wrong'), origin: 'https://evil.example' })
        t.equal(answer.status, path === '/metrics' ? 403 : 200)
      }
    t.equal((await ask(strict, '/metrics', { ...through, ...bearer(TOKEN) })).status, 200, 'nothing was counted')
  })
})

t.test('S21: an upgrade opens the gateway socket on any path, and no other route', async (t) => {
  const gateway = await startApp(t)
  for (const path of [...Object.keys(inventory), '/any/path?token=x']) {
    const client = await RawClient.open(gateway.ws + path, { headers: bearer(TOKEN) })
    t.ok(client.nonce, path)
    t.has(await client.connect(), { ok: false }, 'a bearer of the upgrade is no credential of the connect')
    await client.close()
  }
})

t.test('probes', async (t) => {
  const gateway = await startApp(t, { local: true, gateway: { trustedProxies: ['127.0.0.1'] } })
  const elsewhere = { 'x-forwarded-for': '203.0.113.5' }
  for (const url of ['/health', '/healthz']) {
    const answer = await ask(gateway, url)
    t.same(JSON.parse(answer.body), { ok: true, status: 'live' })
    t.equal(answer.headers['cache-control'], 'no-store')
  }
  for (const [url, bare] of [
    ['/ready', { ready: true }],
    ['/readyz', { ready: true }],
    ['/startup', { ok: true, status: 'started' }],
    ['/startupz', { ok: true, status: 'started' }]
  ] as const) {
    for (const [name, answer] of [
      ['from this host', await ask(gateway, url)],
      ['from this host with a wrong bearer', await ask(gateway, url, bearer('wrong'))],
      ['from the owner', await ask({ socketPath: gateway.localSocket }, url)],
      ['with a credential', await ask(gateway, url, { ...elsewhere, ...bearer(TOKEN) })]
    ] as const)
      t.type(JSON.parse(answer.body).uptimeMs, 'number', `${url} has details ${name}`)
    for (const headers of [elsewhere, { ...elsewhere, ...bearer('wrong') }, { via: '1.1 x' }]) {
      const answer = await ask(gateway, url, headers)
      t.equal(answer.status, 200)
      t.same(JSON.parse(answer.body), bare, `S26: ${url} has no details for ${JSON.stringify(headers)}`)
    }
  }
  gateway.app.health.draining = true
  const draining = await ask(gateway, '/readyz')
  t.equal(draining.status, 503)
  t.has(JSON.parse(draining.body), { ready: false, failing: ['gateway-draining'] })
  t.same(JSON.parse((await ask(gateway, '/readyz', elsewhere)).body), { ready: false })
  t.equal((await ask(gateway, '/healthz')).status, 200)
  gateway.app.health.draining = false
})

t.test('S26: beyond loopback nothing unauthenticated names the product, its version or its state', async (t) => {
  const gateway = await startApp(t, { gateway: { trustedProxies: ['127.0.0.1'], controlUi: { enabled: false } } })
  const { version } = gateway.app.serverInfo
  for (const url of [...Object.keys(inventory), '/', '/nope', '/v1/models']) {
    const answer = await ask(gateway, url, { 'x-forwarded-for': '203.0.113.5' })
    const text = JSON.stringify(answer.headers).replace(/Bearer realm=\\"openclaw\\"/, '') + answer.body
    t.notMatch(text, /openclaw|fastify|node/i, url)
    t.notOk(text.includes(version), url)
  }
})

t.test('metrics', async (t) => {
  const gateway = await startApp(t)
  const client = await RawClient.open(gateway.ws)
  t.teardown(() => client.close())
  await client.connect({ auth: { token: TOKEN } })
  const answer = await ask(gateway, '/metrics', bearer(TOKEN))
  t.match(answer.headers['content-type'], /^text\/plain; version=/)
  for (const line of [
    /^openclaw_connections\{role="operator"\} 1$/m,
    /^openclaw_uptime_seconds [\d.]+$/m,
    /^process_cpu_user_seconds_total /m,
    /^openclaw_info\{version="[^"]+"\} 1$/m
  ])
    t.match(answer.body, line)
  t.notMatch(answer.body, TOKEN)
})

t.test('auth none: only this machine gets in, and may narrow itself', async (t) => {
  const gateway = await startApp(t, { gateway: { auth: { mode: 'none' }, trustedProxies: ['127.0.0.1'] } })
  t.equal((await ask(gateway, '/metrics')).status, 200)
  t.equal((await ask(gateway, '/metrics', bearer('anything'))).status, 200)
  t.equal((await ask(gateway, '/metrics', { via: '1.1 x' })).status, 401, 'S3: a proxy in front')
  t.equal((await ask(gateway, '/metrics', { 'x-forwarded-for': '203.0.113.5' })).status, 401, 'S11')
  t.equal((await ask(gateway, '/metrics', { 'x-forwarded-for': '127.0.0.1' })).status, 403, 'S5')
  t.equal((await ask(gateway, '/metrics', { host: '10.0.0.5' })).status, 401, 'by another name it is not local')
  t.equal((await ask(gateway, '/metrics', { origin: 'https://evil.example' })).status, 403)
  for (const [cap, want] of [
    ['operator.read', 200],
    ['operator.write', 200],
    ['operator.admin', 200],
    ['', 403],
    ['operator.pairing', 403],
    ['bogus', 403]
  ] as const) {
    const answer = await ask(gateway, '/metrics', { 'x-openclaw-scopes': cap })
    t.equal(answer.status, want, `x-openclaw-scopes: ${JSON.stringify(cap)}`)
    if (want === 403)
      t.has(JSON.parse(answer.body), {
        ok: false,
        error: { type: 'forbidden', message: 'missing scope: operator.read', details: { code: 'MISSING_SCOPE' } }
      })
  }
})

t.test('password mode takes the password, spaces and all, as the bearer', async (t) => {
  const gateway = await startApp(t, { gateway: { auth: { mode: 'password', password: 'open sesame, please' } } })
  t.equal((await ask(gateway, '/metrics', bearer('open sesame, please'))).status, 200)
  t.equal((await ask(gateway, '/metrics', bearer('open sesame'))).status, 401)
  t.equal(
    (
      await ask(gateway, '/metrics', {
        authorization: `Basic ${Buffer.from('x:open sesame, please').toString('base64')}`
      })
    ).status,
    401
  )
})

t.test('the local socket answers its owner: no token, no Host, no other way', async (t) => {
  const gateway = await startApp(t, { local: true })
  const local = { socketPath: gateway.localSocket }
  t.equal((await ask(local, '/metrics', { host: 'whatever' })).status, 200)
  t.equal((await ask(local, '/metrics', bearer('wrong'))).status, 200)
  t.equal((await ask(local, '/metrics', { 'x-forwarded-for': '203.0.113.5' })).status, 403, 'S4: no proxy before it')
  t.equal((await ask(local, '/metrics', { origin: 'https://evil.example' })).status, 403)
  t.equal((await ask(local, '/nope.txt')).status, 404)
})

t.test('a gateway takes no route that does not say what may authenticate on it', async (t) => {
  const { app } = await startApp(t)
  const { buildApp } = await import('../../src/app.ts')
  const { openDatabase } = await import('../../src/store/database.ts')
  const fresh = await buildApp(app.config, { db: openDatabase(':memory:'), logFile: '/dev/null' })
  t.teardown(() => fresh.close())
  const handler = async () => ({ secret: 1 })
  t.throws(() => fresh.get('/a', handler), /must name its surface/)
  t.throws(() => fresh.get('/b', { config: { surface: 'open' as never } }, handler), /must name its surface/)
  t.throws(() => fresh.get('/c', { config: { surface: 'http-api' } }, handler), /must name its scope/)
  t.throws(() => fresh.get('/d', { config: { surface: 'websocket' } }, handler), /own socket/)
  t.throws(() => fresh.route({ method: ['GET', 'POST'], url: '/e', handler }), /must name its surface/)
  fresh.post('/mine', { config: { surface: 'http-api', scope: 'operator.write' } }, handler)
  fresh.get('/typed', { config: { surface: 'probe' } }, async () => {
    throw Object.assign(new Error('the inside of it'), { type: 'system' })
  })
  fresh.register(async (child) => {
    child.get('/child', { config: { surface: 'control-ui' } }, handler)
    t.throws(() => child.get('/child2', handler), /must name its surface/, 'in a plugin of a user')
  })
  await fresh.ready()
  const inject = async (method: 'GET' | 'POST', url: string, headers = {}) =>
    fresh.inject({ method, url, headers: { host: 'localhost', ...headers } })
  t.equal((await inject('POST', '/mine')).statusCode, 401)
  const mine = await inject('POST', '/mine', bearer(TOKEN))
  t.equal(mine.statusCode, 200)
  t.match(mine.headers, securityHeaders, "a user's route carries them too")
  t.equal((await inject('POST', '/mine', { ...bearer(TOKEN), 'tailscale-user-login': 'x' })).statusCode, 403, 'R8')
  t.equal((await inject('GET', '/mine')).headers.allow, 'POST')
  t.equal((await inject('GET', '/child')).statusCode, 401)
  t.equal((await inject('GET', '/child', bearer(TOKEN))).statusCode, 200)
  const failed = await inject('GET', '/typed')
  t.equal(failed.statusCode, 500)
  t.same(failed.json(), { error: { message: 'internal error', type: 'api_error' } }, 'nothing of the inside goes out')
  const bad = await inject('POST', '/mine', {
    ...bearer(TOKEN),
    'content-type': 'application/json',
    'content-length': '1'
  })
  t.equal(bad.statusCode < 500, true)
})

t.test('bodies', async (t) => {
  const gateway = await startApp(t)
  const big = 'x'.repeat(1_048_577)
  t.equal(
    (await ask(gateway, '/nope', {}, { method: 'POST', body: 'x' })).headers.connection,
    'close',
    'an unread body ends the connection'
  )
  t.equal((await ask(gateway, '/metrics', {}, { method: 'POST', body: 'x' })).status, 405)
  const { buildApp } = await import('../../src/app.ts')
  const { openDatabase } = await import('../../src/store/database.ts')
  const app = await buildApp(gateway.app.config, { db: openDatabase(':memory:'), logFile: '/dev/null' })
  t.teardown(() => app.close())
  app.post('/echo', { config: { surface: 'http-api', scope: 'operator.write' } }, async ({ body }) => body)
  await app.ready()
  const post = (payload: string, headers: Record<string, string>) =>
    app.inject({
      method: 'POST',
      url: '/echo',
      payload,
      headers: { host: 'localhost', 'content-type': 'application/json', ...headers }
    })
  const large = await post(JSON.stringify(big), bearer(TOKEN))
  t.equal(large.statusCode, 413)
  t.same(large.json(), { error: { message: 'Payload too large', type: 'invalid_request_error' } })
  t.equal(large.headers.connection, 'close')
  t.equal((await post(JSON.stringify(big), {})).statusCode, 401, 'a stranger is refused before the body')
  const broken = await post('{"a":', bearer(TOKEN))
  t.equal(broken.statusCode, 400)
  t.has(broken.json(), { error: { type: 'invalid_request_error' } })
  t.equal((await post('{"__proto__":{"x":1}}', bearer(TOKEN))).statusCode, 400, 'prototype poisoning')
})
