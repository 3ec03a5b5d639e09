import { readFileSync } from 'node:fs'
import t from 'tap'
import { GatewayError } from '../../src/client/core.ts'
import { explain } from '../../ui/state/refusal.ts'
import { type Exposure, waysIn } from '../../ui/state/ways-in.ts'

const here = new URL('http://127.0.0.1:18789/')
const there = new URL('https://claw.example.com/')
const loopback = ['127.0.0.1:18789', '[::1]:18789', '/home/me/.openclaw/gateway.sock']
const serving = [...loopback, '/home/me/.openclaw/gateway-tailscale.sock']
const url = 'https://box.tail1.ts.net/'

t.test('where the gateway can be reached from', async (t) => {
  const rows: [name: string, exposure: Exposure, page: URL, want: string[] | undefined][] = [
    ['is not known before it is told', {}, here, undefined],
    ['loopback', { listeners: loopback, tailscale: { mode: 'off' } }, here, ['This machine only']],
    [
      'Serve',
      { listeners: serving, tailscale: { mode: 'serve', actual: 'serve', url } },
      new URL(url),
      ['This machine', 'The tailnet (Serve)']
    ],
    [
      'Serve by a port of loopback',
      { listeners: [...loopback, '127.0.0.1:44473'], tailscale: { mode: 'serve', actual: 'serve', url } },
      here,
      ['This machine', 'The tailnet (Serve)']
    ],
    [
      'Serve that is down',
      { listeners: serving, tailscale: { mode: 'serve', actual: 'off' } },
      here,
      ['This machine only']
    ],
    [
      'Funnel',
      { listeners: serving, tailscale: { mode: 'funnel', actual: 'funnel', url } },
      new URL(url),
      ['This machine', 'The internet (Funnel)']
    ],
    [
      'a proxy with a socket of its own',
      { listeners: ['127.0.0.1:18789', '/run/gate/gateway.sock', ...loopback.slice(1)], authMode: 'trusted-proxy' },
      there,
      ['This machine', 'The proxy at /run/gate/gateway.sock']
    ],
    [
      'the owner’s socket in trusted-proxy mode is no proxy’s',
      { listeners: loopback, authMode: 'trusted-proxy' },
      here,
      ['This machine only']
    ],
    [
      'the local network',
      { bind: 'lan', listeners: ['0.0.0.0:18789', ...loopback.slice(2)] },
      new URL('http://192.168.1.5:18789/'),
      ['This machine', 'The network (every address of this machine)']
    ],
    [
      'the tailnet',
      { bind: 'tailnet', listeners: ['100.101.102.103:18789', ...loopback] },
      here,
      ['This machine', 'The tailnet (100.101.102.103)']
    ],
    [
      'chosen addresses',
      { bind: 'custom', listeners: ['[fd00::5]:18789', ...loopback] },
      here,
      ['This machine', 'The network (fd00::5)']
    ],
    [
      'a front end that only this page knows of',
      { listeners: loopback, tailscale: { mode: 'off' } },
      there,
      ['This machine', 'The front end at claw.example.com']
    ]
  ]
  for (const [name, exposure, page, want] of rows) {
    const ways = waysIn(exposure, page)
    t.same(
      ways?.map(({ from }) => from),
      want,
      name
    )
    t.same(
      ways?.filter(({ everyone }) => everyone).map(({ from }) => from) ?? [],
      (want ?? []).filter((each) => each.includes('internet')),
      `${name}: what is public`
    )
  }
})

t.test('every reason for which a proxy is not believed has words of its own', async (t) => {
  const source = readFileSync(new URL('../../src/auth/trusted-proxy.ts', import.meta.url), 'utf8')
  const reasons = new Set([...source.matchAll(/trusted_proxy_[a-z_]+/g)].map(([reason]) => reason))
  t.ok(reasons.size >= 9, `${reasons.size} reasons`)
  const told = new Set<string>()
  for (const reason of reasons) {
    const full = reason.endsWith('_') ? `${reason}x-gate` : reason
    const { title, text, advice, admin, fix } = refused({ authReason: full }, there)
    t.not(title, refused({}, there).title, full)
    t.ok(
      advice && admin && fix?.command.startsWith('openclaw ') && fix.where === 'gateway host',
      `${full} says what to do`
    )
    told.add(text)
  }
  t.equal(told.size, reasons.size, 'no two of them the same')
})

t.test('a page of the gateway host itself is sent to the launch link, unless the proxy named somebody', async (t) => {
  const dashboard = { command: 'openclaw dashboard', where: 'gateway host' }
  t.same(refused({ authReason: 'trusted_proxy_loopback_source' }, here).fix, dashboard)
  t.same(refused({ authReason: 'trusted_proxy_user_missing' }, new URL('http://[::1]:18789/')).fix, dashboard)
  t.match(refused({ authReason: 'trusted_proxy_user_not_allowed' }, here), {
    title: 'You are not on the list',
    final: true
  })
})

t.test('a refusal that this page does not know is told in the gateway’s words, with its fix', async (t) => {
  const fix = { command: 'openclaw doctor', where: 'gateway host' }
  t.match(refused({ code: 'SOMETHING_NEW', fix }, here), { text: 'Unauthorized.', fix })
})

function refused(details: object, page: URL) {
  return explain(new GatewayError('INVALID_REQUEST', 'unauthorized', { details }), page)
}
