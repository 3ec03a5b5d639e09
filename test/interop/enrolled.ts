import type { Test } from 'tap'
import { controlUi, nodeHost, tui } from '../support/client.ts'
import { type RequestCase, requestTests, type SocketCase, settle, socketTests, straightTo } from './caller.ts'
import { all, api, backend, both, from, macos, page, read, webchat } from './clients.ts'
import { metadataHint, refusedWith, roleUpgrade, saysWho, unattributed } from './differences.ts'
import { edit } from './pair.ts'
import { behindProxy } from './proxied.ts'

type Json = Record<string, unknown>

const PASSWORD = 'the-password-of-this-machine'
const NICK = 'nick@example.com'
const nick = { ...from, 'x-user': NICK }
const onPage = { ...nick, ...page }
const capped = (cap: string) => ({ ...onPage, 'x-openclaw-scopes': cap })
const ui = (scopes: string[] | undefined): Json => ({ client: controlUi, scopes })

const enrolment: readonly SocketCase[] = [
  { name: 'a browser that asks for more than the list', headers: onPage, params: ui(both), device: 'page', want: 'ok' },
  { name: 'a browser that does not ask', headers: onPage, params: ui(undefined), device: 'new', want: 'ok' },
  {
    name: 'a browser that asks for nothing',
    headers: onPage,
    params: ui([]),
    device: 'new',
    want: 'ok'
  },
  {
    name: 'a browser that does not ask, narrowed to read',
    headers: capped('operator.read'),
    params: ui(undefined),
    device: 'new',
    want: 'ok'
  },
  {
    name: 'a browser that asks for nothing, narrowed to read',
    headers: capped('operator.read'),
    params: ui([]),
    device: 'new',
    want: 'ok'
  },
  {
    name: 'a browser that asks for all, narrowed to read',
    headers: capped('operator.read'),
    params: ui(all),
    device: 'new',
    want: 'ok'
  },
  { name: 'a browser, narrowed to nothing', headers: capped(''), params: ui(read), device: 'new', want: 'ok' },
  {
    name: 'WebChat',
    headers: onPage,
    params: { client: webchat, scopes: read },
    device: 'new',
    want: 'ok',
    differs: 'no browser keeps a device token where a proxy speaks for it',
    ours: { auth: { deviceToken: null, issuedAtMs: null } }
  },
  ...['openclaw-macos', 'openclaw-ios', 'openclaw-android', 'openclaw-linux'].map((id) => ({
    name: `a native app, ${id}`,
    headers: nick,
    params: { client: { ...macos, id }, scopes: read },
    device: id,
    want: 'ok'
  })),
  {
    name: 'a CLI waits for a person',
    headers: nick,
    params: { scopes: read },
    device: 'new',
    want: 'not-paired',
    ...saysWho(NICK)
  },
  {
    name: 'a back end waits for a person',
    headers: nick,
    params: { client: backend },
    device: 'new',
    want: 'not-paired',
    ...saysWho(NICK)
  },
  {
    name: 'a node waits for a person',
    headers: nick,
    params: { client: nodeHost, role: 'node' },
    device: 'new',
    want: 'not-paired',
    ...saysWho(NICK)
  },
  {
    name: 'a TUI waits for a person',
    headers: nick,
    params: { client: tui, scopes: read },
    device: 'new',
    want: 'not-paired',
    ...saysWho(NICK)
  },
  { name: 'a browser that comes back', headers: onPage, params: ui(read), device: 'page', want: 'ok' },
  {
    name: 'a browser that asks for more of the list',
    headers: onPage,
    params: ui(['operator.read', 'operator.write']),
    device: 'page',
    want: 'ok'
  },
  {
    name: 'a browser that asks for what is not on the list',
    headers: onPage,
    params: ui(['operator.pairing']),
    device: 'page',
    want: 'ok'
  },
  {
    name: 'a browser on another platform',
    headers: onPage,
    params: { client: { ...controlUi, platform: 'other' }, scopes: read },
    device: 'page',
    want: 'metadata-upgrade',
    ...saysWho(NICK, metadataHint)
  },
  {
    name: 'a browser as a node',
    headers: nick,
    params: { client: { ...nodeHost, platform: 'web' }, role: 'node' },
    device: 'page',
    want: 'role-upgrade',
    ...saysWho(NICK, roleUpgrade)
  },
  {
    name: 'a browser of who is granted admin',
    headers: { ...onPage, 'x-user': 'boss@example.com' },
    params: ui(both),
    device: 'new',
    want: 'ok'
  },
  {
    name: 'S7: a foreign page',
    headers: { ...nick, origin: 'https://evil.example' },
    params: ui(read),
    device: 'new',
    want: 'origin not allowed'
  }
]

