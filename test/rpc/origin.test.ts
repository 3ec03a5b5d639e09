import { once } from 'node:events'
import { connect } from 'node:net'
import { hostname } from 'node:os'
import t, { type Test } from 'tap'
import type { ClientOptions } from 'ws'
import { cli, controlUi, RawClient, refusedUpgrade } from '../support/client.ts'
import { startApp, TOKEN } from '../support/gateway.ts'

type Json = Record<string, unknown>

const auth = { token: TOKEN }
const PUBLIC = 'https://gw.example.com'
const proxied = { 'x-forwarded-for': '203.0.113.7', 'x-forwarded-proto': 'https' }

/** What a client of this kind hears: `ok`, or why its Origin was refused. */
async function verdict(t: Test, url: string, params: Json, options: ClientOptions): Promise<string> {
  const client = await RawClient.open(url, options)
  const { ok, error } = await client.connect({ auth, ...params })
  if (ok) {
    await client.close()
    return 'ok'
  }
  const { code, reason } = await client.closed
  if (error?.details?.code !== 'CONTROL_UI_ORIGIN_NOT_ALLOWED') return String(error?.details?.code)
  const message =
    'origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)'
  t.equal(error.message, message)
  t.equal(code, 1008)
  t.equal(reason, message.slice(0, 120))
  return String(error.details.reason)
}

const NO = 'origin not allowed'
const INVALID = 'origin missing or invalid'

t.test('Origin of a direct loopback socket, and by its Host (§7)', async (t) => {
  const mdns = `${hostname().toLowerCase().split('.')[0]}.local`
  const app = await startApp(t, {
    gateway: { publicOrigin: PUBLIC, controlUi: { allowedOrigins: ['https://Desk.Example.com:8443'] } }
  })
  const { port } = app
  const rows: { origin?: string; host?: string; want: string }[] = [
    ...['null', 'garbage', 'file://', 'http://', 'http://a b', 'https://127.0.0.1/path'].map((origin) => ({
      origin,
      want: INVALID
    })),
    ...[
      'https://evil.example',
      'chrome-extension://abcdef',
      'http://127.evil.example',
      'http://127.0.0.1.evil.example',
      'http://localhost.evil.example',
      'http://foo.localhost',
      'http://0.0.0.0',
      'http://evil.internal',
      `http://192.168.1.7:${port}`
    ].map((origin) => ({ origin, want: NO })),
    ...[
      `http://127.0.0.1:${port}`,
      'http://127.0.0.1:1',
      'https://127.0.0.1:5173',
      'http://localhost:3000',
      'http://localhost',
      'http://[::1]:8080',
      'HTTP://LOCALHOST:3000'
    ].map((origin) => ({ origin, want: 'ok' })),
    // As the configuration names them, in any case.
    { origin: 'https://desk.example.com:8443', want: 'ok' },
    { origin: 'https://DESK.example.com:8443', want: 'ok' },
    { origin: 'https://desk.example.com', want: NO },
    { origin: 'http://desk.example.com:8443', want: NO },
    { origin: PUBLIC, host: 'gw.example.com', want: 'ok' },
    // A page may talk to the host that it came from, when nobody can point that name elsewhere.
    ...['192.168.1.7', '10.0.0.9', '172.16.3.4', '100.101.102.103', '169.254.7.7', '[fd00::7]', mdns].flatMap(
      (host) => [
        { origin: `http://${host}:${port}`, host: `${host}:${port}`, want: 'ok' },
        { origin: `https://${host}:${port}`, host: `${host}:${port}`, want: 'ok' },
        { origin: `http://${host}:1`, host: `${host}:${port}`, want: NO }
      ]
    ),
    // A public name can be pointed at us by its owner, though we answer to this one.
    { origin: `http://gw.example.com:${port}`, host: `gw.example.com:${port}`, want: NO },
    { origin: 'http://gw.example.com', host: 'gw.example.com', want: NO },
    { origin: `http://${hostname().toLowerCase()}:${port}`, host: `${hostname()}:${port}`, want: NO }
  ]
  for (const { origin, host, want } of rows) {
    const options = { ...(origin && { origin }), ...(host && { headers: { host } }) }
    for (const client of [controlUi, cli]) {
      const got = await verdict(t, app.ws, { client, scopes: [] }, options)
      // Past the Origin check the Control UI is asked for its device.
      const passed = client === controlUi ? 'CONTROL_UI_DEVICE_IDENTITY_REQUIRED' : 'ok'
      t.equal(got, want === 'ok' ? passed : want, `${client.id}: ${origin} at ${host ?? 'loopback'}`)
    }
  }
  for (const client of [
    controlUi,
    { ...controlUi, mode: 'ui' },
    { ...controlUi, id: 'webchat-ui' },
    { ...controlUi, id: 'webchat' }
  ]) {
    t.equal(await verdict(t, app.ws, { client }, {}), INVALID, `${client.id} without an Origin`)
  }
  t.equal(await verdict(t, app.ws, { client: cli }, {}), 'ok', 'a CLI has none')

  for (const host of ['evil.example', `evil.example:${port}`, '172.32.0.1', '8.8.8.8', 'box.tail1.ts.net']) {
    const { status } = await refusedUpgrade(app.ws, { headers: { host }, origin: `http://${host}` })
    t.equal(status, 421, `D7: a page on ${host} does not even get a socket`)
  }
})

