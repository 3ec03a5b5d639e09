import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { delimiter, join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { isOwner, parseStatus, parseWhois } from '../../src/tailscale/answers.ts'
import { TailscaleDaemon } from '../../src/tailscale/daemon.ts'
import { printable, TailscaleError } from '../../src/tailscale/errors.ts'
import { usualSockets } from '../../src/tailscale/local-api.ts'
import { TailnetIdentities } from '../../src/tailscale/whois.ts'
import { tempDir } from '../support/gateway.ts'
import { startTailnet, TAILNET_IPS, TAILNET_NAME, type TailnetOptions } from '../support/tailscaled.ts'
import { tailscaledCases } from './cases.ts'

t.setTimeout(110_000)
t.jobs = 3

const MISSING = { code: 'TAILSCALE_MISSING' }
const FAILED = { code: 'TAILSCALE_FAILED' }

const settings: { name: string; options: TailnetOptions }[] = [
  { name: 'a person’s machine', options: {} },
  { name: 'a tagged machine', options: { tagged: true } },
  { name: 'a machine whose socket cannot be opened', options: { localApi: false } }
]
for (const { name, options } of settings) {
  t.test(`the cases of a real tailscaled hold of the fake: ${name}`, async (t) => {
    const tailnet = await startTailnet(t, options)
    const { env, socket } = tailnet
    await tailscaledCases(t, { env, socket, get: () => tailnet.request('alice', '/') })
  })
}

/** A tailscaled that answers every connection in the same way, and a folder without a `tailscale` for PATH. */
async function answering(t: Test, answer: string | ((socket: Socket) => void)): Promise<TailscaleDaemon> {
  const dir = tempDir(t)
  const socket = join(dir, 'tailscaled.sock')
  const server = createServer((connection) => {
    connection.on('error', () => {})
    connection.once('data', () => (typeof answer === 'string' ? connection.end(answer) : answer(connection)))
  })
  server.listen(socket)
  await once(server, 'listening')
  t.teardown(() => server.close())
  return new TailscaleDaemon({ env: { PATH: dir }, socket })
}

const http = (body: string, status = '200 OK', length = Buffer.byteLength(body)) =>
  `HTTP/1.1 ${status}\r\nContent-Length: ${length}\r\n\r\n${body}`
const json = (value: unknown) => http(JSON.stringify(value))
const user = { ID: 7, LoginName: 'a@example.com', DisplayName: 'A', ProfilePicURL: 'https://example.com/a.png' }
const node = { ID: 1, Name: 'a.tail1.ts.net.', User: 7 }
const identity = {
  login: 'a@example.com',
  userId: 7,
  name: 'A',
  profilePic: 'https://example.com/a.png',
  tagged: false
}

t.test('whois takes an answer for what it is, and nothing else for one', async (t) => {
  const good: { name: string; answer: string; want: unknown }[] = [
    { name: 'a person', answer: json({ Node: node, UserProfile: user, CapMap: {} }), want: identity },
    { name: 'nobody', answer: http('no match for IP:port', '404 Not Found'), want: undefined },
    {
      name: 'a tagged machine',
      answer: json({ Node: { ...node, Tags: ['tag:x'] }, UserProfile: user }),
      want: { ...identity, tagged: true }
    },
    {
      name: 'a machine whose user stands for all tagged ones',
      answer: json({ Node: node, UserProfile: { ...user, LoginName: 'tagged-devices' } }),
      want: { ...identity, login: 'tagged-devices', tagged: true }
    },
    { name: 'tags: null', answer: json({ Node: { ...node, Tags: null }, UserProfile: user }), want: identity },
    {
      name: 'a user without a picture',
      answer: json({ Node: node, UserProfile: { ...user, ProfilePicURL: '' } }),
      want: { ...identity, profilePic: undefined }
    },
    {
      name: 'a picture that is a script',
      answer: json({ Node: node, UserProfile: { ...user, ProfilePicURL: 'javascript:alert(1)' } }),
      want: { ...identity, profilePic: undefined }
    },
    {
      name: 'a name with control characters',
      answer: json({ Node: node, UserProfile: { ...user, DisplayName: 'A\u001b[31m' } }),
      want: { ...identity, name: 'A?[31m' }
    }
  ]
  for (const { name, answer, want } of good) t.same(await (await answering(t, answer)).whois('100.64.0.1'), want, name)

  const bad: { name: string; answer: string | ((socket: Socket) => void) }[] = [
    { name: 'no JSON', answer: http('hello') },
    { name: 'an empty body', answer: http('') },
    { name: 'JSON that is no object', answer: json([1]) },
    { name: 'null', answer: json(null) },
    { name: 'no node', answer: json({ UserProfile: user }) },
    { name: 'no user', answer: json({ Node: node }) },
    { name: 'a login that is a number', answer: json({ Node: node, UserProfile: { ...user, LoginName: 7 } }) },
    { name: 'an empty login', answer: json({ Node: node, UserProfile: { ...user, LoginName: '' } }) },
    { name: 'a login with a line break', answer: json({ Node: node, UserProfile: { ...user, LoginName: 'a\nb' } }) },
    { name: 'a long login', answer: json({ Node: node, UserProfile: { ...user, LoginName: 'a'.repeat(400) } }) },
    { name: 'an id that is text', answer: json({ Node: node, UserProfile: { ...user, ID: '7' } }) },
    { name: 'an id of 0', answer: json({ Node: node, UserProfile: { ...user, ID: 0 } }) },
    { name: 'tags that are no list', answer: json({ Node: { ...node, Tags: 'tag:x' }, UserProfile: user }) },
    { name: 'a million brackets', answer: http('['.repeat(1_000_000)) },
    {
      name: 'more than a megabyte',
      answer: http(JSON.stringify({ Node: node, UserProfile: user, x: 'x'.repeat(1_100_000) }))
    },
    { name: 'half an answer', answer: http('{"Node":', '200 OK', 500) },
    { name: 'half a header', answer: 'HTTP/1.1 200 OK\r\nContent-Le' },
    { name: 'no HTTP', answer: 'SSH-2.0-OpenSSH_9\r\n' },
    { name: 'an endless header', answer: `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n` },
    { name: 'nothing at all', answer: (socket) => socket.end() },
    { name: 'a reset', answer: (socket) => socket.destroy() },
    { name: 'an upgrade', answer: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n' },
    { name: 'a redirect', answer: 'HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n' },
    { name: 'a refusal', answer: http('access denied\u001b[31m', '403 Forbidden') },
    { name: 'a failure', answer: http('boom', '500 Internal Server Error') }
  ]
  for (const { name, answer } of bad) {
    const asked = (await answering(t, answer)).whois('100.64.0.1')
    await t.rejects(asked, FAILED, name)
    t.notMatch(await asked.catch(String), /\p{Cc}/u)
  }
})

t.test('an answer that does not come, or trickles in, is given up after two seconds', async (t) => {
  const drip = (socket: Socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
    const timer = setInterval(() => socket.write(' '), 100)
    socket.on('close', () => clearInterval(timer))
  }
  const informed = (socket: Socket) => {
    const timer = setInterval(() => socket.write('HTTP/1.1 102 Processing\r\n\r\n'), 100)
    socket.on('close', () => clearInterval(timer))
  }
  const started = performance.now()
  await Promise.all(
    [() => {}, drip, informed].map(async (answer) => {
      await t.rejects((await answering(t, answer)).whois('100.64.0.1'), { ...FAILED, message: /2000 ms/ })
    })
  )
  const took = performance.now() - started
  t.ok(took > 1_900 && took < 6_000, `${Math.round(took)} ms`)
})

const self = { UserID: 7, DNSName: 'Box.Tail1.ts.net.', TailscaleIPs: ['100.64.0.9', 'FD7A:115C:A1E0:0::9'] }
const status = { Version: '1.94.1-t0', BackendState: 'Running', Self: self, User: { 7: user } }

t.test('status takes an answer for what it is, and nothing else for one', async (t) => {
  const want = {
    version: '1.94.1-t0',
    state: 'Running',
    dnsName: 'box.tail1.ts.net',
    ips: ['100.64.0.9', 'fd7a:115c:a1e0::9'],
    ownerId: 7,
    ownerLogin: 'a@example.com'
  }
  const nobody = { ownerId: undefined, ownerLogin: undefined }
  const good: { name: string; answer: unknown; want: unknown }[] = [
    { name: 'a person’s machine', answer: status, want },
    {
      name: 'a tagged machine belongs to nobody',
      answer: { ...status, Self: { ...self, Tags: ['tag:x'] } },
      want: { ...want, ...nobody }
    },
    {
      name: 'a machine that has not logged in',
      answer: {
        Version: '1.94.1',
        BackendState: 'NeedsLogin',
        Self: { UserID: 0, DNSName: '', TailscaleIPs: null },
        User: null
      },
      want: { ...want, version: '1.94.1', state: 'NeedsLogin', dnsName: undefined, ips: [], ...nobody }
    },
    {
      name: 'a machine without itself',
      answer: { ...status, Self: null },
      want: { ...want, dnsName: undefined, ips: [], ...nobody }
    },
    {
      name: 'an owner that two users look like has no login',
      answer: { ...status, User: { a: user, b: { ...user, LoginName: 'b@example.com' } } },
      want: { ...want, ownerLogin: undefined }
    },
    { name: 'an owner without a user', answer: { ...status, User: {} }, want: { ...want, ownerLogin: undefined } }
  ]
  for (const { name, answer, want } of good) t.same(parseStatus(JSON.stringify(answer)), want, name)

  const bad: { name: string; answer: unknown }[] = [
    { name: 'no version', answer: { ...status, Version: undefined } },
    { name: 'a state that is a number', answer: { ...status, BackendState: 1 } },
    { name: 'a state with a line break', answer: { ...status, BackendState: 'Run\nning' } },
    { name: 'a machine that is a list', answer: { ...status, Self: [] } },
    { name: 'a name that is markup', answer: { ...status, Self: { ...self, DNSName: '<b>.ts.net.' } } },
    { name: 'a name with a path', answer: { ...status, Self: { ...self, DNSName: 'box.ts.net/evil' } } },
    { name: 'an address that is none', answer: { ...status, Self: { ...self, TailscaleIPs: ['box'] } } },
    { name: 'addresses that are no list', answer: { ...status, Self: { ...self, TailscaleIPs: {} } } },
    { name: 'tags that are no list', answer: { ...status, Self: { ...self, Tags: {} } } }
  ]
  for (const { name, answer } of bad) t.throws(() => parseStatus(JSON.stringify(answer)), FAILED, name)
})

t.test('the owner is one person: same id, same login, no tags', (t) => {
  const own = parseStatus(JSON.stringify(status))
  t.equal(isOwner(identity, own), true)
  t.equal(isOwner({ ...identity, tagged: true }, own), false)
  t.equal(isOwner({ ...identity, userId: 8 }, own), false)
  t.equal(isOwner({ ...identity, login: 'b@example.com' }, own), false)
  const tagged = parseStatus(JSON.stringify({ ...status, Self: { ...self, Tags: ['tag:x'] } }))
  t.equal(isOwner(identity, tagged), false)
  t.equal(isOwner({ ...identity, userId: undefined as never, login: undefined as never }, tagged), false)
  t.end()
})

t.test('status asks for this machine alone, and for its owner when that is left out', async (t) => {
  const tailnet = await startTailnet(t)
  const found = await new TailscaleDaemon(tailnet).status()
  t.match(found, { dnsName: TAILNET_NAME, ips: TAILNET_IPS, ownerLogin: 'alice@example.com' })
  t.same(tailnet.lookups(), ['/localapi/v0/status?peers=false', `/localapi/v0/whois?addr=${TAILNET_IPS[0]}`])
  t.same(tailnet.calls(), [], 'without the command')
})

t.test('not there, failing, and answering "nobody" are three things', async (t) => {
  const empty = tempDir(t)
  const nothing = new TailscaleDaemon({ env: { PATH: empty }, socket: join(empty, 'none.sock') })
  for (const ask of [() => nothing.whois('100.64.0.1'), () => nothing.status()]) {
    await t.rejects(ask() as Promise<unknown>, {
      ...MISSING,
      message: /nothing listens on .*none\.sock; the tailscale command is not on PATH/,
      fix: { command: /install/, where: 'gateway host' }
    })
  }
  t.equal(await nothing.user(), undefined)

  const tailnet = await startTailnet(t)
  const daemon = new TailscaleDaemon(tailnet)
  t.equal(await daemon.whois('100.64.0.77'), undefined)
  t.match(await daemon.whois('::ffff:100.64.0.2'), { login: 'bob@example.com', name: 'Jürgen Böb' })
  tailnet.set({ whoisFails: true })
  await t.rejects(daemon.whois('100.64.0.2'), FAILED)
  t.same(tailnet.calls(), [], 'the command would be told the same')
  t.equal(await daemon.user(), process.getuid!(), 'the socket is the user’s that tailscaled runs as')
  await tailnet.kill()
  await t.rejects(daemon.whois('100.64.0.2'), { ...MISSING, fix: { command: /tailscaled?/ } })
  t.same(tailnet.calls(), [['whois', '--json', '100.64.0.2']])
})

t.test('what is no address is asked of nobody', async (t) => {
  const tailnet = await startTailnet(t, { localApi: false })
  const daemon = new TailscaleDaemon(tailnet)
  for (const text of [
    '',
    '--help',
    '100.64.0.1; id',
    '100.64.0.1:80',
    '0x64.0.0.1',
    '100.64.1',
    'box',
    '1\n2',
    '%00'
  ]) {
    t.equal(await daemon.whois(text), undefined, JSON.stringify(text))
    t.equal(await daemon.cli.whois(text), undefined)
  }
  t.same(tailnet.calls(), [])
})

/** A `tailscale` that is a shell script. */
function scripted(t: Test, script: string, env: Record<string, string> = {}): TailscaleDaemon {
  const dir = tempDir(t)
  writeFileSync(join(dir, 'tailscale'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return new TailscaleDaemon({ env: { PATH: `${dir}:/usr/bin:/bin`, ...env }, socket: join(dir, 'none.sock') })
}

t.test('the command’s answers are bounded, and only answers are believed', async (t) => {
  const cases: { name: string; script: string; want: { code: string; message?: RegExp } }[] = [
    { name: 'garbage', script: 'echo hello', want: FAILED },
    { name: 'nothing', script: 'exit 0', want: FAILED },
    { name: 'an error', script: 'echo "boom\nagain" >&2; exit 1', want: { ...FAILED, message: /boom \| again/ } },
    { name: 'an answer with a bad exit', script: `echo '${JSON.stringify(status)}'; exit 3`, want: FAILED },
    { name: 'an endless answer', script: 'exec yes', want: FAILED },
    {
      name: 'a dead daemon',
      script: 'echo "failed to connect to local tailscaled; it is not there" >&2; exit 1',
      want: MISSING
    },
    { name: 'a program that cannot run', script: '\nexec /nowhere/at/all', want: FAILED },
    // The child keeps the output open: its end must not be waited for.
    { name: 'silence', script: 'sleep 30 & sleep 30', want: { ...FAILED, message: /took longer than 5000 ms/ } }
  ]
  await Promise.all(
    cases.map(async ({ name, script, want }) => {
      const started = performance.now()
      await t.rejects(scripted(t, script).status(), want, name)
      t.ok(performance.now() - started < 15_000)
    })
  )
})

t.test('the command is found on PATH by absolute folders alone, and is told no secrets', async (t) => {
  const dir = tempDir(t)
  const seen = join(dir, 'seen')
  const secret = { OPENCLAW_GATEWAY_TOKEN: 'canary-secret', HOME: '/home/x' }
  const daemon = scripted(t, `env > ${seen}; echo "$@" >> ${seen}; echo 1.90.0; echo more`, secret)
  t.equal(await daemon.cli.version(), '1.90.0')
  const text = readFileSync(seen, 'utf8')
  t.match(text, /HOME=\/home\/x/)
  t.notMatch(text, /canary-secret/)
  t.match(text, /^--socket \S+none\.sock version$/m)

  mkdirSync(join(dir, 'a', 'tailscale'), { recursive: true })
  writeFileSync(join(dir, 'tailscale'), 'not executable')
  const relative = scripted(t, 'echo relative')
  const path = ['', '.', 'bin', join(dir, 'a'), dir].join(delimiter)
  await t.rejects(new TailscaleDaemon({ env: { PATH: path }, socket: undefined }).cli.version(), MISSING)
  t.equal(await relative.cli.version(), 'relative')
  await t.rejects(new TailscaleDaemon({ env: {}, socket: undefined }).cli.version(), MISSING)
})

t.test('without a configured socket the usual ones are tried', (t) => {
  t.same(usualSockets('linux'), ['/var/run/tailscale/tailscaled.sock', '/run/tailscale/tailscaled.sock'])
  t.same(usualSockets('darwin'), ['/var/run/tailscaled.socket'])
  t.end()
})

t.test('text of others is one bounded line without control characters', (t) => {
  t.equal(printable('a\r\n\n b\u0007\u001b[2J'), 'a | b??[2J')
  t.equal(printable(`${'x'.repeat(500)}end`, 10), '…xxxxxxxend')
  t.end()
})

t.test('the cache asks once for many', async (t) => {
  const tailnet = await startTailnet(t, { whoisDelayMs: 50 })
  const identities = new TailnetIdentities(new TailscaleDaemon(tailnet))
  const spellings = ['100.64.0.2', '::ffff:100.64.0.2', '[::ffff:6440:2]', ' 100.64.0.2 ', '::FFFF:100.64.0.2']
  const found = await Promise.all(Array.from({ length: 50 }, (_, i) => identities.whois(spellings[i % 5]!)))
  t.ok(found.every((each) => each?.login === 'bob@example.com'))
  t.equal(tailnet.lookups().length, 1)
  await Promise.all(Array.from({ length: 50 }, () => identities.status()))
  t.equal(tailnet.lookups().length, 3, 'status is a question and its owner’s')
  t.equal(await identities.whois('not an address'), undefined)
  t.equal(tailnet.lookups().length, 3)
})

t.test('an answer is kept 10 seconds, "nobody" and a failure 2', async (t) => {
  const tailnet = await startTailnet(t)
  let now = 0
  const identities = new TailnetIdentities(new TailscaleDaemon(tailnet), () => now)
  const asked = async (address: string, at: number) => {
    now = at
    const before = tailnet.lookups().length
    await identities.whois(address).catch(() => {})
    return tailnet.lookups().length - before
  }
  t.same([await asked('100.64.0.2', 0), await asked('100.64.0.2', 9_999), await asked('100.64.0.2', 10_000)], [1, 0, 1])
  t.same([await asked('100.64.9.9', 0), await asked('100.64.9.9', 1_999), await asked('100.64.9.9', 2_000)], [1, 0, 1])
  tailnet.set({ whoisFails: true })
  t.same([await asked('100.64.0.1', 0), await asked('100.64.0.1', 1_999)], [1, 0])
  now = 1_999
  await t.rejects(identities.whois('100.64.0.1'), FAILED, 'a kept failure is a failure')
  tailnet.set({ whoisFails: false })
  t.equal(await asked('100.64.0.1', 2_000), 1)
})

t.test('the cache holds 500 addresses and forgets the oldest', async (t) => {
  const asked: string[] = []
  const daemon = {
    whois: async (address: string) => {
      asked.push(address)
      return identity
    },
    status: () => Promise.reject(new Error('unused'))
  }
  const identities = new TailnetIdentities(daemon, () => 0)
  const address = (i: number) => `100.64.${i >> 8}.${i & 255}`
  for (let i = 0; i < 600; i++) await identities.whois(address(i))
  asked.length = 0
  for (let i = 100; i < 600; i++) await identities.whois(address(i))
  t.same(asked, [], 'the last 500 are there')
  await identities.whois(address(0))
  t.same(asked, [address(0)], 'the first is not')

  // Whatever is asked and when: never older than allowed, never asked twice within that.
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ who: fc.nat(5), wait: fc.constantFrom(0, 1, 1_999, 2_000, 9_999, 10_000) }), {
        maxLength: 60
      }),
      async (steps) => {
        let now = 0
        const last = new Map<string, number>()
        const calls: string[] = []
        const cache = new TailnetIdentities(
          {
            whois: async (text) => {
              calls.push(text)
              return text.endsWith('0') ? undefined : text.endsWith('1') ? Promise.reject(new Error('no')) : identity
            },
            status: () => Promise.reject(new Error('unused'))
          },
          () => now
        )
        for (const { who, wait } of steps) {
          now += wait
          const text = address(who)
          const fresh = now - (last.get(text) ?? -Infinity) < (who < 2 ? 2_000 : 10_000)
          const before = calls.length
          await cache.whois(text).catch(() => {})
          if (calls.length - before !== (fresh ? 0 : 1)) return false
          if (!fresh) last.set(text, now)
        }
        return true
      }
    ),
    { numRuns: 200 }
  )
})

