import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startRefusal } from '../../src/auth/bind-policy.ts'
import { digest, freshSecret } from '../../src/auth/secrets.ts'
import type { ConnectParams, HelloOk } from '../../src/protocol/frames.ts'
import { gatewayOf } from '../support/access.ts'
import { cli, controlUi, nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { startApp, startProcess, type TestApp, TOKEN, tempDir } from '../support/gateway.ts'
import { schemaErrors } from '../support/schema.ts'
import { Parts } from './parts.ts'

type Json = Record<string, unknown>
type Answer = Awaited<ReturnType<RawClient['connect']>>

t.jobs = 2

const phone = { id: 'openclaw-ios', version: '1.0.0', platform: 'ios', mode: 'node', displayName: 'Pocket' } as const
const far = { headers: { 'x-forwarded-for': '203.0.113.7' } }
const url = 'wss://gateway.example.com'
const SPENT = 'AUTH_BOOTSTRAP_TOKEN_INVALID'
const limited = ['approvals', 'questions', 'read', 'talk.secrets', 'write'].map((each) => `operator.${each}`)

async function start(t: Test, gateway: Json = {}): Promise<{ app: TestApp; admin: RawClient }> {
  const auth = { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 10_000 } }
  const app = await startApp(t, { gateway: { auth, trustedProxies: ['127.0.0.1'], ...gateway } })
  const admin = await RawClient.open(app.ws)
  await admin.connect({ auth: { token: TOKEN } })
  t.teardown(() => admin.close())
  return { app, admin }
}

interface Made {
  setupId: string
  setupCode: string
  bootstrapToken: string
  access: string
  expiresAtMs: number
}

async function make(admin: RawClient, params: Json = {}): Promise<Made> {
  const { payload, error } = await admin.call('device.pair.setupCode', { publicUrl: url, ...params })
  if (payload === undefined) throw new Error(error?.message)
  return { ...payload, bootstrapToken: decoded(payload.setupCode as string).bootstrapToken } as unknown as Made
}

function decoded(code: string): Json {
  return JSON.parse(Buffer.from(code, 'base64url').toString()) as Json
}

/** Comes from elsewhere as a node on a phone, unless told otherwise, with nothing but the code. */
async function spend(app: TestApp, device: TestDevice, bootstrapToken: string, more: Json = {}): Promise<Answer> {
  const client = await RawClient.open(app.ws, far)
  const params = { client: phone, role: 'node', scopes: [], auth: { bootstrapToken }, ...more }
  const answer = await client.connect(params as Partial<ConnectParams> & Json, device)
  await client.close()
  return answer
}

t.test('S13: a setup code holds no durable secret, and is worth nothing after its use', async (t) => {
  const { app, admin } = await start(t)
  const before = Date.now()
  const { payload } = await admin.call('device.pair.setupCode', { publicUrl: url })
  t.strictSame(schemaErrors('DevicePairSetupCodeResult', payload), [])
  t.match(payload, { gatewayUrl: url, urlSource: 'request.publicUrl', auth: 'token', access: 'full' })
  const inside = decoded(payload?.setupCode as string)
  t.strictSame(Object.keys(inside).sort(), ['bootstrapToken', 'expiresAtMs', 'url'])
  t.match(inside, { url, bootstrapToken: /^[\w-]{43}$/ })
  t.ok(Math.abs((inside.expiresAtMs as number) - before - 600_000) < 5_000, 'good for ten minutes')
  t.notOk(JSON.stringify(inside).includes(TOKEN))
  t.match(payload?.qrDataUrl, /^data:image\/png;base64,/)
  const bootstrapToken = inside.bootstrapToken as string
  const { setupId } = payload as { setupId: string }
  t.strictSame((await admin.call('device.pair.setupStatus', { setupId })).payload, {}, 'nobody has used it')

  const device = new TestDevice()
  const { payload: hello } = await spend(app, device, bootstrapToken)
  t.strictSame(schemaErrors('HelloOk', hello), [])
  t.match(hello?.auth, { role: 'node', scopes: [], deviceToken: /^[\w-]{43}$/ })
  t.match(hello?.auth.deviceTokens, [{ role: 'operator', scopes: ['operator.admin', ...limited] }])
  const { payload: told } = await admin.event('device.pair.setup.completed')
  t.strictSame(schemaErrors('DevicePairSetupCompletedEvent', told), [])
  t.match(told, { setupId, deviceId: device.id, deviceName: 'Pocket', access: 'full' })
  const status = (await admin.call('device.pair.setupStatus', { setupId })).payload
  t.strictSame(schemaErrors('DevicePairSetupStatusResult', status), [])
  t.match(status, { completion: { setupId, deviceId: device.id, deviceName: 'Pocket', access: 'full' } })

  for (const [who, each] of [
    ['the same device', device],
    ['another', new TestDevice()]
  ] as const) {
    t.equal((await spend(app, each, bootstrapToken)).error?.details?.code, SPENT, `not again, by ${who}`)
  }
  const asOperator = { client: { ...phone, mode: 'ui' }, role: 'operator', scopes: ['operator.admin'] }
  const handed = hello?.auth.deviceTokens?.[0]?.deviceToken
  const back = await spend(app, device, '', { ...asOperator, auth: { deviceToken: handed } })
  t.strictSame(back.payload?.auth.scopes, ['operator.admin'], 'the token that came along works')
  const node = await spend(app, device, '', { auth: { deviceToken: hello?.auth.deviceToken } })
  t.ok(node.ok, 'and so does its own')
  const wrong = await spend(app, device, freshSecret())
  t.match(wrong.error?.details, { code: SPENT, fix: { command: 'openclaw qr', where: 'gateway host' } })
})

