import t, { type Test } from 'tap'
import { digest, freshSecret } from '../../src/auth/secrets.ts'
import { isScope, SCOPES, type Scope } from '../../src/protocol/scopes.ts'
import { cli, controlUi, RawClient, TestDevice } from '../support/client.ts'
import { startApp, type TestApp, TOKEN } from '../support/gateway.ts'

type Json = Record<string, unknown>

// Wrong guesses are answered slowly, and here are hundreds.
t.setTimeout(90_000)

const WRONG = 'wrong-token-0123456789abcdef'
const unhurried = { rateLimit: { maxAttempts: 10_000, exemptLoopback: false } }
const modes: Record<string, { gateway: Json; auth: Json }> = {
  token: { gateway: { auth: { mode: 'token', token: TOKEN, ...unhurried } }, auth: { token: TOKEN } },
  password: { gateway: { auth: { mode: 'password', password: TOKEN, ...unhurried } }, auth: { password: TOKEN } },
  none: { gateway: { auth: { mode: 'none' } }, auth: {} }
}
const proxied = { headers: { 'x-forwarded-for': '203.0.113.7' } }

interface Outcome {
  /** The scopes granted; undefined when refused. */
  scopes: Scope[] | undefined
  code: unknown
  token: string | undefined
  method: string | undefined
}

async function outcome(
  url: string,
  params: Json,
  options: { device?: TestDevice | undefined; origin?: string; headers?: Record<string, string> } = {}
): Promise<Outcome> {
  const { device, ...client } = options
  const peer = await RawClient.open(url, client)
  const { ok, payload, error } = await peer.connect(params, device)
  await peer.close()
  return {
    scopes: ok ? payload?.auth.scopes : undefined,
    code: error?.details?.code,
    token: payload?.auth.deviceToken,
    method: payload?.auth.method
  }
}

t.test('clients without a device (§3)', async (t) => {
  const asked = ['operator.read', 'operator.write', 'operator.admin']
  const needsDevice = 'DEVICE_IDENTITY_REQUIRED'
  const uiNeedsDevice = 'CONTROL_UI_DEVICE_IDENTITY_REQUIRED'
  const noOrigin = 'CONTROL_UI_ORIGIN_NOT_ALLOWED'
  // What comes of it: the scopes asked for, none of them, or a refusal.
  type Cell = 'all' | 'none' | typeof needsDevice | typeof uiNeedsDevice | typeof noOrigin
  interface Row {
    clients: [string, string][]
    secret: [Cell, Cell]
    open: [Cell, Cell]
  }
  const rows: Row[] = [
    { clients: [['cli', 'cli']], secret: ['all', 'none'], open: [needsDevice, needsDevice] },
    { clients: [['gateway-client', 'backend']], secret: ['all', 'none'], open: ['all', needsDevice] },
    {
      clients: [
        ['openclaw-control-ui', 'ui'],
        ['openclaw-control-ui', 'webchat']
      ],
      secret: [noOrigin, uiNeedsDevice],
      open: [noOrigin, uiNeedsDevice]
    },
    { clients: [['openclaw-tui', 'ui']], secret: [uiNeedsDevice, uiNeedsDevice], open: [uiNeedsDevice, uiNeedsDevice] },
    {
      clients: [
        ['webchat-ui', 'webchat'],
        ['webchat', 'webchat']
      ],
      secret: [noOrigin, 'none'],
      open: [noOrigin, needsDevice]
    },
    {
      clients: [
        ['gateway-client', 'cli'],
        ['gateway-client', 'ui'],
        ['openclaw-probe', 'probe'],
        ['openclaw-macos', 'ui'],
        ['fingerprint', 'ui'],
        ['test', 'test'],
        ['node-host', 'node'],
        ['cli', 'probe'],
        ['cli', 'backend'],
        ['openclaw-probe', 'backend'],
        ['test', 'backend']
      ],
      secret: ['none', 'none'],
      open: [needsDevice, needsDevice]
    }
  ]
  for (const [mode, { gateway, auth }] of Object.entries(modes)) {
    const app = await startApp(t, { gateway: { ...gateway, trustedProxies: ['127.0.0.1'] } })
    for (const { clients, secret, open } of rows) {
      for (const [id, clientMode] of clients) {
        const params = { auth, scopes: asked, client: { ...cli, id, mode: clientMode } }
        const [bare, page] = mode === 'none' ? open : secret
        for (const [origin, want] of [
          [undefined, bare],
          [app.http, page]
        ] as const) {
          const got = await outcome(app.ws, params, origin === undefined ? {} : { origin })
          const name = `${mode}: ${id}/${clientMode} ${origin === undefined ? 'without' : 'with'} an Origin`
          if (want === 'all' || want === 'none') t.strictSame(got.scopes, want === 'all' ? asked : [], name)
          else t.equal(got.code, want, name)
          t.equal(got.token, undefined, 'and no token')
        }
        if (mode === 'none') continue
        const far = await outcome(app.ws, params, proxied)
        t.strictSame(far.scopes ?? [], [], `${mode}: ${id}/${clientMode} from elsewhere has no scopes`)
      }
    }
  }
})

