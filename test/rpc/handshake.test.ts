import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import type { ConnectParams, ErrorShape } from '../../src/protocol/frames.ts'
import { cli, connectParams, controlUi, nodeHost, RawClient, refusedUpgrade, TestDevice } from '../support/client.ts'
import { startApp, type TestApp, TOKEN } from '../support/gateway.ts'
import { schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>
interface Refusal {
  error: (ErrorShape & { details?: Json }) | undefined
  id: unknown
  close: { code: number; reason: string }
}

const WRONG = 'wrong-token-0123456789abcdef'
// Wrong guesses from loopback are answered slowly; here their number is not the point.
const unhurried = { rateLimit: { maxAttempts: 10_000, exemptLoopback: false } }
const tokenMode = { auth: { mode: 'token', token: TOKEN, ...unhurried } }
const passwordMode = { auth: { mode: 'password', password: TOKEN, ...unhurried } }
const noneMode = { auth: { mode: 'none' } }

const good = { auth: { token: TOKEN } }
const req = (params?: unknown) => ({
  type: 'req',
  id: 'c1',
  method: 'connect',
  ...(params === undefined ? {} : { params })
})
const hello = (more: Json = {}) => req(connectParams({ ...good, ...more }))

/** Sends a first frame that must be refused, and waits for the whole answer. */
async function refused(url: string, frame: unknown, origin?: string): Promise<Refusal> {
  const client = await RawClient.open(url, origin === undefined ? {} : { origin })
  client.send(frame)
  return refusal(client)
}

async function refusal(client: RawClient): Promise<Refusal> {
  const close = await client.closed
  const [response] = client.responses as { id: unknown; ok: boolean; error: Refusal['error'] }[]
  if (response?.ok) throw new Error('the gateway said yes')
  return { error: response?.error, id: response?.id, close }
}

async function refusedConnect(url: string, params: Json, device?: TestDevice, origin?: string): Promise<Refusal> {
  const client = await RawClient.open(url, origin === undefined ? {} : { origin })
  const full = connectParams(params)
  if (device !== undefined) full.device ??= device.claim(full, client.nonce)
  client.send(req(full))
  return refusal(client)
}

const opened = (app: TestApp, path = '') => RawClient.open(`${app.ws}${path}`)

// Waits its 15 seconds while the other tests run.
const silentApp = await startApp(t)
const silent = opened(silentApp).then(async (client) => {
  const since = Date.now()
  const close = await client.closed
  return { ...close, afterMs: Date.now() - since, frames: client.responses.length + client.events.length }
})

t.test('first frames and connect params (§1.3)', async (t) => {
  const app = await startApp(t, { gateway: tokenMode })
  await t.test('the challenge comes first, on any path, and nothing of the upgrade authenticates', async (t) => {
    for (const path of ['/', '/some/path', `/?token=${TOKEN}`]) {
      const client = await RawClient.open(`${app.ws}${path}`, { headers: { authorization: `Bearer ${TOKEN}` } })
      const [challenge] = client.events
      t.match(challenge?.payload, { nonce: /^[0-9a-f]{8}-[0-9a-f]{4}-4/, ts: Number, capabilities: Array })
      t.notOk(challenge && 'seq' in challenge, 'the challenge has no number')
      t.equal(client.socket.extensions, '', 'nothing is compressed')
      const { error } = await client.connect({ auth: {} })
      t.equal(error?.code, 'NOT_PAIRED')
      await client.close()
    }
  })

  const bad = (message: string) => ({ message: `invalid connect params: ${message}` })
  const client = connectParams().client as unknown as Json
  const frames: { name: string; frame: unknown; message?: string; details?: Json; code?: number; reason?: string }[] = [
    {
      name: 'a request other than connect',
      frame: { type: 'req', id: 'c1', method: 'health' },
      message: 'invalid handshake: first request must be connect'
    },
    { name: 'an event', frame: { type: 'event', event: 'x' }, reason: 'invalid request frame' },
    { name: 'a scalar', frame: '42', reason: 'invalid request frame' },
    { name: 'null', frame: 'null', reason: 'invalid request frame' },
    { name: 'an empty object', frame: {}, reason: 'invalid request frame' },
    { name: 'a request without id', frame: { type: 'req', method: 'connect' }, reason: 'invalid request frame' },
    { name: 'an empty id', frame: { ...hello(), id: '' }, reason: 'invalid request frame' },
    { name: 'a numeric id', frame: { ...hello(), id: 5 }, reason: 'invalid request frame' },
    { name: 'an extra top-level key', frame: { ...hello(), bogus: 1 }, reason: 'invalid request frame' },
    { name: 'invalid JSON (D5)', frame: '{nope', reason: 'invalid request frame' },
    { name: 'binary junk (D5)', frame: Buffer.from([1, 2, 0xff]), reason: 'invalid request frame' },
    { name: '65537 bytes', frame: 'x'.repeat(65_537), code: 1009, reason: '' },
    { name: 'connect without params', frame: req(), ...bad('must be object') },
    { name: 'connect with null', frame: req(null), ...bad('must be object') },
    { name: 'connect with {}', frame: req({}), ...bad("must have required property 'minProtocol'") },
    { name: 'an unknown key', frame: hello({ bogus: 1 }), ...bad("at root: unexpected property 'bogus'") },
    {
      name: 'an unknown key in client',
      frame: hello({ client: { ...client, bogus: 1 } }),
      ...bad("at /client: unexpected property 'bogus'")
    },
    {
      name: 'an unknown key in auth',
      frame: hello({ auth: { bogus: 1 } }),
      ...bad("at /auth: unexpected property 'bogus'")
    },
    {
      name: 'an unknown client id',
      frame: hello({ client: { ...client, id: 'CLI' } }),
      ...bad('at /client/id: must be equal to one of the allowed values')
    },
    {
      name: 'an unknown client mode',
      frame: hello({ client: { ...client, mode: 'x' } }),
      ...bad('at /client/mode: must be equal to one of the allowed values')
    },
    { name: 'minProtocol 0', frame: hello({ minProtocol: 0 }), ...bad('at /minProtocol: must be >= 1') },
    {
      name: 'an empty platform',
      frame: hello({ client: { ...client, platform: '' } }),
      ...bad('at /client/platform: must not have fewer than 1 characters')
    },
    { name: 'an empty role', frame: hello({ role: '' }), ...bad('at /role: must not have fewer than 1 characters') },
    {
      name: 'a missing version',
      frame: hello({ client: { ...client, version: undefined } }),
      ...bad("at /client: must have required property 'version'")
    },
    ...[
      [1, 3],
      [5, 9],
      [9, 1],
      [3, 3]
    ].map(([min, max]) => ({
      name: `the protocol range ${min}..${max}`,
      // Even before the token.
      frame: hello({ minProtocol: min, maxProtocol: max, auth: { token: WRONG } }),
      message: 'protocol mismatch',
      details: {
        code: 'PROTOCOL_MISMATCH',
        clientMinProtocol: min,
        clientMaxProtocol: max,
        expectedProtocol: 4,
        minimumProbeProtocol: 3
      },
      code: 1002
    })),
    {
      name: 'protocol 3 of a node role in another mode',
      frame: hello({ minProtocol: 3, maxProtocol: 3, role: 'node', client: cli }),
      message: 'protocol mismatch',
      code: 1002
    },
    ...['superuser', 'OPERATOR', ' operator '].map((role) => ({
      name: `the role "${role}"`,
      frame: hello({ role, auth: { token: WRONG } }),
      message: 'invalid role'
    })),
    { name: 'the role worker', frame: hello({ role: 'worker' }), reason: 'invalid-handshake' }
  ]
  for (const { name, frame, message, details, code = 1008, reason = message } of frames) {
    await t.test(`refuses ${name}`, async (t) => {
      const { error, id, close } = await refused(app.ws, frame)
      t.strictSame(close, { code, reason })
      if (message === undefined) return t.equal(error, undefined, 'without an answer')
      t.equal(id, 'c1')
      t.match(error, { code: 'INVALID_REQUEST', message })
      t.strictSame(details === undefined ? undefined : error?.details, details)
    })
  }

  const ranges: { name: string; params: Json; device?: true }[] = [
    { name: '3..4', params: { minProtocol: 3 } },
    { name: '4..9', params: { maxProtocol: 9 } },
    {
      name: '3..3 of a probe',
      params: { minProtocol: 3, maxProtocol: 3, client: { ...client, id: 'openclaw-probe', mode: 'probe' } }
    },
    {
      name: '3..3 of a node',
      params: { minProtocol: 3, maxProtocol: 3, role: 'node', scopes: [], client: nodeHost },
      device: true
    }
  ]
  for (const { name, params, device } of ranges) {
    await t.test(`speaks protocol 4 to a range of ${name}`, async (t) => {
      const peer = await opened(app)
      const { payload } = await peer.connect({ ...good, ...params }, device && new TestDevice())
      t.equal(payload?.protocol, 4)
      await peer.close()
    })
  }

  await t.test('takes 65536 bytes before auth, and far more after it', async (t) => {
    const peer = await opened(app)
    const frame = JSON.stringify(hello({ userAgent: '' }))
    peer.send(JSON.stringify(hello({ userAgent: 'x'.repeat(65_536 - frame.length) })))
    t.ok((await peer.response('c1')).ok)
    const { ok } = await peer.call('health', 'x'.repeat(2_000_000))
    t.ok(ok)
    await peer.close()
  })

  await t.test('takes a binary frame that holds JSON', async (t) => {
    const peer = await opened(app)
    peer.send(Buffer.from(JSON.stringify(hello())))
    t.ok((await peer.response('c1')).ok)
    await peer.close()
  })

  await t.test('S18: 32 sockets of one address wait for their caller, the others get 503', async (t) => {
    const held = await Promise.all(Array.from({ length: 32 }, () => opened(app)))
    const refusals = await Promise.all(Array.from({ length: 8 }, () => refusedUpgrade(app.ws)))
    for (const refusal of refusals) {
      t.strictSame(refusal, { status: 503, body: 'Too many unauthenticated sockets' })
    }
    const { ok } = await held[0]!.connect(good)
    t.ok(ok, 'a waiting one still gets in')
    const next = await opened(app)
    t.ok(next, 'and makes room for another')
    await Promise.all([...held, next].map((each) => each.close()))
  })
})

interface CredentialRow {
  name: string
  auth?: ConnectParams['auth']
  client?: Json
  device?: true
  /** The method of a success, or the detail code of a refusal. */
  method?: string
  code?: string
  message?: string
  reason?: string
  next?: string
  retry?: true
}

const setupCode =
  'unauthorized: setup code invalid, expired, revoked, or already used (create a new code; review `openclaw devices list`)'
const identity = { code: 'DEVICE_IDENTITY_REQUIRED', message: 'device identity required' }
const deviceMismatch = {
  code: 'AUTH_DEVICE_TOKEN_MISMATCH',
  message: 'unauthorized: device token mismatch (rotate/reissue device token)',
  reason: 'device_token_mismatch',
  next: 'update_auth_credentials'
}
function mismatch(secret: 'token' | 'password', hint = `provide gateway auth ${secret}`) {
  return {
    code: `AUTH_${secret.toUpperCase()}_MISMATCH`,
    message: `unauthorized: gateway ${secret} mismatch (${hint})`,
    reason: `${secret}_mismatch`,
    next: 'update_auth_credentials'
  }
}
function missing(secret: 'token' | 'password', hint = `provide gateway auth ${secret}`) {
  return {
    code: `AUTH_${secret.toUpperCase()}_MISSING`,
    message: `unauthorized: gateway ${secret} missing (${hint})`,
    reason: `${secret}_missing`,
    next: 'update_auth_configuration'
  }
}

const credentials: { mode: string; gateway: Json; rows: CredentialRow[] }[] = [
  {
    mode: 'token',
    gateway: tokenMode,
    rows: [
      { name: 'nothing', ...identity },
      { name: 'an empty auth', auth: {}, ...identity },
      { name: 'an empty token', auth: { token: '' }, ...identity },
      { name: 'a device token without device', auth: { deviceToken: WRONG }, ...identity },
      { name: 'a setup code without device', auth: { bootstrapToken: WRONG }, ...identity },
      { name: 'a device alone', device: true, ...missing('token') },
      { name: 'a wrong token', auth: { token: WRONG }, ...mismatch('token') },
      {
        name: 'a wrong token with a device',
        auth: { token: WRONG },
        device: true,
        ...mismatch('token'),
        next: 'retry_with_device_token',
        retry: true
      },
      { name: 'the token', auth: { token: TOKEN }, method: 'token' },
      { name: 'the token among spaces', auth: { token: ` ${TOKEN} ` }, method: 'token' },
      { name: 'the token as password', auth: { password: TOKEN }, method: 'token' },
      {
        name: 'a wrong token beside the right password',
        auth: { token: WRONG, password: TOKEN },
        ...mismatch('token')
      },
      { name: 'a wrong secret as password', auth: { password: WRONG }, ...mismatch('token') },
      { name: 'a wrong device token', auth: { deviceToken: WRONG }, device: true, ...deviceMismatch },
      {
        name: 'a wrong token and a wrong device token',
        auth: { token: WRONG, deviceToken: WRONG },
        device: true,
        ...deviceMismatch
      },
      {
        name: 'the token and a wrong device token',
        auth: { token: TOKEN, deviceToken: WRONG },
        device: true,
        method: 'token'
      },
      {
        name: 'a wrong setup code',
        auth: { bootstrapToken: WRONG },
        device: true,
        code: 'AUTH_BOOTSTRAP_TOKEN_INVALID',
        message: setupCode,
        reason: 'bootstrap_token_invalid',
        next: 'review_auth_configuration'
      },
      // The hint fits who asks.
      {
        name: 'a wrong token of the CLI',
        client: cli,
        auth: { token: WRONG },
        ...mismatch('token', "use this gateway's gateway.auth.token or pair the device")
      },
      {
        name: 'no token of a CLI with a device',
        client: cli,
        device: true,
        ...missing('token', "use this gateway's gateway.auth.token or pair the device")
      },
      {
        name: 'a wrong token of the Control UI',
        client: controlUi,
        auth: { token: WRONG },
        ...mismatch('token', 'open the dashboard URL and paste the token in Control UI settings')
      }
    ]
  },
  {
    mode: 'password',
    gateway: passwordMode,
    rows: [
      { name: 'nothing', ...identity },
      { name: 'the password', auth: { password: TOKEN }, method: 'password' },
      { name: 'the password as token', auth: { token: TOKEN }, method: 'password' },
      { name: 'a wrong password', auth: { password: WRONG }, ...mismatch('password') },
      { name: 'a wrong password as token', auth: { token: WRONG }, ...mismatch('password') },
      { name: 'a device alone', device: true, ...missing('password') },
      {
        name: 'a wrong password of the CLI',
        client: cli,
        auth: { password: WRONG },
        ...mismatch('password', "use this gateway's gateway.auth.password")
      },
      {
        name: 'a wrong password of the Control UI',
        client: controlUi,
        auth: { password: WRONG },
        ...mismatch('password', 'enter the password in Control UI settings')
      }
    ]
  },
  {
    mode: 'none',
    gateway: noneMode,
    rows: [
      { name: 'nothing', method: 'none' },
      { name: 'any token', auth: { token: WRONG }, method: 'none' },
      { name: 'any device token', auth: { deviceToken: WRONG }, device: true, method: 'none' }
    ]
  }
]

for (const { mode, gateway, rows } of credentials) {
  t.test(`credentials in auth mode ${mode} (§1.3)`, async (t) => {
    const app = await startApp(t, { gateway })
    for (const { name, auth, client, device, method, code, message, reason, next, retry } of rows) {
      await t.test(`${method === undefined ? 'refuses' : 'takes'} ${name}`, async (t) => {
        const params: Json = { ...(auth && { auth }), ...(client && { client }) }
        // A page brings its Origin: here one of this machine.
        const origin = client === controlUi ? app.http : undefined
        if (method !== undefined) {
          const peer = await opened(app)
          const { payload, error } = await peer.connect(params, device && new TestDevice())
          t.equal(payload?.auth.method, method, error?.message ?? 'admitted')
          return peer.close()
        }
        const { error, close } = await refusedConnect(app.ws, params, device && new TestDevice(), origin)
        t.equal(error?.message, message)
        t.strictSame(close, { code: 1008, reason: Buffer.from(message!).subarray(0, 120).toString() })
        t.equal(error?.code, reason === undefined ? 'NOT_PAIRED' : 'INVALID_REQUEST')
        const { fix, ...details } = error?.details ?? {}
        t.strictSame(
          details,
          reason === undefined
            ? { code }
            : { code, authReason: reason, canRetryWithDeviceToken: retry ?? false, recommendedNextStep: next }
        )
        if (reason !== undefined)
          t.match(fix, { command: /^openclaw /, where: 'gateway host' }, 'says what to run (D12)')
      })
    }
  })
}

t.test('the order of the checks', async (t) => {
  const app = await startApp(t, { gateway: tokenMode })
  const wrong = { auth: { token: WRONG } }
  const forged = () => {
    const params = connectParams(wrong)
    return { ...wrong, device: { ...new TestDevice().claim(params, 'n'), signature: 'x' } }
  }
  const evil = 'https://evil.example'
  const rows: { name: string; params: Json; origin?: string; want: string }[] = [
    {
      name: 'params before protocol',
      params: { minProtocol: 9, maxProtocol: 9, bogus: 1 },
      want: 'invalid connect params'
    },
    { name: 'protocol before role', params: { minProtocol: 9, maxProtocol: 9, role: 'x' }, want: 'protocol mismatch' },
    { name: 'role before Origin', params: { role: 'x' }, origin: evil, want: 'invalid role' },
    { name: 'Origin before the device', params: forged(), origin: evil, want: 'origin not allowed' },
    { name: 'Origin before the token', params: wrong, origin: evil, want: 'origin not allowed' },
    { name: 'Origin even with the right token', params: good, origin: evil, want: 'origin not allowed' },
    { name: 'the device before the token', params: forged(), want: 'device nonce mismatch' },
    {
      name: 'the token before the missing device',
      params: { ...wrong, role: 'node', client: nodeHost },
      want: 'unauthorized: gateway token mismatch'
    }
  ]
  for (const { name, params, origin, want } of rows) {
    const { error } = await refusedConnect(app.ws, params, undefined, origin)
    t.ok(error?.message.startsWith(want), `${name}: ${error?.message}`)
  }
  const signer = new TestDevice()
  const peer = await opened(app)
  const params = connectParams(wrong)
  params.device = { ...signer.claim(params, peer.nonce), signature: Buffer.alloc(64).toString('base64url') }
  peer.send(req(params))
  await peer.closed
  t.match(peer.responses[0], { error: { message: 'device signature invalid' } }, 'a bad signature before a wrong token')
  const node = await refusedConnect(app.ws, { ...good, role: 'node', scopes: [], client: nodeHost })
  t.equal(node.error?.details?.code, 'DEVICE_IDENTITY_REQUIRED', 'a node is nobody without its device')
})

t.test('a socket that sends more before its answer is refused, and leaves nothing behind', async (t) => {
  const app = await startApp(t, { gateway: tokenMode })
  const peer = await opened(app)
  peer.send(hello())
  peer.send(hello())
  const { code, reason } = await peer.closed
  t.strictSame({ code, reason }, { code: 1008, reason: 'invalid request frame' })
  await wait(10)
  t.equal(app.app.hub.size, 0)
  t.equal(app.app.waiting.size, 0)
})

t.test('hello-ok (§1.2)', async (t) => {
  const app = await startApp(t, { gateway: tokenMode, local: true })
  const host = ['configPath', 'stateDir', 'authMode']
  const rows: {
    name: string
    params: Json
    device?: true
    lacks: { top?: string[]; snapshot: string[]; auth?: string[] }
    presence: number
  }[] = [
    { name: 'an admin', params: { scopes: ['operator.admin'] }, lacks: { snapshot: [] }, presence: 1 },
    { name: 'a reader', params: { scopes: ['operator.read'] }, lacks: { snapshot: host }, presence: 1 },
    { name: 'a writer', params: { scopes: ['operator.write'] }, lacks: { snapshot: host }, presence: 1 },
    { name: 'approvals only', params: { scopes: ['operator.approvals'] }, lacks: { snapshot: host }, presence: 0 },
    {
      name: 'no scopes',
      params: { scopes: [] },
      lacks: { top: ['controlUiWidgetKinds'], snapshot: [...host, 'updateSchedule'] },
      presence: 0
    },
    {
      name: 'omitted scopes',
      params: { scopes: undefined },
      lacks: { top: ['controlUiWidgetKinds'], snapshot: [...host, 'updateSchedule'] },
      presence: 0
    },
    {
      name: 'a paired device',
      params: { client: cli, scopes: ['operator.admin'] },
      device: true,
      lacks: { snapshot: [] },
      presence: 1
    },
    {
      name: 'a node',
      params: { role: 'node', scopes: [], client: nodeHost },
      device: true,
      lacks: { top: ['controlUiWidgetKinds'], snapshot: [...host, 'updateSchedule'], auth: ['recoveryScope'] },
      presence: 0
    }
  ]
  const top = ['auth', 'controlUiWidgetKinds', 'features', 'policy', 'protocol', 'server', 'snapshot', 'type']
  const snapshotKeys = [
    'appliedConfigHash',
    'authMode',
    'configPath',
    'health',
    'presence',
    'sessionDefaults',
    'stateDir',
    'stateVersion',
    'suspension',
    'updateSchedule',
    'uptimeMs'
  ]
  const seen = new Set<string>()
  for (const { name, params, device, lacks, presence } of rows) {
    await t.test(`for ${name}`, async (t) => {
      const peer = await opened(app)
      const { payload: hello } = await peer.connect({ ...good, ...params }, device && new TestDevice())
      t.strictSame(schemaErrors('HelloOk', hello), [], 'is what the published protocol says')
      if (hello === undefined) return t.fail('refused')
      const { auth, snapshot, server, features, policy } = hello
      t.strictSame(
        Object.keys(hello).sort(),
        top.filter((key) => !lacks.top?.includes(key))
      )
      t.strictSame(
        Object.keys(snapshot).sort(),
        snapshotKeys.filter((key) => !lacks.snapshot.includes(key))
      )
      t.equal(snapshot.presence.length, presence)
      t.match(server, { version: String, buildId: String, bootId: /^[0-9a-f-]{36}$/, controlUiBuildSource: 'bundled' })
      seen.add(server.connId)
      t.strictSame(auth.scopes, params.scopes ?? [])
      t.equal(auth.role, params.role ?? 'operator')
      t.equal('deviceToken' in auth, device === true, 'a token for a paired device only')
      if (device) t.match(auth, { deviceToken: /^[\w-]{43}$/, issuedAtMs: Number })
      t.equal('recoveryScope' in auth, !lacks.auth?.includes('recoveryScope'))
      t.strictSame(features.methods, app.app.registry.names, 'the same methods whatever the caller may call')
      t.notOk(features.methods.includes('connect'))
      t.ok(features.events.includes('connect.challenge') && features.events.includes('tick'))
      t.strictSame(policy, {
        maxPayload: 26_214_400,
        maxBufferedBytes: 52_428_800,
        tickIntervalMs: 30_000,
        attachments: { maxBytes: 19_464_192, maxImageBytes: 6_291_456 },
        allowedSessionVisibilities: ['shared', 'read-only', 'suggest', 'draft'],
        hasMultipleSessionSharingIdentities: false
      })
      t.match(snapshot, { suspension: { phase: 'accepting' }, appliedConfigHash: /^hmac-sha256:v1:/ })
      await peer.close()
    })
  }
  t.equal(seen.size, rows.length, 'every connection has its own id')

  await t.test('for the owner, who sends no credential', async (t) => {
    const peer = await RawClient.open(`ws+unix://${app.localSocket}:/`)
    const { payload } = await peer.connect({ client: cli })
    t.strictSame(schemaErrors('HelloOk', payload), [])
    t.match(payload?.auth, { method: 'owner', scopes: ['operator.admin'] })
    await peer.close()
    const node = await RawClient.open(`ws+unix://${app.localSocket}:/`)
    const { error } = await node.connect({ client: nodeHost, role: 'node', scopes: ['operator.admin'] })
    t.equal(error?.details?.code, 'DEVICE_IDENTITY_REQUIRED', 'but no node without its device')
  })
})

t.test('a socket that says nothing is closed after 15 seconds', { timeout: 30_000 }, async (t) => {
  const { code, reason, afterMs, frames } = await silent
  t.strictSame({ code, reason, frames }, { code: 1000, reason: '', frames: 1 })
  t.ok(afterMs > 14_000 && afterMs < 18_000, `after ${afterMs} ms`)
})