t.test('S13: of any number who present a code at once, one gets in', async (t) => {
  const { app, admin } = await start(t)
  for (const who of ['many devices', 'one device on many sockets']) {
    for (let round = 0; round < 5; round++) {
      const { bootstrapToken } = await make(admin)
      const own = new TestDevice()
      const devices = Array.from({ length: 6 }, () => (who === 'many devices' ? new TestDevice() : own))
      const clients = await Promise.all(devices.map(() => RawClient.open(app.ws, far)))
      const answers = await Promise.all(
        clients.map((client, i) =>
          client.connect({ client: phone, role: 'node', scopes: [], auth: { bootstrapToken } }, devices[i])
        )
      )
      t.equal(answers.filter(({ ok }) => ok).length, 1, who)
      for (const { ok, error } of answers) if (!ok) t.equal(error?.details?.code, SPENT)
      await Promise.all(clients.map((client) => client.close()))
    }
  }
  t.equal((await app.app.devices.list()).length, 10)

  // Sockets take turns. Without them both are believed before either has spent it.
  const parts = await Parts.open()
  t.teardown(() => parts.close())
  await parts.codes.add(digest('once'), { setupId: 'x', access: 'node', scopes: [], expiresAtMs: parts.now + 1 })
  const device = new TestDevice()
  const come = { client: phone, role: 'node', scopes: [], auth: { bootstrapToken: 'once' } }
  const both = await Promise.all([parts.connect('away', come, device), parts.connect('away', come, device)])
  t.strictSame(both.map(({ ok }) => ok).sort(), [false, true], 'side by side as well')
})

t.test('a code belongs to the first device that shows it, for what it was made, within its time', async (t) => {
  const { app, admin } = await start(t)
  const operator = { client: { ...phone, mode: 'ui' }, role: 'operator', scopes: ['operator.admin', 'operator.read'] }
  const rows: {
    name: string
    make: Json
    come: Json
    want: { scopes: string[]; also?: string[] } | 'refused'
  }[] = [
    {
      name: 'full, as a node of a phone',
      make: {},
      come: {},
      want: { scopes: [], also: ['operator.admin', ...limited] }
    },
    { name: 'full, as an operator', make: {}, come: operator, want: { scopes: operator.scopes } },
    { name: 'full, as a node that is no phone', make: {}, come: { client: nodeHost }, want: { scopes: [] } },
    {
      name: 'limited, as a node',
      make: { bootstrapProfile: 'limited' },
      come: {},
      want: { scopes: [], also: limited }
    },
    {
      name: 'limited, as an operator',
      make: { bootstrapProfile: 'limited' },
      come: operator,
      want: { scopes: ['operator.read'] }
    },
    {
      name: 'plaintext',
      make: { publicUrl: 'ws://192.168.1.5:18789' },
      come: operator,
      want: { scopes: ['operator.read'] }
    },
    { name: 'node, as a node', make: { bootstrapProfile: 'node' }, come: { client: nodeHost }, want: { scopes: [] } },
    { name: 'node, as an operator', make: { bootstrapProfile: 'node' }, come: operator, want: 'refused' },
    { name: 'by a probe', make: {}, come: { client: { ...cli, id: 'openclaw-probe', mode: 'probe' } }, want: 'refused' }
  ]
  for (const { name, make: params, come, want } of rows) {
    const { bootstrapToken } = await make(admin, params)
    const { ok, payload } = await spend(app, new TestDevice(), bootstrapToken, come)
    t.equal(ok, want !== 'refused', name)
    if (want === 'refused') continue
    t.strictSame(payload?.auth.scopes, want.scopes, name)
    t.strictSame(payload?.auth.deviceTokens?.[0]?.scopes, want.also, name)
  }

  const bound = await make(admin, { bootstrapProfile: 'node' })
  const [first, second] = [new TestDevice(), new TestDevice()]
  t.notOk((await spend(app, first, bound.bootstrapToken, operator)).ok, 'shown in a role that it was not made for')
  t.notOk((await spend(app, second, bound.bootstrapToken)).ok, 'it is the first device’s')
  t.ok((await spend(app, first, bound.bootstrapToken)).ok)
  const bare = await RawClient.open(app.ws, far)
  const { bootstrapToken } = await make(admin)
  t.notOk((await bare.connect({ client: phone, role: 'node', auth: { bootstrapToken } })).ok, 'not without a device')

  const late = freshSecret()
  const code = { setupId: 'late', access: 'full', scopes: ['operator.admin'], expiresAtMs: Date.now() } as const
  await app.app.setupCodes.add(digest(late), code)
  t.equal((await spend(app, new TestDevice(), late)).error?.details?.code, SPENT, 'not after its time')

  const reader = await RawClient.open(app.ws)
  await reader.connect({ auth: { token: TOKEN }, scopes: ['operator.pairing', 'operator.read'] })
  for (const [method, params] of [
    ['device.pair.setupCode', { publicUrl: url }],
    ['device.pair.setupStatus', { setupId: bound.setupId }],
    ['device.pair.launchLink', {}]
  ] as const) {
    t.equal((await reader.call(method, params)).error?.message, 'missing scope: operator.admin', method)
  }
  await reader.close()
})