t.test('D1: unknown scopes are dropped, known ones granted once', async (t) => {
  const app = await startApp(t)
  const rows: [unknown, Scope[]][] = [
    [['operator.bogus', 'operator.read'], ['operator.read']],
    [['operator.read', 'operator.read'], ['operator.read']],
    [['OPERATOR.ADMIN', ' operator.admin', 'operator.admin ', 'operator.*', '*', 'admin', '__proto__'], []],
    [[...SCOPES], [...SCOPES]],
    [[], []],
    [undefined, []]
  ]
  for (const [scopes, want] of rows) {
    const got = await outcome(app.ws, { auth: { token: TOKEN }, scopes })
    t.strictSame(got.scopes, want, JSON.stringify(scopes) ?? 'nothing')
    const paired = await outcome(app.ws, { auth: { token: TOKEN }, scopes, client: cli }, { device: new TestDevice() })
    t.strictSame(paired.scopes, want, 'with a device too')
  }
})

t.test('D16, S6: without auth a local device works, and gets nothing durable', async (t) => {
  const app = await startApp(t, { gateway: modes.none!.gateway })
  for (const client of [cli, { ...cli, id: 'openclaw-macos', mode: 'ui' }]) {
    const got = await outcome(app.ws, { client, scopes: ['operator.admin'] }, { device: new TestDevice() })
    t.strictSame(got, { scopes: ['operator.admin'], code: undefined, token: undefined, method: 'none' })
  }
  const page = await outcome(app.ws, { client: controlUi }, { device: new TestDevice(), origin: app.http })
  t.match(page, { scopes: ['operator.admin'], token: undefined })
  t.strictSame([await app.app.devices.list(), await app.app.devices.requests()], [[], []], 'it leaves no trace')
})

const requests: readonly (readonly string[])[] = [
  [],
  ['operator.read'],
  ['operator.write', 'operator.read'],
  ['operator.pairing'],
  ['operator.admin'],
  ['operator.bogus', 'node.anything'],
  ['operator.admin', 'operator.bogus'],
  [...SCOPES]
]

type State = 'none' | 'new' | 'paired []' | 'paired read' | 'paired admin' | 'revoked' | 'removed'
const states: readonly State[] = ['none', 'new', 'paired []', 'paired read', 'paired admin', 'revoked', 'removed']