t.test('Origin through a trusted proxy (§7)', async (t) => {
  const app = await startApp(t, {
    gateway: { trustedProxies: ['127.0.0.1'], controlUi: { allowedOrigins: ['https://desk.example.com'] } }
  })
  const at = `127.0.0.1:${app.port}`
  const rows: { origin: string; host?: string; want: string }[] = [
    { origin: `http://${at}`, want: NO },
    { origin: 'http://localhost:3000', want: NO },
    { origin: 'http://[::1]:3000', want: NO },
    { origin: `http://localhost:${app.port}`, host: `localhost:${app.port}`, want: NO },
    { origin: 'http://192.168.1.7', host: '192.168.1.7', want: 'ok' },
    { origin: 'http://192.168.1.7', host: at, want: NO },
    { origin: 'https://desk.example.com', want: 'ok' },
    { origin: 'null', want: INVALID }
  ]
  for (const { origin, host = at, want } of rows) {
    const headers = { ...proxied, host, 'x-forwarded-host': new URL(origin === 'null' ? 'http://x' : origin).host }
    t.equal(await verdict(t, app.ws, { client: cli, scopes: [] }, { origin, headers }), want, `${origin} at ${host}`)
  }
  const { status, body } = await refusedUpgrade(app.ws, { headers: { 'x-forwarded-for': '127.0.0.1' } })
  t.equal(status, 403, 'a proxy that says it serves itself says nothing')
  t.match(JSON.parse(body), { error: { type: 'proxy_attribution_required' } })
})

t.test('S18: an upgrade that is refused leaves no socket behind, whatever the client does', async (t) => {
  const app = await startApp(t)
  for (const [path, more] of [
    ['/', 'X-Forwarded-For: 203.0.113.7'],
    ['/', 'Host: evil.example'],
    ['/healthz', 'X: y'],
    ['/no/such.page', 'Upgrade: h2c']
  ]) {
    const socket = connect({ port: app.port, host: '127.0.0.1', allowHalfOpen: true })
    const host = more?.startsWith('Host') ? '' : `Host: 127.0.0.1:${app.port}\r\n`
    const upgrade = more?.startsWith('Upgrade') ? '' : 'Upgrade: websocket\r\n'
    socket.write(`GET ${path} HTTP/1.1\r\n${host}${more}\r\nConnection: Upgrade\r\n${upgrade}\r\n`)
    socket.resume()
    await once(socket, 'end')
    socket.destroy()
    t.pass(`${path} with ${more}`)
  }
})