// Alone: it computes without a pause, and would make others' answers late.
t.test('whatever the answer, it is read as one or refused as none', { buffered: false }, (t) => {
  const key = fc.constantFrom(
    'Node',
    'UserProfile',
    'Self',
    'User',
    'Version',
    'BackendState',
    'ID',
    'LoginName',
    'Tags'
  )
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom(null, true, 0, -1, 1e300, '', '\u0000', '__proto__', 'Running', '100.64.0.1', 7, 'a@example.com'),
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(fc.oneof(key, fc.constant('__proto__'), fc.string({ maxLength: 5 })), tie('any'), { maxKeys: 6 })
    )
  })).any
  fc.assert(
    fc.property(
      fc.oneof(
        value.map((each) => JSON.stringify(each)),
        fc.string()
      ),
      (text) => {
        for (const parse of [parseWhois, parseStatus]) {
          try {
            const parsed = parse(text)
            const texts = Object.values(parsed)
              .flat()
              .filter((each) => typeof each === 'string')
            if (texts.some((each) => /\p{Cc}/u.test(each) || each.length > 2_048)) return false
          } catch (error) {
            if (!(error instanceof TailscaleError) || error.code !== 'TAILSCALE_FAILED') return false
          }
        }
        return true
      }
    ),
    { numRuns: 1_000 }
  )
  t.end()
})
