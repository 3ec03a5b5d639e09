import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { digest, freshSecret } from '../../src/auth/secrets.ts'
import type { ConnectParams, ErrorShape, HelloOk } from '../../src/protocol/frames.ts'
import { openDatabase } from '../../src/store/database.ts'
import { SetupCodeStore } from '../../src/store/setup-codes.ts'
import { cli, connectParams, controlUi, nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { startApp, type TestApp, TOKEN } from '../support/gateway.ts'
import { schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>
interface Answer {
  hello: HelloOk | undefined
  error: (ErrorShape & { details?: Json }) | undefined
  client: RawClient
}

const auth = { token: TOKEN }
const read = ['operator.read']
const proxied = { 'x-forwarded-for': '203.0.113.7' }
const unhurried = { auth: { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 10_000 } } }

/** Connects as a CLI of this host with a device, unless told otherwise; refused sockets are waited for. */
async function arrive(
  app: TestApp,
  device: TestDevice | undefined,
  params: Json = {},
  options: { far?: boolean; origin?: string } = {}
): Promise<Answer> {
  const headers = options.far ? { headers: proxied } : {}
  const client = await RawClient.open(app.ws, { ...headers, ...(options.origin && { origin: options.origin }) })
  const { ok, payload, error } = await client.connect({ auth, client: cli, scopes: read, ...params } as never, device)
  if (!ok) await client.closed
  return { hello: ok ? payload : undefined, error, client }
}

async function admitted(
  ...args: Parameters<typeof arrive>
): Promise<{ hello: HelloOk; client: RawClient; token: string }> {
  const { hello, client, error } = await arrive(...args)
  if (hello === undefined) throw new Error(error?.message)
  return { hello, client, token: hello.auth.deviceToken ?? '' }
}

/** An admin without a device, who hears of pairing. */
async function operator(t: Test, app: TestApp, scopes = ['operator.admin']): Promise<RawClient> {
  const client = await RawClient.open(app.ws)
  await client.connect({ auth, scopes })
  t.teardown(() => client.close())
  return client
}

async function list(client: RawClient): Promise<{ pending: Json[]; paired: Json[] }> {
  return (await client.call('device.pair.list', {})).payload as never
}

t.test('what a device signs (§2.1)', async (t) => {
  const app = await startApp(t, { gateway: unhurried })
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
  const id = createHash('sha256').update(raw).digest('hex')
  interface Signing {
    params?: Json
    version?: 'v1' | 'v2' | 'v3'
    /** The token, platform and family as signed; by default as the protocol says. */
    token?: string
    platform?: string
    family?: string
    claim?: Json
    signedAt?: number
    key?: KeyObject
    encode?: BufferEncoding
    nonce?: string
  }
  async function attempt(signing: Signing): Promise<Answer & { close: { code: number; reason: string } | undefined }> {
    const client = await RawClient.open(app.ws)
    const params = connectParams({ auth, client: cli, scopes: read, ...signing.params }) as ConnectParams
    const { version = 'v3', token = params.auth?.token ?? '', platform = 'linux', family = '' } = signing
    const signedAt = signing.signedAt ?? Date.now()
    const nonce = signing.nonce ?? client.nonce
    const fields = [
      version,
      id,
      params.client.id,
      params.client.mode,
      params.role ?? 'operator',
      (params.scopes ?? []).join(','),
      signedAt,
      token,
      nonce
    ]
    const payload = [...fields, ...(version === 'v3' ? [platform, family] : [])].join('|')
    const signature = sign(null, Buffer.from(payload), signing.key ?? privateKey).toString(
      signing.encode ?? 'base64url'
    )
    params.device = { id, publicKey: raw.toString('base64url'), signature, signedAt, nonce, ...signing.claim }
    const {
      ok,
      payload: hello,
      error
    } = (await client.call('connect', params)) as never as Answer & { ok: boolean; payload: HelloOk }
    const close = ok ? undefined : await client.closed
    await client.close()
    return { hello: ok ? hello : undefined, error, client, close }
  }

  const pem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) as string
  const desktop = { client: { ...cli, platform: ' LiNuX ', deviceFamily: ' Desk-TOP ' } }
  const good: [string, Signing][] = [
    ['layout v3', {}],
    ['layout v2', { version: 'v2' }],
    ['platform and family trimmed and in lower case', { params: desktop, platform: 'linux', family: 'desk-top' }],
    ['no role and no scopes', { params: { role: undefined, scopes: undefined } }],
    ['an empty token with a password', { params: { auth: { password: TOKEN } }, token: '' }],
    ['the token before the device token', { params: { auth: { token: TOKEN, deviceToken: 'x' } }, token: TOKEN }],
    ['a key in standard base64', { claim: { publicKey: raw.toString('base64') } }],
    ['a key as PEM', { claim: { publicKey: pem } }],
    ['a signature in standard base64', { encode: 'base64' }],
    ['a clock 119 s behind', { signedAt: Date.now() - 119_000 }],
    ['a clock 119 s ahead', { signedAt: Date.now() + 119_000 }]
  ]
  for (const [name, signing] of good) {
    const { hello, error } = await attempt(signing)
    t.ok(hello?.auth.deviceToken, `takes ${name} ${error?.message ?? ''}`)
  }
  const { paired } = await list(await operator(t, app))
  t.strictSame(
    paired.map(({ deviceId, publicKey }) => ({ deviceId, publicKey })),
    [{ deviceId: id, publicKey: raw.toString('base64url') }],
    'all of them are one device, its key in one spelling'
  )

  const other = generateKeyPairSync('ed25519').privateKey
  const invalid = ['device signature invalid', 'DEVICE_AUTH_SIGNATURE_INVALID', 'device-signature'] as const
  const mismatch = ['device identity mismatch', 'DEVICE_AUTH_DEVICE_ID_MISMATCH', 'device-id-mismatch'] as const
  const expired = ['device signature expired', 'DEVICE_AUTH_SIGNATURE_EXPIRED', 'device-signature-stale'] as const
  const short = raw.subarray(0, 16)
  const bad: [string, Signing, readonly [string, string?, string?]][] = [
    ['another key', { key: other }, invalid],
    ['junk for a signature', { claim: { signature: 'junk' } }, invalid],
    ['layout v1', { version: 'v1' }, invalid],
    ['an upper-case platform as signed', { params: desktop, platform: 'LiNuX', family: 'desk-top' }, invalid],
    ['an empty token while sending one', { token: '' }, invalid],
    [
      'the device token while sending both',
      { params: { auth: { token: TOKEN, deviceToken: 'x' } }, token: 'x' },
      invalid
    ],
    [
      'other scopes than asked',
      { params: { scopes: ['operator.admin'] }, claim: {}, version: 'v3', token: 'other' },
      invalid
    ],
    [
      'a key of 16 bytes with its own id',
      { claim: { publicKey: short.toString('base64url'), id: createHash('sha256').update(short).digest('hex') } },
      invalid
    ],
    ['an id of another key', { claim: { id: 'a'.repeat(64) } }, mismatch],
    ['an upper-case id', { claim: { id: id.toUpperCase() } }, mismatch],
    ['junk for a key', { claim: { publicKey: 'xx' } }, mismatch],
    ['a broken PEM', { claim: { publicKey: '-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----' } }, mismatch],
    ['a clock 121 s behind', { signedAt: Date.now() - 122_000 }, expired],
    ['a clock 121 s ahead', { signedAt: Date.now() + 122_000 }, expired],
    ['a blank nonce', { nonce: '  ' }, ['device nonce required', 'DEVICE_AUTH_NONCE_REQUIRED', 'device-nonce-missing']],
    [
      'the nonce of another socket',
      { nonce: '00000000-0000-4000-8000-000000000000' },
      ['device nonce mismatch', 'DEVICE_AUTH_NONCE_MISMATCH', 'device-nonce-mismatch']
    ],
    [
      'no nonce',
      { claim: { nonce: undefined } },
      ["invalid connect params: at /device: must have required property 'nonce'"]
    ],
    [
      'an empty nonce',
      { claim: { nonce: '' } },
      ['invalid connect params: at /device/nonce: must not have fewer than 1 characters']
    ],
    [
      'half a millisecond',
      { claim: { signedAt: 1.5 } },
      ['invalid connect params: at /device/signedAt: must be integer']
    ]
  ]
  for (const [name, signing, [message, code, reason]] of bad) {
    const { error, close } = await attempt(signing)
    const details = code === undefined ? undefined : { code, reason }
    t.match(error, { code: 'INVALID_REQUEST', message }, `refuses ${name}`)
    t.strictSame(error?.details, details)
    t.strictSame(close, { code: 1008, reason: message.slice(0, 123) })
  }
})

