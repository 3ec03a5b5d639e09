import fc from 'fast-check'
import t from 'tap'
import { compileCidrs, isLoopback, parseAuthority } from '../../src/auth/addresses.ts'
import { compileHeaders } from '../../src/auth/headers.ts'
import { hostAllowed, hostPolicy } from '../../src/auth/host.ts'
import { type Ingress, type IngressPolicy, ingress, type Listener } from '../../src/auth/ingress.ts'
import { checkOrigin, compileOrigins } from '../../src/auth/origin.ts'

const listeners: Listener[] = ['main', 'local', 'tailscale', 'proxy']
const kindOf = compileHeaders({ identity: ['x-auth-user', 'cf-access-jwt-assertion'], single: ['x-via-proxy'] })
const nobody: IngressPolicy = {
  trustedProxies: { has: () => false },
  allowRealIpFallback: false,
  kindOf,
  proxySocket: false,
  operatorServe: false
}
const trusting = (...entries: string[]): IngressPolicy => {
  const proxies = compileCidrs(entries)
  if ('invalid' in proxies) throw new Error(proxies.invalid)
  return { ...nobody, trustedProxies: proxies }
}
const raw = (headers: Record<string, string>) => Object.entries(headers).flat()
const refused = { refused: 'proxy_attribution_required' }
const hopHeaders = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-anything',
  'x-forwarded',
  'x-real-ip',
  'via',
  'tailscale-user-login',
  'tailscale-funnel-request',
  'cf-connecting-ip',
  'cf-ray',
  'x-client-ip',
  'true-client-ip'
]
const peers = ['127.0.0.1', '::1', '::ffff:127.0.0.1', '127.9.8.7', '10.0.0.7', '203.0.113.9', 'fe80::1%eth0', '', 'x']

const here: Ingress = {
  listener: 'main',
  peer: '127.0.0.1',
  client: '127.0.0.1',
  forwarded: false,
  local: true,
  host: '127.0.0.1:18789',
  claims: undefined,
  cap: undefined
}

