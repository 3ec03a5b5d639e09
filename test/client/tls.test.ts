import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { describeCertificate } from '../../src/client/certificate.ts'
import { parsePins } from '../../src/client/tls-pin.ts'
import { newKeys, trustedAuthority } from '../support/authority.ts'
import { runCli } from '../support/cli.ts'
import { startApp, TOKEN, tempDir } from '../support/gateway.ts'
import { refusal } from '../support/refusal.ts'
import { fingerprintOf, makePair } from '../support/tls.ts'
import { tlsFront } from '../support/tls-front.ts'

const HEX = 'ab'.repeat(32)
const KEY = `${'A'.repeat(43)}=`

t.test('R34: a pin is read as people write it', async (t) => {
  const colons = HEX.toUpperCase().match(/../g)!.join(':')
  const rows: { name: string; text: string; want: unknown }[] = [
    { name: 'sha256: and hex', text: `sha256:${HEX}`, want: [{ certificate: HEX }] },
    { name: 'hex alone', text: HEX, want: [{ certificate: HEX }] },
    { name: 'with colons, in capitals', text: colons, want: [{ certificate: HEX }] },
    { name: 'as openssl prints it', text: `sha256 Fingerprint=${colons}`, want: [{ certificate: HEX }] },
    { name: 'of a key', text: `sha256/${KEY}`, want: [{ key: KEY }] },
    { name: 'of a key, as curl takes it', text: `sha256//${KEY}`, want: [{ key: KEY }] },
    { name: 'two, for a rollover', text: `sha256/${KEY}, sha256:${HEX}`, want: [{ key: KEY }, { certificate: HEX }] },
    { name: 'three are too many', text: `${HEX},${HEX},${HEX}`, want: 'TLS_PIN_INVALID' },
    { name: 'SHA-1 is none', text: `sha1:${HEX.slice(0, 40)}`, want: 'TLS_PIN_INVALID' },
    { name: 'an empty half is none', text: `${HEX},`, want: 'TLS_PIN_INVALID' },
    { name: 'a cut one is none', text: HEX.slice(2), want: 'TLS_PIN_INVALID' }
  ]
  for (const { name, text, want } of rows) {
    if (typeof want === 'string')
      t.equal(
        refusal(() => parsePins(text, 'x')),
        want,
        name
      )
    else t.same(parsePins(text, 'x'), want, name)
  }
})

/** A host with one remote gateway in its configuration, and what its commands say. */
function hostWith(t: Test, remote: Record<string, unknown>) {
  const stateDir = tempDir(t)
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
  const configure = (section: Record<string, unknown>) =>
    writeFileSync(
      join(stateDir, 'openclaw.json'),
      JSON.stringify({ gateway: { mode: 'remote', remote: { transport: 'direct', token: TOKEN, ...section } } }),
      { mode: 0o600 }
    )
  configure(remote)
  const store = join(stateDir, 'client', 'gateways.json')
  return {
    configure,
    store,
    stored: () => (existsSync(store) ? JSON.parse(readFileSync(store, 'utf8')).gateways : undefined),
    health: (...flags: string[]) => runCli(env, ['health', '--timeout', '10000', ...flags])
  }
}

