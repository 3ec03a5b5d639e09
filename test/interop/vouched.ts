import type { Test } from 'tap'
import { controlUi, nodeHost, tui } from '../support/client.ts'
import { approveAll, type SocketCase, socketTests, type Ways } from './caller.ts'
import { admin, all, backend, both, macos, page, read, webchat } from './clients.ts'
import { admittedWith, asAsked, metadataHint, refusedWith, roleUpgrade, saysWho } from './differences.ts'
import type { Pair } from './pair.ts'

type Json = Record<string, unknown>
type Headers = Record<string, string>

const NICK = 'nick@example.com'

/** Sockets of users whom the proxy names: without a device, with a new one, and with one that a person approved. */
export async function vouchedTests(
  t: Test,
  pair: Pair,
  ways: Ways,
  { nobody, nick, eve }: Record<'nobody' | 'nick' | 'eve', Headers>
): Promise<void> {
  const boss = { ...nick, 'x-user': 'boss@example.com' }
  await socketTests(t, pair, ways, deviceLess(nick, boss))
  await socketTests(t, pair, ways, arrivals(nick, boss))
  await approveAll(ways, boss, () => ({}))
  await socketTests(t, pair, ways, [...browsers(nick), ...apps(nobody, nick, eve), ...granted(boss)])
}

function deviceLess(nick: Headers, boss: Headers): SocketCase[] {
  const granted = (cap: string) => ({ ...boss, 'x-openclaw-scopes': cap })
  return [
    { name: 'a CLI without a device', headers: nick, params: { scopes: all }, want: 'ok' },
    { name: 'a back end without a device', headers: nick, params: { client: backend, scopes: all }, want: 'ok' },
    ...[controlUi, webchat, tui].map((client) => ({
      name: `${client.id} without a device`,
      headers: { ...nick, ...page },
      params: { client, scopes: all },
      want: 'ok'
    })),
    {
      name: 'a node without a device',
      headers: nick,
      params: { client: nodeHost, role: 'node' },
      want: 'DEVICE_IDENTITY_REQUIRED'
    },
    {
      name: 'a chain, from the right',
      headers: { ...nick, 'x-forwarded-for': '198.51.100.1, 203.0.113.7' },
      want: 'ok'
    },
    {
      name: 'a chain from this machine',
      headers: { ...nick, 'x-forwarded-for': '127.0.0.1, 203.0.113.7' },
      want: 'ok'
    },
    { name: 'a token beside the identity', headers: nick, params: { auth: { token: 'wrong' } }, want: 'ok' },
    { name: 'who is granted admin', headers: boss, params: { scopes: admin }, want: 'ok' },
    {
      name: 'who is granted admin asks for its parts',
      headers: boss,
      params: { scopes: all },
      want: 'ok',
      differs: 'S8: requested ∩ granted, where admin holds the rest',
      ours: { auth: { scopes: all } }
    },
    {
      name: 'who is granted admin asks for read',
      headers: boss,
      params: { scopes: read },
      want: 'ok',
      ...asAsked(read)
    },
    { name: 'who is granted admin asks for nothing', headers: boss, want: 'ok', ...asAsked([]) },
    {
      name: 'who is granted admin, narrowed to read',
      headers: granted('operator.read'),
      params: { scopes: all },
      want: 'ok',
      differs: 'S8: asked ∩ cap ∩ granted, and admin holds read',
      ours: { auth: { scopes: read } }
    },
    {
      name: 'who is granted admin, narrowed to admin',
      headers: granted('operator.admin'),
      params: { scopes: admin },
      want: 'ok'
    },
    { name: 'who is granted admin, narrowed to nothing', headers: granted(''), params: { scopes: all }, want: 'ok' },
    ...[controlUi, { ...backend, id: 'cli', mode: 'cli' }].map((client) => ({
      name: `S7: a foreign page, as ${client.id}`,
      headers: { ...nick, origin: 'https://evil.example' },
      params: { client },
      want: 'origin not allowed'
    })),
    {
      name: 'a page of loopback, through the proxy',
      headers: { ...nick, origin: 'http://127.0.0.1:5173' },
      params: { client: controlUi },
      want: 'origin not allowed'
    },
    {
      name: 'a page without an origin',
      headers: nick,
      params: { client: controlUi },
      want: 'origin missing or invalid'
    },
    { name: 'an opaque origin', headers: { ...nick, origin: 'null' }, want: 'origin missing or invalid' }
  ]
}

function arrivals(nick: Headers, boss: Headers): SocketCase[] {
  const ui = { client: controlUi, scopes: both }
  return [
    {
      name: 'a new browser',
      headers: { ...nick, ...page },
      params: ui,
      device: 'browser',
      want: 'not-paired',
      ...saysWho(NICK)
    },
    {
      name: 'a new browser of who is granted admin',
      headers: { ...boss, ...page },
      params: { ...ui, scopes: read },
      device: 'browser of the boss',
      want: 'not-paired',
      ...saysWho('boss@example.com')
    },
    {
      name: 'a new native app',
      headers: nick,
      params: { client: macos, scopes: read },
      device: 'mac',
      want: 'not-paired',
      ...saysWho(NICK)
    },
    { name: 'a new CLI', headers: nick, params: { scopes: read }, device: 'new', want: 'not-paired', ...saysWho(NICK) },
    {
      name: 'a new back end',
      headers: nick,
      params: { client: backend },
      device: 'new',
      want: 'not-paired',
      ...saysWho(NICK)
    },
    {
      name: 'a new node',
      headers: nick,
      params: { client: nodeHost, role: 'node' },
      device: 'new',
      want: 'not-paired',
      ...saysWho(NICK)
    }
  ]
}

