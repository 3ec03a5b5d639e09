import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { proxyIdentity } from '../../src/auth/trusted-proxy.ts'
import { gatewayOf, ingressOf } from '../support/access.ts'
import { cli, controlUi, nodeHost, RawClient, refusedUpgrade, TestDevice, tui } from '../support/client.ts'
import { startApp, type TestApp, tempDir } from '../support/gateway.ts'

type Json = Record<string, unknown>

t.setTimeout(60_000)

const PASSWORD = 'the-password-of-this-machine'
const from = { 'x-forwarded-for': '203.0.113.7' }
const nick = { ...from, 'x-user': 'nick@example.com' }
const boss = { ...from, 'x-user': 'Boss@example.com' }
const macos = { id: 'openclaw-macos', version: '1.0.0', platform: 'darwin', mode: 'ui' } as const
const backend = { ...cli, id: 'gateway-client', mode: 'backend' } as const

const behindProxy = (t: Test, trustedProxy: Json = {}, auth: Json = {}, more: Json = {}) =>
  startApp(t, {
    local: true,
    gateway: {
      trustedProxies: ['127.0.0.1'],
      auth: {
        mode: 'trusted-proxy',
        trustedProxy: { userHeader: 'X-User', allowLoopback: true, ...trustedProxy },
        ...auth
      },
      ...more
    }
  })

interface Outcome {
  ok: boolean
  code: unknown
  reason: unknown
  message: unknown
  scopes: unknown
  method: unknown
  token: boolean
}

async function attempt(
  app: TestApp,
  headers: Record<string, string>,
  params: Json = {},
  device?: TestDevice
): Promise<Outcome> {
  const page = (params.client as { id?: string } | undefined)?.id === controlUi.id
  const origin: Record<string, string> = page ? { host: '192.168.1.9', origin: 'http://192.168.1.9' } : {}
  const client = await RawClient.open(app.ws, { headers: { ...origin, ...headers } })
  const { ok, payload, error } = await client.connect({ client: cli, ...params }, device)
  await client.close()
  return {
    ok,
    code: error?.details?.code ?? error?.code,
    reason: error?.details?.authReason ?? error?.details?.reason,
    message: error?.message,
    scopes: payload?.auth.scopes,
    method: payload?.auth.method,
    token: payload?.auth.deviceToken !== undefined
  }
}

const get = async (app: TestApp, headers: Record<string, string>, path = '/metrics') => {
  const answer = await fetch(app.http + path, { headers })
  return { status: answer.status, body: await answer.text() }
}

t.test('R9: who is not believed, and why (§9)', async (t) => {
  const open = await behindProxy(t, { requiredHeaders: ['X-Via-Proxy', 'X-Second'], allowUsers: ['nick@example.com'] })
  const closed = await behindProxy(t, { allowLoopback: false })
  const whole = { ...nick, 'x-via-proxy': '1', 'x-second': '1' }
  const rows: [name: string, app: TestApp, headers: Record<string, string>, code: string, reason: string][] = [
    ['loopback, not allowed', closed, nick, 'AUTH_UNAUTHORIZED', 'trusted_proxy_loopback_source'],
    ['loopback, not allowed, bare', closed, {}, 'AUTH_UNAUTHORIZED', 'trusted_proxy_loopback_source'],
    [
      'a required header is absent',
      open,
      nick,
      'AUTH_IDENTITY_HEADER_REQUIRED',
      'trusted_proxy_missing_header_x-via-proxy'
    ],
    [
      'a required header is blank',
      open,
      { ...whole, 'x-via-proxy': ' ' },
      'AUTH_IDENTITY_HEADER_REQUIRED',
      'trusted_proxy_missing_header_x-via-proxy'
    ],
    [
      'the second required header',
      open,
      { ...whole, 'x-second': '' },
      'AUTH_IDENTITY_HEADER_REQUIRED',
      'trusted_proxy_missing_header_x-second'
    ],
    [
      'the user header is absent',
      open,
      { ...from, 'x-via-proxy': '1', 'x-second': '1' },
      'AUTH_UNAUTHORIZED',
      'trusted_proxy_user_missing'
    ],
    ['the user header is blank', open, { ...whole, 'x-user': '  ' }, 'AUTH_UNAUTHORIZED', 'trusted_proxy_user_missing'],
    [
      'a user who is not allowed',
      open,
      { ...whole, 'x-user': 'eve@example.com' },
      'AUTH_UNAUTHORIZED',
      'trusted_proxy_user_not_allowed'
    ],
    [
      'another case is another user',
      open,
      { ...whole, 'x-user': 'Nick@example.com' },
      'AUTH_UNAUTHORIZED',
      'trusted_proxy_user_not_allowed'
    ]
  ]
  for (const [name, app, headers, code, reason] of rows) {
    t.match(
      await attempt(app, headers, {}, new TestDevice()),
      { ok: false, code, reason, message: 'unauthorized' },
      name
    )
    t.match(await attempt(app, headers, { auth: { token: 'x' } }), { ok: false, code, reason }, `${name}, with a token`)
    t.match(
      await attempt(app, headers),
      { ok: false, code: 'DEVICE_IDENTITY_REQUIRED', message: 'device identity required' },
      `${name}, with nothing`
    )
    const http = await get(app, headers)
    t.equal(http.status, 401, `${name}, over HTTP`)
    t.same(JSON.parse(http.body), { error: { message: 'Unauthorized', type: 'unauthorized' } })
  }
  t.equal((await get(open, whole)).status, 200, 'and who is')
})

