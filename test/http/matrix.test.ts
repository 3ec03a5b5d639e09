import { request } from 'node:http'
import type { Server } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { digest, freshSecret } from '../../src/auth/secrets.ts'
import type { Surface } from '../../src/auth/surfaces.ts'
import { openPrivate, openProxy } from '../../src/listeners.ts'
import { freshToken } from '../../src/store/tokens.ts'
import { controlUi, RawClient, TestDevice } from '../support/client.ts'
import { startApp, type TestApp, TOKEN } from '../support/gateway.ts'
import { everyRoute, inventory, type Question, questionFor, watchRoutes } from '../support/routes.ts'
import { startTailnet, TAILNET_NAME, type Tailnet } from '../support/tailscaled.ts'

// Every route and the WebSocket, in every auth mode, by every way in, with everything that anybody may show.

t.setTimeout(110_000)
// A wrong guess of this machine waits; those of one gateway need not wait for another's.
t.jobs = 4

const modes = ['none', 'token', 'password', 'trusted-proxy'] as const
type Mode = (typeof modes)[number]

/** How a request reaches the gateway. */
const ways = {
  direct: 'the main port, from this machine',
  renamed: 'the main port, by the address of a network',
  proxied: 'the main port, through a trusted proxy',
  owner: "the owner's socket",
  serve: 'the socket of Tailscale Serve',
  proxy: 'the socket of the identity-aware proxy'
} as const
type Way = keyof typeof ways

/** What is shown. The last three are true by one way in, and forged by every other. */
const credentials = {
  nothing: 'no credential',
  wrong: 'a wrong secret',
  query: 'the right secret in the query',
  basic: 'the right secret as Basic',
  right: 'the shared secret',
  named: 'a named token',
  expired: 'a named token that has expired',
  revoked: 'a named token that was revoked',
  elsewhere: 'a named token for another network',
  device: 'a device token',
  'ended device': 'a device token that was revoked',
  'tailnet owner': "Tailscale headers that name this machine's owner",
  'tailnet user': 'Tailscale headers that name somebody else',
  'proxy user': 'the identity header of the proxy'
} as const
type Credential = keyof typeof credentials

/**
 * What lets a caller in: on which surfaces, in which modes, by which ways. Nothing else does. A row that is missing
 * is a credential that lets nobody in.
 */
type Rule = { on: readonly Surface[]; in: readonly Mode[]; by: readonly Way[] }
const API: readonly Surface[] = ['http-api', 'control-ui', 'websocket']
const UI: readonly Surface[] = ['control-ui', 'websocket']
const ALL = Object.keys(ways) as Way[]
const admits: Partial<Record<Credential, readonly Rule[]>> = {
  right: [
    { on: API, in: ['token', 'password'], by: ALL },
    // The password of this machine, for callers that the proxy does not stand before.
    { on: API, in: ['trusted-proxy'], by: ['direct'] }
  ],
  named: [{ on: API, in: modes, by: ALL }],
  device: [{ on: UI, in: modes, by: ALL }],
  'tailnet owner': [{ on: UI, in: modes, by: ['serve'] }],
  'tailnet user': [{ on: UI, in: modes, by: ['serve'] }],
  'proxy user': [{ on: API, in: ['trusted-proxy'], by: ['proxy'] }]
}
/** Lets in whatever is shown, or nothing. */
const open: readonly Rule[] = [
  { on: API, in: modes, by: ['owner'] },
  { on: API, in: ['none'], by: ['direct'] }
]
/** Refused before anybody looks at a credential (403): headers that speak for a caller, without provenance. */
const unattributed: readonly { credentials: readonly Credential[]; in: readonly Mode[]; by: readonly Way[] }[] = [
  { credentials: ['tailnet owner', 'tailnet user'], in: modes, by: ['direct', 'renamed', 'owner'] },
  { credentials: ['proxy user'], in: ['trusted-proxy'], by: ALL.filter((way) => way !== 'proxy') }
]

type Verdict = 'unattributed' | 'in' | 'out'

function verdict(mode: Mode, way: Way, credential: Credential, surface: Surface): Verdict {
  const early = unattributed.some(
    (row) => row.credentials.includes(credential) && row.in.includes(mode) && row.by.includes(way)
  )
  if (early) return 'unattributed'
  const rules = [...open, ...(admits[credential] ?? [])]
  return rules.some((rule) => rule.on.includes(surface) && rule.in.includes(mode) && rule.by.includes(way))
    ? 'in'
    : 'out'
}

/** A wrong guess of this machine is answered late, on purpose. */
const slow = (way: Way, credential: Credential) => way === 'direct' && ['wrong', 'ended device'].includes(credential)