function browsers(nick: Headers): SocketCase[] {
  const device = 'browser'
  const headers = { ...nick, ...page }
  const ui = (scopes: string[] | undefined): Json => ({ client: controlUi, scopes })
  const rows: [name: string, scopes: string[] | undefined, cap?: string][] = [
    ['as it was granted', both],
    ['asks for less', read],
    ['asks for nothing', []],
    ['does not ask', undefined],
    ['asks for a part of admin', ['operator.pairing']],
    ['narrowed to read', both, 'operator.read'],
    ['narrowed beside what it asks', read, 'operator.admin'],
    ['narrowed below what it asks', admin, 'operator.read'],
    ['narrowed to nothing', both, ''],
    ['narrowed to nonsense', both, 'bogus']
  ]
  return [
    ...rows.map(([name, scopes, cap]) => ({
      name: `a browser, ${name}`,
      headers: cap === undefined ? headers : { ...headers, 'x-openclaw-scopes': cap },
      params: ui(scopes),
      device,
      want: 'ok'
    })),
    {
      name: 'a browser on another platform',
      headers,
      params: { client: { ...controlUi, platform: 'other' }, scopes: both },
      device,
      want: 'metadata-upgrade',
      ...saysWho(NICK, metadataHint)
    },
    {
      name: 'a browser as a node',
      headers: nick,
      params: { client: { ...nodeHost, platform: 'web' }, role: 'node' },
      device,
      want: 'role-upgrade',
      ...saysWho(NICK, roleUpgrade)
    },
    {
      name: 'users.self',
      headers,
      params: ui(both),
      device,
      call: { method: 'users.self', pick: (payload) => payload },
      want: 'ok',
      differs: 'a user is who the front end says; there is no record of profiles',
      ours: {
        call: {
          profile: {
            id: 'nick@example.com',
            avatarMime: null,
            createdAt: null,
            githubIdentity: null,
            hasAvatar: null,
            mergedInto: null,
            updatedAt: null
          }
        }
      }
    },
    {
      name: 'who is present',
      headers,
      params: ui(both),
      device,
      call: { method: 'system-presence', pick: ownEntry },
      want: 'ok',
      differs: 'an operator is not called a node; there is no record of profiles',
      ours: {
        call: {
          host: 'unknown',
          text: 'Operator: unknown · mode webchat',
          user: { id: 'nick@example.com', identity: null }
        }
      }
    }
  ]
}

function ownEntry(entries: Json[]): Json {
  const entry = entries.find(({ reason, user }) => reason === 'connect' && user !== undefined)!
  const { text, host, ip, mode, roles, scopes, user } = entry
  return { text, host, ip, mode, roles, scopes, user: { ...(user as Json), avatarUrl: undefined } }
}

function apps(nobody: Headers, nick: Headers, eve: Headers): SocketCase[] {
  const device = 'mac'
  const app = { client: macos, scopes: read }
  const own = (_: unknown, deviceToken: string | undefined): Json => ({ ...app, auth: { deviceToken } })
  const wrong = { ...app, auth: { deviceToken: 'wrong' } }
  return [
    { name: 'a native app', headers: nick, params: app, device, want: 'ok' },
    { name: 'a native app with its token', headers: nick, params: own, device, want: 'ok' },
    { name: 'a native app with a wrong token', headers: nick, params: wrong, device, want: 'ok' },
    { name: 'a native app with its token, of nobody', headers: nobody, params: own, device, want: 'ok' },
    { name: 'a native app with its token, past the proxy', params: own, device, want: 'ok' },
    {
      name: 'a native app with a wrong token, of nobody',
      headers: nobody,
      params: wrong,
      device,
      want: 'device_token_mismatch'
    },
    {
      name: 'a native app with its token, of a user who is not allowed',
      headers: eve,
      params: own,
      device,
      want: 'ok',
      differs: 'S4: whom allowUsers keeps out comes in by nothing else',
      ours: refusedWith('unauthorized', {
        code: 'AUTH_UNAUTHORIZED',
        authReason: 'trusted_proxy_user_not_allowed',
        canRetryWithDeviceToken: false,
        recommendedNextStep: 'review_auth_configuration'
      })
    }
  ]
}

function granted(boss: Headers): SocketCase[] {
  const own = { headers: { ...boss, ...page }, device: 'browser of the boss' }
  const wider = 'D2: what an identity is granted holds with a device as without'
  return [
    {
      name: 'a device of who is granted admin, as it was paired',
      ...own,
      params: { client: controlUi, scopes: read },
      want: 'ok',
      ...asAsked(read)
    },
    ...[both, ['operator.write']].map((scopes) => ({
      name: `a device of who is granted admin asks for ${scopes.join(' and ')}`,
      ...own,
      params: { client: controlUi, scopes },
      want: 'scope-upgrade',
      differs: wider,
      ours: admittedWith('trusted-proxy', scopes)
    }))
  ]
}
