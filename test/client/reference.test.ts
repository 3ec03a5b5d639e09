import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import {
  type DeviceIdentity,
  GatewayClient,
  type GatewayClientHostDeps,
  type GatewayClientOptions,
  GatewayClientRequestError
} from '@openclaw/gateway-client'
import t from 'tap'
import { freePort, startProcess, TOKEN, tempDir } from '../support/gateway.ts'

type Json = Record<string, unknown>

/** The reference client with everything it reports. */
class Reference {
  readonly client: GatewayClient
  readonly hellos: Json[] = []
  readonly events: { event: string; payload?: unknown; seq?: number }[] = []
  readonly errors: Error[] = []
  readonly closes: { code: number; reason: string }[] = []
  readonly gaps: unknown[] = []
  #waiting: (() => void)[] = []

  constructor(options: GatewayClientOptions) {
    const heard =
      <T>(list: T[]) =>
      (value: T) => {
        list.push(value)
        for (const wake of this.#waiting.splice(0)) wake()
      }
    const closed = heard(this.closes)
    this.client = new GatewayClient({
      minProtocol: 4,
      maxProtocol: 4,
      ...options,
      onHelloOk: heard(this.hellos as never[]) as never,
      onEvent: heard(this.events as never[]) as never,
      onConnectError: heard(this.errors),
      onGap: heard(this.gaps),
      onClose: (code, reason) => closed({ code, reason })
    })
    t.teardown(() => this.client.stopAndWait())
    this.client.start()
  }

  /** Resolves when something that was reported satisfies a test. */
  async until<T>(find: (this: void) => T | undefined): Promise<T> {
    for (;;) {
      const found = find()
      if (found !== undefined) return found
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  hello(n = 1): Promise<Json> {
    return this.until(() => this.hellos[n - 1])
  }

  event(name: string): Promise<{ payload?: unknown; seq?: number }> {
    return this.until(() => this.events.find(({ event }) => event === name))
  }
}

function newIdentity(): DeviceIdentity {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' }
  })
  const deviceId = createHash('sha256').update(rawKey(publicKey)).digest('hex')
  return { deviceId, privateKeyPem: privateKey, publicKeyPem: publicKey }
}

function rawKey(pem: string): Buffer {
  return createPublicKey(pem).export({ type: 'spki', format: 'der' }).subarray(-32)
}

/** What the reference leaves to its host: signing, and a place for device tokens. */
function hostDeps(tokens: Map<string, { token: string; scopes: string[] }>): GatewayClientHostDeps {
  return {
    signDevicePayload: (pem, payload) => sign(null, Buffer.from(payload), createPrivateKey(pem)).toString('base64url'),
    publicKeyRawBase64UrlFromPem: (pem) => rawKey(pem).toString('base64url'),
    loadDeviceAuthToken: ({ role }) => tokens.get(role) ?? null,
    storeDeviceAuthToken: ({ role, token, scopes }) => void tokens.set(role, { token, scopes }),
    clearDeviceAuthToken: ({ role }) => void tokens.delete(role)
  }
}

// Two ticks are thirty seconds apart.
t.setTimeout(90_000)
const stateDir = tempDir(t)
const port = await freePort()
const config = JSON.stringify({ gateway: { mode: 'local', port, auth: { mode: 'token', token: TOKEN } } })
const start = () => startProcess(t, { config, stateDir, port })
const url = `ws://127.0.0.1:${port}`
const auth = (hello: Json) => hello.auth as Json

let gateway = await start()
const identity = newIdentity()
const tokens = new Map<string, { token: string; scopes: string[] }>()
const cli = { clientName: 'cli', mode: 'cli', clientVersion: '1.0.0', platform: 'linux' } as const

t.test('the reference client connects with a token', async (t) => {
  const reference = new Reference({ url, token: TOKEN, scopes: ['operator.admin'] })
  const hello = await reference.hello()
  t.match(hello, { type: 'hello-ok', protocol: 4, auth: { method: 'token', scopes: ['operator.admin'] } })
  t.match(await reference.client.request('health'), { ok: true })
  t.match(await reference.client.request('status', {}), { runtimeVersion: String })
  await t.rejects(reference.client.request('no.such.method'), { message: 'unknown method: no.such.method' })

  const narrow = new Reference({ url, token: TOKEN, scopes: ['operator.read'] })
  await narrow.hello()
  const refusal = await narrow.client.request('set-heartbeats', { enabled: true }).catch((error: unknown) => error)
  t.ok(refusal instanceof GatewayClientRequestError)
  t.match(refusal, { gatewayCode: 'FORBIDDEN', details: { code: 'MISSING_SCOPE', missingScope: 'operator.admin' } })
})

t.test('it is told about a wrong token', async (t) => {
  const reference = new Reference({ url, token: 'wrong-token-0123456789abcdef' })
  const error = await reference.until(() => reference.errors[0])
  t.match(error, { message: /gateway token mismatch/, details: { code: 'AUTH_TOKEN_MISMATCH' } })
  await reference.client.stopAndWait()
})

t.test('it connects with a device identity, and then with the token that identity was given', async (t) => {
  const scopes = ['operator.read', 'operator.pairing']
  const first = new Reference({
    url,
    token: TOKEN,
    ...cli,
    scopes,
    deviceIdentity: identity,
    hostDeps: hostDeps(tokens)
  })
  const hello = await first.hello()
  t.match(auth(hello), { method: 'token', scopes, deviceToken: /^[\w-]{43}$/ })
  t.equal(tokens.get('operator')?.token, auth(hello).deviceToken, 'it keeps the token')
  await first.client.stopAndWait()

  const second = new Reference({ url, ...cli, scopes, deviceIdentity: identity, hostDeps: hostDeps(tokens) })
  t.match(auth(await second.hello()), { method: 'device-token', scopes, deviceToken: tokens.get('operator')?.token })
  const { paired } = await second.client.request<{ paired: Json[] }>('device.pair.list', {})
  t.match(paired, [{ deviceId: identity.deviceId, connected: true, approvedVia: 'silent' }])
  await second.client.stopAndWait()
})

t.test('it gets presence and tick, and comes back after the gateway restarts', async (t) => {
  const scopes = ['operator.admin']
  const byToken = new Reference({ url, token: TOKEN, scopes })
  const byDevice = new Reference({
    url,
    ...cli,
    scopes: ['operator.read'],
    deviceIdentity: identity,
    hostDeps: hostDeps(tokens)
  })
  await Promise.all([byToken.hello(), byDevice.hello()])
  await byToken.client.request('system-event', { text: 'hello', reason: 'test' })
  for (const reference of [byToken, byDevice]) {
    const { payload } = await reference.event('presence')
    t.ok((payload as { presence: Json[] }).presence.some(({ text }) => text === 'hello'))
    const tick = await reference.event('tick')
    t.match(tick, { payload: { ts: Number }, seq: Number })
    t.strictSame(reference.gaps, [], 'no event was missed')
  }

  gateway.child.kill('SIGTERM')
  t.equal(await gateway.exited, 0)
  for (const reference of [byToken, byDevice]) {
    const close = await reference.until(() => reference.closes[0])
    t.strictSame(close, { code: 1012, reason: 'service restart' })
    t.ok(
      reference.events.some(({ event }) => event === 'shutdown'),
      'it was told before'
    )
  }
  gateway = await start()
  for (const [reference, method] of [
    [byToken, 'token'],
    [byDevice, 'device-token']
  ] as const) {
    const again = await reference.hello(2)
    t.equal(auth(again).method, method, 'it is back by itself')
    t.match(await reference.client.request('health'), { ok: true })
  }
  const boots = byToken.hellos.map(({ server }) => (server as Json).bootId)
  t.not(boots[0], boots[1], 'and knows that it is another process')
})
