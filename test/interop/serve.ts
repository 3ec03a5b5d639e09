import type { Test } from 'tap'
import { nodeHost, tui } from '../support/client.ts'
import { TAILNET_NAME, type Tailnet } from '../support/tailscaled.ts'
import { type RequestCase, requestTests, type SocketCase, settle, socketTests, straightTo } from './caller.ts'
import { all, api, backend, bearer, macos, read, webchat, withToken } from './clients.ts'
import { admittedWith, asAsked, healthNeedsAttribution, notPaired, saysWho, wait } from './differences.ts'
import { edit, type Pair } from './pair.ts'
import { config, exposed, page, ui } from './tailnet.ts'

type Json = Record<string, unknown>

const ALICE = 'alice@example.com'
const identityUrl = `https://${TAILNET_NAME}/`

const profile = {
  avatarMime: null,
  createdAt: null,
  githubIdentity: null,
  hasAvatar: null,
  mergedInto: null,
  updatedAt: null
}

const owner: readonly SocketCase[] = [
  { name: 'in the Control UI, as asked', headers: page, params: ui(all), device: 'new', want: 'ok' },
  { name: 'in the Control UI, without scopes', headers: page, params: ui([]), device: 'new', want: 'ok' },
  {
    name: 'in the Control UI, without a device',
    headers: page,
    params: ui(all),
    want: 'CONTROL_UI_DEVICE_IDENTITY_REQUIRED'
  },
  {
    name: 'narrowed by x-openclaw-scopes',
    headers: { ...page, 'x-openclaw-scopes': 'operator.read' },
    params: ui(all),
    device: 'new',
    want: 'ok'
  },
  {
    name: 'users.self',
    headers: page,
    params: ui(all),
    device: 'new',
    call: { method: 'users.self', pick: (payload) => payload },
    want: 'ok',
    differs: 'a user is who the front end says; there is no record of profiles',
    ours: { call: { profile: { id: 'alice@example.com', ...profile } } }
  },
  {
    name: 'users.self of a reader',
    headers: page,
    params: ui(read),
    device: 'new',
    call: { method: 'users.self', pick: () => 'a profile' },
    want: 'ok',
    differs: 'the published contract: users.self needs operator.write',
    ours: {
      call: {
        error: {
          code: 'FORBIDDEN',
          message: 'missing scope: operator.write',
          details: { code: 'MISSING_SCOPE', missingScope: 'operator.write', requiredScopes: ['operator.write'] }
        }
      }
    }
  },
  {
    name: 'in WebChat',
    headers: page,
    params: { client: webchat, scopes: read },
    device: 'new',
    want: 'not-paired',
    differs: 'R7: WebChat is a page of ours as the Control UI is',
    ours: admittedWith('tailscale', read, { identityUrl })
  },
  {
    name: 'in a TUI',
    params: { client: tui, scopes: read },
    device: 'tui',
    want: 'ok'
  },
  {
    name: 'in a native app',
    params: { client: macos, scopes: read },
    device: 'new',
    want: 'not-paired',
    ...saysWho(ALICE)
  },
  { name: 'in a back end', params: { client: backend }, device: 'new', want: 'not-paired', ...saysWho(ALICE) },
  { name: 'in a CLI', params: { scopes: read }, device: 'new', want: 'not-paired', ...saysWho(ALICE) },
  {
    name: 'in a CLI, of a page',
    headers: page,
    params: { scopes: read },
    device: 'new',
    want: 'not-paired',
    ...saysWho(ALICE)
  },
  { name: 'in a CLI, without a device', params: { scopes: read }, want: 'DEVICE_IDENTITY_REQUIRED' },
  {
    name: 'as a node',
    params: { client: nodeHost, role: 'node' },
    device: 'new',
    want: 'not-paired',
    ...saysWho(ALICE)
  },
  {
    name: 'with a wrong token',
    headers: page,
    params: ui(all, { token: 'wrong' }),
    device: 'new',
    want: 'token_mismatch'
  },
  {
    name: 'with a wrong password',
    headers: page,
    params: ui(all, { password: 'wrong' }),
    device: 'new',
    want: 'token_mismatch'
  },
  {
    name: 'with a wrong device token',
    headers: page,
    params: ui(all, { deviceToken: 'wrong' }),
    device: 'new',
    want: 'ok'
  },
  { name: 'with the token, in a CLI', params: withToken({ scopes: all }), want: 'ok' },
  {
    name: 'with the token, in a new CLI',
    params: withToken({ scopes: read }),
    device: 'new',
    want: 'not-paired'
  },
  {
    name: 'with the token, in the Control UI',
    headers: page,
    params: withToken(ui(read)),
    device: 'new',
    want: 'not-paired'
  },
  {
    name: 'S7: on a foreign page',
    headers: { origin: 'https://evil.example' },
    params: ui(all),
    device: 'new',
    want: 'origin not allowed'
  },
  {
    name: 'on a page of loopback',
    headers: { origin: 'http://127.0.0.1:5173' },
    params: ui(all),
    device: 'new',
    want: 'origin not allowed'
  }
]

