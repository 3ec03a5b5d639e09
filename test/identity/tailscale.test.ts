import t, { type Test } from 'tap'
import { cli, controlUi, nodeHost, RawClient, TestDevice, tui } from '../support/client.ts'
import { startProcess, type TestProcess, TOKEN } from '../support/gateway.ts'
import { startTailnet, type Tailnet, type TailnetOptions } from '../support/tailscaled.ts'

type Json = Record<string, unknown>

t.jobs = 2
t.setTimeout(100_000)

const ACTIVE = 'tailscale exposes the gateway'
const LOST = 'tailscale does not expose the gateway'
const ASKED = ['operator.admin', 'operator.read', 'operator.write']

/** A gateway process in a fake tailnet, whose route is up. */
async function exposed(
  t: Test,
  gateway: Json = {},
  options: TailnetOptions = {}
): Promise<{ gateway: TestProcess; tailnet: Tailnet; owner: RawClient }> {
  const tailnet = await startTailnet(t, options)
  const { tailscale, ...more } = gateway
  const section = {
    mode: 'local',
    auth: { mode: 'token', token: TOKEN },
    tailscale: { mode: 'serve', socket: tailnet.socket, ...(tailscale as Json) },
    ...more
  }
  const child = await startProcess(t, { config: JSON.stringify({ gateway: section }), env: tailnet.env })
  await child.said(ACTIVE)
  const owner = await RawClient.open(`ws+unix://${child.stateDir}/gateway.sock:/`)
  await owner.connect({ client: cli })
  t.teardown(() => owner.close())
  return { gateway: child, tailnet, owner }
}

interface Outcome {
  ok: boolean
  code: unknown
  reason?: unknown
  scopes: unknown
  method: unknown
  token: boolean
}

async function connectAs(
  tailnet: Tailnet,
  peer: string,
  params: Json,
  options: { device?: TestDevice | undefined; headers?: Record<string, string>; page?: boolean } = {}
): Promise<Outcome> {
  const { device, headers = {}, page = true } = options
  const origin: Record<string, string> = page ? { origin: tailnet.origin } : {}
  const client = await RawClient.open(...tailnet.webSocket(peer, '/', { ...origin, ...headers }))
  const { ok, payload, error } = await client.connect({ scopes: ASKED, ...params }, device)
  await client.close()
  return {
    ok,
    code: error?.details?.code,
    reason: error?.details?.reason,
    scopes: payload?.auth.scopes,
    method: payload?.auth.method,
    token: payload?.auth.deviceToken !== undefined
  }
}

