import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import WebSocket from 'ws'
import { RawClient } from '../support/client.ts'
import { startProcess, type TestProcess, TOKEN } from '../support/gateway.ts'
import { raw } from '../support/raw.ts'

t.setTimeout(110_000)

const AFTER = 8_000
const BEFORE = 2_000

const valid = JSON.stringify({ type: 'req', id: '1', method: 'health', params: {} })
const poison = [
  '{"type":"req","id":"p","method":"health","__proto__":{"admin":true}}',
  '{"type":"req","id":"p","method":"__proto__"}',
  '{"type":"req","id":"p","method":"constructor","params":{}}',
  '{"type":"req","id":"p","method":"toString"}',
  '{"type":"req","id":"__proto__","method":"health","params":{"__proto__":{"scopes":["operator.admin"]}}}',
  '{"type":"req","id":"p","method":"connect","params":{"__proto__":{"role":"operator"},"constructor":{"prototype":{"x":1}}}}'
]
const nested = fc
  .tuple(fc.constantFrom('[', '{"a":', '[{"params":'), fc.integer({ min: 1, max: 9_000 }), fc.boolean())
  .map(([open, depth, closed]) => {
    const close = { '[': ']', '{"a":': '}', '[{"params":': '}]' }[open]!
    const value = `${open.repeat(depth)}${closed ? `1${close.repeat(depth)}` : ''}`
    return closed ? `{"type":"req","id":"n","method":"system-event","params":${value}}` : value
  })
const wild = fc.oneof(
  fc.double(),
  fc.maxSafeInteger(),
  fc.constantFrom('1e999', '-1e999', '0.1e-999', '9'.repeat(400), '-0').map((text) => ({ raw: text })),
  fc.string({ maxLength: 40, unit: 'binary' }),
  fc.object({ maxDepth: 2, maxKeys: 4 }),
  fc.constantFrom(null, true, [], {}, '\u0000', '\u001b[31m', '\ud800', '\u202e')
)
const frame = (methods: readonly string[]) =>
  fc
    .record(
      {
        type: fc.oneof(fc.constant('req'), wild),
        id: fc.oneof(fc.string({ maxLength: 20 }), wild),
        method: fc.oneof(fc.constantFrom(...methods), fc.string({ maxLength: 20 }), wild),
        params: fc.oneof(
          wild,
          fc.dictionary(fc.constantFrom('key', 'text', 'limit', 'raw', 'requestId', 'deviceId', '__proto__', 'x'), wild)
        ),
        extra: wild
      },
      { requiredKeys: [] }
    )
    .map((value) => JSON.stringify(value).replaceAll(/\{"raw":"([^"]*)"\}/g, '$1'))
const malformed = (methods: readonly string[]): fc.Arbitrary<string | Buffer> =>
  fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ maxLength: 200, unit: 'binary' }),
    fc.integer({ min: 0, max: valid.length - 1 }).map((end) => valid.slice(0, end)),
    fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
      const bytes = Buffer.from(valid)
      bytes[at] = byte
      return bytes
    }),
    fc.constantFrom(...poison, '', ' ', 'null', '42', '"x"', '[]', '{}', '[[]]', '\ufeff{}', `${valid}${valid}`),
    nested,
    { arbitrary: frame(methods), weight: 4 }
  )

const config = (more = {}) =>
  JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN }, ...more } })

