import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { runCli } from '../support/cli.ts'
import { cli, controlUi, RawClient, TestDevice } from '../support/client.ts'
import { startProcess, type TestProcess, tempDir } from '../support/gateway.ts'
import { http, type Place, raw } from '../support/raw.ts'
import { everyRoute } from '../support/routes.ts'
import { startTailnet } from '../support/tailscaled.ts'

// S22: a secret of its own in every place that can hold one. Whichever shows up says where it came from.

t.jobs = 2
t.setTimeout(110_000)

type Json = Record<string, unknown>

const PATHS = [
  '/metrics',
  '/healthz',
  '/readyz',
  '/',
  '/nope',
  '/control-ui-config.json',
  '/v1/models',
  '/assets/x.js',
  '/tools/invoke',
  '/api/v1/admin/rpc',
  '/api/v1/events',
  '/openapi.json'
]
const OUTSIDE = { 'x-forwarded-for': '203.0.113.9' }

/** The secrets that are out, and everything that was seen of the gateway since. */
class Canaries {
  /** How many requests and sockets carried one. */
  sent = 0
  readonly #places = new Map<string, string>()
  readonly #seen: string[] = []

  /** A new secret, named after the place that it goes to. */
  make(place: string): string {
    return this.add(place, `canary${this.#places.size}${'kQzx7'.repeat(4)}${this.#places.size}`)
  }

  /** A secret that somebody else made. */
  add(place: string, secret: string): string {
    this.#places.set(secret, place)
    return secret
  }

  see(what: unknown): void {
    this.#seen.push(typeof what === 'string' ? what : JSON.stringify(what))
  }

  /** Every file of a folder and the folders below, but those whose name starts like `but`. */
  seeFiles(folder: string, but: string): number {
    const files = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.startsWith(but))
      .map(({ parentPath, name }) => join(parentPath, name))
    for (const file of files) this.see(readFileSync(file, 'latin1'))
    return files.length
  }

  get count(): number {
    return this.#places.size
  }

  /** The places whose secret was seen, in any of the forms in which text goes about. */
  get leaked(): string[] {
    const text = this.#seen.join('\n')
    const forms = (secret: string) => [
      secret,
      encodeURIComponent(secret),
      Buffer.from(secret).toString('base64').slice(0, 24),
      Buffer.from(secret).toString('hex'),
      JSON.stringify([...Buffer.from(secret)]).slice(1, -1)
    ]
    return [...this.#places].filter(([secret]) => forms(secret).some((form) => text.includes(form))).map(([, at]) => at)
  }
}

/** Secrets in every part of requests to every path, by one way in, with the headers that go that way. */
async function sweep(canaries: Canaries, place: Place, way: string, common: Record<string, string> = {}) {
  const secret = (where: string) => canaries.make(`${where}, ${way}`)
  const basic = (text: string) => `Basic ${Buffer.from(`:${text}`).toString('base64')}`
  for (const path of PATHS) {
    const hostile: Record<string, string>[] = [
      { authorization: `Bearer ${secret('a wrong bearer')}`, via: '1.1 x' },
      { authorization: `Bearer oct_${secret('what looks like a named token')}` },
      { authorization: basic(secret('basic')) },
      { authorization: `Bearer ${secret('a wrong bearer from elsewhere')}`, ...OUTSIDE },
      { cookie: `session=${secret('a cookie')}`, 'x-api-key': secret('x-api-key') },
      { 'x-forwarded-for': secret('a forwarded address'), 'proxy-authorization': basic(secret('a proxy’s secret')) },
      { host: `${secret('a host')}.example`, origin: `https://${secret('an origin')}.example` },
      { 'x-assertion': `e30.${secret('an assertion')}.sig`, 'x-openclaw-scopes': secret('a cap'), ...OUTSIDE },
      { 'tailscale-user-login': `=?utf-8?q?${secret('an encoded login')}?=`, 'x-note': secret('any header') }
    ]
    for (const [i, headers] of hostile.entries()) {
      const query = `token=${secret('a query')}&password=${secret('a query')}&launch=${secret('a query')}`
      const method = i % 2 === 0 ? 'GET' : 'POST'
      canaries.see(await http(place, method, `${path}?${query}`, { ...common, ...headers }, secret('a body')))
    }
    canaries.see(await http(place, 'GET', `${path}/${secret('a path')}`, common, '{'))
    canaries.sent += hostile.length + 1
  }
  const url = typeof place === 'string' ? `ws+unix://${place}:` : `ws://127.0.0.1:${place}`
  for (const field of ['token', 'password', 'deviceToken', 'bootstrapToken'])
    for (const device of [undefined, new TestDevice()]) {
      const headers = { ...OUTSIDE, ...common, authorization: `Bearer ${secret('a socket’s bearer')}` }
      const client = new RawClient(`${url}/?token=${secret('a socket’s query')}`, { headers })
      const opened = await Promise.race([client.event('connect.challenge'), client.closed])
      if ('event' in opened)
        canaries.see(await client.connect({ client: cli, auth: { [field]: secret(`connect ${field}`) } }, device))
      await client.close()
      canaries.see(await client.closed)
      canaries.sent++
    }
}