t.test('through managed Serve (§10, D2)', async (t) => {
  const { gateway, tailnet, owner } = await exposed(
    t,
    {
      auth: { mode: 'token', token: TOKEN, identityScopes: { 'Carol@Example.com': ['operator.read'] } }
    },
    {
      peers: {
        alice: { ip: '100.64.0.1', login: 'alice@example.com', displayName: 'Alice' },
        bob: { ip: '100.64.0.2', login: 'bob@example.com', displayName: 'Bob' },
        carol: { ip: 'fd7a:115c:a1e0::5', login: 'carol@example.com', displayName: 'Carol' },
        jürgen: { ip: '100.64.0.4', login: 'jürgen@example.com', displayName: 'Jürgen' },
        runner: { ip: '100.64.0.3', tagged: true }
      }
    }
  )
  const admitted = { ok: true, method: 'tailscale', token: false }
  const rows: [name: string, peer: string, params: Json, options: Parameters<typeof connectAs>[3], want: Json][] = [
    [
      'D2: the owner is let in at once, as asked',
      'alice',
      { client: controlUi },
      { device: new TestDevice() },
      { ...admitted, scopes: ASKED }
    ],
    [
      'D2: identityScopes are what another login gets',
      'carol',
      { client: controlUi },
      { device: new TestDevice() },
      { ...admitted, scopes: ['operator.read'] }
    ],
    [
      'D2: any other login is asked to pair',
      'bob',
      { client: controlUi },
      { device: new TestDevice() },
      { ok: false, code: 'PAIRING_REQUIRED', reason: 'not-paired' }
    ],
    [
      'a Q-encoded login is decoded',
      'jürgen',
      { client: controlUi },
      { device: new TestDevice() },
      { ok: false, code: 'PAIRING_REQUIRED' }
    ],
    [
      'a tagged machine is nobody',
      'runner',
      { client: controlUi },
      { device: new TestDevice() },
      { ok: false, code: 'AUTH_TOKEN_MISSING' }
    ],
    [
      'a browser brings its device',
      'alice',
      { client: controlUi },
      {},
      { ok: false, code: 'CONTROL_UI_DEVICE_IDENTITY_REQUIRED' }
    ],
    [
      "the owner's CLI is asked to pair",
      'alice',
      { client: cli },
      { device: new TestDevice(), page: false },
      { ok: false, code: 'PAIRING_REQUIRED', reason: 'not-paired' }
    ],
    [
      "the owner's node is asked to pair",
      'alice',
      { client: nodeHost, role: 'node', scopes: [] },
      { device: new TestDevice(), page: false },
      { ok: false, code: 'PAIRING_REQUIRED' }
    ],
    [
      'a CLI without a device',
      'alice',
      { client: cli },
      { page: false },
      { ok: false, code: 'DEVICE_IDENTITY_REQUIRED' }
    ],
    [
      'a wrong token is answered for, whoever asks',
      'alice',
      { client: controlUi, auth: { token: 'wrong' } },
      { device: new TestDevice() },
      { ok: false, code: 'AUTH_TOKEN_MISMATCH' }
    ],
    [
      'a device token that a browser remembers, and nobody issued, keeps nobody out',
      'alice',
      { client: controlUi, auth: { deviceToken: 'stale' } },
      { device: new TestDevice() },
      admitted
    ],
    ['a TUI is one of our UIs', 'alice', { client: tui }, { device: new TestDevice(), page: false }, admitted],
    [
      'the token lets a CLI in, with no scopes',
      'bob',
      { client: cli, auth: { token: TOKEN } },
      { page: false },
      { ok: true, method: 'token', scopes: [] }
    ],
    [
      'x-openclaw-scopes narrows',
      'alice',
      { client: controlUi },
      { device: new TestDevice(), headers: { 'x-openclaw-scopes': 'operator.read' } },
      { ...admitted, scopes: ['operator.read'] }
    ],
    [
      'S7: a foreign page',
      'alice',
      { client: controlUi },
      { device: new TestDevice(), page: false, headers: { origin: 'https://evil.example' } },
      { ok: false, code: 'CONTROL_UI_ORIGIN_NOT_ALLOWED' }
    ],
    [
      'a forged login is overwritten',
      'bob',
      { client: controlUi },
      { device: new TestDevice(), headers: { 'tailscale-user-login': 'alice@example.com' } },
      { ok: false, code: 'PAIRING_REQUIRED' }
    ]
  ]
  for (const [name, peer, params, options, want] of rows) {
    await t.test(name, async (t) => t.match(await connectAs(tailnet, peer, params, options), want))
  }

  await t.test('nothing is left behind of the owner: no record, no token; others wait with their name', async (t) => {
    const { payload } = await owner.call('device.pair.list', {})
    const { paired, pending } = payload as { paired: unknown[]; pending: Json[] }
    t.same(paired, [])
    t.same(
      new Set(pending.map((each) => each.user)),
      new Set(['bob@example.com', 'jürgen@example.com', 'alice@example.com'])
    )
    t.ok(pending.every((each) => each.remoteIp !== undefined))
  })

  await t.test('a paired device of another login comes in with what it was granted', async (t) => {
    const device = new TestDevice()
    const params = { client: controlUi, scopes: ['operator.read'] }
    t.match(await connectAs(tailnet, 'bob', params, { device }), { ok: false, code: 'PAIRING_REQUIRED' })
    const { payload } = await owner.call('device.pair.list', {})
    const request = (payload as { pending: Json[] }).pending.find((each) => each.deviceId === device.id)
    t.equal((await owner.call('device.pair.approve', { requestId: request?.requestId })).ok, true)
    t.match(await connectAs(tailnet, 'bob', params, { device }), {
      ok: true,
      method: 'tailscale',
      scopes: ['operator.read'],
      token: false
    })
    t.match(await connectAs(tailnet, 'bob', { client: controlUi }, { device }), { ok: false, reason: 'scope-upgrade' })
  })

  await t.test('users.self is who whois says, and presence shows it', async (t) => {
    const client = await RawClient.open(...tailnet.webSocket('alice', '/', { origin: tailnet.origin }))
    const { payload } = await client.connect({ client: controlUi, scopes: ASKED }, new TestDevice())
    t.equal(payload?.snapshot.controlUiIdentityUrl, 'https://box.tail1.ts.net/')
    const self = await client.call('users.self', {})
    t.match(self.payload, { profile: { id: 'alice@example.com', displayName: 'Alice', emails: ['alice@example.com'] } })
    const presence = (await client.call('system-presence')).payload as unknown as Json[]
    t.ok(presence.some((each) => (each.user as Json | undefined)?.email === 'alice@example.com'))
    await client.close()
  })

  await t.test('S10 R8: HTTP with the identity alone', async (t) => {
    for (const [path, headers, want] of [
      ['/control-ui-config.json', {}, 200],
      ['/metrics', {}, 401],
      ['/metrics', { authorization: `Bearer ${TOKEN}` }, 200],
      ['/metrics', { tailscale_user_login: 'alice@example.com' }, 403],
      ['/healthz', {}, 200],
      ['/', {}, 200]
    ] as const) {
      t.equal((await tailnet.request('alice', path, { headers })).status, want, `${path} ${Object.keys(headers)}`)
    }
    t.equal((await tailnet.request('runner', '/control-ui-config.json')).status, 401, 'a tagged machine')
  })

  await t.test('the same headers at the main port are refused', async (t) => {
    const forged = {
      'x-forwarded-for': '100.64.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'box.tail1.ts.net',
      'tailscale-user-login': 'alice@example.com'
    }
    const answer = await fetch(`${gateway.http}/control-ui-config.json`, { headers: forged })
    t.equal(answer.status, 403)
    t.match(await answer.json(), { error: { type: 'proxy_attribution_required' } })
  })

  await t.test('status says what is wanted and what there is', async (t) => {
    const { payload } = await owner.call('status')
    t.match(payload?.gateway, {
      tailscale: {
        mode: 'serve',
        intended: 'serve',
        actual: 'serve',
        phase: 'active',
        url: 'https://box.tail1.ts.net/'
      }
    })
  })
})