/** Brings a device into a state, through the store alone; the token is what it was given. */
async function inState(app: TestApp, state: State): Promise<{ device: TestDevice | undefined; token: string }> {
  const token = freshSecret()
  if (state === 'none') return { device: undefined, token }
  const device = new TestDevice()
  if (state === 'new') return { device, token }
  const scopes: Scope[] = state === 'paired []' ? [] : [state === 'paired read' ? 'operator.read' : 'operator.admin']
  const facts = {
    deviceId: device.id,
    publicKey: device.publicKey,
    platform: 'linux',
    clientId: 'cli',
    clientMode: 'cli'
  }
  await app.app.devices.approve({
    facts: { ...facts, deviceFamily: undefined, displayName: undefined, remoteIp: undefined },
    via: 'owner',
    grant: [{ role: 'operator', scopes, token: digest(token) }],
    endTokens: false,
    requestId: undefined,
    code: undefined
  })
  if (state === 'revoked') await app.app.devices.revoke(device.id, 'operator')
  if (state === 'removed') await app.app.devices.remove(device.id)
  return { device, token }
}

const stored = async (app: TestApp, device: TestDevice | undefined) =>
  device &&
  (await app.app.devices.find(device.id))?.grants.find(({ role, revoked }) => role === 'operator' && !revoked)?.scopes

const covers = (held: readonly string[], scope: string) => held.includes(scope) || held.includes('operator.admin')

/**
 * Runs cases side by side: a wrong guess of this machine is answered slowly, and only a good one in between makes
 * the next one quick again.
 */
async function sideBySide(app: TestApp, good: Json, cases: (() => Promise<Outcome>)[]): Promise<void> {
  const queue = [...cases]
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { scopes } = await next()
      if (scopes === undefined) await outcome(app.ws, { auth: good })
    }
  }
  await Promise.all(Array.from({ length: 12 }, worker))
}

t.test('S8: granted lies within requested and within what the credential allows, in every case', async (t) => {
  interface Method {
    name: string
    auth(token: string, app: TestApp): Promise<Json> | Json
    /** What the credential allows by itself; undefined: only what the store says of the device. */
    allows: readonly string[] | undefined
    mode?: keyof typeof modes
    local?: true
  }
  const methods: Method[] = [
    { name: 'shared token', auth: () => ({ token: TOKEN }), allows: SCOPES },
    { name: 'password', auth: () => ({ password: TOKEN }), allows: SCOPES, mode: 'password' },
    { name: 'no auth', auth: () => ({}), allows: SCOPES, mode: 'none' },
    { name: 'device token', auth: (token) => ({ deviceToken: token }), allows: undefined },
    { name: 'device token as token', auth: (token) => ({ token }), allows: undefined },
    { name: 'owner', auth: () => ({}), allows: SCOPES, local: true },
    {
      name: 'launch code for reading',
      auth: async (_token, app) => {
        const code = freshSecret()
        await app.app.setupCodes.add(digest(code), {
          setupId: code.slice(0, 8),
          access: 'owner',
          scopes: ['operator.read'],
          expiresAtMs: Date.now() + 60_000
        })
        return { bootstrapToken: code }
      },
      allows: ['operator.read']
    },
    { name: 'nothing', auth: () => ({}), allows: [] },
    { name: 'a wrong token', auth: () => ({ token: WRONG }), allows: [] },
    { name: 'a wrong device token', auth: () => ({ deviceToken: WRONG }), allows: [] },
    { name: 'a wrong launch code', auth: () => ({ bootstrapToken: WRONG }), allows: [] }
  ]
  const clients = [cli, { ...cli, id: 'gateway-client', mode: 'backend' }] as const
  const counts = { admitted: 0, refused: 0 }
  for (const autoApproveLocal of [true, false]) {
    for (const mode of autoApproveLocal ? (['token', 'password', 'none'] as const) : (['token'] as const)) {
      const app = await startApp(t, {
        gateway: { ...modes[mode]!.gateway, nodes: { pairing: { autoApproveLocal } }, trustedProxies: ['127.0.0.1'] },
        local: true
      })
      const cases: (() => Promise<Outcome>)[] = []
      for (const method of methods.filter((each) => (each.mode ?? 'token') === mode)) {
        for (const state of states) {
          for (const requested of requests) {
            for (const client of clients) {
              for (const far of method.local ? [false] : [false, true]) {
                // Slow to answer, and the same whatever is asked.
                const slow = !far && (method.name.startsWith('a wrong') || method.allows === undefined)
                if (slow && (requested.length < SCOPES.length || client !== cli)) continue
                cases.push(() => judge(t, app, { method, state, requested, client, far, auto: autoApproveLocal }))
              }
            }
          }
        }
      }
      await sideBySide(app, modes[mode]!.auth, cases)
    }
  }
  const { admitted, refused } = counts
  t.ok(admitted > 300 && refused > 300, `${admitted} let in, ${refused} refused, none beyond its bounds`)

  async function judge(
    t: Test,
    app: TestApp,
    each: { method: Method; state: State; requested: readonly string[]; client: Json; far: boolean; auto: boolean }
  ): Promise<Outcome> {
    const { method, state, requested, client, far } = each
    const { device, token } = await inState(app, state)
    const before = await stored(app, device)
    const auth = await method.auth(token, app)
    const url = method.local ? `ws+unix://${app.localSocket}:/` : app.ws
    const got = await outcome(url, { auth, client, scopes: requested }, { device, ...(far ? proxied : {}) })
    const after = await stored(app, device)
    const wrong: string[] = []
    const code = method.name.startsWith('launch')
    // From elsewhere a shared secret alone reaches no further than the person's approval of the device.
    const byDevice = device !== undefined && (far || method.allows === undefined)
    const ceiling = code || !byDevice ? (method.allows ?? []) : (before ?? [])
    for (const scope of got.scopes ?? []) {
      if (!isScope(scope) || !requested.includes(scope)) wrong.push(`${scope} was not asked for`)
      if (!covers(ceiling, scope)) wrong.push(`${scope} is not allowed`)
    }
    if (method.allows?.length === 0 && got.scopes !== undefined) wrong.push('it was let in')
    // What is stored grows by what the credential allows, and never from elsewhere without a code.
    for (const scope of after ?? []) {
      if (before !== undefined && covers(before, scope)) continue
      if (!covers(method.allows ?? [], scope)) wrong.push(`${scope} was stored`)
      if (far && !code) wrong.push(`${scope} was stored from elsewhere`)
    }
    if (got.scopes === undefined) counts.refused++
    else counts.admitted++
    if (wrong.length > 0) t.fail(`${method.name}, ${JSON.stringify(each)}: ${wrong.join('; ')}`)
    return got
  }
})

