import { spawnSync } from 'node:child_process'
import { request } from 'node:http'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { shows, startBrowser, visit } from '../browser/browser.ts'
import { controlUi, RawClient, TestDevice } from '../support/client.ts'
import { EventReader } from '../support/event-reader.ts'
import { FRONT_ENDS, type FrontEnd, PASSWORD } from '../support/front-ends.ts'
import { freePort, startProcess, type TestProcess, tempDir } from '../support/gateway.ts'

// An address that is not loopback and that nobody outside of this namespace can reach: what a proxy's client has.
const HOST = '192.168.77.5'
const INSIDE = 'IN_A_NETWORK_OF_ITS_OWN'

t.setTimeout(110_000)

const isolated = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']).status === 0
if (process.env[INSIDE] !== '1') {
  const script = `ip link set lo up && ip addr add ${HOST}/32 dev lo && exec "$0" "$1"`
  const skip = isolated ? false : 'needs unshare --net and ip (root on Linux)'
  t.test('real proxies in a network of their own', { skip }, async (t) => {
    await t.spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, import.meta.filename], {
      env: { ...process.env, [INSIDE]: '1' }
    })
  })
} else {
  for (const frontEnd of FRONT_ENDS) {
    for (const upstream of ['TCP', 'a Unix socket'] as const) {
      const skip = frontEnd.program === undefined ? `needs ${frontEnd.name}` : false
      t.test(`${frontEnd.name}, over ${upstream}`, { skip }, (t) => behind(t, frontEnd, upstream))
    }
  }
}

type Headers = Record<string, string | string[]>

const basic = (user: string) => `Basic ${Buffer.from(`${user}:${PASSWORD}`).toString('base64')}`
const alice = { authorization: basic('alice@example.com') }

