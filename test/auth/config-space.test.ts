import t from 'tap'
import { type Access, compileAccess } from '../../src/auth/access.ts'
import { isLoopback } from '../../src/auth/addresses.ts'
import { Authenticator } from '../../src/auth/authenticate.ts'
import { listenRefusal, listenTargets, startRefusal } from '../../src/auth/bind-policy.ts'
import type { Ingress } from '../../src/auth/ingress.ts'
import type { AuthMode, BindMode, GatewayConfig, TrustedProxyConfig } from '../../src/config/types.ts'
import { gatewayOf, ingressOf, nobody } from '../support/access.ts'
import { startProcess } from '../support/gateway.ts'

// S11: every combination of what decides who can reach a gateway and who gets in.

t.setTimeout(100_000)

/** The first four are this host alone. */
const ADDRESSES = ['127.0.0.1', '127.0.0.2', '::1', '::ffff:127.0.0.1', '0.0.0.0', '::', '192.168.1.5', 'fe80::1%eth0']

const dimensions = {
  bind: ['loopback', 'lan', 'tailnet', 'custom', 'auto'] satisfies BindMode[],
  customBindHost: [undefined, ...ADDRESSES, 'host', ''],
  mode: ['token', 'password', 'trusted-proxy', 'none'] satisfies AuthMode[],
  token: [undefined, '', 'secret'],
  password: [undefined, ' ', 'secret'],
  tailscale: ['off', 'serve', 'funnel'] as const,
  allowTailscale: [undefined, true, false],
  trustedProxies: [[], ['10.0.0.1'], ['127.0.0.1'], ['0.0.0.0/0'], ['10.0.0.1/']],
  trustedProxy: [undefined, 'good', 'blank', 'cookie', 'socket', 'plain jwks'] as const
}
type Choice = { [Name in keyof typeof dimensions]: (typeof dimensions)[Name][number] }

function* combinations(): Generator<Choice> {
  const names = Object.keys(dimensions) as (keyof typeof dimensions)[]
  function* rest(index: number, chosen: Partial<Choice>): Generator<Choice> {
    const name = names[index]
    if (name === undefined) {
      yield chosen as Choice
      return
    }
    const values: readonly unknown[] =
      name === 'customBindHost' && chosen.bind !== 'custom' ? [undefined] : dimensions[name]
    for (const value of values) yield* rest(index + 1, { ...chosen, [name]: value })
  }
  yield* rest(0, {})
}

/** Says from the documentation alone, and with no code of the policy, whether a gateway with this choice starts. */
function starts(choice: Choice): boolean {
  const { bind, customBindHost, mode, token, password, tailscale, trustedProxies, trustedProxy } = choice
  if (bind === 'custom' && !ADDRESSES.includes(customBindHost ?? '')) return false
  if (trustedProxies[0] === '0.0.0.0/0' || trustedProxies[0] === '10.0.0.1/') return false
  const stays = bind === 'loopback' || bind === 'auto' || (bind === 'custom' && ADDRESSES.indexOf(customBindHost!) < 4)
  if (tailscale !== 'off' && (!stays || mode === 'none')) return false
  if (tailscale === 'funnel' && mode !== 'password') return false
  switch (mode) {
    case 'none':
      return stays
    case 'token':
      return token === 'secret'
    case 'password':
      return password === 'secret'
    case 'trusted-proxy': {
      if (token !== undefined) return false
      return trustedProxy === 'socket' || (trustedProxy === 'good' && trustedProxies.length > 0)
    }
  }
}

const base = await gatewayOf({ auth: { mode: 'token', token: 'x' } })
const proxyRules: TrustedProxyConfig = {
  userHeader: 'x-user',
  requiredHeaders: [],
  allowUsers: [],
  allowLoopback: true,
  socket: undefined,
  jwt: undefined,
  deviceAutoApprove: { enabled: false, scopes: [], default: true }
}
const proxies: Record<string, TrustedProxyConfig | undefined> = {
  good: proxyRules,
  blank: { ...proxyRules, userHeader: ' ' },
  cookie: { ...proxyRules, userHeader: 'cookie' },
  socket: { ...proxyRules, socket: { path: '/run/x.sock', mode: 0o660, group: undefined } },
  'plain jwks': {
    ...proxyRules,
    socket: { path: '/run/x.sock', mode: 0o660, group: undefined },
    jwt: { issuer: 'i', audience: ['a'], jwks: 'http://keys.example/jwks', header: 'x-assertion', userClaim: 'email' }
  }
}

function configOf(choice: Choice): GatewayConfig {
  const secret = (value: string | undefined) => (value === undefined ? undefined : { value, source: 'file' as const })
  return {
    ...base,
    bind: choice.bind,
    customBindHost: choice.customBindHost || undefined,
    tailscale: { mode: choice.tailscale, socket: undefined },
    trustedProxies: choice.trustedProxies,
    auth: {
      ...base.auth,
      mode: choice.mode,
      token: secret(choice.token),
      password: secret(choice.password),
      allowTailscale: choice.allowTailscale,
      trustedProxy: proxies[choice.trustedProxy ?? '']
    }
  }
}

/** Callers from beyond this machine who prove nothing, as the ingress settles them. */
const far = { forwarded: true, local: false, client: '203.0.113.7' } as const
const strangers: Record<string, Ingress> = {
  'from the network': ingressOf({ peer: '203.0.113.7', client: '203.0.113.7', local: false, host: '192.168.1.5' }),
  'through a proxy that names nobody': ingressOf({ ...far, claims: { by: 'proxy', headers: new Map() } }),
  'through Serve, as a forger': ingressOf({
    ...far,
    listener: 'tailscale',
    peer: '',
    claims: { by: 'tailscale', login: 'a@b.c', funnel: false }
  }),
  'through Funnel': ingressOf({
    ...far,
    listener: 'tailscale',
    peer: '',
    claims: { by: 'tailscale', login: undefined, funnel: true }
  })
}