t.test('S9: an invalid credential grants no more than none', async (t) => {
  const bad: Json[] = [
    { token: WRONG },
    { password: WRONG },
    { deviceToken: WRONG },
    { bootstrapToken: WRONG },
    { token: WRONG, deviceToken: WRONG, bootstrapToken: WRONG, password: WRONG },
    { approvalRuntimeToken: WRONG, agentRuntimeIdentityToken: WRONG },
    { token: '' },
    { token: ' ' }
  ]
  for (const [mode, { gateway, auth: good }] of Object.entries(modes)) {
    const app = await startApp(t, { gateway: { ...gateway, trustedProxies: ['127.0.0.1'] } })
    const cases: (() => Promise<Outcome>)[] = []
    for (const withDevice of [false, true]) {
      for (const options of [{}, proxied, { origin: app.http }]) {
        for (const client of [cli, { ...cli, id: 'gateway-client', mode: 'backend' }, controlUi]) {
          const attempt = (auth: Json) =>
            outcome(
              app.ws,
              { client, auth, scopes: [...SCOPES] },
              { ...options, device: withDevice ? new TestDevice() : undefined }
            )
          const nothing = await attempt({})
          for (const auth of bad) {
            cases.push(async () => {
              const got = await attempt(auth)
              const more = got.scopes?.filter((scope) => !nothing.scopes?.includes(scope)) ?? []
              t.strictSame(more, [], `${mode}: ${client.id} ${JSON.stringify(auth)}`)
              t.notOk(got.token, 'and no token')
              if (nothing.scopes === undefined) t.equal(got.scopes, undefined, 'still refused')
              return got
            })
          }
        }
      }
    }
    await sideBySide(app, good, cases)
  }
})