const tailnet = await startTailnet(t as Test, { tls: false })
const peers = {
  'tailnet owner': ['100.64.0.1', 'alice@example.com'],
  'tailnet user': ['100.64.0.2', 'bob@example.com']
} as const
const seen = watchRoutes()
let cases = 0

await Promise.all(modes.map((mode) => t.test(`auth mode ${mode}`, (t) => everything(t, mode, tailnet))))
seen.stop()
t.test('every route that there is has been asked', async (t) => {
  t.same(seen.routes, inventory, 'a new route needs a row in the inventory')
  t.ok(cases > 5_500, `${cases} cases`)
})

interface Gateway extends TestApp {
  sockets: Partial<Record<Way, string>>
  issued: { named: string; expired: string; revoked: string; elsewhere: string }
  device: { key: TestDevice; token: string; ended: { key: TestDevice; token: string } }
}

async function everything(t: Test, mode: Mode, tailnet: Tailnet): Promise<void> {
  const gateway = await start(t, mode, tailnet)
  const reachable = ALL.filter((way) => way !== 'serve' || mode !== 'none').filter(
    (way) => way !== 'proxy' || mode === 'trusted-proxy'
  )
  const late: Promise<void>[] = []
  for (const way of reachable) {
    for (const credential of Object.keys(credentials) as Credential[]) {
      const checks: (() => Promise<void>)[] = Object.entries(inventory).map(
        ([url, surface]) =>
          () =>
            checkRoute(t, gateway, { mode, way, credential, url, surface })
      )
      checks.push(() => checkSocket(t, gateway, { mode, way, credential }))
      if (slow(way, credential)) late.push(...checks.map((check) => check()))
      else for (const check of checks) await check()
    }
  }
  await Promise.all(late)
  t.pass(
    `${reachable.length} ways in, ${Object.keys(credentials).length} credentials, ${Object.keys(inventory).length + 1} doors`
  )
}

async function checkRoute(
  t: Test,
  gateway: Gateway,
  {
    mode,
    way,
    credential,
    url,
    surface
  }: { mode: Mode; way: Way; credential: Credential; url: string; surface: Surface }
): Promise<void> {
  cases++
  const question = questionFor(url)
  const answer = credential === 'query' ? (question.strange ?? question.answer) : question.answer
  const found = verdict(mode, way, credential, surface)
  const isOpen = surface === 'probe' || surface === 'static' || surface === 'websocket'
  const want = found === 'unattributed' ? 403 : isOpen || found === 'in' ? answer : 401
  const query = credential === 'query' ? `?token=${TOKEN}&access_token=${TOKEN}&password=${TOKEN}` : ''
  const status = await ask(
    gateway,
    way,
    { ...question, path: question.path + query },
    headersOf(gateway, way, credential)
  )
  if (status !== want) t.fail(`${url} with ${credentials[credential]}, by ${ways[way]}: ${status} instead of ${want}`)
}

async function checkSocket(
  t: Test,
  gateway: Gateway,
  { mode, way, credential }: { mode: Mode; way: Way; credential: Credential }
): Promise<void> {
  cases++
  const want = verdict(mode, way, credential, 'websocket')
  const found = await connect(gateway, way, credential)
  if (found !== want)
    t.fail(`the WebSocket with ${credentials[credential]}, by ${ways[way]}: ${found} instead of ${want}`)
}

async function start(t: Test, mode: Mode, tailnet: Tailnet): Promise<Gateway> {
  const { stateDir, ...app } = await startApp(t, {
    local: true,
    sections: everyRoute,
    gateway: {
      trustedProxies: ['127.0.0.1'],
      controlUi: { allowedOrigins: ['https://ui.example'] },
      tailscale: { socket: tailnet.socket, ...(mode === 'none' ? {} : { mode: 'serve' }) },
      auth: {
        mode,
        ...(mode === 'token' ? { token: TOKEN } : { password: TOKEN }),
        rateLimit: { maxAttempts: 100_000 },
        trustedProxy: { userHeader: 'x-user', socket: '/nowhere/but/in/this/test.sock' }
      }
    }
  })
  const opened: Server[] = []
  t.teardown(() => {
    for (const server of opened) server.close()
  })
  const sockets = { owner: app.localSocket, serve: join(stateDir, 's.sock'), proxy: join(stateDir, 'p.sock') }
  await openPrivate(app.app, 'tailscale', sockets.serve, opened)
  await openProxy(app.app, { path: sockets.proxy, mode: 0o600, group: undefined }, opened)

  const { tokens, devices } = app.app
  const make = async (name: string, more: { cidrs?: string[]; expiresAtMs?: number } = {}) => {
    const text = freshToken()
    await tokens.create(
      { name, scopes: ['operator.write'], cidrs: [], createdBy: 'test', expiresAtMs: undefined, ...more },
      digest(text)
    )
    return text
  }
  const pair = async () => {
    const key = new TestDevice()
    const token = freshSecret()
    const facts = {
      deviceId: key.id,
      publicKey: key.publicKey,
      platform: 'web',
      clientId: 'openclaw-control-ui',
      clientMode: 'webchat',
      deviceFamily: undefined,
      displayName: undefined,
      remoteIp: undefined
    }
    await devices.approve({
      facts,
      via: 'owner',
      grant: [{ role: 'operator', scopes: ['operator.read'], token: digest(token) }],
      endTokens: false,
      requestId: undefined,
      code: undefined
    })
    return { key, token }
  }
  const issued = {
    named: await make('named'),
    expired: await make('expired', { expiresAtMs: Date.now() - 1 }),
    revoked: await make('revoked'),
    elsewhere: await make('elsewhere', { cidrs: ['192.0.2.0/24'] })
  }
  await tokens.revoke('revoked')
  const ended = await pair()
  await devices.revoke(ended.key.id, 'operator')
  return { ...app, stateDir, sockets, issued, device: { ...(await pair()), ended } }
}