t.test(
  'acceptance 6: 10,000 malformed frames are refused, bounded, and leave the gateway alive',
  { timeout: 100_000 },
  async (t) => {
    const gateway = await startProcess(t, { config: config() })
    const watcher = await RawClient.open(gateway.ws)
    const hello = await watcher.connect({ auth: { token: TOKEN } })
    // What ends or changes the gateway on purpose is not for random callers with every scope.
    const methods = hello.payload!.features.methods.filter(
      (each) => !/config\.(set|patch|apply)|restart|update/.test(each)
    )
    const before = rss(gateway)

    await t.test(`${BEFORE} as the first frame: each ends its socket, and never in a session`, async (t) => {
      const frames = fc.sample(malformed(['connect', ...methods.slice(0, 5)]), { numRuns: BEFORE, seed: 7 })
      const codes = new Map<number, number>()
      let sessions = 0
      const worker = async () => {
        for (let next = frames.pop(); next !== undefined; next = frames.pop()) {
          const client = await RawClient.open(gateway.ws)
          client.send(next)
          const { code } = await client.closed
          codes.set(code, (codes.get(code) ?? 0) + 1)
          if (client.responses.some((each) => each.ok)) sessions++
        }
      }
      await Promise.all(Array.from({ length: 12 }, worker))
      t.equal(sessions, 0)
      const known = [1002, 1007, 1008, 1009]
      t.ok(
        [...codes.keys()].every((code) => known.includes(code)),
        JSON.stringify([...codes])
      )
      t.ok(codes.get(1008)! > BEFORE / 2)
    })

    await t.test(`${AFTER} after connect: each gets one answer`, async (t) => {
      const frames = fc.sample(malformed(methods), { numRuns: AFTER, seed: 11 })
      let closes = 0
      while (frames.length > 0) {
        const client = await RawClient.open(gateway.ws)
        const { ok } = await client.connect({
          auth: { token: TOKEN },
          scopes: ['operator.read', 'operator.write', 'operator.pairing']
        })
        if (!ok) return t.fail('not connected')
        const batch = frames.splice(0, 100)
        const first = client.responses.length
        for (const each of batch) client.send(each)
        client.send({ type: 'req', id: 'last', method: 'health' })
        const end = await Promise.race([
          client.response('last').catch(() => 'closed'),
          client.closed.then(() => 'closed')
        ])
        if (end === 'closed') {
          const { code } = await client.closed
          if (code !== 1007 && code !== 1009) return t.fail(`closed ${code}`)
          closes++
          continue
        }
        while (client.responses.length < first + batch.length + 1) await once(client.socket, 'message')
        if (client.responses.length !== first + batch.length + 1) return t.fail('an answer too many')
        await client.close()
      }
      t.ok(closes < AFTER / 100, `${closes} sockets of ${AFTER / 100} ended by bytes that are no text`)
    })

    await t.test('text that is no UTF-8 ends its socket, before and after connect', async (t) => {
      const bytes = fc
        .sample(fc.uint8Array({ minLength: 1, maxLength: 100 }), { numRuns: 200, seed: 5 })
        .map((each) => Buffer.concat([Buffer.from(each), Buffer.from([0xc3, 0x28])]))
      for (const [i, each] of bytes.entries()) {
        const client = await RawClient.open(gateway.ws)
        if (i % 2 === 0) await client.connect({ auth: { token: TOKEN } })
        client.socket.send(each, { binary: false })
        const { code } = await client.closed
        if (code !== 1007) return t.fail(`closed ${code}`)
      }
      t.ok((await watcher.call('health')).ok)
    })

    await t.test('bytes that are no WebSocket frames', async (t) => {
      const upgrade = `GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`
      for (const bytes of fc.sample(fc.uint8Array({ minLength: 2, maxLength: 64 }), { numRuns: 100, seed: 3 })) {
        const socket = connect(gateway.port, '127.0.0.1').on('error', () => {})
        socket.write(upgrade)
        await once(socket, 'data')
        socket.resume()
        socket.end(bytes)
        await once(socket, 'close')
      }
      t.ok((await watcher.call('health')).ok)
    })

    t.test('and it is as it was', async (t) => {
      t.equal(gateway.child.exitCode, null)
      t.ok((await watcher.call('health')).ok, 'an old session lives on')
      const fresh = await RawClient.open(gateway.ws)
      t.has(await fresh.connect({ auth: { token: TOKEN } }), { ok: true })
      await fresh.close()
      const grown = rss(gateway) - before
      t.ok(grown < 200, `memory grows by ${grown | 0} MB`)
      t.notMatch(gateway.output(), /"level":"(error|fatal)"|\n\s+at /, 'nothing broke inside')
      t.same(controlCharacters(gateway.output()), [], 'S25: no control character reaches the log')
    })
  }
)

t.test('S25: text of strangers is escaped and bounded wherever it goes', async (t) => {
  const gateway = await startProcess(t, {
    config: config({ trustedProxies: ['127.0.0.1'] }),
    env: { OPENCLAW_LOG_LEVEL: 'trace' }
  })
  const evil = '\u001b]0;owned\u0007\u001b[2J\r\nlevel=error forged\u009b31m\u2028\u202e'
  for (const headers of [{ 'user-agent': evil }, { 'x-forwarded-for': '203.0.113.4', referer: evil }]) {
    // Node's own client refuses to send this: by hand.
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value.replaceAll(/[\r\n]/g, ' ')}`)
    await raw(
      gateway.port,
      `GET /${encodeURIComponent(evil)} HTTP/1.1\r\nHost: localhost\r\n${lines.join('\r\n')}\r\n\r\n`
    )
  }
  const client = await RawClient.open(gateway.ws)
  t.ok(
    (
      await client.connect({
        client: { id: 'gateway-client', mode: 'backend', version: evil, platform: evil, displayName: evil.repeat(100) },
        userAgent: evil,
        locale: evil,
        auth: { token: TOKEN }
      })
    ).ok
  )
  await client.call('system-event', { text: evil })
  await client.call(evil, { [evil]: evil })
  const tail = await client.call('logs.tail')
  t.ok(tail.ok)
  await client.close()
  gateway.child.kill('SIGTERM')
  await gateway.exited
  t.same(controlCharacters(gateway.output()), [])
  t.same(controlCharacters(readFileSync(join(gateway.stateDir, 'logs', 'gateway.log'), 'utf8')), [])
  t.notMatch(gateway.output(), /^level=error/m, 'no line is forged')
})

t.test('many upgrades at once, cut off anywhere', async (t) => {
  const gateway = await startProcess(t, { config: config() })
  const sockets = Array.from({ length: 200 }, (_, i) => {
    const socket = new WebSocket(gateway.ws, { handshakeTimeout: 5_000 })
    socket.on('error', () => {})
    if (i % 3 === 0) setImmediate(() => socket.terminate())
    else socket.on('open', () => (i % 3 === 1 ? socket.terminate() : socket.close()))
    return new Promise((resolve) => socket.once('close', resolve))
  })
  await Promise.all(sockets)
  const client = await RawClient.open(gateway.ws)
  t.ok((await client.connect({ auth: { token: TOKEN } })).ok, 'the budget of waiting sockets is whole again')
  await client.close()
  t.equal(gateway.child.exitCode, null)
})

function controlCharacters(text: string): string[] {
  return [...new Set(text.replaceAll('\n', '').match(/[\p{Cc}\u2028\u202e]/gu))]
}

function rss({ child }: TestProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
}
