import type { Test } from 'tap'
import { type RequestCase, requestTests, type SocketCase, socketTests, straightTo } from './caller.ts'
import { api, from, page, withApi } from './clients.ts'
import { foreignHost, foreignPage, healthNeedsAttribution, twiceIsNobody, unattributed } from './differences.ts'
import { type Pair, startPair } from './pair.ts'
import { vouchedTests } from './vouched.ts'

type Json = Record<string, unknown>

/** Both gateways behind a proxy of this machine. */
export function behindProxy(trustedProxy: Json, auth: Json = {}): Promise<Pair> {
  const gateway = (): Json => ({
    ...withApi,
    trustedProxies: ['127.0.0.1'],
    auth: {
      mode: 'trusted-proxy',
      identityScopes: { 'boss@EXAMPLE.com': ['operator.admin'] },
      trustedProxy: { userHeader: 'x-user', allowLoopback: true, ...trustedProxy },
      ...auth
    }
  })
  return startPair({ ours: { gateway }, reference: { gateway } })
}

const vouched = { ...from, 'x-via-proxy': '1', 'x-second': '1' }
const nick = { ...vouched, 'x-user': 'nick@example.com' }
const eve = { ...vouched, 'x-user': 'eve@example.com' }

const unbelieved: readonly [name: string, headers: Record<string, string>, reason: string][] = [
  ['a required header is absent', { ...from, 'x-user': 'nick' }, 'trusted_proxy_missing_header_X-Via-Proxy'],
  ['a required header is blank', { ...nick, 'x-via-proxy': ' ' }, 'trusted_proxy_missing_header_X-Via-Proxy'],
  ['the second required header is blank', { ...nick, 'x-second': '' }, 'trusted_proxy_missing_header_X-Second'],
  ['no header at all', {}, 'trusted_proxy_missing_header_X-Via-Proxy'],
  ['the user header is absent', vouched, 'trusted_proxy_user_missing'],
  ['the user header is blank', { ...nick, 'x-user': '  ' }, 'trusted_proxy_user_missing'],
  ['a user who is not allowed', eve, 'trusted_proxy_user_not_allowed'],
  ['another case is another user', { ...nick, 'x-user': 'Nick@example.com' }, 'trusted_proxy_user_not_allowed']
]

const spelling = (reason: string): Partial<SocketCase> =>
  reason === reason.toLowerCase()
    ? {}
    : {
        differs: 'header names are in lower case',
        ours: { error: { details: { authReason: reason.toLowerCase() } } }
      }

const refusedSockets = unbelieved.flatMap(([name, headers, want]): SocketCase[] => [
  { name, headers, device: 'new', want, ...spelling(want) },
  { name: `${name}, with a token`, headers, params: { auth: { token: 'x' } }, want, ...spelling(want) },
  { name: `${name}, with nothing`, headers, want: 'DEVICE_IDENTITY_REQUIRED' }
])
const refusedRequests = unbelieved.flatMap(([name, headers]): RequestCase[] => [
  { name: `${name}, at the API`, path: api, headers, want: 401 },
  { name: `${name}, at the Control UI`, path: '/control-ui-config.json', headers, want: 401 }
])

const { 'x-forwarded-for': _, ...noClient } = nick
const badClients: readonly [name: string, headers: Record<string, string>][] = [
  ['a loopback client', { ...nick, 'x-forwarded-for': '127.0.0.1' }],
  ['garbage for a client', { ...nick, 'x-forwarded-for': 'garbage' }],
  ['X-Real-IP alone', { ...noClient, 'x-real-ip': '203.0.113.7' }]
]