t.test('ingress', async (t) => {
  const from = (peer: string, headers: Record<string, string>, policy = nobody, listener: Listener = 'main') =>
    ingress({ listener, peer, rawHeaders: raw({ host: '127.0.0.1:18789', ...headers }) }, policy)

  t.test('S3: only a direct request from loopback to a local name on the main listener is local', async () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...listeners),
        fc.constantFrom(...peers),
        fc.subarray(hopHeaders),
        fc.constantFrom('127.0.0.1', 'localhost', '[::1]:5', 'gw.example', '10.0.0.1', '127.0.0.1.evil.com', '', 'a b'),
        fc.constantFrom(nobody, trusting('127.0.0.0/8', '10.0.0.0/8', '::1')),
        (listener, peer, present, host, policy) => {
          const headers: Record<string, string> = { host }
          for (const name of present) headers[name] = '127.0.0.1'
          const found = ingress({ listener, peer, rawHeaders: raw(headers) }, policy)
          const local = 'refused' in found ? false : found.local
          const direct = listener === 'main' && isLoopback(peer) && ['127.0.0.1', 'localhost', '[::1]:5'].includes(host)
          return local === (present.length === 0 && (listener === 'local' || direct))
        }
      ),
      { numRuns: 2000 }
    )
  })
  t.test('refuses what claims a client and comes from nobody trusted', async (t) => {
    for (const name of hopHeaders.filter((each) => !/^(via|cf-|x-client|true-)/.test(each)))
      t.has(from('127.0.0.1', { [name]: '203.0.113.1' }), refused, name)
    for (const name of ['via', 'cf-ray'])
      t.has(from('127.0.0.1', { [name]: 'x' }), { local: false, client: '127.0.0.1' }, name)
  })
  t.test('S3: refuses underscore spellings of forwarding headers, from anyone', async (t) => {
    for (const name of hopHeaders.filter((each) => each.includes('-')))
      t.has(from('127.0.0.1', { [name.replaceAll('-', '_')]: '10.9.9.9' }, trusting('127.0.0.1')), refused, name)
  })
  t.test('S4: refuses a forwarding header on the owner socket', async (t) => {
    for (const name of hopHeaders) t.has(from('', { [name]: '203.0.113.1' }, trusting('127.0.0.1'), 'local'), refused)
    t.has(from('', {}, nobody, 'local'), { listener: 'local', local: true })
  })
  t.test('S5: the client is found from the right through trusted hops', async (t) => {
    const policy = trusting('127.0.0.1', '10.0.0.0/8')
    for (const [header, client] of [
      ['203.0.113.7', '203.0.113.7'],
      ['198.51.100.1, 203.0.113.7', '203.0.113.7'],
      ['127.0.0.1, 203.0.113.7', '203.0.113.7'],
      ['garbage, 203.0.113.7', '203.0.113.7'],
      ['203.0.113.7, 10.0.0.2', '203.0.113.7'],
      ['198.51.100.1, 203.0.113.7, 10.0.0.2,10.0.0.3', '203.0.113.7'],
      ['10.0.0.5, 10.0.0.2', '10.0.0.5'],
      ['192.168.1.4', '192.168.1.4'],
      ['::ffff:203.0.113.7', '203.0.113.7'],
      ['203.0.113.7, 127.0.0.1', undefined],
      ['127.0.0.1', undefined],
      ['::1', undefined],
      ['::ffff:127.0.0.1', undefined],
      ['203.0.113.7, garbage', undefined],
      ['203.0.113.7,', undefined],
      ['203.0.113.7:4711', undefined],
      ['unknown', undefined],
      ['', undefined]
    ] as const) {
      const found = from('127.0.0.1', { 'x-forwarded-for': header }, policy)
      const want = client === undefined ? refused : { client, local: false, forwarded: true }
      t.has(found, want, JSON.stringify(header))
    }
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.ipV4(), fc.constantFrom('127.0.0.1', '::1', '10.0.0.1', 'x', ''))), (forged) => {
        const found = from('10.0.0.1', { 'x-forwarded-for': [...forged, '203.0.113.7'].join(', ') }, policy)
        return !('refused' in found) && found.client === '203.0.113.7' && !found.local
      })
    )
  })
  t.test('X-Real-IP counts only where it is allowed to, from a trusted sender, without X-Forwarded-For', async (t) => {
    const fallback = { ...trusting('10.0.0.1'), allowRealIpFallback: true }
    const real = { 'x-real-ip': '203.0.113.7' }
    t.has(from('10.0.0.1', real, fallback), { client: '203.0.113.7', local: false })
    t.has(from('10.0.0.1', real, trusting('10.0.0.1')), refused)
    t.has(from('10.0.0.2', real, fallback), refused)
    t.has(from('10.0.0.1', { 'x-real-ip': '127.0.0.1' }, fallback), refused)
    t.has(from('10.0.0.1', { ...real, 'x-forwarded-for': '198.51.100.2' }, fallback), { client: '198.51.100.2' })
  })
})

t.test('D7: a Host header must name this gateway', async (t) => {
  const policy = hostPolicy({
    hostname: 'Box.lan',
    localNames: ['openclaw-2.local'],
    addresses: () => new Set(['203.0.113.5']),
    origins: ['https://gw.example:8443', '', 'nonsense', 'https://[2001:db8::5]']
  })
  for (const [host, want] of [
    ['localhost', true],
    ['LOCALHOST:18789', true],
    ['localhost.', true],
    ['127.0.0.1:1', true],
    ['[::1]:18789', true],
    ['192.168.1.20:18789', true],
    ['203.0.113.5', true],
    ['[2001:db8::5]', true],
    ['gw.example', true],
    ['GW.EXAMPLE.:443', true],
    ['box.lan', true],
    ['box.local', true],
    ['openclaw-2.local', true],
    ['203.0.113.6', false],
    ['evil.example', false],
    ['localhost.evil.example', false],
    ['127.0.0.1.nip.io', false],
    ['127.0.0.1%evil.com', false],
    ['0x7f000001', false],
    ['2130706433', false],
    ['gw.example.evil.com', false],
    ['user@localhost', false],
    ['localhost:80:80', false],
    ['localhost:x', false],
    ['localhost/', false],
    ['localhost..', false],
    ['', false],
    [undefined, false]
  ] as const)
    t.equal(
      hostAllowed({ host, claims: undefined }, policy),
      want,
      `${want ? 'allows' : 'refuses'} ${JSON.stringify(host)}`
    )
  t.same(parseAuthority('[::FFFF:127.0.0.1]:80'), { host: '127.0.0.1', port: '80' })
})