t.test('silent pairing on this host (§2.3)', async (t) => {
  const app = await startApp(t, { gateway: { trustedProxies: ['127.0.0.1'] } })
  const admin = await operator(t, app)
  const rows: { name: string; params?: Json; origin?: string; far?: true; want: 'silent' | 'untraced' | 'asks' }[] = [
    { name: 'a CLI', want: 'silent' },
    { name: 'a CLI that asks for everything', params: { scopes: ['operator.admin'] }, want: 'silent' },
    { name: 'a CLI that asks for nothing', params: { scopes: [] }, want: 'silent' },
    { name: 'a probe', params: { client: { ...cli, id: 'openclaw-probe', mode: 'probe' } }, want: 'untraced' },
    { name: 'a desktop app', params: { client: { ...cli, id: 'openclaw-macos', mode: 'ui' } }, want: 'silent' },
    { name: 'a terminal UI', params: { client: { ...cli, id: 'openclaw-tui', mode: 'ui' } }, want: 'silent' },
    { name: 'a node', params: { client: nodeHost, role: 'node', scopes: [] }, want: 'silent' },
    { name: 'a node that asks for scopes', params: { client: nodeHost, role: 'node' }, want: 'asks' },
    { name: 'the Control UI', params: { client: controlUi }, origin: 'http://localhost:3000', want: 'silent' },
    {
      name: 'a web chat',
      params: { client: { ...controlUi, id: 'webchat-ui' } },
      origin: 'http://localhost:3000',
      want: 'silent'
    },
    { name: 'a CLI with an Origin', origin: 'http://localhost:3000', want: 'asks' },
    { name: 'a back end', params: { client: { ...cli, id: 'gateway-client', mode: 'backend' } }, want: 'untraced' },
    {
      name: 'a back end with an Origin',
      params: { client: { ...cli, id: 'gateway-client', mode: 'backend' } },
      origin: 'http://localhost:3000',
      want: 'asks'
    },
    { name: 'a CLI from elsewhere', far: true, want: 'asks' }
  ]
  for (const { name, params, origin, far, want } of rows) {
    const device = new TestDevice()
    const { hello, error, client } = await arrive(app, device, params, {
      ...(origin && { origin }),
      ...(far && { far })
    })
    const record = (await list(admin)).paired.find(({ deviceId }) => deviceId === device.id)
    if (want === 'asks') t.match(error?.details, { code: 'PAIRING_REQUIRED', reason: 'not-paired' }, name)
    else t.ok(hello, `${name} ${error?.message ?? ''}`)
    t.equal(/^[\w-]{43}$/.test(hello?.auth.deviceToken ?? ''), want === 'silent', `${name}: ${want}`)
    t.equal(record !== undefined, want === 'silent')
    if (want === 'silent') {
      t.match(record, {
        approvedVia: 'silent',
        connected: true,
        lastSeenReason: 'connect',
        createdAtMs: Number,
        approvedAtMs: Number
      })
      t.equal(JSON.stringify(record).includes(hello!.auth.deviceToken!), false, 'the list never shows a token')
      const resolved = admin.events.find(({ payload }) => payload?.deviceId === device.id)
      t.equal(resolved?.event, 'device.pair.resolved', 'nobody was asked')
      t.strictSame(schemaErrors('DevicePairResolvedEvent', resolved?.payload), [])
    }
    await client.close()
  }
  t.equal((await app.app.devices.requests()).length, 4)
})