t.test('R9: what cannot be attributed is refused before anybody is asked who it is (§9)', async (t) => {
  const app = await behindProxy(t, { requiredHeaders: ['x-via-proxy'] })
  for (const headers of [
    { 'x-user': 'nick@example.com' },
    { ...nick, 'x-forwarded-for': '127.0.0.1' },
    { ...nick, 'x-forwarded-for': 'garbage' },
    { 'x-user': 'nick@example.com', 'x-real-ip': '203.0.113.7' },
    { ...nick, x_user: 'boss@example.com' },
    { ...nick, x_forwarded_for: '203.0.113.7' },
    { ...nick, x_via_proxy: '1' },
    { ...nick, x_openclaw_scopes: 'operator.admin' }
  ] as Record<string, string>[]) {
    const name = JSON.stringify(headers)
    t.equal((await get(app, headers)).status, 403, name)
    const { status, body } = await refusedUpgrade(app.ws, { headers })
    t.equal(status, 403)
    t.match(JSON.parse(body), { error: { type: 'proxy_attribution_required' } }, name)
  }
  for (const repeated of ['x-user', 'x-forwarded-for', 'x-via-proxy', 'x-openclaw-scopes']) {
    const headers = { 'x-via-proxy': '1', ...nick, [repeated]: ['a', 'a'] } as unknown as Record<string, string>
    t.equal((await refusedUpgrade(app.ws, { headers })).status, 403, `${repeated}, twice`)
  }
})

t.test('R9: the sources that a single machine does not show', async (t) => {
  const { auth } = await gatewayOf({
    trustedProxies: ['10.0.0.1'],
    auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: 'x-user' } }
  })
  const own = new Set(['192.168.7.7', '127.0.0.1'])
  const ask = async (peer: string, isOwnAddress = (address: string): boolean | undefined => own.has(address)) => {
    const claims = { by: 'proxy' as const, headers: new Map([['x-user', 'nick']]) }
    return proxyIdentity(
      ingressOf({ peer, client: '203.0.113.7', forwarded: true, local: false, claims }),
      auth.trustedProxy!,
      {
        isOwnAddress,
        verifyAssertion: async () => undefined,
        trustedProxies: { has: (address) => ['10.0.0.1', '192.168.7.7', '127.0.0.1'].includes(address) }
      }
    )
  }
  for (const [peer, want] of [
    ['10.0.0.1', { user: 'nick' }],
    ['10.0.0.2', { reason: 'trusted_proxy_untrusted_source' }],
    ['192.168.7.7', { reason: 'trusted_proxy_local_interface_source' }],
    ['127.0.0.1', { reason: 'trusted_proxy_loopback_source' }],
    ['', { reason: 'trusted_proxy_untrusted_source' }]
  ] as const)
    t.match(await ask(peer), want, peer)
  t.match(await ask('10.0.0.1', () => undefined), { reason: 'trusted_proxy_local_interface_check_failed' })
  const bare = await behindProxy(t, { allowLoopback: false }, {}, { trustedProxies: ['10.0.0.1'] })
  t.match(await attempt(bare, {}, {}, new TestDevice()), { reason: 'trusted_proxy_loopback_source' })
})