async function behind(t: Test, frontEnd: FrontEnd, upstream: 'TCP' | 'a Unix socket'): Promise<void> {
  const dir = tempDir(t)
  const over = upstream === 'TCP' ? { allowLoopback: true } : { socket: `${dir}/proxy.sock` }
  const gateway = {
    mode: 'local',
    trustedProxies: upstream === 'TCP' ? ['127.0.0.1'] : [],
    auth: {
      mode: 'trusted-proxy',
      password: 'the password of this machine',
      identityScopes: { 'boss@example.com': ['operator.admin'] },
      trustedProxy: {
        userHeader: 'x-forwarded-user',
        requiredHeaders: ['x-forwarded-proto', 'x-forwarded-host'],
        ...over,
        deviceAutoApprove: { enabled: true }
      }
    }
  }
  const child = await startProcess(t, { config: JSON.stringify({ gateway }) })
  const port = await freePort()
  const target = upstream === 'TCP' ? `127.0.0.1:${child.port}` : `unix:${dir}/proxy.sock`
  await frontEnd.start(t, { host: HOST, port }, target)
  const at = `${HOST}:${port}`
  const get = (path: string, headers: Headers = {}) => ask(port, path, { host: at, ...headers })
  const as = (headers: Headers = {}) => connectAs(`ws://${at}`, `http://${at}`, { ...alice, ...headers })

  await t.test('HTTP', async (t) => {
    t.equal((await get('/metrics')).status, 401, 'the proxy asks who it is')
    t.equal((await get('/metrics', alice)).status, 200, 'and the gateway believes it')
    t.equal((await get('/metrics', { ...alice, 'x-openclaw-scopes': '' })).status, 403, 'a caller may narrow itself')
    t.equal((await get('/control-ui-config.json', alice)).status, 200)
    t.equal((await get('/metrics', { ...alice, origin: 'https://evil.example' })).status, 403)
    t.equal((await get('/metrics', { ...alice, host: 'evil.example' })).status, 421, 'D7')
  })

  await t.test('WebSocket', async (t) => {
    t.match(await as(), { ok: true, method: 'trusted-proxy', user: 'alice@example.com', token: false })
    t.match(await as({ authorization: basic('boss@example.com') }), { ok: true, user: 'boss@example.com' })
  })

  await t.test('a stream of events is not held back', async (t) => {
    const options = { query: '?events=presence', headers: { ...alice, host: at, 'accept-encoding': 'gzip' } }
    const reader = await EventReader.open({ host: HOST, port }, options)
    t.match((await reader.event('ready')).data, { events: ['presence'] })
    for (let n = 1; n <= 3; n++) {
      await as()
      await reader.event('presence', n)
    }
    t.notOk(reader.response.headers['content-encoding'])
    await reader.leave()
  })

  await t.test('S4 S5: whatever a visitor adds, it is itself or nobody', async (t) => {
    const attempts: Headers[] = [
      { 'x-forwarded-user': 'boss@example.com' },
      { 'X-FORWARDED-USER': 'boss@example.com' },
      { x_forwarded_user: 'boss@example.com' },
      { 'x-forwarded_user': 'boss@example.com' },
      { 'x-forwarded-user': ['boss@example.com', 'boss@example.com'] },
      { 'x-forwarded-user ': 'boss@example.com' },
      { 'x-forwarded-for': '127.0.0.1' },
      { 'x-forwarded-for': ['127.0.0.1', '10.0.0.1'] },
      { x_forwarded_for: '127.0.0.1' },
      { 'x-real-ip': '127.0.0.1' },
      { forwarded: 'for=127.0.0.1;host=localhost' },
      { 'x-forwarded-host': 'localhost' },
      { 'tailscale-user-login': 'boss@example.com' },
      { connection: 'close, x-forwarded-user' },
      { connection: 'x-forwarded-for, x-forwarded-proto, x-forwarded-user' },
      { connection: 'x-openclaw-scopes', 'x-openclaw-scopes': '' },
      { authorization: `${alice.authorization}, ${basic('boss@example.com')}` }
    ].map((each) => each as Headers)
    let refused = 0
    for (const extra of attempts) {
      const name = JSON.stringify(extra)
      const { status } = await get('/metrics', { ...alice, ...extra }).catch(() => ({ status: 400 }))
      t.ok([200, 400, 401, 403].includes(status), `${name}: ${status}`)
      if (status !== 200) refused++
      // Of an upgrade the client itself sets Connection.
      if ('connection' in extra) continue
      const outcome = await as(extra).catch(() => ({ ok: false, user: undefined }))
      t.ok(!outcome.ok || outcome.user === 'alice@example.com', `${name} is ${outcome.user ?? 'nobody'}`)
    }
    t.ok(refused > 0, `${refused} refused`)
  })

  await t.test('S4: a request hidden in another is nobody', async (t) => {
    const hidden = `GET /metrics HTTP/1.1\r\nHost: ${at}\r\nX-Forwarded-User: boss@example.com\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n`
    for (const framing of [
      `Content-Length: ${hidden.length + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`,
      `Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
      `Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`
    ]) {
      const auth = `Authorization: ${alice.authorization}\r\n`
      const answers = await raw(port, `POST /nope HTTP/1.1\r\nHost: ${at}\r\n${auth}${framing}${hidden}`)
      t.notMatch(answers, /openclaw_info/, JSON.stringify(framing.slice(0, 40)))
    }
  })

  if (upstream !== 'TCP') {
    await t.test('S4: the main port takes no identity, whoever sends it', async (t) => {
      const forged = {
        'x-forwarded-user': 'boss@example.com',
        'x-forwarded-for': '203.0.113.9',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'localhost'
      }
      t.equal((await ask(child.port, '/metrics', forged, '127.0.0.1')).status, 403)
      t.equal((await ask(child.port, '/metrics', { 'x-forwarded-user': 'boss@example.com' }, '127.0.0.1')).status, 403)
    })
  }
  await t.test('a caller of this machine that the proxy does not stand before shows the password', async (t) => {
    const bearer = { authorization: 'Bearer the password of this machine' }
    t.equal((await ask(child.port, '/metrics', bearer, '127.0.0.1')).status, 200)
    t.equal((await ask(child.port, '/metrics', {}, '127.0.0.1')).status, 401)
  })

  await t.test('the Control UI opens, signed in by the proxy', async (t) => {
    const browser = await startBrowser(t)
    if (browser === undefined) return t.comment('needs Chromium')
    const { page } = await visit(t, browser, { httpCredentials: { username: 'alice@example.com', password: PASSWORD } })
    await page.goto(`http://${at}/`)
    await shows(page, 'Overview')
    await page.getByText('Connected', { exact: true }).first().waitFor()
    const shots = process.env.SCREENSHOTS
    if (shots) await page.screenshot({ path: `${shots}/${frontEnd.name}-${upstream === 'TCP' ? 'tcp' : 'unix'}.png` })
  })
  await stopped(child)
}

async function stopped(child: TestProcess): Promise<void> {
  child.child.kill('SIGTERM')
  await child.exited
}

async function connectAs(
  url: string,
  origin: string,
  headers: Headers
): Promise<{ ok: boolean; method: unknown; user: unknown; token: boolean }> {
  const client = await RawClient.open(url, { headers: { origin, ...headers } as Record<string, string> })
  try {
    const params = { client: controlUi, scopes: ['operator.read', 'operator.write'] }
    const { ok, payload } = await client.connect(params, new TestDevice())
    const self = ok ? await client.call('users.self', {}) : undefined
    const user = (self?.payload?.profile as { id?: string } | undefined)?.id
    return { ok, method: payload?.auth.method, user, token: payload?.auth.deviceToken !== undefined }
  } finally {
    await client.close()
  }
}

function ask(port: number, path: string, headers: Headers, host = HOST): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const req = request({ host, port, path, headers, agent: false }, async (res) => {
      let body = ''
      for await (const chunk of res.setEncoding('utf8')) body += chunk
      resolve({ status: res.statusCode ?? 0, body })
    })
    req.on('error', reject)
    req.end()
  })
}

function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: HOST, port })
    let answer = ''
    socket.setEncoding('utf8').on('data', (chunk) => {
      answer += chunk
    })
    socket.setTimeout(1_500, () => socket.destroy())
    socket.on('error', () => {})
    socket.on('close', () => resolve(answer))
    socket.write(text)
  })
}