t.test('S11 R3 R4: what starts is what the oracle says, and no stranger gets in', async (t) => {
  const count = { all: 0, start: 0, wide: 0 }
  const known = new Map<string, Promise<string[]>>()
  for (const choice of combinations()) {
    count.all++
    const gateway = configOf(choice)
    const refusal = startRefusal(gateway)
    const name = JSON.stringify(choice)
    if ((refusal === undefined) !== starts(choice)) t.fail(`${refusal?.code ?? 'starts'}: ${name}`)
    if (refusal !== undefined) {
      if (!/gateway\.|--|tailscale|Gateway auth/.test(refusal.message) || refusal.fix.command === '')
        t.fail(`says too little: ${name}`)
      continue
    }
    count.start++
    for (const loopbackWorks of [true, false])
      for (const tailnetAddress of [undefined, '100.64.0.9']) {
        const hosts = listenTargets(gateway, { loopbackWorks, tailnetAddress }).map(({ host }) => host)
        const open = hosts.filter((host) => listenRefusal(gateway, host) === undefined)
        const wide = open.some((host) => !isLoopback(host)) || choice.tailscale !== 'off'
        if (wide) count.wide++
        if (wide && choice.mode === 'none') t.fail(`exposed without auth: ${name}`)
        if (choice.tailscale !== 'off' && choice.bind !== 'auto' && hosts.some((host) => !isLoopback(host)))
          t.fail(`Tailscale and a wide bind: ${name}`)
        if (new Set(hosts).size !== hosts.length) t.fail(`the same address twice: ${name}`)
      }
    // Who gets in does not depend on where it listens.
    const { bind: _bind, customBindHost: _host, ...rest } = choice
    const key = JSON.stringify(rest)
    const let_in =
      known.get(key) ??
      admitted(
        compileAccess(gateway, { hostname: 'box', addresses: () => new Set(), tailnetName: undefined, localNames: [] })
      )
    known.set(key, let_in)
    for (const who of await let_in) t.fail(`${who} is let in: ${name}`)
  }
  t.ok(count.start > 1_000 && count.wide > 1_000, JSON.stringify(count))
})

async function admitted(access: Access): Promise<string[]> {
  const subject = new Authenticator(() => access, nobody, nobody)
  const found: string[] = []
  for (const [name, ingress] of Object.entries(strangers))
    for (const surface of ['http-api', 'control-ui', 'websocket'] as const)
      for (const presented of [{}, { token: '' }, { token: ' ', password: ' ' }]) {
        const answer = await subject.authenticate({
          surface,
          ingress,
          origin: undefined,
          presented,
          deviceId: undefined,
          role: 'operator'
        })
        if (answer.ok) found.push(`${name} on ${surface}`)
      }
  return found
}

t.test('and the process does the same', { jobs: 2 }, async (t) => {
  const all = [...combinations()].filter(({ bind, customBindHost, trustedProxy, tailscale, token, password }) => {
    // Where only this machine is reached, and what a file can say: blank secrets and words are refused by its schema.
    const written = trustedProxy !== 'blank' && token !== '' && password !== ' '
    const here = bind === 'loopback' || (bind === 'custom' && customBindHost === '127.0.0.1')
    return written && trustedProxy !== 'socket' && (here || tailscale !== 'off' || bind === 'lan')
  })
  const seed = Number(process.env.SEED ?? Date.now() % 100_000)
  t.comment(`seed ${seed}`)
  let state = seed
  const next = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((state / 2_147_483_648) * below)
  }
  // What would listen beyond this machine is not for here.
  const safe = all.filter((choice) => !starts(choice) || choice.bind !== 'lan')
  const [good, bad] = [safe.filter(starts), safe.filter((choice) => !starts(choice))]
  const some = [
    ...Array.from({ length: 6 }, () => good[next(good.length)]!),
    ...Array.from({ length: 10 }, () => bad[next(bad.length)]!)
  ]
  for (const [index, choice] of some.entries()) {
    t.test(`${index + 1}: ${JSON.stringify(choice)}`, async (t) => {
      const { mode, token, password, allowTailscale, trustedProxy, trustedProxies, tailscale, bind, customBindHost } =
        choice
      const rules: Record<string, object> = {
        good: { userHeader: 'x-user', allowLoopback: true },
        cookie: { userHeader: 'cookie' },
        'plain jwks': {
          userHeader: 'x-user',
          jwt: { issuer: 'i', audience: 'a', jwks: 'http://keys.example/jwks', header: 'x-assertion' }
        }
      }
      const section = {
        mode: 'local',
        bind,
        customBindHost,
        trustedProxies,
        tailscale: { mode: tailscale, socket: '/nowhere/tailscaled.sock' },
        auth: { mode, token, password, allowTailscale, trustedProxy: rules[trustedProxy ?? ''] }
      }
      const gateway = await startProcess(t, {
        config: JSON.stringify({ gateway: section }),
        expectExit: true,
        env: { PATH: '/usr/bin:/bin' }
      })
      const ready = gateway.output().includes('is ready on')
      t.equal(ready, starts(choice), gateway.output())
      if (!ready) return t.equal(await gateway.exited, 78)
      const answer = await fetch(`${gateway.http}/metrics`)
      t.equal(answer.status, mode === 'none' ? 200 : 401)
      gateway.child.kill('SIGTERM')
      t.equal(await gateway.exited, 0)
    })
  }
})