t.test('who is, over HTTP (§9)', async (t) => {
  const app = await behindProxy(t)
  for (const [name, headers, want] of [
    ['as an operator', {}, 200],
    ['a chain, from the right', { 'x-forwarded-for': '198.51.100.1, 203.0.113.7' }, 200],
    ['narrowed to read', { 'x-openclaw-scopes': 'operator.read' }, 200],
    ['narrowed to write', { 'x-openclaw-scopes': 'operator.write' }, 200],
    ['narrowed to admin', { 'x-openclaw-scopes': 'operator.admin' }, 200],
    ['narrowed to nothing', { 'x-openclaw-scopes': '' }, 403],
    ['narrowed to another scope', { 'x-openclaw-scopes': 'operator.pairing' }, 403],
    ['a foreign page', { origin: 'https://evil.example' }, 403],
    ['another host', { host: 'evil.example' }, 421]
  ] as const)
    t.equal((await ask(app, { ...nick, ...headers })).status, want, name)
  t.equal((await get(app, nick, '/control-ui-config.json')).status, 200)
  t.same(JSON.parse((await get(app, nick, '/readyz')).body), { ready: true }, 'S26')
})

// `fetch` sets Host itself.
async function ask(app: TestApp, headers: Record<string, string>): Promise<{ status: number }> {
  const answer = await app.app.inject({
    url: '/metrics',
    headers: { host: 'localhost', ...headers },
    remoteAddress: '127.0.0.1'
  })
  return { status: answer.statusCode }
}

t.test('who is, over WebSocket (§9)', async (t) => {
  const app = await behindProxy(t, {}, { identityScopes: { 'boss@EXAMPLE.com': ['operator.admin'] } })
  const asked = ['operator.read', 'operator.write', 'operator.admin']
  const ok = { ok: true, method: 'trusted-proxy', token: false }
  for (const client of [cli, backend, controlUi, tui]) {
    t.match(
      await attempt(app, nick, { client, scopes: asked }),
      { ...ok, scopes: [] },
      `${client.id} without a device has no scopes`
    )
  }
  t.match(await attempt(app, nick, { client: nodeHost, role: 'node', scopes: [] }), {
    code: 'DEVICE_IDENTITY_REQUIRED'
  })
  t.match(await attempt(app, boss, { scopes: asked }), { ...ok, scopes: asked }, 'but what its identity is granted')
  t.match(
    await attempt(app, boss, { scopes: ['operator.read'] }),
    { ...ok, scopes: ['operator.read'] },
    'S8: as far as it asks'
  )
  t.match(await attempt(app, { ...boss, 'x-openclaw-scopes': 'operator.read' }, { scopes: asked }), {
    ...ok,
    scopes: ['operator.read']
  })
  t.match(await attempt(app, { ...boss, 'x-openclaw-scopes': 'bogus' }, { scopes: asked }), { ...ok, scopes: [] })
  t.match(await attempt(app, { ...from, 'x-user': '__proto__' }, { scopes: asked }), { ...ok, scopes: [] })
  for (const client of [controlUi, cli, macos]) {
    t.match(
      await attempt(app, nick, { client, scopes: asked }, new TestDevice()),
      { ok: false, code: 'PAIRING_REQUIRED', reason: 'not-paired' },
      client.id
    )
  }
  const browser = new TestDevice()
  const mac = new TestDevice()
  await attempt(app, nick, { client: controlUi, scopes: ['operator.read', 'operator.admin'] }, browser)
  await attempt(app, nick, { client: macos, scopes: ['operator.read'] }, mac)
  await approveAll(t, app)
  const paired = (headers: Record<string, string>, scopes: string[]) =>
    attempt(app, { ...nick, ...headers }, { client: controlUi, scopes }, browser)
  t.match(
    await paired({}, ['operator.read', 'operator.admin']),
    { ...ok, scopes: ['operator.read', 'operator.admin'] },
    'a browser keeps no token'
  )
  t.match(await paired({ 'x-openclaw-scopes': 'operator.read' }, ['operator.read', 'operator.admin']), {
    ...ok,
    scopes: ['operator.read']
  })
  t.match(await paired({ 'x-openclaw-scopes': '' }, ['operator.read']), { ...ok, scopes: [] })
  t.match(
    await attempt(app, nick, { client: macos, scopes: ['operator.read'] }, mac),
    { ok: true, scopes: ['operator.read'], token: true },
    'a native app does'
  )
  const client = await RawClient.open(app.ws, {
    headers: { ...nick, host: '192.168.1.9', origin: 'http://192.168.1.9' }
  })
  await client.connect({ client: controlUi, scopes: ['operator.read', 'operator.admin'] }, browser)
  t.match((await client.call('users.self', {})).payload, {
    profile: { id: 'nick@example.com', displayName: 'nick', emails: ['nick@example.com'] }
  })
  const presence = (await client.call('system-presence')).payload as unknown as Json[]
  t.ok(
    presence.some((each) => (each.user as Json | undefined)?.email === 'nick@example.com' && each.ip === '203.0.113.7')
  )
  await client.close()
})

