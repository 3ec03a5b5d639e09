import type { Test } from 'tap'
import { type RequestCase, requestTests, type SocketCase, socketTests } from './caller.ts'
import { all, api, bearer, read, withToken } from './clients.ts'
import { config, exposed, page, ui } from './tailnet.ts'

const visitor: readonly SocketCase[] = [
  { name: 'the Control UI', headers: page, params: ui(all), device: 'new', want: 'password_missing' },
  { name: 'a new CLI', params: { scopes: read }, device: 'new', want: 'password_missing' },
  { name: 'a CLI with nothing', want: 'DEVICE_IDENTITY_REQUIRED' },
  {
    name: 'the Control UI with a wrong password',
    headers: page,
    params: ui(all, { password: 'wrong' }),
    device: 'new',
    want: 'password_mismatch'
  },
  { name: 'a CLI with a wrong password', params: { auth: { password: 'wrong' } }, want: 'password_mismatch' },
  { name: 'a CLI with the password', params: ({ token }) => ({ scopes: all, auth: { password: token } }), want: 'ok' },
  { name: 'a CLI with the password as its token', params: withToken({ scopes: all }), want: 'ok' },
  {
    name: 'a new CLI with the password',
    params: ({ token }) => ({ scopes: read, auth: { password: token } }),
    device: 'new',
    want: 'not-paired'
  },
  {
    name: 'the Control UI with the password',
    headers: page,
    params: ({ token }) => ui(read, { password: token }),
    device: 'new',
    want: 'not-paired'
  }
]
const visits: readonly RequestCase[] = [
  { name: 'the API', path: api, headers: page, want: 401 },
  { name: 'the API with the password', path: api, headers: bearer(), body: 'none', want: 200 },
  { name: 'the Control UI', path: config, headers: page, want: 401 },
  { name: 'the Control UI with the password', path: config, headers: bearer(), body: 'keys', want: 200 },
  { name: 'the page', path: '/', body: 'none', want: 200 },
  { name: 'liveness', path: '/healthz', want: 200 },
  { name: 'readiness', path: '/readyz', want: 200 }
]

/** Both gateways behind a Funnel of their own, where nobody is known (§10). */
export async function funnelTests(t: Test): Promise<void> {
  const { pair, tailnets, from } = await exposed(t, 'funnel', (token) => ({
    auth: { mode: 'password', password: token }
  }))
  for (const peer of ['public', 'alice']) {
    await t.test(peer === 'public' ? 'a visitor' : 'the owner of the machine', async (t) => {
      await socketTests(t, pair, from(peer), visitor)
      await requestTests(t, pair, from(peer), visits)
    })
  }
  await t.test('the claim, and nobody is asked about', (t) => {
    for (const tailnet of tailnets) {
      t.match(tailnet.calls()[3], ['funnel', '--yes', '--bg=false', /./])
      t.notOk(tailnet.calls().some(([word]) => word === 'whois'))
      t.notOk(tailnet.lookups().some((path) => path.includes('addr=100.64.')))
    }
    t.end()
  })
}