t.test('R7: allowTailscale: false, and everything needs the shared secret', async (t) => {
  const { tailnet } = await exposed(t, { auth: { mode: 'token', token: TOKEN, allowTailscale: false } })
  const device = new TestDevice()
  t.match(await connectAs(tailnet, 'alice', { client: controlUi }, { device }), {
    ok: false,
    code: 'AUTH_TOKEN_MISSING'
  })
  t.equal((await tailnet.request('alice', '/control-ui-config.json')).status, 401)
})

t.test('D2: a tagged machine has no owner', async (t) => {
  const { tailnet } = await exposed(t, {}, { tagged: true })
  const device = new TestDevice()
  t.match(await connectAs(tailnet, 'alice', { client: controlUi }, { device }), { code: 'PAIRING_REQUIRED' })
})

t.test('whois that fails or is slow lets nobody in, and nobody else is kept waiting', async (t) => {
  const { tailnet, owner } = await exposed(t, {}, { whoisFails: true, whoisDelayMs: 300 })
  const device = new TestDevice()
  const slow = connectAs(tailnet, 'alice', { client: controlUi }, { device })
  t.equal((await owner.call('health')).ok, true)
  t.match(await slow, { ok: false, code: 'AUTH_TOKEN_MISSING' })
})

t.test('an older Tailscale gets a port of loopback, which no other process can use', async (t) => {
  const { tailnet } = await exposed(t, {}, { version: '1.80.0' })
  const device = new TestDevice()
  t.match(await connectAs(tailnet, 'alice', { client: controlUi }, { device }), { ok: true, method: 'tailscale' })
  const target = String((await tailnet.route())?.target)
  t.match(target, /^\d+$/)
  t.equal((await fetch(`http://127.0.0.1:${target}/healthz`)).status, 403, 'a caller without the marks of Serve')
})