const grantedRead: readonly SocketCase[] = [
  {
    name: 'in the Control UI',
    headers: page,
    params: ui(all),
    device: 'new',
    want: 'ok',
    differs: 'D2: a login that does not own the machine gets what identityScopes grants',
    ours: { auth: { scopes: read } }
  },
  { name: 'that asks for it', headers: page, params: ui(read), device: 'new', want: 'ok' },
  { name: 'that asks for nothing', headers: page, params: ui([]), device: 'new', want: 'ok', ...asAsked([]) }
]

const stranger = (name: string, headers: Record<string, string> = page): SocketCase => ({
  name,
  headers,
  params: ui(read),
  device: 'bob',
  want: 'ok',
  differs: 'D2: any other login asks for its device to be paired',
  ours: notPaired(read, { ...wait, user: 'bob@example.com' })
})

const paste = (name: string): SocketCase => {
  const message =
    'unauthorized: gateway token missing (paste the token in Control UI settings, or open a link made by openclaw dashboard on the gateway host)'
  return {
    name,
    headers: page,
    params: ui(all),
    device: 'new',
    want: 'token_missing',
    differs: 'D12: the hint names a command that there is',
    ours: { error: { message }, close: { reason: message.slice(0, 120) } }
  }
}

const requests: readonly RequestCase[] = [
  { name: 'R8: at the API', path: api, want: 401 },
  { name: 'R8: at the API, of our page', path: api, headers: page, want: 401 },
  { name: 'with the token at the API', path: api, headers: bearer(), body: 'none', want: 200 },
  { name: 'at the Control UI, of our page', path: config, headers: page, body: 'keys', want: 200 },
  {
    name: 'at the Control UI, of its own',
    path: config,
    headers: { 'sec-fetch-site': 'same-origin' },
    body: 'keys',
    want: 200
  },
  {
    name: 'at the Control UI, of no page',
    path: config,
    body: 'none',
    want: 401,
    differs: '§10: an identity is enough for the configuration of the Control UI',
    ours: { status: 200, type: null, content: null }
  },
  {
    name: 'with a wrong token at the Control UI',
    path: config,
    headers: { ...page, authorization: 'Bearer x' },
    want: 401
  },
  { name: 'the page', path: '/', body: 'none', want: 200 },
  { name: 'liveness', path: '/healthz', want: 200 },
  { name: 'readiness', path: '/readyz', want: 200 }
]

const forged = {
  'x-forwarded-for': '100.64.0.1',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': TAILNET_NAME,
  'tailscale-user-login': 'alice@example.com'
}
const login = { 'tailscale-user-login': 'alice@example.com' }

