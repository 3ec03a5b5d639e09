import { once } from 'node:events'
import { renameSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import t from 'tap'
import { SCOPES, type Scope } from '../../src/protocol/scopes.ts'
import { EVENT_NAMES } from '../../src/rpc/events.ts'
import { LIMITS } from '../../src/rpc/limits.ts'
import { asJson, namedToken } from '../support/api.ts'
import { RawClient } from '../support/client.ts'
import { EventReader } from '../support/event-reader.ts'
import { startApp, startProcess, TOKEN, tempDir } from '../support/gateway.ts'

// Streams of events beside sockets, across reconnects, and while what they stand on changes.

type Json = Record<string, unknown>

t.setTimeout(100_000)

t.test('S21: a stream gets what a socket with the same token gets', async (t) => {
  const gateway = await startApp(t)
  const pairs = SCOPES.flatMap((one, i) => SCOPES.slice(i + 1).map((other): Scope[] => [one, other]))
  const sets: Scope[][] = [...SCOPES.map((scope) => [scope]), ...pairs, [...SCOPES]]
  for (const [n, scopes] of sets.entries()) {
    const token = await namedToken(gateway, scopes)
    const socket = await RawClient.open(gateway.ws)
    t.ok((await socket.connect({ auth: { token }, scopes })).ok)
    const reader = await EventReader.open(gateway, { headers: asJson(token) })
    await reader.event('ready')
    for (const name of [...EVENT_NAMES, 'no.such.event']) gateway.app.hub.publish(name, { n, name })
    gateway.app.hub.publish('tick', { n, last: true })
    const isLast = ({ payload }: Json) => (payload as Json | undefined)?.last === true
    const mine = (frames: Json[]) =>
      frames.filter(({ payload }) => (payload as Json | undefined)?.n === n).map(({ seq: _number, ...rest }) => rest)
    await reader.when(() => reader.events.find(({ data }) => isLast(data)))
    for (let i = 1; !isLast((await socket.event('tick', i)) as unknown as Json); ) i++
    t.strictSame(
      mine(reader.events.map(({ data }) => data)),
      mine(socket.events as unknown as Json[]),
      scopes.join(', ')
    )
    await Promise.all([reader.leave(), socket.close()])
  }
})

t.test('however often a reader leaves and comes back, it gets everything once and in order', async (t) => {
  const gateway = await startApp(t)
  const { hub } = gateway.app
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 40 }), bytes: fc.constantFrom(1, 40_000) })
    },
    { weight: 1, arbitrary: fc.constant('tick' as const) },
    { weight: 2, arbitrary: fc.constantFrom('leave' as const, 'leave at once' as const, 'sleep' as const) }
  )
  for (const [run, steps] of fc.sample(fc.array(step, { maxLength: 25 }), { numRuns: 40, seed: 5 }).entries()) {
    let published = 0
    let reader = await EventReader.open(gateway, { query: '?events=config.changed,tick' })
    await reader.event('ready')
    const got: unknown[] = []
    const places: (string | undefined)[] = []
    const back = async () => {
      await reader.leave()
      for (const { event, id, data } of reader.events) {
        if (event === 'gap') throw new Error('a gap')
        if (event === 'config.changed') got.push((data.payload as Json).n)
        if (event !== 'ready') places.push(id)
      }
      reader = await EventReader.open(gateway, { query: '?events=config.changed,tick', lastId: reader.lastId })
    }
    for (const each of steps) {
      if (each === 'tick') hub.publish('tick', {})
      else if (each === 'sleep') reader.response.pause()
      else if (each === 'leave at once') await back()
      else if (each === 'leave') {
        await reader.event('ready')
        await back()
      } else {
        const text = 'x'.repeat(each.bytes)
        // No more than is kept, asleep or not.
        for (let n = 0; n < each.publish && published < 180; n++)
          hub.publish('config.changed', { n: ++published, text })
      }
    }
    hub.publish('config.changed', { n: ++published })
    reader.response.resume()
    await reader.when(() => reader.events.find(({ data }) => (data.payload as Json | undefined)?.n === published))
    await back()
    await reader.leave()
    t.same(
      got,
      Array.from({ length: published }, (_, i) => i + 1),
      `run ${run}: ${steps.length} steps`
    )
    t.equal(new Set(places).size, places.length, 'no id comes twice')
  }
})

t.test('whoever leaves before it is let in takes no place', async (t) => {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwks = join(tempDir(t), 'jwks.json')
  writeFileSync(jwks, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }] }))
  const jwt = { issuer: 'https://login.example.com', audience: 'gateway', jwks, header: 'X-Assertion' }
  const gateway = await startApp(t, {
    gateway: {
      trustedProxies: ['127.0.0.1'],
      auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: 'X-User', allowLoopback: true, jwt } }
    }
  })
  // To check a signature takes a while; there is a new one in each request.
  const headers = async (jti: string) => {
    const assertion = await new SignJWT({ email: 'nick@example.com', jti })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer(jwt.issuer)
      .setAudience(jwt.audience)
      .setExpirationTime('5m')
      .sign(privateKey)
    return { host: 'localhost', 'x-forwarded-for': '203.0.113.7', 'x-assertion': assertion }
  }
  for (let i = 0; i < 50; i++) {
    const lines = Object.entries(await headers(`${i}`)).map(([name, value]) => `${name}: ${value}\r\n`)
    const socket = connect(gateway.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`GET /api/v1/events HTTP/1.1\r\n${lines.join('')}\r\n`, () => socket.destroy())
    await once(socket, 'close')
  }
  const good = await headers('good')
  const readers = await Promise.all(
    Array.from({ length: LIMITS.streamsPerCaller }, () => EventReader.open(gateway, { headers: good }))
  )
  t.same([...new Set(readers.map(({ status }) => status))], [200], 'every place is free')
  t.equal(gateway.app.hub.streams.size, LIMITS.streamsPerCaller)
  await Promise.all(readers.map((reader) => reader.leave()))
})

t.test('S14: an edit of the file that changes the secret ends the streams behind it', async (t) => {
  const config = (token: string) => JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token } } })
  const gateway = await startProcess(t, { config: config(TOKEN) })
  const owner = await EventReader.open({ socketPath: join(gateway.stateDir, 'gateway.sock') }, { headers: {} })
  const reader = await EventReader.open(gateway)
  await Promise.all([reader, owner].map((each) => each.event('ready')))
  const file = join(gateway.stateDir, 'openclaw.json')
  writeFileSync(`${file}.new`, config('another-shared-secret-0123456789abcdef'), { mode: 0o600 })
  renameSync(`${file}.new`, file)
  t.match((await reader.event('end')).data, { code: 'authChanged', reason: 'gateway auth changed' })
  t.equal(await reader.closed, 'end')
  t.equal((await EventReader.open(gateway, { lastId: reader.lastId })).status, 401, 'and nobody comes back with it')
  gateway.child.kill('SIGTERM')
  await owner.event('end')
  t.equal(await gateway.exited, 0)
})