t.test('R34, S16: a self-signed certificate', async (t) => {
  const { port } = await startApp(t)
  const pair = await makePair()
  const front = await tlsFront(t, pair, port)
  const own = fingerprintOf(pair.cert)
  const { key } = describeCertificate(new X509Certificate(pair.cert))
  const host = hostWith(t, { url: front.wss })

  const refused = await host.health()
  t.equal(refused.code, 1)
  t.match(refused.err, /is not trusted by this system \(it is self-signed\)/)
  t.match(refused.err, `openclaw config set gateway.remote.tlsFingerprint ${own}`, 'says how to accept it')
  t.equal(front.taken(), '', 'not a byte was sent')
  t.ok(front.connections() > 0, 'but its certificate was seen')

  const rows: { name: string; pin: string; ok: boolean }[] = [
    { name: 'its fingerprint', pin: own, ok: true },
    { name: 'the pin of its key', pin: `sha256/${key}`, ok: true },
    { name: 'as the second of two', pin: `sha256:${HEX}, sha256/${key}`, ok: true },
    { name: 'another fingerprint', pin: `sha256:${HEX}`, ok: false },
    { name: 'another key', pin: `sha256/${KEY}`, ok: false }
  ]
  for (const { name, pin, ok } of rows) {
    host.configure({ url: front.wss, tlsFingerprint: pin })
    const { code, out, err } = await host.health()
    const sent = front.taken()
    t.equal(code, ok ? 0 : 1, name)
    if (ok) {
      t.match(out, 'Gateway is healthy')
      t.match(sent, /^GET \/ HTTP\/1\.1\r\n/, 'the connection that was judged carries the handshake')
    } else {
      t.match(err, /is not the pinned one \(gateway\.remote\.tlsFingerprint\)/)
      t.match(err, own, 'says which certificate it saw')
      t.equal(sent, '', `${name}: not a byte was sent`)
    }
  }

  t.equal((await host.health('--tls-fingerprint', own)).code, 0, '--tls-fingerprint wins')
  t.equal(host.stored(), undefined, 'what only a pin vouches for is not trusted without it')
  front.taken()
  const byHand = await host.health('--url', front.wss, '--token', TOKEN)
  t.match(byHand.err, /is not the pinned one/, 'a URL given by hand is no way around the pin of that gateway')
  t.equal(front.taken(), '')
  const invalid = await host.health('--tls-fingerprint', 'sha256:zz')
  t.match(invalid.err, /--tls-fingerprint is no fingerprint/)
  const plain = await host.health('--url', `ws://127.0.0.1:${port}`, '--token', TOKEN, '--tls-fingerprint', own)
  t.match(plain.err, /--tls-fingerprint is for wss:\/\//)
})

t.test('R34: the first use pins what the system trusts, and a change is told', async (t) => {
  const { port } = await startApp(t)
  const authority = await trustedAuthority(t)
  const keys = await newKeys()
  const names = ['127.0.0.1', 'localhost']
  const first = await authority.issue(names, { keys })
  const front = await tlsFront(t, first, port)
  const host = hostWith(t, { url: front.wss })

  t.equal((await host.health()).code, 0)
  t.equal(statSync(host.store).mode & 0o777, 0o600)
  const seen = () => `sha256:${host.stored()[front.wss].certificate.sha256}`
  t.equal(seen(), fingerprintOf(first.cert))
  t.equal((await host.health()).code, 0, 'the same certificate')

  const renewed = await authority.issue(names, { keys, days: 180 })
  front.show(renewed)
  t.equal((await host.health()).code, 0, 'a renewed certificate for the same key is the same gateway')
  t.equal(seen(), fingerprintOf(renewed.cert), 'and is the one that is known from then on')

  const other = await authority.issue(names)
  front.show(other)
  front.taken()
  const { code, err } = await host.health()
  t.equal(code, 1)
  t.match(err, /has changed since this host first saw it, though this system trusts both/)
  for (const [word, cert] of Object.entries({ was: renewed.cert, now: other.cert })) {
    t.match(err, new RegExp(`${word}: ${fingerprintOf(cert)}, issued by CN=Test Root, for 127\\.0\\.0\\.1, localhost`))
  }
  t.match(err, `add --tls-fingerprint ${fingerprintOf(other.cert)} to a command, once`)
  t.equal(front.taken(), '', 'not a byte was sent')

  t.equal((await host.health('--tls-fingerprint', fingerprintOf(other.cert))).code, 0, 'it is accepted')
  t.equal((await host.health()).code, 0, 'once')

  writeFileSync(host.store, '{ "gateways":', { mode: 0o644 })
  const broken = await host.health()
  t.equal(broken.code, 1, 'what is known and cannot be read is not trusted anew')
  t.match(broken.err, /what this host knows of other gateways cannot be read/)
})

t.test('R34: a first use that the system does not trust pins nothing', async (t) => {
  const { port } = await startApp(t)
  const authority = await trustedAuthority(t)
  const rows = [
    { name: 'expired', pair: await authority.issue(['127.0.0.1'], { days: -0.5 }), want: /it has expired/ },
    { name: 'for another name', pair: await authority.issue(['elsewhere.test']), want: /it is for another name/ },
    { name: 'self-signed', pair: await makePair(), want: /it is self-signed/ }
  ]
  for (const { name, pair, want } of rows) {
    const front = await tlsFront(t, pair, port)
    const host = hostWith(t, { url: front.wss })
    t.match((await host.health()).err, want, name)
    t.equal(host.stored(), undefined)
    t.equal(front.taken(), '')
  }
})

t.test('gateway.remote.edgeAuth', async (t) => {
  const { port } = await startApp(t)
  const authority = await trustedAuthority(t)
  const front = await tlsFront(t, await authority.issue(['127.0.0.1']), port)
  const edgeAuth = {
    'Cf-Access-Token': 'canary-edge',
    'X-Second': { source: 'env', provider: 'default', id: 'EDGE_TEST' }
  }
  const stateDir = tempDir(t)
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, EDGE_TEST: 'canary-second' }
  const configure = (section: Record<string, unknown>) =>
    writeFileSync(
      join(stateDir, 'openclaw.json'),
      JSON.stringify({
        gateway: { mode: 'remote', remote: { transport: 'direct', token: TOKEN, edgeAuth, ...section } }
      })
    )
  const health = (flags: string[] = [], more = {}) => runCli({ ...env, ...more }, ['health', ...flags])

  configure({ url: front.wss })
  t.equal((await health()).code, 0)
  t.match(
    front.taken(),
    /\r\nCf-Access-Token: canary-edge\r\nX-Second: canary-second\r\n/,
    'goes to the configured URL'
  )

  t.equal((await health(['--url', front.wss, '--token', TOKEN])).code, 0)
  t.notMatch(front.taken(), /canary/, 'not to a URL given by hand')
  t.equal((await health([], { OPENCLAW_GATEWAY_URL: front.wss, OPENCLAW_GATEWAY_TOKEN: TOKEN })).code, 0)
  t.notMatch(front.taken(), /canary/, 'nor to one of the environment')

  const { EDGE_TEST: _unset, ...without } = env
  const unresolved = await runCli(without, ['health'])
  t.match(unresolved.err, /gateway\.remote\.edgeAuth.*EDGE_TEST/)
  t.equal(front.taken(), '', 'R6: sends nothing when one does not resolve')

  for (const [name, header] of Object.entries({ host: 'Host', control: 'A b', framing: 'Sec-WebSocket-Key' })) {
    configure({ url: front.wss, edgeAuth: { [header]: 'x' } })
    t.match((await health(['--json'])).out, /EDGE_AUTH_INVALID/, name)
  }
  configure({ url: front.wss, edgeAuth: { 'X-A': 'one\r\nX-B: two' } })
  t.match((await health(['--json'])).out, /EDGE_AUTH_INVALID/, 'a value cannot begin another header')
  t.equal(front.taken(), '')

  const heard: string[] = []
  const plain = createServer()
  plain.on('upgrade', (request, socket) => {
    heard.push(JSON.stringify(request.headers))
    socket.end('HTTP/1.1 500 No\r\n\r\n')
  })
  plain.listen(0, '127.0.0.1')
  await once(plain, 'listening')
  t.teardown(() => plain.close())
  configure({ url: `ws://127.0.0.1:${(plain.address() as AddressInfo).port}` })
  const over = await health()
  t.match(over.err, /warning: gateway\.remote\.edgeAuth goes over wss:\/\/ alone/)
  t.equal(heard.length, 1)
  t.notMatch(heard[0], /canary|cf-access/, 'nothing goes over plaintext')
})