t.test('coming back (§2.4, D15)', async (t) => {
  const app = await startApp(t, { gateway: { ...unhurried, trustedProxies: ['127.0.0.1'] } })
  const device = new TestDevice()
  const both = ['operator.read', 'operator.pairing']
  const { token } = await admitted(app, device, { scopes: both })

  const same: [string, Json][] = [
    ['in auth.deviceToken', { auth: { deviceToken: token } }],
    ['in auth.token', { auth: { token } }],
    ['among spaces', { auth: { deviceToken: ` ${token} ` } }],
    ['beside a wrong device token', { auth: { token, deviceToken: 'wrong' } }],
    ['beside a wrong token', { auth: { token: 'wrong', deviceToken: token } }]
  ]
  for (const far of [false, true]) {
    for (const [name, params] of same) {
      const { hello, error } = await arrive(app, device, params, { far })
      t.match(
        hello?.auth,
        { method: 'device-token', scopes: read, deviceToken: token },
        `${name} ${error?.message ?? ''}`
      )
    }
    for (const scopes of [undefined, []]) {
      const { hello } = await arrive(app, device, { auth: { deviceToken: token }, scopes }, { far })
      t.strictSame(hello?.auth.scopes, [], 'nothing asked, nothing granted')
    }
    const wider = await arrive(
      app,
      device,
      { auth: { deviceToken: token }, scopes: [...both, 'operator.write'] },
      { far }
    )
    t.strictSame(wider.error, {
      code: 'INVALID_REQUEST',
      message: 'unauthorized: device token scope mismatch (re-pair or approve scope upgrade)',
      details: {
        code: 'AUTH_SCOPE_MISMATCH',
        authReason: 'scope_mismatch',
        canRetryWithDeviceToken: false,
        recommendedNextStep: 'review_auth_configuration',
        fix: {
          command: `openclaw devices grant ${device.id} --scopes operator.read,operator.pairing,operator.write`,
          where: 'gateway host'
        }
      }
    })
  }
  const node = await arrive(app, device, { auth: { deviceToken: token }, role: 'node', client: nodeHost, scopes: [] })
  t.equal(node.error?.details?.code, 'AUTH_DEVICE_TOKEN_MISMATCH', 'a token is for its role')
  const thief = await arrive(app, new TestDevice(), { auth: { deviceToken: token } })
  t.equal(thief.error?.details?.code, 'AUTH_DEVICE_TOKEN_MISMATCH', 'and for its device')
  const bare = await arrive(app, undefined, { auth: { deviceToken: token } })
  t.equal(bare.error?.details?.code, 'DEVICE_IDENTITY_REQUIRED', 'and worth nothing without it')

  await t.test('by shared secret each connect gets a token of its own, eight at most', async (t) => {
    const tokens = [token]
    for (let i = 0; i < 8; i++) tokens.push((await admitted(app, device, {}, { far: i % 2 === 1 })).token)
    t.equal(new Set(tokens).size, 9)
    const works = await Promise.all(
      tokens.map(async (each) => (await arrive(app, device, { auth: { deviceToken: each } })).hello !== undefined)
    )
    t.strictSame(works, [false, ...Array(8).fill(true)], 'the oldest ended')
  })

  await t.test('a shared secret of this host widens silently, and earlier tokens end', async (t) => {
    const earlier = (await admitted(app, device)).token
    const { hello, token: fresh } = await admitted(app, device, { scopes: ['operator.admin'] })
    t.strictSame(hello.auth.scopes, ['operator.admin'])
    t.strictSame((await app.app.devices.find(device.id))?.grants, [
      { role: 'operator', scopes: ['operator.admin'], revoked: false }
    ])
    t.notOk((await arrive(app, device, { auth: { deviceToken: earlier } })).hello)
    t.ok((await arrive(app, device, { auth: { deviceToken: fresh } })).hello)
  })
})