/** Both gateways behind a Serve of their own (§10). */
export async function serveTests(t: Test): Promise<void> {
  const { pair, tailnets, from } = await exposed(t, 'serve', (token) => ({
    auth: { mode: 'token', token, identityScopes: { 'carol@example.com': read } }
  }))
  await t.test('the same commands, in the same order', async (t) => {
    const first = ({ calls }: Tailnet) =>
      calls()
        .slice(0, 5)
        .map((args) => args.join(' ').replace(/(?<=false ).*/, 'TARGET'))
    t.strictSame(first(tailnets[1]), [
      'version',
      'status --json',
      'serve status --json',
      'serve --yes --bg=false TARGET',
      'status --json'
    ])
    t.strictSame(first(tailnets[0]), first(tailnets[1]))
    const targets = await Promise.all(tailnets.map(async (tailnet) => (await tailnet.route())?.target))
    t.match(targets[0], /^unix:/, 'D4: a socket that only this user can open')
    t.match(targets[1], /^\d+$/)
    t.not(targets[1], String(pair.reference.port), 'never the port of the gateway')
  })
  await t.test('the owner of the machine', async (t) => {
    await socketTests(t, pair, from('alice'), owner)
    await requestTests(t, pair, from('alice'), requests)
  })
  await t.test('a login with identityScopes', (t) => socketTests(t, pair, from('carol'), grantedRead))
  await t.test('any other login', (t) =>
    socketTests(t, pair, from('bob'), [
      stranger('in the Control UI'),
      stranger('that says it is the owner', { ...page, 'tailscale-user-login': 'alice@example.com' }),
      { name: 'with the token, in a CLI', params: withToken({ scopes: all }), want: 'ok' }
    ])
  )
  await t.test('a tagged machine', async (t) => {
    await socketTests(t, pair, from('runner'), [
      paste('is nobody'),
      { name: 'with the token, in a CLI', params: withToken({ scopes: all }), want: 'ok' }
    ])
    await requestTests(t, pair, from('runner'), [
      { name: 'at the Control UI', path: config, headers: page, want: 401 },
      { name: 'liveness', path: '/healthz', want: 200 }
    ])
  })
  await t.test('the same headers at the main port', (t) => atMain(t, pair))
  await t.test('who was asked about', (t) => {
    const asked = [
      ...new Set(
        tailnets[1]
          .calls()
          .filter(([word]) => word === 'whois')
          .map((args) => args.join(' '))
      )
    ]
    t.strictSame(
      asked.sort(),
      ['1', '2', '4'].map((n) => `whois --json 100.64.0.${n}`)
    )
    const lookups = tailnets[0].lookups().filter((path) => path.includes('whois?addr=100.64.'))
    t.strictSame(
      [...new Set(lookups)].sort(),
      ['1', '2', '4'].map((n) => `/localapi/v0/whois?addr=100.64.0.${n}`)
    )
    t.end()
  })
  await t.test('R7: allowTailscale is taken away while they run', async (t) => {
    edit(pair, (gateway) => ({ ...gateway, auth: { ...(gateway.auth as Json), allowTailscale: false } }))
    await settle(pair, from('alice'), { name: 'the owner', path: config, headers: page, want: 401 })
    await socketTests(t, pair, from('alice'), [
      paste('the owner'),
      { name: 'with the token, in a CLI', params: withToken({ scopes: all }), want: 'ok' }
    ])
  })
}

async function atMain(t: Test, pair: Pair): Promise<void> {
  const main = straightTo(pair)
  await requestTests(t, pair, main, [
    ...[config, '/readyz', '/'].map((path) => ({ name: path, path, headers: forged, want: 403 })),
    { name: 'the API', path: api, headers: forged, want: 403 },
    { name: '/healthz', path: '/healthz', headers: forged, want: 200, ...healthNeedsAttribution },
    { name: 'the login alone', path: config, headers: login, want: 403 },
    { name: 'the login alone at /healthz', path: '/healthz', headers: login, want: 200, ...healthNeedsAttribution }
  ])
  await socketTests(t, pair, main, [
    { name: 'a socket', headers: forged, device: 'new', want: 403 },
    { name: 'a socket with the login alone', headers: login, device: 'new', want: 403 },
    {
      name: 'and a CLI of this machine, which is no user',
      params: withToken({ scopes: all }),
      call: { method: 'users.self', pick: (payload) => payload },
      want: 'ok'
    }
  ])
}
