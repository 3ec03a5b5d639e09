import fc from 'fast-check'
import t from 'tap'
import { type Access, compileAccess } from '../../src/auth/access.ts'
import { canonicalAddress, compileCidrs, isPrivate, limiterKey } from '../../src/auth/addresses.ts'
import { Attempts } from '../../src/auth/attempts.ts'
import { Authenticator, type AuthRequest } from '../../src/auth/authenticate.ts'
import { listenTargets } from '../../src/auth/bind-policy.ts'
import { type Allowance, grant } from '../../src/auth/scopes.ts'
import { digest } from '../../src/auth/secrets.ts'
import { type AuthMethod, accepts, isOpen, SURFACES } from '../../src/auth/surfaces.ts'
import { DEFAULT_RATE_LIMIT } from '../../src/config/defaults.ts'
import type { AuthMode, BindMode } from '../../src/config/types.ts'
import { SCOPES, type Scope } from '../../src/protocol/scopes.ts'
import { accessOf, ingressOf, nobody } from '../support/access.ts'

t.test('addresses', async (t) => {
  for (const [text, want] of [
    ['127.0.0.1', '127.0.0.1'],
    [' 10.0.0.1 ', '10.0.0.1'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['::FFFF:7F00:1', '127.0.0.1'],
    ['0:0:0:0:0:ffff:10.1.2.3', '10.1.2.3'],
    ['[::1]', '::1'],
    ['0000:0:0:0:0:0:0:1', '::1'],
    ['FE80::1%eth0', 'fe80::1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['0177.0.0.1', undefined],
    ['0x7f.1', undefined],
    ['127.1', undefined],
    ['2130706433', undefined],
    ['127.0.0.1%lo', undefined],
    ['127.0.0.1.', undefined],
    ['127.0.0.1:80', undefined],
    ['127.evil.com', undefined],
    ['', undefined]
  ] as const) {
    t.equal(canonicalAddress(text), want, `S17: ${JSON.stringify(text)} is ${want ?? 'no address'}`)
  }
  t.test('S19: the limiter key is the same for every spelling of an address', async (t) => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
        const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
        const spellings = [address, `::ffff:${address}`, `::FFFF:${hex}`, `[::ffff:${hex}]`, `0:0:0:0:0:ffff:${hex}`]
        return new Set(spellings.map(limiterKey)).size === 1
      })
    )
    fc.assert(
      fc.property(fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 }), fc.nat(0xffff), (groups, other) => {
        const hex = (words: number[]) => words.map((each) => each.toString(16)).join(':')
        const padded = groups.map((each) => each.toString(16).padStart(4, '0').toUpperCase()).join(':')
        const neighbour = hex([...groups.slice(0, 4), 1, 2, 3, other])
        const keys = new Set([hex(groups), padded, `${hex(groups)}%eth0`, neighbour].map(limiterKey))
        return keys.size === 1 || groups.slice(0, 5).every((each) => each === 0)
      })
    )
    t.not(limiterKey('2001:db8:0:1::1'), limiterKey('2001:db8:0:2::1'), 'another /64 is another client')
    t.equal(limiterKey('127.0.0.1'), limiterKey('127.77.0.3'), 'the machine is one client from any loopback address')
    t.equal(limiterKey('::1'), limiterKey('127.0.0.1'))
  })
  t.test('trusted proxies are addresses and CIDRs, exactly', async (t) => {
    const proxies = compileCidrs(['10.0.0.0/8', '::ffff:192.168.1.1', '::ffff:172.16.0.0/108', 'fd00::/8'])
    if ('invalid' in proxies) throw new Error(proxies.invalid)
    for (const [address, want] of [
      ['10.200.1.1', true],
      ['::ffff:10.0.0.1', true],
      ['11.0.0.1', false],
      ['192.168.1.1', true],
      ['192.168.1.2', false],
      ['172.31.255.1', true],
      ['::ffff:172.16.0.1', true],
      ['172.32.0.1', false],
      ['fd12::1', true],
      ['fe80::1', false],
      ['', false]
    ] as const)
      t.equal(proxies.has(address), want, address)
    for (const entry of [
      '10.0.0.1/',
      '10.0.0.0/8/9',
      '10.0.0.0/33',
      '::ffff:0:0/96',
      '::ffff:10.0.0.0/8',
      '10.0.0.0/0x8',
      '10.0.0.0/ 8',
      '10.0.0.0/1e1',
      'proxy',
      '',
      '/8',
      '0.0.0.0/0',
      '::/0',
      '10.0.0.0/-1'
    ])
      t.same(compileCidrs([entry]), { invalid: entry }, `refuses ${JSON.stringify(entry)}`)
  })
})