t.test('S2 S7: an Origin is one of ours, or of this machine', async (t) => {
  const local = here
  const remote: Ingress = { ...local, peer: '203.0.113.9', client: '203.0.113.9', local: false }
  const allowed = compileOrigins([
    'https://ui.example',
    'HTTPS://Mixed.Example:443/',
    undefined,
    '*',
    'chrome-extension://abcd',
    'file:///x',
    'null'
  ])
  const verdict = (origin: string | undefined, where = local, host = '127.0.0.1:18789', required = false) => {
    const found = checkOrigin({ origin, host, ingress: where, required, allowed })
    return found.ok ? 'ok' : found.reason.replace('origin ', '')
  }
  for (const [origin, want, where, host] of [
    [undefined, 'ok'],
    ['https://ui.example', 'ok', remote],
    ['https://UI.example:443', 'ok', remote],
    ['https://mixed.example', 'ok', remote],
    ['chrome-extension://abcd', 'ok', remote],
    ['http://ui.example', 'not allowed', remote],
    ['https://ui.example.evil.com', 'not allowed', remote],
    ['https://ui.example@evil.com', 'missing or invalid', remote],
    ['https://ui.example/', 'missing or invalid', remote],
    ['https://ui.example/x', 'missing or invalid', remote],
    ['https://ui.example#', 'missing or invalid', remote],
    [' https://ui.example', 'missing or invalid', remote],
    ['https://ui.exa\tmple', 'missing or invalid', remote],
    ['https://ui.example, https://evil.com', 'missing or invalid', remote],
    ['null', 'missing or invalid'],
    ['file://', 'missing or invalid'],
    ['file:///x', 'missing or invalid'],
    ['data:text/html,x', 'missing or invalid'],
    ['about:blank', 'missing or invalid'],
    ['*', 'missing or invalid'],
    ['chrome-extension://other', 'not allowed'],
    ['chrome-extension://127.0.0.1', 'not allowed'],
    ['ws://127.0.0.1', 'missing or invalid'],
    ['http://127.0.0.1:9999', 'ok'],
    ['https://localhost:3000', 'ok'],
    ['http://[::1]:1', 'ok'],
    ['http://0177.0.0.1', 'missing or invalid'],
    ['http://2130706433', 'missing or invalid'],
    ['http://127.0.0.1.evil.com', 'not allowed'],
    ['http://127.evil.com', 'not allowed'],
    ['http://localhost.evil.com', 'not allowed'],
    ['https://evil.example', 'not allowed'],
    ['http://127.0.0.1:18789', 'not allowed', remote, '127.0.0.1:18789'],
    ['http://localhost:18789', 'not allowed', remote, 'localhost:18789'],
    ['http://192.168.1.5:18789', 'ok', remote, '192.168.1.5:18789'],
    ['https://box.tail1.ts.net', 'ok', remote, 'box.tail1.ts.net'],
    ['http://box.local:18789', 'ok', remote, 'box.local:18789'],
    ['http://192.168.1.5:18790', 'not allowed', remote, '192.168.1.5:18789'],
    ['http://203.0.113.4', 'not allowed', remote, '203.0.113.4'],
    ['http://box.internal', 'not allowed', remote, 'box.internal'],
    ['http://box', 'not allowed', remote, 'box'],
    ['http://0.0.0.0', 'not allowed', remote, '0.0.0.0'],
    ['http://172.32.0.1', 'not allowed', remote, '172.32.0.1']
  ] as const)
    t.equal(
      verdict(origin, where, host),
      want,
      `${JSON.stringify(origin)} from ${where === remote ? 'elsewhere' : 'here'}`
    )
  t.equal(verdict(undefined, local, undefined, true), 'missing or invalid', 'a browser client must have one')
  t.equal(verdict('', local, undefined, true), 'missing or invalid')
})