function headersOf(gateway: Gateway, way: Way, credential: Credential): Record<string, string> {
  const forwarded = { 'x-forwarded-for': '203.0.113.7', 'x-forwarded-proto': 'https', 'x-forwarded-host': TAILNET_NAME }
  const by: Record<Way, Record<string, string>> = {
    direct: { host: '127.0.0.1' },
    renamed: { host: '10.0.0.5' },
    proxied: { host: '127.0.0.1', ...forwarded },
    owner: { host: 'localhost' },
    // A tagged machine: Serve names nobody.
    serve: { host: 'localhost', ...forwarded, 'x-forwarded-for': '100.64.0.3' },
    proxy: { host: '127.0.0.1', ...forwarded }
  }
  const bearer = bearerOf(gateway, credential)
  const headers = { ...by[way], ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }) }
  if (credential === 'basic')
    return { ...headers, authorization: `Basic ${Buffer.from(`:${TOKEN}`).toString('base64')}` }
  if (credential === 'proxy user') return { ...headers, 'x-user': 'boss@example.com' }
  if (credential !== 'tailnet owner' && credential !== 'tailnet user') return headers
  const [address, login] = peers[credential]
  return { ...headers, ...(way === 'serve' ? { 'x-forwarded-for': address } : {}), 'tailscale-user-login': login }
}

function bearerOf({ issued, device }: Gateway, credential: Credential): string | undefined {
  const texts: Partial<Record<Credential, string>> = {
    wrong: 'wrong',
    right: TOKEN,
    ...issued,
    device: device.token,
    'ended device': device.ended.token
  }
  return texts[credential]
}

function ask(
  gateway: Gateway,
  way: Way,
  { path, method, body }: Question,
  headers: Record<string, string>
): Promise<number> {
  const socketPath = gateway.sockets[way]
  const where = socketPath === undefined ? { host: '127.0.0.1', port: gateway.port } : { socketPath }
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
    const req = request({ ...where, path, method, headers: { ...headers, ...length }, agent: false }, (res) => {
      // A stream of events has no end.
      resolve(res.statusCode ?? 0)
      res.destroy()
    })
    req.on('error', reject)
    req.end(body)
  })
}

async function connect(gateway: Gateway, way: Way, credential: Credential): Promise<Verdict | string> {
  const { authorization: _unused, ...headers } = headersOf(gateway, way, credential)
  const socketPath = gateway.sockets[way]
  const query = credential === 'query' ? `?token=${TOKEN}` : ''
  const url = socketPath === undefined ? `${gateway.ws}/${query}` : `ws+unix://${socketPath}:/${query}`
  const client = new RawClient(url, { headers: { ...headers, origin: 'https://ui.example' } })
  const refused = new Promise<Verdict | string>((resolve) => {
    client.socket.on('unexpected-response', (request, response) => {
      request.destroy()
      resolve(response.statusCode === 403 ? 'unattributed' : `status ${response.statusCode}`)
    })
  })
  const answered = client.event('connect.challenge').then(async (): Promise<Verdict | string> => {
    const own =
      credential === 'device'
        ? gateway.device.key
        : credential === 'ended device'
          ? gateway.device.ended.key
          : new TestDevice()
    const text = bearerOf(gateway, credential)
    const auth =
      text === undefined ? {} : credential.endsWith('device') ? { deviceToken: text } : { token: text, password: text }
    const { ok, error } = await client.connect({ client: controlUi, scopes: ['operator.read'], auth }, own)
    // Whoever is asked to pair was believed.
    return ok || error?.details?.code === 'PAIRING_REQUIRED' ? 'in' : 'out'
  })
  try {
    return await Promise.race([refused, answered])
  } finally {
    answered.catch(() => {})
    client.socket.terminate()
  }
}
