import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type RequestOptions, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { ClientOptions } from 'ws'
import { RawClient, refusedUpgrade } from '../support/client.ts'
import { startApp, startProcess, type TestProcess, TOKEN } from '../support/gateway.ts'

t.jobs = 3
t.setTimeout(110_000)

type Where = { port: number } | { socketPath: string }

function ask(
  where: Where,
  headers: Record<string, string> = {},
  more: Partial<RequestOptions> = {}
): Promise<{ status: number; retryAfter: string | undefined; body: string; ms: number }> {
  const started = performance.now()
  return new Promise((resolve, reject) => {
    const target = 'port' in where ? { host: '127.0.0.1', port: where.port } : where
    const req = request({ ...target, path: '/metrics', headers, agent: false, ...more }, async (res) => {
      let body = ''
      for await (const chunk of res.setEncoding('utf8')) body += chunk
      const ms = performance.now() - started
      resolve({ status: res.statusCode ?? 0, retryAfter: res.headers['retry-after'], body, ms })
    })
    req.on('error', reject)
    req.end()
  })
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const from = (address: string) => ({ 'x-forwarded-for': address })

/** One connect with a credential; the code of the refusal, or `ok`. */
async function tryConnect(ws: string, auth: Record<string, string>, options: ClientOptions = {}): Promise<string> {
  const client = await RawClient.open(ws, options)
  const answer = await client.connect({ auth })
  await client.close()
  return answer.ok ? 'ok' : String(answer.error?.details?.code)
}

/** A gateway behind a trusted proxy on loopback; short limits unless told. */
const limited = (t: Test, rateLimit: Record<string, unknown> = {}) =>
  startApp(t, {
    local: true,
    gateway: {
      trustedProxies: ['127.0.0.1'],
      auth: { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 4, lockoutMs: 60_000, ...rateLimit } }
    }
  })

t.test('§8: a direct caller of this host is slowed down, never locked out', async (t) => {
  const gateway = await limited(t, { maxAttempts: 2 })
  const wrong = () => ask(gateway, bearer('wrong'))
  const first = await wrong()
  t.equal(first.status, 401)
  t.ok(first.ms > 290, `the first wrong guess is answered after 0.3 s (${first.ms | 0} ms)`)
  const started = performance.now()
  t.equal(await tryConnect(gateway.ws, { token: 'wrong' }), 'AUTH_TOKEN_MISMATCH')
  t.ok(performance.now() - started > 480, 'the next after 0.5 s, over WebSocket: the delay is shared')
  const third = await wrong()
  t.ok(third.ms > 950, `then 1 s (${third.ms | 0} ms)`)
  const fourth = wrong()
  const right = ask(gateway, bearer(TOKEN))
  t.equal((await Promise.race([fourth, right])).status, 200, 'the right secret is answered at once')
  t.ok((await fourth).ms > 1_950, 'while the next wrong one takes 2 s')
  t.equal((await ask(gateway, bearer(TOKEN))).status, 200)
  const again = await wrong()
  t.ok(again.ms > 290 && again.ms < 1_950, `a success resets it (${again.ms | 0} ms)`)
})

t.test('S19: guesses made side by side from this host are not compared faster', async (t) => {
  const gateway = await limited(t)
  // 64 answers wait; while they do, nothing else is even compared.
  const waiting = Array.from({ length: 64 }, () => ask(gateway, bearer('wrong')))
  await Promise.race(waiting)
  // One answer is out, so at least one more guess fits; many do not.
  const more = await Promise.all(Array.from({ length: 41 }, (_, i) => ask(gateway, bearer(i === 20 ? TOKEN : 'wrong'))))
  const refused = more.filter(({ status }) => status === 429)
  t.ok(refused.length >= 30, `${refused.length} of 41 refused unread`)
  t.ok(refused.every(({ retryAfter }) => retryAfter === '1'))
  t.equal(more[20]!.status, 429, 'the right secret too: there is no telling from outside')
  t.equal((await ask({ socketPath: gateway.localSocket })).status, 200, 'the owner is not affected')
  t.equal((await Promise.all(waiting)).filter(({ status }) => status === 401).length, 64)
  t.equal((await ask(gateway, bearer(TOKEN))).status, 200, 'and then it is open again')
})