t.test('PAIRING_REQUIRED says what is asked, and of whom (§2.4)', async (t) => {
  const app = await startApp(t, { gateway: { trustedProxies: ['127.0.0.1'] } })
  const admin = await operator(t, app)
  const asks = async (device: TestDevice, params: Json, far = true) => {
    const { error, client } = await arrive(app, device, params, { far })
    const { code, reason } = await client.closed
    return { error, details: error?.details ?? {}, close: { code, reason } }
  }

  const fresh = new TestDevice()
  const first = await asks(fresh, { scopes: ['operator.read'] })
  const { requestId, fix, ...details } = first.details
  t.strictSame(
    { ...first.error, details },
    {
      code: 'NOT_PAIRED',
      message: 'pairing required: device is not approved yet',
      details: {
        code: 'PAIRING_REQUIRED',
        reason: 'not-paired',
        remediationHint: details.remediationHint,
        deviceId: fresh.id,
        requestedRole: 'operator',
        requestedScopes: ['operator.read']
      }
    }
  )
  t.strictSame(
    fix,
    { command: `openclaw devices approve ${requestId}`, where: 'gateway host' },
    'and how to go on (D12)'
  )
  t.strictSame(first.close, {
    code: 1008,
    reason: `pairing required: device is not approved yet (requestId: ${requestId})`
  })
  t.notOk('requestedScopes' in (await asks(new TestDevice(), { scopes: [] })).details, 'no scopes, no key')

  const known = new TestDevice()
  await admitted(app, known, { scopes: ['operator.read'] })
  const upgrades: [string, string, Json, boolean][] = [
    ['scope-upgrade', 'device is asking for more scopes than currently approved', { scopes: ['operator.admin'] }, true],
    [
      'role-upgrade',
      'device is asking for a higher role than currently approved',
      { role: 'node', client: nodeHost, scopes: [] },
      true
    ],
    [
      'metadata-upgrade',
      'device identity changed and must be re-approved',
      { client: { ...cli, platform: 'darwin' } },
      false
    ]
  ]
  for (const [reason, message, params, far] of upgrades) {
    const { error, details, close } = await asks(known, params, far)
    t.equal(error?.message, `pairing required: ${message}`)
    t.match(details, { reason, approvedRoles: ['operator'] })
    t.strictSame(details.approvedScopes, ['operator.read'])
    t.ok(
      `pairing required: ${message} (requestId: ${details.requestId})`.startsWith(close.reason) &&
        close.reason.length <= 123
    )
  }
  await admin.call('device.token.revoke', { deviceId: known.id, role: 'operator' })
  t.match((await asks(known, {})).details, { reason: 'role-upgrade', approvedRoles: ['operator'] }, 'after a revoke')

  const page = await arrive(app, new TestDevice(), { client: controlUi }, { far: true, origin: 'http://192.168.1.7' })
  t.equal(page.error?.details?.code, 'CONTROL_UI_ORIGIN_NOT_ALLOWED')
})