t.test('whoever made a code hears whether its tokens arrived', async (t) => {
  const { app, admin } = await start(t)
  for (let round = 1; round <= 5; round++) {
    const { setupId, bootstrapToken } = await make(admin)
    const client = await RawClient.open(app.ws, far)
    const device = new TestDevice()
    const base = { minProtocol: 4, maxProtocol: 4, client: phone, role: 'node', scopes: [], auth: { bootstrapToken } }
    const params = { ...base, device: device.claim(base as unknown as ConnectParams, client.nonce) }
    client.send({ type: 'req', id: '1', method: 'connect', params })
    // Gone before the answer is there, or just after.
    client.socket.terminate()
    const heard = await Promise.race([
      admin.event('device.pair.setup.completed', 1),
      admin.event('device.pair.setup.deliveryUncertain', 1)
    ])
    const known = (await admin.call('device.pair.setupStatus', { setupId })).payload as Json
    const key = heard.event.endsWith('completed') ? 'completion' : 'deliveryUncertain'
    t.strictSame(Object.keys(known), [key], 'the status says what the event said')
    t.match(heard.payload, { setupId, deviceId: device.id })
    const definition = key === 'completion' ? 'DevicePairSetupCompletedEvent' : 'DevicePairSetupDeliveryUncertainEvent'
    t.strictSame(schemaErrors(definition, heard.payload), [])
    admin.events.length = 0
  }
})

t.test('a connected device asks for more, and gets it when a person says so', async (t) => {
  const { app, admin } = await start(t)
  const device = new TestDevice()
  const page = { client: controlUi, scopes: ['operator.read'], auth: { token: TOKEN } }
  const connect = async (more: Json = {}): Promise<{ client: RawClient; hello: HelloOk | undefined }> => {
    const client = await RawClient.open(app.ws, { origin: app.http })
    const { payload } = await client.connect({ ...page, ...more } as never, device)
    return { client, hello: payload }
  }
  const { client } = await connect()
  const ask = async (scopes: string[]) =>
    (await client.call('device.scopes.requestUpgrade', { scopes })).payload?.requestId
  const requestId = await ask(['operator.write'])
  t.equal(await ask(['operator.write']), requestId, 'the same request keeps its id')
  const { payload: heard } = await admin.event('device.pair.requested')
  t.strictSame(schemaErrors('DevicePairRequestedEvent', heard), [], 'and says no more of the device than any other')
  t.match(heard, { requestId, deviceId: device.id, scopes: ['operator.read', 'operator.write'], isRepair: true })

  const waiting = client.call('device.scopes.waitUpgrade', { requestId })
  await admin.call('device.pair.approve', { requestId })
  const { payload: got } = await waiting
  t.match(got, {
    status: 'approved',
    requestId,
    deviceToken: /^[\w-]{43}$/,
    scopes: ['operator.read', 'operator.write']
  })
  const { hello } = await connect({ scopes: ['operator.write'], auth: { deviceToken: got?.deviceToken } })
  t.strictSame(hello?.auth.scopes, ['operator.write'])

  const second = await ask(['operator.pairing'])
  await admin.call('device.pair.reject', { requestId: second })
  t.match((await client.call('device.scopes.waitUpgrade', { requestId: second })).payload, { status: 'rejected' })
  const rows: [params: Json, message: string][] = [
    [{ requestId: second }, 'scope upgrade expired or not found'],
    [{ requestId: 'nobody' }, 'scope upgrade expired or not found']
  ]
  for (const [params, message] of rows) {
    t.equal((await client.call('device.scopes.waitUpgrade', params)).error?.message, message)
  }
  t.match((await client.call('device.scopes.requestUpgrade', { scopes: ['operator.bogus'] })).error, {
    message: 'requested scopes contain an unknown operator scope',
    details: { fix: { command: 'openclaw devices grant --help' } }
  })
  t.match((await admin.call('device.scopes.requestUpgrade', { scopes: ['operator.read'] })).error?.details, {
    code: 'DEVICE_IDENTITY_REQUIRED',
    recommendedNextStep: 'reopen_control_ui_securely'
  })
})