t.test(
  'S19: HTTP and WebSocket count together, by the resolved client, and a lock refuses the right secret',
  async (t) => {
    const gateway = await limited(t)
    const { ws } = gateway
    const bad = from('203.0.113.5')
    t.equal((await ask(gateway, { ...bad, ...bearer('wrong') })).status, 401)
    t.equal(await tryConnect(ws, { token: 'wrong' }, { headers: bad }), 'AUTH_TOKEN_MISMATCH')
    t.equal((await ask(gateway, { ...from('::ffff:203.0.113.5'), ...bearer('wrong') })).status, 401)
    t.equal((await ask(gateway, bad)).status, 401, 'a missing credential is no guess')
    t.equal(
      await tryConnect(ws, { password: 'wrong' }, { headers: from('198.51.100.9, 203.0.113.5') }),
      'AUTH_TOKEN_MISMATCH'
    )

    for (const headers of [bearer(TOKEN), bearer('wrong'), {}]) {
      const locked = await ask(gateway, { ...bad, ...headers })
      t.equal(locked.status, 429, `locked: ${JSON.stringify(headers)}`)
      t.match(locked.retryAfter, /^(60|59)$/)
      t.same(JSON.parse(locked.body), {
        error: { message: 'Too many failed authentication attempts. Please try again later.', type: 'rate_limited' }
      })
    }
    t.equal((await ask(gateway, bad, { path: '/control-ui-config.json' })).status, 429)
    t.equal((await ask(gateway, { ...bad, ...bearer(TOKEN) }, { path: '/healthz' })).status, 200, 'probes stay')
    const client = await RawClient.open(ws, { headers: bad })
    const refused = await client.connect({ auth: { token: TOKEN } })
    t.match(refused.error, {
      code: 'INVALID_REQUEST',
      message: 'unauthorized: too many failed authentication attempts (retry later)',
      retryable: true,
      details: { code: 'AUTH_RATE_LIMITED', authReason: 'rate_limited', recommendedNextStep: 'wait_then_retry' }
    })
    t.ok(refused.error?.retryAfterMs)
    t.match(await client.closed, { code: 1008 })
    t.equal(
      await tryConnect(ws, {}, { headers: bad }),
      'DEVICE_IDENTITY_REQUIRED',
      'whoever sends nothing is told nothing'
    )

    for (const other of ['203.0.113.6', '2001:db8::1'])
      t.equal((await ask(gateway, { ...from(other), ...bearer(TOKEN) })).status, 200, `${other} is not affected`)
    t.equal((await ask(gateway, bearer(TOKEN))).status, 200, 'nor is this host')
    t.equal(await tryConnect(ws, { token: TOKEN }), 'ok')
  }
)

t.test('S19: IPv6 clients are counted by /64', async (t) => {
  const gateway = await limited(t)
  for (const last of ['1', '2:3', 'ffff:ffff:ffff:ffff', 'a%eth0'])
    await ask(gateway, { ...from(`2001:db8:0:7:${last.includes(':f') ? last : `:${last}`}`), ...bearer('wrong') })
  t.equal((await ask(gateway, { ...from('2001:DB8:0:7::99'), ...bearer(TOKEN) })).status, 429)
  t.equal((await ask(gateway, { ...from('2001:db8:0:8::99'), ...bearer(TOKEN) })).status, 200)
})

t.test('S2: pages of this machine are counted by their Origin, and locked', async (t) => {
  const gateway = await limited(t, { maxAttempts: 2 })
  const page = (origin: string) => ({ origin })
  const guesses = await Promise.all([
    ask(gateway, { ...page('http://localhost:3000'), ...bearer('wrong') }),
    tryConnect(gateway.ws, { token: 'wrong' }, { origin: 'http://localhost:3000' })
  ])
  t.match(guesses, [{ status: 401 }, 'AUTH_TOKEN_MISMATCH'])
  t.equal((await ask(gateway, { ...page('http://LOCALHOST:3000'), ...bearer(TOKEN) })).status, 429, 'in any spelling')
  t.equal(await tryConnect(gateway.ws, { token: TOKEN }, { origin: 'http://localhost:3000' }), 'AUTH_RATE_LIMITED')
  t.equal((await ask(gateway, { ...page('http://localhost:3001'), ...bearer(TOKEN) })).status, 200, 'another page')
  t.equal((await ask(gateway, bearer(TOKEN))).status, 200, 'no page at all')
  const turned = await Promise.all(
    Array.from({ length: 6 }, (_, i) => ask(gateway, { ...page(`http://localhost:${4000 + i}`), ...bearer('wrong') }))
  )
  t.ok(Math.max(...turned.map(({ ms }) => ms)) > 1900, 'another Origin for each guess is no way around the delay')
})