const password = { auth: { password: PASSWORD } }
const withPassword: readonly SocketCase[] = [
  { name: 'a CLI with the password', params: { ...password, scopes: all }, want: 'ok' },
  { name: 'a back end with the password', params: { ...password, client: backend, scopes: all }, want: 'ok' },
  { name: 'a new CLI with the password', params: { ...password, scopes: read }, device: 'new', want: 'ok' },
  {
    name: 'a new node with the password',
    params: { ...password, client: nodeHost, role: 'node' },
    device: 'new',
    want: 'ok'
  },
  {
    name: 'a page of this machine with the password',
    headers: { origin: 'http://127.0.0.1:5173' },
    params: { ...password, client: controlUi, scopes: read },
    device: 'new',
    want: 'ok'
  },
  { name: 'a wrong password', params: { auth: { password: 'wrong' } }, want: 'password_mismatch' },
  {
    name: 'a wrong password of a new CLI',
    params: { auth: { password: 'wrong' } },
    device: 'new',
    want: 'password_mismatch'
  },
  { name: 'nothing', want: 'DEVICE_IDENTITY_REQUIRED' }
]

const behind: readonly SocketCase[] = [
  { name: 'the password as a token', params: { auth: { token: PASSWORD } }, want: 'trusted_proxy_user_missing' },
  { name: 'the password through the proxy', headers: from, params: password, want: 'trusted_proxy_user_missing' },
  { name: 'the password beside an identity', headers: nick, params: password, want: 'ok' },
  {
    name: 'the password through a proxy that tells by Via alone',
    headers: { via: '1.1 proxy' },
    params: password,
    want: 'ok',
    differs: 'S3: any header of a front end removes locality',
    ours: refusedWith('unauthorized', {
      code: 'AUTH_UNAUTHORIZED',
      authReason: 'trusted_proxy_user_missing',
      canRetryWithDeviceToken: false,
      recommendedNextStep: 'review_auth_configuration'
    })
  },
  { name: 'a new device with nothing', device: 'new', want: 'trusted_proxy_user_missing' }
]

const bearer = (text: string) => ({ authorization: `Bearer ${text}` })
const requests: readonly RequestCase[] = [
  { name: 'the password as a bearer', path: api, headers: bearer(PASSWORD), body: 'none', want: 200 },
  {
    name: 'the password as a bearer is not narrowed',
    path: api,
    headers: { ...bearer(PASSWORD), 'x-openclaw-scopes': '' },
    body: 'none',
    want: 200
  },
  {
    name: 'the password at the Control UI',
    path: '/control-ui-config.json',
    headers: bearer(PASSWORD),
    body: 'keys',
    want: 200
  },
  { name: 'a wrong bearer', path: api, headers: bearer('wrong'), want: 401 },
  {
    name: 'the password, Basic',
    path: api,
    headers: { authorization: `Basic ${Buffer.from(`:${PASSWORD}`).toString('base64')}` },
    want: 401
  },
  {
    name: 'the password as a bearer through the proxy',
    path: api,
    headers: { ...bearer(PASSWORD), ...from },
    want: 401
  }
]

const closed: readonly SocketCase[] = [
  { name: 'an identity', headers: nick, device: 'new', want: 'trusted_proxy_loopback_source' },
  {
    name: 'an identity, with a token',
    headers: nick,
    params: { auth: { token: 'x' } },
    want: 'trusted_proxy_loopback_source'
  },
  { name: 'an identity, with nothing', headers: nick, want: 'DEVICE_IDENTITY_REQUIRED' },
  { name: 'a new device with nothing', device: 'new', want: 'trusted_proxy_loopback_source' },
  { name: 'the password as a token', params: { auth: { token: PASSWORD } }, want: 'trusted_proxy_loopback_source' },
  { name: 'the password through the proxy', headers: from, params: password, want: 'trusted_proxy_loopback_source' }
]
const closedRequests: readonly RequestCase[] = [
  { name: 'an identity at the API', path: api, headers: nick, want: 401 },
  { name: 'an identity at the Control UI', path: '/control-ui-config.json', headers: nick, want: 401 },
  { name: 'liveness through the proxy', path: '/healthz', headers: nick, want: 200 },
  {
    name: 'an identity without a client',
    path: '/control-ui-config.json',
    headers: { 'x-user': 'nick@example.com' },
    want: 401,
    differs: 'S1: what cannot be attributed is refused before anything else',
    ours: unattributed
  }
]

/** Both gateways where the proxy's users enrol their devices, with a password for this machine (§9). */
export async function enrolledTests(t: Test): Promise<void> {
  const pair = await behindProxy({ deviceAutoApprove: { enabled: true } }, { password: PASSWORD })
  t.teardown(() => pair.stop())
  const ways = straightTo(pair)
  await t.test('devices that enrol', (t) => socketTests(t, pair, ways, enrolment))
  await t.test('the password of this machine', async (t) => {
    await socketTests(t, pair, ways, [...withPassword, ...behind])
    await requestTests(t, pair, ways, requests)
  })
  await t.test('allowLoopback is taken away while they run', async (t) => {
    edit(pair, (gateway) => {
      const auth = gateway.auth as { trustedProxy: Json }
      return { ...gateway, auth: { ...auth, trustedProxy: { ...auth.trustedProxy, allowLoopback: false } } }
    })
    await settle(pair, ways, { name: 'an identity', path: api, headers: nick, want: 401 })
    await socketTests(t, pair, ways, [...closed, ...withPassword])
    await requestTests(t, pair, ways, [...closedRequests, ...requests])
  })
}