t.test('S8: a grant is what was asked for and what the record allows, never more', async (t) => {
  const record = fc.oneof(
    fc.constant<Allowance>('all'),
    fc.subarray([...SCOPES]).map((each) => new Set(each))
  )
  const asked = fc.array(
    fc.oneof(fc.constantFrom(...SCOPES), fc.string(), fc.constantFrom('OPERATOR.ADMIN', '*', 'operator.*', '__proto__'))
  )
  fc.assert(
    fc.property(asked, record, (requested, allowed) => {
      const given = grant(requested, allowed)
      return given.every(
        (scope) =>
          requested.includes(scope) &&
          (SCOPES as readonly string[]).includes(scope) &&
          (allowed === 'all' || allowed.has(scope) || allowed.has('operator.admin'))
      )
    }),
    { numRuns: 1000 }
  )
  t.same(grant([], 'all'), [], 'asking for nothing grants nothing')
  t.same(grant(['operator.admin'], new Set<Scope>(['operator.write'])), [])
})

t.test('S10 R8: what authenticates where, default deny', async (t) => {
  const methods: AuthMethod[] = [
    'owner',
    'none',
    'token',
    'password',
    'named-token',
    'device-token',
    'setup-code',
    'trusted-proxy',
    'tailscale'
  ]
  const want: Record<string, AuthMethod[]> = {
    probe: [],
    static: [],
    'http-api': ['owner', 'none', 'token', 'password', 'named-token', 'trusted-proxy'],
    'control-ui': methods.filter((each) => each !== 'setup-code'),
    websocket: methods
  }
  t.same([...SURFACES].sort(), Object.keys(want).sort())
  for (const surface of SURFACES)
    for (const method of methods)
      t.equal(accepts(surface, method), want[surface]!.includes(method), `${method} on ${surface}`)
  t.notOk(accepts('http-api', 'tailscale'), 'R8: an HTTP API never takes a Tailscale identity')
  t.same(SURFACES.filter(isOpen), ['probe', 'static'])
})