t.test('exemptLoopback: false locks this host as well, from any of its addresses', async (t) => {
  const gateway = await limited(t, { exemptLoopback: false, maxAttempts: 3 })
  const wrongs = ['127.0.0.1', '127.0.0.2', '127.9.9.9'].map((localAddress) =>
    ask(gateway, bearer('wrong'), { localAddress })
  )
  t.same(
    (await Promise.all(wrongs)).map(({ status }) => status),
    [401, 401, 401]
  )
  t.equal((await ask(gateway, bearer(TOKEN))).status, 429)
  t.equal((await ask({ socketPath: gateway.localSocket })).status, 200, 'the owner socket stays')
})

t.test('the lock ends', async (t) => {
  const gateway = await limited(t, { maxAttempts: 1, lockoutMs: 1_000 })
  const bad = from('203.0.113.5')
  t.equal((await ask(gateway, { ...bad, ...bearer('wrong') })).status, 401)
  const locked = await ask(gateway, { ...bad, ...bearer(TOKEN) })
  t.match(locked, { status: 429, retryAfter: '1' })
  let status = 429
  const patience = Date.now() + 5_000
  while (status === 429 && Date.now() < patience) status = (await ask(gateway, { ...bad, ...bearer(TOKEN) })).status
  t.equal(status, 200)
})

t.test('S18: sockets that wait for a caller are few', async (t) => {
  const gateway = await limited(t)
  const open = await Promise.all(Array.from({ length: 32 }, () => RawClient.open(gateway.ws)))
  t.same(await refusedUpgrade(gateway.ws), { status: 503, body: 'Too many unauthenticated sockets' })
  t.equal(await tryConnect(gateway.ws, { token: TOKEN }, { headers: from('203.0.113.7') }), 'ok', 'another client')
  const owner = await RawClient.open(`ws+unix:${gateway.localSocket}:/`)
  t.ok((await owner.connect()).ok, 'the owner has a way of their own')
  await owner.close()
  t.ok((await open[0]!.connect({ auth: { token: TOKEN } })).ok, 'one that connects makes room')
  const next = await RawClient.open(gateway.ws)
  await Promise.all([...open, next].map((each) => each.close()))
  const spread = Array.from({ length: 40 }, (_, i) =>
    RawClient.open(gateway.ws, { headers: from(`2001:db8:0:9::${i + 1}`) }).catch(() => undefined)
  )
  const admitted = (await Promise.all(spread)).filter((each) => each !== undefined)
  t.equal(admitted.length, 32, 'one IPv6 /64 is one client')
  await Promise.all(admitted.map((each) => each.close()))
})