t.test('autoApproveCidrs pairs a new node from there, and nothing else', async (t) => {
  const nodes = { pairing: { autoApproveCidrs: ['203.0.113.0/24'] } }
  const { app } = await start(t, { nodes })
  const auth = { token: TOKEN }
  const device = new TestDevice()
  // What a proxy of this host says of an address, any process of this host could say.
  const rows: [name: string, more: Json][] = [
    ['hearsay', { client: nodeHost, auth }],
    ['a node that asks for scopes', { client: nodeHost, auth, scopes: ['operator.read'] }],
    ['an operator', { client: cli, role: 'operator', auth }]
  ]
  for (const [name, more] of rows) {
    t.match((await spend(app, device, '', more)).error?.details, { code: 'PAIRING_REQUIRED' }, name)
  }

  const parts = await Parts.open(undefined, { nodes })
  t.teardown(() => parts.close())
  const node = { client: nodeHost, role: 'node', scopes: [], auth }
  t.ok((await parts.connect('away', node, device)).ok, 'a node from there')
  t.match(await parts.devices.find(device.id), { approvedVia: 'trusted-cidr', grants: [{ role: 'node', scopes: [] }] })
  const cases: [name: string, more: Json, device: TestDevice, reason: string][] = [
    ['an operator', { client: cli, role: 'operator', scopes: ['operator.read'] }, new TestDevice(), 'not-paired'],
    ['one that asks for scopes', { scopes: ['operator.read'] }, new TestDevice(), 'not-paired'],
    ['one that is paired, as something else', { client: cli, role: 'operator' }, device, 'role-upgrade'],
    ['one that says it changed', { client: { ...nodeHost, platform: 'darwin' } }, device, 'metadata-upgrade']
  ]
  for (const [name, more, each, reason] of cases) {
    t.match(await parts.connect('away', { ...node, ...more }, each), { ok: false, details: { reason } }, name)
  }
  t.match(
    await parts.connect('away', { ...node, auth: {} }, new TestDevice()),
    { ok: false },
    'nor one without a secret'
  )
  for (const cidr of ['0.0.0.0/0', '::/0', 'nowhere']) {
    const refused = startRefusal(
      await gatewayOf({ auth: { token: TOKEN }, nodes: { pairing: { autoApproveCidrs: [cidr] } } })
    )
    t.match(refused, { code: 'AUTO_APPROVE_CIDRS_INVALID', fix: { command: /^openclaw config set / } }, cidr)
  }
})

t.test('S13, S22: no code is in a log, a file of the state or the output of a gateway', async (t) => {
  const stateDir = tempDir(t)
  const gateway = await startProcess(t, {
    stateDir,
    args: ['--token', TOKEN],
    config: JSON.stringify({ gateway: { mode: 'local', trustedProxies: ['127.0.0.1'] } })
  })
  const admin = await RawClient.open(gateway.ws)
  await admin.connect({ auth: { token: TOKEN } })
  const codes: string[] = []
  for (const params of [{}, { bootstrapProfile: 'node' }, { joinUrl: true }]) {
    const { bootstrapToken, setupCode } = await make(admin, params)
    codes.push(bootstrapToken, setupCode)
    for (let i = 0; i < 2; i++) {
      const client = await RawClient.open(gateway.ws, far)
      await client.connect({ client: phone, role: 'node', scopes: [], auth: { bootstrapToken } }, new TestDevice())
      await client.close()
    }
  }
  const audit = JSON.stringify((await admin.call('gateway.audit.list', {})).payload)
  t.match(audit, 'setup.created')
  await admin.close()
  gateway.child.kill('SIGTERM')
  await gateway.exited
  const files = ['gateway.sqlite', 'logs/gateway.log'].map((file) => readFileSync(join(stateDir, file), 'latin1'))
  for (const code of codes) t.notOk([gateway.output(), audit, ...files].some((text) => text.includes(code)))
})