const atConnect = {
  differs: '§9: what cannot be attributed is refused at the upgrade',
  ours: { error: null, close: null, upgrade: unattributed }
}
const unattributedSockets: readonly SocketCase[] = [
  ...badClients.map(([name, headers]) => ({ name, headers, device: 'new', want: 403 })),
  { name: 'no client', headers: noClient, want: 'DEVICE_IDENTITY_REQUIRED', ...atConnect },
  {
    name: 'no client, with a device',
    headers: noClient,
    device: 'new',
    want: 'proxy_attribution_required',
    ...atConnect
  },
  {
    name: 'no client, with a token',
    headers: noClient,
    params: { auth: { token: 'x' } },
    want: 'proxy_attribution_required',
    ...atConnect
  }
]
const unattributedRequests: readonly RequestCase[] = [
  ...['/control-ui-config.json', '/readyz', '/'].flatMap((path) =>
    badClients.map(([name, headers]) => ({ name: `${name}, at ${path}`, path, headers, want: 403 }))
  ),
  ...[['no client', noClient] as const, ...badClients].map(([name, headers]) => ({
    name: `${name}, at /healthz`,
    path: '/healthz',
    headers,
    want: 200,
    ...healthNeedsAttribution
  })),
  { name: 'no client, at the API', path: api, headers: noClient, want: 403 },
  { name: 'no client, at the Control UI', path: '/control-ui-config.json', headers: noClient, want: 403 },
  ...['/readyz', '/'].map((path) => ({
    name: `no client, at ${path}`,
    path,
    headers: noClient,
    body: 'none' as const,
    want: 200,
    differs: 'S3: whatever names a user came through a front end, and gets nothing that is for this machine',
    ours: unattributed
  })),
  {
    name: 'a user header that some front ends fold into another',
    path: api,
    headers: { ...nick, x_user: 'boss@example.com' },
    body: 'none',
    want: 200,
    ...twiceIsNobody
  },
  {
    name: 'two user headers',
    path: api,
    headers: { ...nick, 'x-user': ['nick@example.com', 'eve@example.com'] },
    want: 401,
    ...twiceIsNobody
  },
  {
    name: 'two lines of X-Forwarded-For',
    path: api,
    headers: { ...nick, 'x-forwarded-for': ['198.51.100.1', '203.0.113.7'] },
    body: 'none',
    want: 200,
    differs: 'S4: a trusted header that comes twice is refused',
    ours: unattributed
  }
]

const caps: readonly [cap: string, want: number][] = [
  ['operator.read', 200],
  ['operator.write', 200],
  ['operator.admin', 200],
  ['operator.pairing', 403],
  ['bogus', 403],
  ['', 403]
]
const requests: readonly RequestCase[] = [
  { name: 'an API call', path: api, body: 'none', headers: nick, want: 200 },
  ...caps.map(([cap, want]) => ({
    name: `an API call, narrowed to "${cap}"`,
    path: api,
    body: 'none' as const,
    headers: { ...nick, 'x-openclaw-scopes': cap },
    want
  })),
  { name: 'an API call of our page', path: api, body: 'none', headers: { ...nick, ...page }, want: 200 },
  {
    name: 'an API call of a foreign page',
    path: api,
    headers: { ...nick, origin: 'https://evil.example' },
    want: 401,
    ...foreignPage
  },
  {
    name: 'another host',
    path: api,
    headers: { ...nick, host: 'evil.example' },
    body: 'none',
    want: 200,
    ...foreignHost
  },
  { name: 'what the page may know', path: '/control-ui-config.json', body: 'keys', headers: nick, want: 200 },
  { name: 'readiness, through the proxy', path: '/readyz', headers: from, want: 200 },
  { name: 'liveness, through the proxy', path: '/healthz', headers: from, want: 200 }
]

/** Both gateways behind a proxy whose users' devices wait for a person (§9). */
export async function proxiedTests(t: Test): Promise<void> {
  const pair = await behindProxy({
    requiredHeaders: ['X-Via-Proxy', 'X-Second'],
    allowUsers: ['nick@example.com', 'boss@example.com']
  })
  t.teardown(() => pair.stop())
  const ways = straightTo(pair)
  await t.test('who is not believed', async (t) => {
    await socketTests(t, pair, ways, [...refusedSockets, ...unattributedSockets])
    await requestTests(t, pair, ways, [...refusedRequests, ...unattributedRequests])
  })
  await t.test('who is, over HTTP', (t) => requestTests(t, pair, ways, requests))
  await t.test('who is, over WebSocket', (t) => vouchedTests(t, pair, ways, { nobody: vouched, nick, eve }))
}