t.test('failed guesses', async (t) => {
  t.test('S19: the limit locks, the lock ends, guesses while locked do not extend it', async (t) => {
    let now = 1_000_000
    const limit = { ...DEFAULT_RATE_LIMIT, maxAttempts: 3, windowMs: 1000, lockoutMs: 5000 }
    const attempts = new Attempts(
      () => limit,
      () => now
    )
    const locked = (key = 'a') => attempts.standing('shared-secret', key).locked
    for (let i = 0; i < 2; i++) attempts.fail('shared-secret', 'a')
    t.notOk(locked())
    attempts.fail('shared-secret', 'a')
    t.ok(locked())
    t.notOk(locked('b'), 'nobody else')
    t.notOk(attempts.standing('device-token', 'a').locked, 'another kind of secret has its own count')
    now += 4000
    attempts.fail('shared-secret', 'a')
    t.same(attempts.standing('shared-secret', 'a'), { locked: true, retryAfterMs: 1000 })
    now += 1000
    t.notOk(locked())
    for (let i = 0; i < 2; i++) attempts.fail('shared-secret', 'a')
    t.notOk(locked(), 'the old failures are spent')
    now += 1001
    for (let i = 0; i < 2; i++) attempts.fail('shared-secret', 'a')
    t.notOk(locked(), 'failures leave the window')
    attempts.fail('shared-secret', 'a')
    t.ok(locked())
    attempts.forgive('shared-secret', 'a')
    t.notOk(locked(), 'a guess taken back takes its lock back')
    attempts.succeed('shared-secret', 'a')
    attempts.fail('shared-secret', 'a')
    t.notOk(locked())
  })
  t.test('S18: a million clients cost a bounded map', async (t) => {
    let now = 1_000_000
    // Slowly enough that they do not spend the budget of all strangers together.
    const attempts = new Attempts(
      () => ({ ...DEFAULT_RATE_LIMIT, maxAttempts: 1, lockoutMs: 1e9 }),
      () => (now += 10_000)
    )
    for (let i = 0; i < 30_000; i++) attempts.fail('shared-secret', `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    t.notOk(attempts.standing('shared-secret', '10.0.0.0').locked, 'the oldest went')
    t.ok(attempts.standing('shared-secret', '10.0.117.47').locked, 'the newest stands')
  })
  t.test('S19: all strangers together have a budget, which locks out nobody who was let in before', async (t) => {
    let now = 1_000_000
    const limit = { ...DEFAULT_RATE_LIMIT, maxAttempts: 2 }
    const attempts = new Attempts(
      () => limit,
      () => now
    )
    attempts.succeed('shared-secret', 'known')
    for (let i = 0; i < 60; i++) {
      t.notOk(attempts.standing('shared-secret', `stranger ${i}`).locked, `stranger ${i} may guess`)
      attempts.fail('shared-secret', `stranger ${i}`)
    }
    t.same(attempts.standing('device-token', 'another'), { locked: true, retryAfterMs: 60_000 }, 'and then nobody')
    t.notOk(attempts.standing('shared-secret', 'known').locked, 'but whoever was let in before')
    attempts.fail('shared-secret', 'known')
    attempts.fail('shared-secret', 'known')
    t.ok(attempts.standing('shared-secret', 'known').locked, 'who is locked by its own guesses alone')
    now += 60_000
    t.notOk(attempts.standing('shared-secret', 'another').locked, 'the budget comes back')
  })

  const remote = ingressOf({ peer: '10.0.0.1', client: '198.51.100.1', forwarded: true, local: false })
  const goodHash = digest('device-token')
  const store = {
    ...nobody,
    findToken: async (hash: Buffer) =>
      hash.equals(goodHash)
        ? { deviceId: 'd', role: 'operator' as const, scopes: [...SCOPES], createdAtMs: 1 }
        : undefined
  }
  const trustedProxy = { userHeader: 'x-user' }
  const accesses = Object.fromEntries(
    await Promise.all(
      (['none', 'token', 'password', 'trusted-proxy'] as const).map(async (mode) => {
        const section = { auth: { mode, token: 'right', password: 'right', trustedProxy } }
        return [mode, await accessOf(section)] as const
      })
    )
  ) as Record<AuthMode, Access>
  const authenticator = (mode: AuthMode, maxAttempts = 5) => {
    const { gateway, ...rest } = accesses[mode]
    const auth = { ...gateway.auth, rateLimit: { ...gateway.auth.rateLimit, maxAttempts } }
    const access = { ...rest, gateway: { ...gateway, auth } }
    return new Authenticator(() => access, store, store)
  }
  const request = (more: Partial<AuthRequest> = {}): AuthRequest => ({
    surface: 'websocket',
    ingress: remote,
    origin: undefined,
    presented: {},
    deviceId: undefined,
    role: 'operator',
    ...more
  })

  t.test(
    'S19: k wrong guesses consume k, in any field, surface, spelling of the address, and side by side',
    async () => {
      const spellings = ['198.51.100.1', '::ffff:198.51.100.1', '::FFFF:C633:6401', '0:0:0:0:0:ffff:198.51.100.1']
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              client: fc.constantFrom(...spellings),
              surface: fc.constantFrom('websocket' as const, 'http-api' as const, 'control-ui' as const),
              presented: fc.oneof(
                fc.string({ minLength: 1 }).map((token) => ({ token: `x${token}` })),
                fc.string({ minLength: 1 }).map((password) => ({ password: `x${password}` })),
                fc.constant({ token: 'wrong', deviceToken: 'wrong' }),
                fc.constant({ token: 'wrong', setupCode: 'wrong' })
              ),
              deviceId: fc.constantFrom(undefined, 'd', 'other')
            }),
            { minLength: 5, maxLength: 5 }
          ),
          fc.boolean(),
          async (guesses, together) => {
            const subject = authenticator('token')
            const run = ({ client, ...more }: (typeof guesses)[number]) =>
              subject.authenticate(request({ ...more, ingress: { ...remote, client } }))
            if (together) await Promise.all(guesses.map(run))
            else for (const guess of guesses) await run(guess)
            const right = await subject.authenticate(request({ presented: { token: 'right' } }))
            return !right.ok && right.reason === 'rate_limited'
          }
        ),
        { numRuns: 60 }
      )
    }
  )
  t.test('S19: of a thousand guesses made at once, no more than the limit are compared', async (t) => {
    const subject = authenticator('token')
    const guesses = Array.from({ length: 1000 }, (_, i) =>
      subject.authenticate(request({ presented: { token: i === 999 ? 'right' : `wrong${i}` }, deviceId: 'd' }))
    )
    const answers = await Promise.all(guesses)
    t.notOk(answers[999]!.ok)
    t.equal(answers.filter((each) => !each.ok && each.reason === 'token_mismatch').length, 5)
  })
  t.test('S19: guesses at device tokens count, whatever field they come in', async (t) => {
    for (const field of ['deviceToken', 'token'] as const) {
      const subject = authenticator('trusted-proxy')
      for (let i = 0; i < 5; i++)
        await subject.authenticate(request({ presented: { [field]: `wrong${i}` }, deviceId: 'd' }))
      const right = await subject.authenticate(request({ presented: { deviceToken: 'device-token' }, deviceId: 'd' }))
      t.has(right, { ok: false, reason: 'rate_limited' }, field)
    }
  })
  t.test("a device's own token in the token field is no wrong guess", async (t) => {
    const subject = authenticator('token')
    for (let i = 0; i < 20; i++) {
      const found = await subject.authenticate(request({ presented: { token: 'device-token' }, deviceId: 'd' }))
      t.has(found, { ok: true, method: 'device-token' })
    }
  })
  t.test('S9: a wrong credential never opens more than none', async (t) => {
    // The delay of answers to this machine holds no process alive.
    const alive = setInterval(() => {}, 1000)
    t.teardown(() => clearInterval(alive))
    const wrongs: AuthRequest['presented'][] = [
      { token: 'x', password: ' ' },
      { token: ' ', deviceToken: 'x' },
      { setupCode: 'x', password: 'x' }
    ]
    const rows = (['none', 'token', 'password', 'trusted-proxy'] as const).flatMap((mode) =>
      [true, false].flatMap((local) =>
        (['websocket', 'http-api', 'control-ui'] as const).map((surface) => ({ mode, local, surface }))
      )
    )
    await Promise.all(
      rows.map(async ({ mode, local, surface }) => {
        const where = { ...remote, local, client: local ? '127.0.0.1' : remote.client }
        const subject = authenticator(mode, 100)
        const ask = (presented: AuthRequest['presented']) =>
          subject.authenticate(request({ surface, ingress: where, presented, deviceId: 'd' }))
        const bare = await ask({})
        const answers = await Promise.all(wrongs.map(ask))
        t.ok(
          answers.every((each) => !each.ok || bare.ok),
          `${mode} ${local ? 'local' : 'remote'} ${surface}`
        )
        t.equal(bare.ok, mode === 'none' && local, 'S11: without auth only this machine gets in')
      })
    )
  })
  t.test('S11: a blank configured secret matches nothing', async (t) => {
    const { gateway } = accesses.token
    const blank = { ...gateway, auth: { ...gateway.auth, token: { value: ' ', source: 'file' as const } } }
    const machine = { hostname: 'box', addresses: () => undefined, tailnetName: undefined, localNames: [] }
    const access = compileAccess(blank, machine)
    t.equal(access.secret, undefined)
    const subject = new Authenticator(() => access, store, store)
    for (const token of ['', ' ', '\t', 'x'])
      t.notOk((await subject.authenticate(request({ presented: { token } }))).ok)
  })
})

t.test('R2: where each bind listens', async (t) => {
  const plan = (bind: BindMode, customBindHost?: string, host = {}) =>
    listenTargets({ bind, customBindHost }, { loopbackWorks: true, tailnetAddress: '100.64.0.9', ...host }).map(
      (each) => each.host
    )
  const local = ['127.0.0.1', '::1']
  t.same(plan('loopback'), local)
  t.same(plan('auto'), local)
  t.same(plan('auto', undefined, { loopbackWorks: false }), ['0.0.0.0'])
  t.same(plan('lan'), ['0.0.0.0'])
  t.same(plan('tailnet'), ['100.64.0.9', ...local])
  t.same(plan('tailnet', undefined, { tailnetAddress: undefined }), local)
  t.same(plan('custom', '192.168.1.5'), ['192.168.1.5', ...local])
  t.same(plan('custom', '::ffff:127.0.0.1'), local)
  t.same(plan('custom', '0:0:0:0:0:0:0:0'), ['::'])
  t.same(plan('custom', 'fe80::1%eth0'), ['fe80::1%eth0', ...local])
  t.ok(isPrivate('100.64.0.9'))
})