async function approveAll(t: Test, app: TestApp): Promise<void> {
  const owner = await RawClient.open(`ws+unix://${app.localSocket}:/`)
  await owner.connect({ client: cli })
  const { pending } = (await owner.call('device.pair.list', {})).payload as { pending: { requestId: string }[] }
  for (const { requestId } of pending) t.ok((await owner.call('device.pair.approve', { requestId })).ok)
  await owner.close()
}

t.test('deviceAutoApprove enrols the UIs of the proxy’s users (§9)', async (t) => {
  const app = await behindProxy(t, { deviceAutoApprove: { enabled: true } })
  const rows: [name: string, headers: Record<string, string>, params: Json, want: Json][] = [
    [
      'a browser that asks for more',
      nick,
      { client: controlUi, scopes: ['operator.read', 'operator.admin'] },
      { ok: true, scopes: ['operator.read', 'operator.questions'], token: false }
    ],
    [
      'a browser that does not say what it wants',
      nick,
      { client: controlUi, scopes: undefined },
      { ok: true, scopes: ['operator.read', 'operator.write', 'operator.approvals', 'operator.questions'] }
    ],
    [
      'a browser that asks for nothing',
      nick,
      { client: controlUi, scopes: [] },
      { ok: true, scopes: ['operator.questions'] }
    ],
    [
      'a native app',
      nick,
      { client: macos, scopes: ['operator.read'] },
      { ok: true, scopes: ['operator.read', 'operator.questions'], token: true }
    ],
    [
      'narrowed by the proxy',
      { ...nick, 'x-openclaw-scopes': 'operator.read' },
      { client: controlUi, scopes: undefined },
      { ok: true, scopes: ['operator.read'] }
    ],
    [
      'narrowed to nothing',
      { ...nick, 'x-openclaw-scopes': '' },
      { client: controlUi, scopes: undefined },
      { ok: true, scopes: [] }
    ],
    [
      'a CLI waits for a person',
      nick,
      { client: cli, scopes: ['operator.read'] },
      { ok: false, code: 'PAIRING_REQUIRED' }
    ],
    [
      'a node waits for a person',
      nick,
      { client: nodeHost, role: 'node', scopes: [] },
      { ok: false, code: 'PAIRING_REQUIRED' }
    ]
  ]
  for (const [name, headers, params, want] of rows) {
    const got = await attempt(app, headers, params, new TestDevice())
    t.match(
      { ...got, scopes: Array.isArray(got.scopes) ? [...got.scopes].sort() : undefined },
      { ...want, ...(want.scopes ? { scopes: [...(want.scopes as string[])].sort() } : {}) },
      name
    )
  }
  await t.test('again, and wider within the list; never beyond it', async (t) => {
    const device = new TestDevice()
    const as = (scopes: string[]) => attempt(app, nick, { client: controlUi, scopes }, device)
    t.match(await as(['operator.read']), { ok: true })
    const wider = await as(['operator.read', 'operator.write', 'operator.admin'])
    t.strictSame(new Set(wider.scopes as string[]), new Set(['operator.read', 'operator.write', 'operator.questions']))
    const stored = await app.app.devices.find(device.id)
    t.notOk(stored?.grants[0]?.scopes.includes('operator.admin'))
    t.equal(stored?.approvedVia, 'trusted-proxy')
  })
  await t.test('a written list is never widened', async (t) => {
    const strict = await behindProxy(t, { deviceAutoApprove: { enabled: true, scopes: ['operator.read'] } })
    t.match(
      await attempt(
        strict,
        nick,
        { client: controlUi, scopes: ['operator.read', 'operator.questions'] },
        new TestDevice()
      ),
      { ok: true, scopes: ['operator.read'] }
    )
  })
  await t.test('not for a device that moved, a role that is new, or a way in without the proxy', async (t) => {
    const device = new TestDevice()
    await attempt(app, nick, { client: controlUi, scopes: ['operator.read'] }, device)
    const moved = { ...controlUi, platform: 'other' }
    t.match(await attempt(app, nick, { client: moved, scopes: ['operator.read'] }, device), {
      code: 'PAIRING_REQUIRED',
      reason: 'metadata-upgrade'
    })
    t.match(await attempt(app, nick, { client: { ...nodeHost, platform: 'web' }, role: 'node', scopes: [] }, device), {
      code: 'PAIRING_REQUIRED',
      reason: 'role-upgrade'
    })
  })
})