t.test('one request a device', async (t) => {
  const app = await startApp(t, { gateway: { trustedProxies: ['127.0.0.1'] } })
  const admin = await operator(t, app)
  const reader = await operator(t, app, read)
  const device = new TestDevice()
  const ask = async (params: Json) =>
    (await arrive(app, device, params, { far: true })).error?.details?.requestId as string
  const asNode = { role: 'node', client: nodeHost, scopes: [] }

  const first = await ask({ scopes: ['operator.read', 'operator.write'] })
  t.equal(
    await ask({ scopes: ['operator.write', 'operator.read'] }),
    first,
    'asking the same again is the same request'
  )
  const second = await ask({ scopes: ['operator.admin'] })
  t.not(second, first)
  const third = await ask(asNode)
  t.not(third, second, 'one more role is a new request')
  const [entry] = (await list(admin)).pending
  t.match(entry, {
    requestId: third,
    roles: ['operator', 'node'],
    scopes: ['operator.admin'],
    isRepair: false,
    silent: false
  })
  t.match(entry, {
    deviceId: device.id,
    publicKey: device.publicKey,
    remoteIp: '203.0.113.7',
    clientId: 'node-host',
    ts: Number
  })
  t.equal(await ask(asNode), third, 'that stays as it is when either comes back')
  t.equal(await ask({ scopes: ['operator.admin'] }), third)
  t.equal((await list(admin)).pending.length, 1)

  const heard = admin.events.filter(({ event }) => event.startsWith('device.pair'))
  t.strictSame(
    heard.map(({ event, payload }) => [event, payload?.requestId, payload?.decision]),
    [
      ['device.pair.requested', first, undefined],
      ['device.pair.resolved', first, 'rejected'],
      ['device.pair.requested', second, undefined],
      ['device.pair.resolved', second, 'rejected'],
      ['device.pair.requested', third, undefined]
    ]
  )
  for (const { event, payload } of heard) {
    t.strictSame(
      schemaErrors(event.endsWith('requested') ? 'DevicePairRequestedEvent' : 'DevicePairResolvedEvent', payload),
      []
    )
  }
  await reader.call('health')
  t.equal(reader.events.filter(({ event }) => event.startsWith('device')).length, 0, 'a reader hears nothing of it')

  const probe = new TestDevice()
  const { error } = await arrive(app, probe, { client: { ...cli, id: 'openclaw-probe', mode: 'probe' } }, { far: true })
  t.match(error?.details, { code: 'PAIRING_REQUIRED', reason: 'not-paired' })
  t.notOk('requestId' in (error?.details ?? {}), 'a probe leaves no request')
  t.equal((await list(admin)).pending.length, 1)

  const nodeDevice = new TestDevice()
  const wanting = { role: 'node', client: nodeHost, scopes: ['operator.admin'] }
  const asked = (await arrive(app, nodeDevice, wanting)).error?.details?.requestId
  await admin.call('device.pair.approve', { requestId: asked })
  const { hello } = await arrive(app, nodeDevice, wanting)
  t.strictSame(hello?.auth.scopes, [], 'a node has no scopes, whatever it asks for')
})