t.test('headers and bodies have a size', async (t) => {
  const gateway = await limited(t)
  const raw = async (text: string) => {
    const socket = connect(gateway.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(text)
    let answer = ''
    for await (const chunk of socket.setEncoding('latin1')) answer += chunk
    return answer.split('\r\n', 1)[0]
  }
  const host = 'Host: localhost\r\n'
  t.equal(
    await raw(`GET /metrics HTTP/1.1\r\n${host}X: ${'x'.repeat(20_000)}\r\n\r\n`),
    'HTTP/1.1 431 Request Header Fields Too Large'
  )
  t.match(await raw(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${host}\r\n`), /^HTTP\/1\.1 4(14|31) /)
  for (const text of [
    `GET / HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `GET / HTTP/1.1\r\n${host}A\0: b\r\n\r\n`,
    `GET / HTTP/1.1\r\n${host} folded: x\r\n\r\n`,
    `GET / HTTP/9.9\r\n${host}\r\n`,
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    `POST / HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n`,
    `GET / HTTP/1.1\r\n\r\n`
  ])
    t.match(await raw(text), /^HTTP\/1\.1 400 /, JSON.stringify(text.slice(0, 60)))
  t.equal(await raw(`GET / HTTP/1.0\r\n\r\n`), 'HTTP/1.1 421 Misdirected Request')
  // A body that is announced and never sent holds nothing: the answer comes first, and the connection ends.
  const started = performance.now()
  t.match(await raw(`POST /nope HTTP/1.1\r\n${host}Content-Length: 1000000\r\n\r\nslow`), / 404 /)
  t.match(await raw(`POST /metrics HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n5\r\nslow`), / 405 /)
  t.match(await raw(`GET /metrics HTTP/1.1\r\n${host}Content-Length: 1000000\r\n\r\nslow`), / 401 /)
  t.ok(performance.now() - started < 2_000, 'without waiting for the body')
})

t.test('S18: 5,000 half-open sockets keep nobody out', { timeout: 100_000 }, async (t) => {
  const config = JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
  const gateway = await startProcess(t, { config })
  const socketPath = `${gateway.stateDir}/gateway.sock`
  const client = await RawClient.open(gateway.ws)
  t.ok((await client.connect({ auth: { token: TOKEN } })).ok)
  await ask(gateway, bearer(TOKEN))
  const before = rss(gateway)
  const starts = [
    '',
    'G',
    'GET / HTTP/1.1\r\nHost: localhost\r\nX: ',
    'POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n'
  ]
  const sockets: Socket[] = []
  let alive = 0
  for (let i = 0; i < 5_000; i++) {
    const socket = connect(gateway.port, i % 2 === 0 ? '127.0.0.1' : '::1')
    sockets.push(socket)
    alive++
    socket.on('error', () => {})
    socket.once('close', () => alive--)
    socket.resume()
    const start = starts[i % starts.length]!
    if (start !== '') socket.write(start)
    if (i % 250 === 249) {
      await once(socket, 'connect').catch(() => {})
      const started = performance.now()
      t.ok((await client.call('health')).ok)
      const took = performance.now() - started
      if (took > 500) t.fail(`an authenticated call took ${took | 0} ms with ${i + 1} sockets`)
    }
  }
  const answer = await ask(gateway, bearer(TOKEN))
  t.equal(answer.status, 200, 'a new caller gets in')
  t.ok(answer.ms < 1_000, `${answer.ms | 0} ms`)
  t.equal(await tryConnect(gateway.ws, { token: TOKEN }), 'ok')
  t.equal((await ask({ socketPath }, {})).status, 200, 'so does the owner')
  t.ok(alive <= 2_100, `${alive} of 5,000 strangers are kept`)
  const grown = rss(gateway) - before
  t.ok(grown < 80, `memory grows by ${grown | 0} MB`)
  for (const socket of sockets) socket.destroy()
  t.ok((await client.call('health')).ok)
  await client.close()
})

t.test(
  'S18: running out of file descriptors is survived',
  { skip: spawnSync('prlimit', ['--version']).status === 0 ? false : 'needs prlimit (Linux)' },
  async (t) => {
    const config = JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
    const gateway = await startProcess(t, { config })
    t.equal(spawnSync('prlimit', ['--pid', `${gateway.child.pid}`, '--nofile=128:128']).status, 0)
    const sockets = Array.from({ length: 400 }, () =>
      connect(gateway.port, '127.0.0.1')
        .on('error', () => {})
        .resume()
    )
    await Promise.allSettled(sockets.map((each) => once(each, 'connect')))
    await new Promise((resolve) => setTimeout(resolve, 500))
    t.equal(gateway.child.exitCode, null, 'alive')
    for (const socket of sockets) socket.destroy()
    let status = 0
    const patience = Date.now() + 10_000
    while (status !== 200 && Date.now() < patience)
      status = await ask(gateway, bearer(TOKEN)).then(
        (each) => each.status,
        () => 0
      )
    t.equal(status, 200, 'and open again')
    t.equal(gateway.child.exitCode, null)
  }
)

function rss({ child }: TestProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
}