t.test('a login page in front of the gateway is named', async (t) => {
  const authority = await trustedAuthority(t)
  const pair = await authority.issue(['127.0.0.1'])
  const elsewhere = await tlsFront(t, pair, 'HTTP/1.1 200 OK\r\n\r\n')
  const rows: { name: string; answer: string; want: RegExp }[] = [
    {
      name: 'a redirect',
      answer: `HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:${elsewhere.port}/login?next=x\r\n\r\n`,
      want: /edge login required: .* answered with 302 to https:\/\/127\.0\.0\.1:\d+, not/
    },
    {
      name: 'a page',
      answer: 'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<form>',
      want: /edge login required: .* answered with 200/
    },
    {
      name: 'a challenge',
      answer: 'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n',
      want: /edge login required: .* answered with 401/
    },
    { name: 'a broken server is none', answer: 'HTTP/1.1 502 Bad Gateway\r\n\r\n', want: /server response: 502/ }
  ]
  for (const { name, answer, want } of rows) {
    const front = await tlsFront(t, pair, answer)
    const host = hostWith(t, { url: front.wss, edgeAuth: { 'Cf-Access-Token': 'canary-edge' } })
    const { code, err } = await host.health()
    t.equal(code, 1)
    t.match(err, want, name)
    if (want.source.startsWith('edge')) t.match(err, /\nfix: .*gateway\.remote\.edgeAuth/)
    t.notMatch(err, /canary|next=x/)
  }
  t.equal(elsewhere.connections(), 0, 'nothing follows a redirect')
})

t.test('auth explain says what vouches for a certificate, which headers go, and where nothing was found', async (t) => {
  const { ws } = await startApp(t)
  const stateDir = tempDir(t)
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
  const remote = (section: Record<string, unknown>) =>
    writeFileSync(
      join(stateDir, 'openclaw.json'),
      JSON.stringify({ gateway: { mode: 'remote', remote: { transport: 'direct', ...section } } })
    )
  const explain = async (...flags: string[]) => (await runCli(env, ['auth', 'explain', ...flags])).out
  remote({ url: 'wss://gateway.invalid', edgeAuth: { 'X-Edge': 'canary-edge' } })
  const open = await explain()
  t.match(open, /header +gateway\.remote\.edgeAuth X-Edge: sent\n/)
  t.match(open, /certificate +must be trusted by this system; the first use pins it/)
  t.match(open, /device-token +paired device: not set/)
  remote({ url: 'wss://gateway.invalid', tlsFingerprint: HEX })
  t.match(await explain(), `must match gateway.remote.tlsFingerprint (${HEX})`)
  t.match(await explain('--tls-fingerprint', HEX), 'must match --tls-fingerprint')
  const byHand = await explain('--url', 'wss://other.invalid')
  t.match(byHand, /nothing is sent, and commands refuse/)
  remote({ url: ws })
  const { err } = await runCli(env, ['health'])
  t.match(err, /nothing was sent; not set: gateway\.remote\.token, OPENCLAW_GATEWAY_TOKEN, gateway\.auth\.token/)
  t.match(err, /\nfix: /)
  t.notMatch(open + byHand + err, /canary/)
})