t.test('what operators do (§2.5, S12, S14)', async (t) => {
  const app = await startApp(t, { gateway: { ...unhurried, trustedProxies: ['127.0.0.1'] } })
  const admin = await operator(t, app)
  const refusal = async (client: RawClient, method: string, params: Json) =>
    (await client.call(method, params)).error?.message
  const gone = { code: 4001, reason: 'device removed' }

  await t.test('approve and reject', async (t) => {
    const device = new TestDevice()
    const ask = async () =>
      (await arrive(app, device, { scopes: ['operator.write'] }, { far: true })).error?.details?.requestId
    const rejected = await ask()
    t.strictSame((await admin.call('device.pair.reject', { requestId: rejected })).payload, {
      requestId: rejected,
      deviceId: device.id
    })
    const requestId = await ask()
    t.not(requestId, rejected)
    const { payload } = await admin.call('device.pair.approve', { requestId })
    t.match(payload, {
      requestId,
      device: { deviceId: device.id, approvedVia: 'owner', role: 'operator', scopes: ['operator.write'], tokens: [] }
    })
    for (const method of ['device.pair.approve', 'device.pair.reject']) {
      t.equal(await refusal(admin, method, { requestId }), 'unknown requestId')
    }
    const { hello } = await arrive(app, device, { scopes: ['operator.write'] }, { far: true })
    t.match(hello?.auth, { scopes: ['operator.write'], deviceToken: /^[\w-]{43}$/ })
    const decisions = admin.events.flatMap(({ payload: told }) => (told?.deviceId === device.id ? [told.decision] : []))
    t.strictSame(decisions.filter(Boolean), ['rejected', 'approved'])

    const narrow = await arrive(app, device, { scopes: ['operator.pairing'] }, { far: true })
    await admin.call('device.pair.approve', { requestId: narrow.error?.details?.requestId })
    t.strictSame(
      (await app.app.devices.find(device.id))?.grants[0]?.scopes,
      ['operator.write', 'operator.pairing'],
      'adds'
    )
  })

  await t.test('S12: nobody hands out more than they hold', async (t) => {
    const helper = new TestDevice()
    const { client } = await admitted(app, helper, { scopes: ['operator.pairing', 'operator.read'] })
    const other = new TestDevice()
    const asked = (await arrive(app, other, { scopes: ['operator.admin'] }, { far: true })).error?.details?.requestId
    const own = (await arrive(app, helper, { scopes: ['operator.admin'] }, { far: true })).error?.details?.requestId
    for (const requestId of [asked, own]) {
      t.equal(await refusal(client, 'device.pair.approve', { requestId }), 'device pairing approval denied')
    }
    const chief = new TestDevice()
    await admitted(app, chief, { scopes: ['operator.admin'] })
    const moved = { client: { ...cli, platform: 'darwin' }, scopes: [] }
    const back = (await arrive(app, chief, moved)).error?.details?.requestId
    t.equal(
      await refusal(client, 'device.pair.approve', { requestId: back }),
      'device pairing approval denied',
      'nor give an admin back'
    )

    const seen = await list(client)
    t.strictSame(
      seen.paired.map(({ deviceId }) => deviceId),
      [helper.id],
      'it sees only itself'
    )
    t.strictSame(
      seen.pending.map(({ deviceId }) => deviceId),
      [helper.id]
    )
    const denied: [string, Json, string][] = [
      ['device.pair.remove', { deviceId: chief.id }, 'device pairing removal denied'],
      ['device.pair.remove', { deviceId: 'nobody' }, 'device pairing removal denied'],
      ['device.pair.rename', { deviceId: chief.id, label: 'x' }, 'device pairing rename denied'],
      ['device.token.rotate', { deviceId: chief.id, role: 'operator' }, 'device token rotation denied'],
      ['device.token.rotate', { deviceId: helper.id, role: 'node' }, 'device token rotation denied'],
      ['device.token.rotate', { deviceId: helper.id, role: 'bogus' }, 'device token rotation denied'],
      [
        'device.token.rotate',
        { deviceId: helper.id, role: 'operator', scopes: ['operator.admin'] },
        'device token rotation denied'
      ],
      ['device.token.revoke', { deviceId: chief.id, role: 'operator' }, 'device token revocation denied']
    ]
    for (const [method, params, message] of denied)
      t.equal(await refusal(client, method, params), message, `${method} ${JSON.stringify(params)}`)

    const partial = new TestDevice()
    await admitted(app, partial, { scopes: ['operator.pairing', 'operator.write'] })
    const little = await admitted(app, partial, { scopes: ['operator.pairing'] })
    t.equal(
      await refusal(little.client, 'device.token.rotate', { deviceId: partial.id, role: 'operator' }),
      'device token rotation denied',
      'a session that asked for less hands out less'
    )
  })

  await t.test('rename', async (t) => {
    const device = new TestDevice()
    await admitted(app, device)
    const label = 'x'.repeat(64)
    t.strictSame((await admin.call('device.pair.rename', { deviceId: device.id, label })).payload, {
      deviceId: device.id,
      label
    })
    t.equal((await list(admin)).paired.find(({ deviceId }) => deviceId === device.id)?.label, label)
    t.equal(await refusal(admin, 'device.pair.rename', { deviceId: 'nobody', label }), 'unknown deviceId')
    t.equal(
      await refusal(admin, 'device.pair.rename', { deviceId: device.id, label: `${label}x` }),
      'invalid device.pair.rename params: at /label: must not have more than 64 characters'
    )
  })

  await t.test('S14: remove, rotate and revoke end live sockets and tokens at once', async (t) => {
    for (const [method, extra] of [
      ['device.pair.remove', {}],
      ['device.token.rotate', { role: 'operator' }],
      ['device.token.revoke', { role: 'operator' }]
    ] as const) {
      const device = new TestDevice()
      const byOwnKey = await admitted(app, device)
      const byToken = await admitted(app, device, { auth: { deviceToken: byOwnKey.token } })
      const bystander = await admitted(app, new TestDevice())
      const { payload, ok } = await admin.call(method, { deviceId: device.id, ...extra })
      t.ok(ok, method)
      t.strictSame([await byOwnKey.client.closed, await byToken.client.closed], [gone, gone], `${method} closes both`)
      t.notOk(
        (await arrive(app, device, { auth: { deviceToken: byOwnKey.token } })).hello,
        'the token is worth nothing'
      )
      t.ok((await bystander.client.call('health')).ok)
      t.equal(JSON.stringify(payload).includes('"token"'), false, 'an admin never sees the token of a device')
      if (method === 'device.token.rotate') {
        t.strictSame(schemaErrors('DeviceTokenRotateResult', payload), [])
        t.match(payload, { scopes: read, rotatedAtMs: Number, tokenDelivery: 'withheld-cross-device' })
        t.ok((await arrive(app, device)).hello?.auth.deviceToken, 'the shared secret brings a new one')
      }
      if (method === 'device.token.revoke') {
        const again = await admin.call(method, { deviceId: device.id, ...extra })
        t.match(again.payload, { deviceId: device.id, role: 'operator', revokedAtMs: Number }, 'as often as one likes')
      }
      if (method === 'device.pair.remove') {
        t.equal(await refusal(admin, method, { deviceId: device.id }), 'unknown deviceId')
      }
    }
  })

  await t.test('a device rotates its own token in band, and its sockets end after the answer', async (t) => {
    const device = new TestDevice()
    const scopes = ['operator.pairing']
    const { token } = await admitted(app, device, { scopes })
    const { client } = await admitted(app, device, { auth: { deviceToken: token }, scopes })
    const { payload } = await client.call('device.token.rotate', { deviceId: device.id, role: 'operator' })
    t.strictSame(schemaErrors('DeviceTokenRotateResult', payload), [])
    t.match(payload, { token: /^[\w-]{43}$/, tokenDelivery: 'in-band', scopes })
    t.strictSame(await client.closed, gone)
    const back = await admitted(app, device, { auth: { deviceToken: payload?.token }, scopes })
    t.equal(back.token, payload?.token)
    const [facts] = (await app.app.devices.find(device.id))!.tokens
    t.match(facts, { rotatedAtMs: Number, lastUsedAtMs: Number })
    const rotated = await back.client.call('device.token.revoke', { deviceId: device.id, role: 'operator' })
    t.ok(rotated.ok, 'and may end itself')
    t.strictSame(await back.client.closed, gone)
  })

  await t.test('tokens are kept as digests only', async (t) => {
    const { token } = await admitted(app, new TestDevice())
    const db = new DatabaseSync(`${app.stateDir}/gateway.sqlite`, { readOnly: true })
    const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]
    const dump = JSON.stringify(tables.flatMap(({ name }) => db.prepare(`SELECT * FROM ${name}`).all()))
    db.close()
    t.notOk(dump.includes(token) || dump.includes(TOKEN))
  })
})