t.test('an upgrade with the marks of a proxy that nobody trusts is refused (§7, S3)', async (t) => {
  const app = await startApp(t)
  for (const name of [
    'x-forwarded-for',
    'x-forwarded-proto',
    'x-forwarded-host',
    'forwarded',
    'x-real-ip',
    'tailscale-user-login'
  ]) {
    const { status, body } = await refusedUpgrade(app.ws, { headers: { [name]: '203.0.113.7' } })
    t.equal(status, 403, name)
    t.match(JSON.parse(body), { error: { type: 'proxy_attribution_required' } })
  }
})

t.test('a passing Origin takes the scopes of a client without device', async (t) => {
  const app = await startApp(t)
  for (const client of [cli, { ...cli, id: 'gateway-client', mode: 'backend' }]) {
    for (const [origin, scopes] of [
      [undefined, ['operator.admin']],
      [app.http, []]
    ] as const) {
      const peer = await RawClient.open(app.ws, origin === undefined ? {} : { origin })
      const { payload } = await peer.connect({ auth, client } as never)
      t.strictSame(payload?.auth.scopes, scopes, `${client.id} ${origin ?? 'without Origin'}`)
      await peer.close()
    }
  }
})

t.test('S7: the Origin is checked in every auth mode, and on every listener', async (t) => {
  const modes: Record<string, Json> = {
    token: { auth: { mode: 'token', token: TOKEN } },
    password: { auth: { mode: 'password', password: TOKEN } },
    none: { auth: { mode: 'none' } },
    'trusted-proxy': {
      trustedProxies: ['127.0.0.1'],
      auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: 'x-user', allowLoopback: true } }
    }
  }
  for (const [mode, gateway] of Object.entries(modes)) {
    const app = await startApp(t, { gateway, local: true })
    const headers = mode === 'trusted-proxy' ? { ...proxied, 'x-user': 'nick@example.com' } : {}
    for (const client of [controlUi, cli]) {
      t.equal(
        await verdict(t, app.ws, { client }, { origin: 'https://evil.example', headers }),
        NO,
        `${mode}: ${client.id}`
      )
      t.equal(await verdict(t, app.ws, { client }, { origin: 'null', headers }), INVALID, `${mode}: ${client.id}, null`)
      const local = `ws+unix://${app.localSocket}:/`
      t.equal(
        await verdict(t, local, { client }, { origin: 'https://evil.example' }),
        NO,
        `${mode}: ${client.id}, local`
      )
    }
  }
})

t.test('S2: a foreign page cannot guess; one of this machine is counted by its Origin', async (t) => {
  const app = await startApp(t, {
    gateway: { auth: { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 3 } } }
  })
  const guess = async (token: string, origin?: string) => {
    const client = await RawClient.open(app.ws, origin === undefined ? {} : { origin })
    const { ok, error } = await client.connect({ auth: { token }, client: cli, scopes: [] })
    await client.close()
    return ok ? 'ok' : error?.details?.code
  }
  for (let i = 0; i < 6; i++) {
    t.equal(await guess(i === 5 ? TOKEN : `guess ${i}`, 'https://evil.example'), 'CONTROL_UI_ORIGIN_NOT_ALLOWED')
  }
  for (let i = 0; i < 3; i++) t.equal(await guess(`guess ${i}`, 'http://localhost:3000'), 'AUTH_TOKEN_MISMATCH')
  t.equal(await guess('guess 4', 'http://localhost:3000'), 'AUTH_RATE_LIMITED')
  t.equal(await guess(TOKEN, 'http://localhost:3000'), 'AUTH_RATE_LIMITED', 'even the right one')
  t.equal(await guess(TOKEN, 'http://localhost:4000'), 'ok', 'another page is not punished')
  t.equal(await guess(TOKEN), 'ok', 'nor is the owner')
})