t.test('the password, for callers of this machine that no proxy stands before (§9)', async (t) => {
  const app = await behindProxy(t, { allowLoopback: false }, { password: PASSWORD })
  const bearer = { authorization: `Bearer ${PASSWORD}` }
  for (const client of [cli, backend]) {
    t.match(
      await attempt(app, {}, { client, auth: { password: PASSWORD }, scopes: ['operator.admin'] }),
      { ok: true, method: 'password', scopes: ['operator.admin'] },
      client.id
    )
  }
  t.match(
    await attempt(app, {}, { auth: { token: PASSWORD } }),
    { ok: false, reason: 'trusted_proxy_loopback_source' },
    'in its own field'
  )
  t.match(await attempt(app, {}, { auth: { password: 'wrong' } }), { ok: false, code: 'AUTH_PASSWORD_MISMATCH' })
  t.match(
    await attempt(app, from, { auth: { password: PASSWORD } }),
    { ok: false, reason: 'trusted_proxy_loopback_source' },
    'not through a proxy'
  )
  t.equal((await get(app, bearer)).status, 200)
  t.equal((await get(app, { ...bearer, ...from })).status, 401)
  t.equal((await get(app, { authorization: 'Bearer wrong' })).status, 401)
})

t.test('the proxy’s signed assertion (jwt)', async (t) => {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const other = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }
  const keys = join(tempDir(t), 'jwks.json')
  writeFileSync(keys, JSON.stringify({ keys: [jwk] }))
  const issuer = 'https://login.example.com'
  const jwt = { issuer, audience: 'gateway', jwks: keys, header: 'X-Assertion' }
  const app = await behindProxy(t, { jwt, allowUsers: ['nick@example.com'] })
  const make = (more: Json = {}, key: CryptoKey | Uint8Array = privateKey, header: Json = {}) =>
    new SignJWT({ email: 'nick@example.com', ...more })
      .setProtectedHeader({ alg: 'ES256', kid: 'one', ...header })
      .setIssuer((more.iss as string | undefined) ?? issuer)
      .setAudience((more.aud as string | undefined) ?? 'gateway')
      .setIssuedAt()
      .setExpirationTime((more.exp as number | undefined) ?? '5m')
      .sign(key)
  const send = async (assertion: string | undefined, headers: Record<string, string> = {}) =>
    attempt(
      app,
      { ...from, ...(assertion === undefined ? {} : { 'x-assertion': assertion }), ...headers },
      {},
      new TestDevice()
    )
  const good = await make()
  t.match(await send(good), { code: 'PAIRING_REQUIRED' }, 'its claim is the identity')
  t.match(await send(good, { 'x-user': 'nick@example.com' }), { code: 'PAIRING_REQUIRED' })
  const now = Math.floor(Date.now() / 1000)
  const [head, body, signature] = good.split('.')
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`
  const asHmac = await make({}, new TextEncoder().encode(JSON.stringify(jwk)), { alg: 'HS256' })
  const forged = Buffer.from(
    JSON.stringify({ ...JSON.parse(Buffer.from(body!, 'base64url').toString()), email: 'boss@example.com' })
  ).toString('base64url')
  for (const [name, assertion, reason, headers] of [
    ['none', undefined, 'trusted_proxy_missing_header_x-assertion', { 'x-user': 'nick@example.com' }],
    ['expired', await make({ exp: now - 120 }), 'trusted_proxy_assertion_invalid'],
    ['another issuer', await make({ iss: 'https://evil.example' }), 'trusted_proxy_assertion_invalid'],
    ['another audience', await make({ aud: 'other' }), 'trusted_proxy_assertion_invalid'],
    ['another key', await make({}, other.privateKey), 'trusted_proxy_assertion_invalid'],
    ['no signature', unsigned, 'trusted_proxy_assertion_invalid'],
    ['the public key as a shared one', asHmac, 'trusted_proxy_assertion_invalid'],
    ['a changed claim', `${head}.${forged}.${signature}`, 'trusted_proxy_assertion_invalid'],
    ['no such claim', await make({ email: undefined }), 'trusted_proxy_assertion_invalid'],
    ['a claim that is no text', await make({ email: ['nick@example.com'] }), 'trusted_proxy_assertion_invalid'],
    ['garbage', 'x.y.z', 'trusted_proxy_assertion_invalid'],
    ['a header that names somebody else', good, 'trusted_proxy_assertion_mismatch', { 'x-user': 'boss@example.com' }],
    ['a user who is not allowed', await make({ email: 'eve@example.com' }), 'trusted_proxy_user_not_allowed']
  ] as [string, string | undefined, string, Record<string, string>?][])
    t.match(await send(assertion, headers), { ok: false, reason }, name)

  await t.test('keys of a file that changes', async (t) => {
    const next = { ...(await exportJWK(other.publicKey)), kid: 'two', alg: 'ES256' }
    writeFileSync(keys, JSON.stringify({ keys: [next] }))
    t.match(await send(await make({}, other.privateKey, { kid: 'two' })), { code: 'PAIRING_REQUIRED' })
    t.match(await send(await make({ n: 1 })), { reason: 'trusted_proxy_assertion_invalid' }, 'the old key is gone')
    writeFileSync(keys, 'no keys')
    t.match(await send(await make({ n: 2 }, other.privateKey, { kid: 'two' })), {
      reason: 'trusted_proxy_assertion_invalid'
    })
  })
  await t.test('keys of a URL', async (t) => {
    let asked = 0
    const server = createServer((_request, response) => {
      asked++
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwk] }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const jwks = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`
    const remote = await behindProxy(t, { jwt: { ...jwt, jwks } })
    for (let i = 0; i < 3; i++)
      t.match(await attempt(remote, { ...from, 'x-assertion': await make({ n: i }) }, {}, new TestDevice()), {
        code: 'PAIRING_REQUIRED'
      })
    t.equal(asked, 1, 'asked once')
    server.close()
    const unreachable = await behindProxy(t, { jwt: { ...jwt, jwks: 'http://127.0.0.1:1/jwks.json' } })
    t.match(await attempt(unreachable, { ...from, 'x-assertion': await make() }, {}, new TestDevice()), {
      reason: 'trusted_proxy_assertion_invalid'
    })
  })
})