const owner = { access: 'owner', scopes: ['operator.admin'] } as const

t.test('S13: a launch link lets one browser in, once, for ten minutes', async (t) => {
  const app = await startApp(t, { gateway: { ...unhurried, trustedProxies: ['127.0.0.1'] } })
  const admin = await operator(t, app)
  const page = { client: controlUi, scopes: ['operator.admin'] }
  const link = async () => {
    const { payload } = await admin.call('device.pair.launchLink', {})
    return payload as { bootstrapToken: string; expiresAtMs: number }
  }
  const open = async (device: TestDevice | undefined, bootstrapToken: string) => {
    const answer = await arrive(app, device, { ...page, auth: { bootstrapToken } }, { origin: app.http })
    // Wrong guesses are answered ever more slowly until a good one comes.
    if (answer.hello === undefined) await admitted(app, undefined)
    return answer
  }

  const { bootstrapToken, expiresAtMs } = await link()
  t.ok(Math.abs(expiresAtMs - Date.now() - 600_000) < 5_000)
  const bare = await open(undefined, bootstrapToken)
  t.equal(bare.error?.details?.code, 'CONTROL_UI_DEVICE_IDENTITY_REQUIRED', 'a page without a key does not spend it')
  const device = new TestDevice()
  const { hello } = await open(device, bootstrapToken)
  t.match(hello?.auth, { scopes: ['operator.admin'], deviceToken: /^[\w-]{43}$/ })
  t.not(hello?.auth.deviceToken, bootstrapToken, 'the code itself is no durable secret')
  t.match((await list(admin)).paired[0], { deviceId: device.id, approvedVia: 'launch-link' })
  for (const [name, key] of [
    ['a second key', new TestDevice()],
    ['the same key', device]
  ] as const) {
    const { error } = await open(key, bootstrapToken)
    t.equal(error?.details?.code, 'AUTH_BOOTSTRAP_TOKEN_INVALID', `${name} comes too late`)
  }
  const later = await arrive(
    app,
    device,
    { ...page, auth: { deviceToken: hello?.auth.deviceToken } },
    { origin: app.http }
  )
  t.ok(later.hello, 'the device token goes on working')

  const contested = await link()
  const rivals = await Promise.all([1, 2, 3, 4].map(() => open(new TestDevice(), contested.bootstrapToken)))
  t.equal(rivals.filter((each) => each.hello !== undefined).length, 1, 'of four at once, one')

  const helper = await link()
  const backend = {
    client: { ...cli, id: 'gateway-client', mode: 'backend' },
    auth: { bootstrapToken: helper.bootstrapToken }
  }
  const attempts = [await arrive(app, new TestDevice(), backend), await arrive(app, new TestDevice(), backend)]
  t.strictSame(
    attempts.map((each) => each.hello !== undefined),
    [true, false],
    'a helper of this host spends it too'
  )

  const far = await link()
  const remote = await arrive(app, new TestDevice(), { auth: { bootstrapToken: far.bootstrapToken } }, { far: true })
  t.ok(remote.hello, 'the code is what counts, not where it is opened')

  t.equal((await open(new TestDevice(), freshSecret())).error?.details?.code, 'AUTH_BOOTSTRAP_TOKEN_INVALID')
  const old = freshSecret()
  await app.app.setupCodes.add(digest(old), { ...owner, setupId: 'old', expiresAtMs: Date.now() - 1 })
  t.equal(
    (await open(new TestDevice(), old)).error?.details?.code,
    'AUTH_BOOTSTRAP_TOKEN_INVALID',
    'an old one is none'
  )

  let now = 1_000
  const store = new SetupCodeStore(openDatabase(':memory:'), () => now)
  await store.add(digest('code'), { ...owner, setupId: 'code', expiresAtMs: 601_000 })
  now = 600_999
  t.match(await store.present(digest('code'), 'a'), { access: 'owner', scopes: ['operator.admin'] })
  now = 601_000
  t.strictSame(await store.present(digest('code'), 'a'), { refused: 'expired' }, 'not a millisecond longer')
})