t.test('Funnel: the password always, and no identity', async (t) => {
  const { tailnet } = await exposed(t, {
    auth: { mode: 'password', password: TOKEN },
    tailscale: { mode: 'funnel' }
  })
  const device = new TestDevice()
  for (const peer of ['public', 'alice']) {
    t.match(await connectAs(tailnet, peer, { client: controlUi }, { device }), { code: 'AUTH_PASSWORD_MISSING' }, peer)
    t.match(await connectAs(tailnet, peer, { client: cli, auth: { password: TOKEN } }, { page: false }), {
      ok: true,
      scopes: []
    })
    t.match(await connectAs(tailnet, peer, { client: cli, auth: { password: TOKEN } }, { device, page: false }), {
      code: 'PAIRING_REQUIRED'
    })
    t.equal((await tailnet.request(peer, '/control-ui-config.json')).status, 401)
  }
})

t.test("D4: an operator's own Serve towards the main port", async (t) => {
  const tailnet = await startTailnet(t)
  const start = (allowTailscale: boolean | undefined) =>
    startProcess(t, {
      config: JSON.stringify({
        gateway: {
          mode: 'local',
          auth: { mode: 'token', token: TOKEN, ...(allowTailscale === undefined ? {} : { allowTailscale }) },
          tailscale: { socket: tailnet.socket }
        }
      }),
      env: tailnet.env
    })
  const open = await start(true)
  tailnet.serve(`http://127.0.0.1:${open.port}`)
  const device = new TestDevice()
  t.match(await connectAs(tailnet, 'alice', { client: controlUi }, { device }), {
    ok: true,
    method: 'tailscale',
    scopes: ASKED
  })
  t.match(await connectAs(tailnet, 'bob', { client: controlUi }, { device: new TestDevice() }), {
    code: 'PAIRING_REQUIRED'
  })
  t.equal((await tailnet.request('alice', '/metrics')).status, 401, 'R8')
  t.equal(
    (await tailnet.request('runner', '/control-ui-config.json')).status,
    403,
    'a tagged machine is not attributed'
  )
  for (const allow of [undefined, false]) {
    const closed = await start(allow)
    tailnet.serve(`http://127.0.0.1:${closed.port}`)
    t.equal((await tailnet.request('alice', '/control-ui-config.json')).status, 403, `allowTailscale: ${allow}`)
  }
})

t.test('D3: a tailscaled that dies, stays away, and comes back', async (t) => {
  const { gateway, tailnet, owner } = await exposed(t)
  await tailnet.kill()
  await gateway.said(LOST)
  const lost = (await owner.call('status')).payload?.gateway as { tailscale: Json }
  t.match(lost.tailscale, { intended: 'serve', actual: 'off', phase: 'retrying', error: /./ })
  t.equal((await owner.call('health')).ok, true, 'local access goes on')
  t.equal((await fetch(`${gateway.http}/healthz`)).status, 200)
  await tailnet.start()
  await gateway.said(ACTIVE, 2)
  t.equal((await tailnet.request('alice', '/control-ui-config.json')).status, 200)
  gateway.child.kill('SIGTERM')
  t.equal(await gateway.exited, 0)
  t.equal(await tailnet.route(), undefined, 'the route goes with the gateway')
})

t.test('D3: without Tailscale the gateway runs, and says so', async (t) => {
  const gateway = await startProcess(t, {
    config: JSON.stringify({
      gateway: {
        mode: 'local',
        auth: { mode: 'token', token: TOKEN },
        tailscale: { mode: 'serve', socket: '/nowhere/tailscaled.sock' }
      }
    }),
    env: { PATH: '/usr/bin:/bin' }
  })
  await gateway.said(LOST)
  t.equal((await fetch(`${gateway.http}/healthz`)).status, 200)
})