/** The process as the rest of the machine sees it, then, when it has ended, what it printed and left behind. */
async function finish(t: Test, canaries: Canaries, { child, exited, output, stateDir }: TestProcess) {
  for (const name of ['cmdline', 'comm']) canaries.see(readFileSync(`/proc/${child.pid}/${name}`, 'latin1'))
  const env = { PATH: process.env.PATH, HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
  for (const words of [
    ['audit', '--json'],
    ['status', '--deep', '--json'],
    ['tokens', 'list', '--json'],
    ['security', 'audit', '--deep', '--json'],
    ['doctor', '--json'],
    ['auth', 'explain', '--json'],
    ['config', 'get', 'gateway', '--json']
  ]) {
    const said = await runCli(env, words)
    t.not(said.out, '', `openclaw ${words.join(' ')}`)
    canaries.see(said)
  }
  child.kill('SIGTERM')
  await exited
  canaries.see(output())
  t.ok(canaries.seeFiles(stateDir, 'openclaw.json') >= 2, 'the store and the log are there to look at')
  t.match(readFileSync(join(stateDir, 'logs', 'gateway.log'), 'utf8'), /"message":"ready"/)
}

/** Everything that an owner may ask for; nothing of it names a secret. */
async function ask(t: Test, canaries: Canaries, client: RawClient) {
  for (const method of [
    'config.get',
    'config.schema',
    'status',
    'health',
    'system-presence',
    'logs.tail',
    'system.info',
    'device.pair.list',
    'gateway.tokens.list',
    'gateway.audit.list',
    'config.reload'
  ]) {
    const answer = await client.call(method)
    t.ok(answer.ok, method)
    canaries.see(answer)
  }
}

t.test('S22: the shared secret and what a gateway issues', async (t) => {
  const canaries = new Canaries()
  const secret = (place: string) => canaries.make(place)
  const stateDir = tempDir(t)
  const flag = secret('the flag')
  writeFileSync(
    join(stateDir, 'openclaw.json'),
    JSON.stringify({
      gateway: {
        mode: 'local',
        auth: { mode: 'token', token: secret('the file') },
        remote: { token: secret('the remote token of the file') },
        trustedProxies: ['127.0.0.1']
      },
      ...everyRoute,
      channels: { telegram: { botToken: secret('a channel of the file') } },
      models: { providers: { x: { apiKey: secret('a model key of the file') } } }
    })
  )
  const gateway = await startProcess(t, {
    stateDir,
    args: ['--verbose', '--token', flag],
    env: {
      OPENCLAW_GATEWAY_PASSWORD: secret('the environment'),
      OPENCLAW_LOG_LEVEL: 'trace',
      ANTHROPIC_API_KEY: secret('a provider’s variable')
    }
  })
  const owner = await RawClient.open(gateway.ws)
  t.ok((await owner.connect({ auth: { token: flag } })).ok, 'the secret itself works')

  // What is made here is shown once, to the one who asked; and then it is used.
  const made = await owner.call('gateway.tokens.create', { name: 'grafana', scopes: ['operator.read'] })
  const named = canaries.add('a named token', made.payload?.token as string)
  const link = await owner.call('device.pair.launchLink')
  const code = canaries.add('a launch code', link.payload?.bootstrapToken as string)
  const origin = { origin: `http://127.0.0.1:${gateway.port}` }
  const device = new TestDevice()
  const page = await RawClient.open(gateway.ws, { headers: origin })
  const hello = await page.connect({ client: controlUi, auth: { bootstrapToken: code } }, device)
  const paired = canaries.add('a device token', hello.payload?.auth.deviceToken as string)
  for (const [auth, params, headers, by] of [
    [{ token: named }, {}, {}, undefined],
    [{ deviceToken: paired }, { client: controlUi }, origin, device],
    [{ token: paired }, { client: controlUi }, origin, device]
  ] as const) {
    const client = await RawClient.open(gateway.ws, { headers })
    t.ok((await client.connect({ ...params, auth }, by)).ok, 'what was issued works')
    await client.close()
  }
  for (const [id, key] of Object.entries({ named, flag, paired }))
    for (const path of [...PATHS, `/${id}`]) {
      canaries.see(await http(gateway.port, 'GET', path, { authorization: `Bearer ${key}` }))
      canaries.sent++
    }

  await sweep(canaries, gateway.port, 'main port')
  await sweep(canaries, join(stateDir, 'gateway.sock'), 'the owner’s socket')
  for (const text of [
    `GET / HTTP/1.1\r\nAuthorization: Bearer ${secret('a request without a host')}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${secret('a broken request')}\r\nA\0: b\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${secret('a large request')}\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
    `${secret('no request at all')}\r\n\r\n`
  ])
    canaries.see(await raw(gateway.port, text))
  for (const text of [
    `{"type":"req","id":"1","method":"connect","params":{"auth":{"token":"${secret('a broken connect')}"}}`,
    `{"type":"req","id":"1","method":"connect","params":{"auth":"${secret('a mistyped auth')}"}}`,
    `{"type":"req","id":"1","method":"${secret('a method')}"}`
  ]) {
    const client = await RawClient.open(gateway.ws)
    client.send(text)
    canaries.see(await client.closed)
    canaries.see(client.responses)
  }
  await ask(t, canaries, owner)
  const patch = { raw: `{ nonsense: "${secret('a refused patch')}`, baseHash: 'x' }
  canaries.see(await owner.call('config.patch', patch))
  await owner.close()
  await finish(t, canaries, gateway)
  t.ok(canaries.sent >= 200, `${canaries.sent} requests`)
  t.same(canaries.leaked, [], `none of ${canaries.count} secrets`)
})

t.test('S22: a proxy that vouches for people, and secrets that change', async (t) => {
  const canaries = new Canaries()
  const secret = (place: string) => canaries.make(place)
  const stateDir = tempDir(t)
  const socket = join(stateDir, 'proxy.sock')
  const file = join(stateDir, 'openclaw.json')
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  writeFileSync(
    join(stateDir, 'jwks.json'),
    JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }] })
  )
  const jwt = {
    issuer: 'https://login.example.com',
    audience: 'gateway',
    jwks: join(stateDir, 'jwks.json'),
    header: 'X-Assertion'
  }
  const save = (password: unknown, more: Json = {}) =>
    writeFileSync(
      file,
      JSON.stringify({
        gateway: {
          mode: 'local',
          auth: { mode: 'trusted-proxy', password, trustedProxy: { userHeader: 'X-User', socket, jwt } },
          ...more
        },
        ...everyRoute
      })
    )
  save({ source: 'env', provider: 'default', id: 'GATEWAY_PASSWORD' })
  const first = secret('a password of the environment')
  const gateway = await startProcess(t, {
    stateDir,
    env: { GATEWAY_PASSWORD: first, OPENCLAW_LOG_LEVEL: 'trace' }
  })
  const signed = async (more: Json = {}) => {
    const assertion = await new SignJWT({ email: 'nick@example.com', jti: secret('a claim'), ...more })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer(jwt.issuer)
      .setAudience(jwt.audience)
      .setExpirationTime((more.exp as number | undefined) ?? '5m')
      .sign(privateKey)
    canaries.add('an assertion’s signature', assertion.split('.')[2]!)
    return assertion
  }
  const good = { ...OUTSIDE, 'x-assertion': await signed() }
  const client = await RawClient.open(`ws+unix://${socket}:/`, { headers: good })
  const { error } = await client.connect({ client: cli }, new TestDevice())
  t.equal(error?.details?.code, 'PAIRING_REQUIRED', 'whom the proxy vouches for is known')
  for (const headers of [
    good,
    { ...good, 'x-user': 'boss@example.com' },
    { ...good, 'x-assertion': await signed({ exp: 1 }) },
    { ...good, authorization: `Bearer ${secret('a bearer beside an assertion')}` }
  ])
    for (const path of PATHS) {
      canaries.see(await http(socket, 'GET', path, headers))
      canaries.sent++
    }
  await sweep(canaries, socket, 'the proxy’s socket', good)
  await sweep(canaries, gateway.port, 'the main port', good)

  const owner = await RawClient.open(`ws+unix://${join(stateDir, 'gateway.sock')}:/`)
  await owner.connect({ client: cli })
  const second = secret('a password that was typed into the file')
  save(second)
  await gateway.said('configuration applied')
  const local = async (password: string) => {
    const client = await RawClient.open(gateway.ws)
    const { ok } = await client.connect({ auth: { password } })
    await client.close()
    return ok
  }
  t.same([await local(first), await local(second)], [false, true], 'the new password is the one that counts')
  for (const [n, wrong] of [
    { port: secret('a value of the wrong kind') },
    { nonsense: secret('the value of an unknown key') },
    { remote: { token: [secret('a secret of the wrong kind')] } }
  ].entries()) {
    save(secret('a password of an edit that is refused'), wrong)
    await gateway.said('configuration not applied', n + 1)
  }
  writeFileSync(file, `{ gateway: { auth: { password: "${secret('a file that ends')}`)
  await gateway.said('configuration not applied', 4)
  const current = await owner.call('config.get')
  canaries.see(current)
  save(second)
  const patch = JSON.stringify({ gateway: { auth: { password: secret('a patch') } } })
  canaries.see(await owner.call('config.patch', { raw: patch, baseHash: current.payload?.hash }))
  await ask(t, canaries, owner)
  await owner.close()
  await finish(t, canaries, gateway)
  t.ok(canaries.sent >= 200, `${canaries.sent} requests`)
  t.same(canaries.leaked, [], `none of ${canaries.count} secrets`)
})

t.test('S22: a gateway in a tailnet', async (t) => {
  const canaries = new Canaries()
  const tailnet = await startTailnet(t)
  const token = canaries.make('the file')
  const config = JSON.stringify({
    gateway: {
      mode: 'local',
      auth: { mode: 'token', token },
      tailscale: { mode: 'serve', socket: tailnet.socket }
    },
    ...everyRoute
  })
  const gateway = await startProcess(t, { config, env: { ...tailnet.env, OPENCLAW_LOG_LEVEL: 'trace' } })
  await gateway.said('tailscale exposes the gateway')
  for (const peer of ['alice', 'bob'])
    for (const path of PATHS) {
      const authorization = `Bearer ${canaries.make(`a bearer of ${peer}`)}`
      const login = canaries.make('a login that somebody made up')
      const headers = { authorization, 'tailscale-user-login': login, tailscale_user_login: login }
      canaries.see(await tailnet.request(peer, path, { headers }))
      canaries.sent++
    }
  const addresses = { 'x-forwarded-for': '100.64.0.1', 'x-forwarded-proto': 'https' }
  await sweep(canaries, join(gateway.stateDir, 'gateway-tailscale.sock'), 'Serve’s socket', addresses)
  const owner = await RawClient.open(gateway.ws)
  t.ok((await owner.connect({ auth: { token } })).ok, 'the secret itself works')
  await ask(t, canaries, owner)
  await owner.close()
  await finish(t, canaries, gateway)
  t.same(canaries.leaked, [], `none of ${canaries.count} secrets`)
})
