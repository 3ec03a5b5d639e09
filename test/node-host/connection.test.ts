import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/client/core.ts'
import { patience, troubleOf } from '../../src/node-host/trouble.ts'
import { trustedAuthority } from '../support/authority.ts'
import { freePort, tempDir } from '../support/gateway.ts'
import { type Answer, connectedNode, NodeGateway, startNode } from '../support/node-gateway.ts'
import { fingerprintOf, makePair } from '../support/tls.ts'
import { tlsFront } from '../support/tls-front.ts'

type Json = Record<string, unknown>

const refusal = (code: string, details: Json): Answer => ({ code, message: String(details.code ?? code), details })
const notPaired = (requestId: string) =>
  refusal('NOT_PAIRED', { code: 'PAIRING_REQUIRED', reason: 'not-paired', requestId })
const mismatch = (code: string, more: Json = {}) => refusal('INVALID_REQUEST', { code, ...more })

/** A state folder with a configuration. */
function folder(t: Test, config: Json): string {
  const stateDir = join(tempDir(t), 'state')
  mkdirSync(stateDir, { mode: 0o700 })
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify(config), { mode: 0o600 })
  return stateDir
}

const local = { mode: 'local', auth: { mode: 'token', token: 'auth-token' } }
const both = { token: 'remote-token', password: 'remote-password' }

t.test('R27: what a node without a device token shows', async (t) => {
  const rows: [name: string, gateway: Json, env: Record<string, string>, want: Json | undefined][] = [
    ['the token of the configuration', local, {}, { token: 'auth-token' }],
    ['the environment first', local, { OPENCLAW_GATEWAY_TOKEN: 'env' }, { token: 'env' }],
    ['nothing of an empty variable', local, { OPENCLAW_GATEWAY_TOKEN: ' ' }, { token: 'auth-token' }],
    ['never the remote token in local mode', { mode: 'local', remote: both }, {}, undefined],
    ['local beats remote', { ...local, remote: both }, {}, { token: 'auth-token' }],
    ['nor in no mode', { remote: both }, {}, undefined],
    ['the remote token in remote mode', { mode: 'remote', remote: both }, {}, { token: 'remote-token' }],
    [
      'before the environment there',
      { mode: 'remote', remote: both },
      { OPENCLAW_GATEWAY_TOKEN: 'env' },
      { token: 'remote-token' }
    ],
    ['a password', { mode: 'local', auth: { mode: 'password', password: 'pw' } }, {}, { password: 'pw' }],
    [
      'the password of the environment',
      { mode: 'local', auth: { mode: 'password' } },
      { OPENCLAW_GATEWAY_PASSWORD: 'env' },
      { password: 'env' }
    ],
    [
      'no other variable',
      { mode: 'local' },
      { OPENCLAW_TOKEN: 'x', GATEWAY_TOKEN: 'x', OPENCLAW_PASSWORD: 'x' },
      undefined
    ]
  ]
  for (const [name, gateway, env, want] of rows) {
    const { link, node } = await connectedNode(t, { stateDir: folder(t, { gateway }), env })
    t.same(link.params?.auth, want, name)
    await node.stop()
  }
})

t.test('R6: a reference that does not resolve sends nothing, and is said', async (t) => {
  const gateway = {
    mode: 'local',
    auth: { token: { source: 'env', provider: 'default', id: 'NO_SUCH_VARIABLE' } },
    remote: both
  }
  const server = await NodeGateway.start(t)
  const stateDir = folder(t, { gateway })
  const node = await startNode(t, { stateDir, flags: { host: '127.0.0.1', port: server.port } })
  const { message } = await node.trouble(() => true)
  t.match(message, /gateway\.auth\.token/)
  t.notOk(
    server.links.some(({ params }) => params !== undefined),
    'nobody heard of a credential'
  )
})

t.test('a device token is kept for its gateway, shown there, and nowhere else', async (t) => {
  const stateDir = folder(t, { gateway: local })
  const first = await connectedNode(t, { stateDir })
  const id = first.link.nodeId
  await first.node.stop()
  const state = join(stateDir, 'node/state.json')
  for (const file of ['state.json', 'identity.json'])
    t.equal(statSync(join(stateDir, 'node', file)).mode & 0o777, 0o600)
  t.equal(statSync(join(stateDir, 'node')).mode & 0o777, 0o700)
  chmodSync(state, 0o644)
  const flags = { host: '127.0.0.1', port: first.gateway.port }
  const again = await startNode(t, { stateDir, flags })
  const { params, nodeId } = await first.gateway.link(1)
  t.same(params?.auth, { deviceToken: 'device-token-1' })
  t.equal(nodeId, id, 'as the same device')
  t.equal(statSync(state).mode & 0o777, 0o600, 'what others could read is closed')
  await again.stop()
  t.test('what is in the environment is meant for this run', async (t) => {
    const node = await startNode(t, { stateDir, flags, env: { OPENCLAW_GATEWAY_TOKEN: 'env' } })
    t.same((await first.gateway.link(2)).params?.auth, { token: 'env' })
    await node.stop()
  })
  t.test('another gateway gets the configured credential', async (t) => {
    const other = await connectedNode(t, { stateDir })
    t.same(other.link.params?.auth, { token: 'auth-token' })
    t.equal(other.link.nodeId, id)
    await other.node.stop()
  })
  t.notMatch(readFileSync(join(stateDir, 'logs/node.log'), 'utf8'), /device-token-1|auth-token/)
})

t.test('a device token that is no longer good is dropped, and the node pairs anew', async (t) => {
  const stateDir = folder(t, { gateway: local })
  const { gateway, link, node } = await connectedNode(t, { stateDir })
  gateway.answer = ({ auth }) =>
    auth?.deviceToken === undefined ? { deviceToken: 'device-token-2' } : mismatch('AUTH_DEVICE_TOKEN_MISMATCH')
  link.socket.close(4001, 'device removed')
  const refused = await gateway.attempt(1)
  await refused.closed
  t.same(refused.params?.auth, { deviceToken: 'device-token-1' })
  t.same((await gateway.link(2)).params?.auth, { token: 'auth-token' })
  await node.connected(2)
  t.equal(node.troubles.length, 1, 'that access ended is said; the rest goes by itself')
  await node.stop()
  t.match(readFileSync(join(stateDir, 'node/state.json'), 'utf8'), /device-token-2/)
})

t.test('a node that is not paired comes in by itself once it is', async (t) => {
  const server = await NodeGateway.start(t)
  server.answer = (_params, n) => (n < 2 ? notPaired('req-1') : n < 3 ? notPaired('req-2') : { deviceToken: 'd' })
  const node = await startNode(t, { flags: { host: '127.0.0.1', port: server.port } })
  const { message, fix } = await node.trouble(() => true)
  t.match(message, /not paired: .*request req-1/)
  t.equal(fix, 'openclaw devices approve req-1 (on the gateway host)')
  await server.link(3)
  t.same(
    node.troubles.map(({ fix }) => fix?.split(' ')[3]),
    ['req-1', 'req-1', 'req-2']
  )
})

t.test('a gateway that goes is found again, and nothing is lost with it', async (t) => {
  const { gateway, node, link } = await connectedNode(t)
  const { port } = gateway
  await gateway.stop()
  await node.trouble(({ needs }) => needs === 'time')
  const back = await NodeGateway.start(t, { port })
  const again = await back.link()
  t.equal(again.nodeId, link.nodeId)
  t.ok((await again.invoke('system.which', { bins: ['sh'] })).ok)
  t.test('one that is not there yet is waited for', async (t) => {
    const port = await freePort()
    const early = await startNode(t, { flags: { host: '127.0.0.1', port } })
    const { message } = await early.trouble(() => true)
    t.match(message, `no connection to ws://127.0.0.1:${port}/`)
    await (await NodeGateway.start(t, { port })).link()
  })
})

t.test('a wrong credential is said with what mends it, and tried again once it is mended', async (t) => {
  const stateDir = folder(t, { gateway: { ...local, auth: { token: 'wrong' } } })
  const server = await NodeGateway.start(t)
  server.answer = ({ auth }) => (auth?.token === 'right' ? {} : mismatch('AUTH_TOKEN_MISMATCH'))
  const node = await startNode(t, { stateDir, flags: { host: '127.0.0.1', port: server.port } })
  const { fix, needs } = await node.trouble(() => true)
  t.match(fix, /auth-token --show/)
  t.equal(needs, 'owner')
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway: { ...local, auth: { token: 'right' } } }))
  await server.link(1)
})

t.test('R34, S16: over TLS, only the certificate that it was told of', async (t) => {
  const pair = await makePair()
  const server = await NodeGateway.start(t, { tls: pair })
  const flags = { host: '127.0.0.1', port: server.port, tls: true }
  const pinned = await startNode(t, { flags: { ...flags, tlsFingerprint: fingerprintOf(pair.cert) } })
  await pinned.connected()
  t.match(server.links, { length: 1 })
  const rows: [name: string, tlsFingerprint: string | undefined, words: RegExp][] = [
    ['another', `sha256:${'ab'.repeat(32)}`, /not the pinned one/],
    ['one that nobody vouches for', undefined, /not trusted by this system \(it is self-signed\)/]
  ]
  for (const [name, tlsFingerprint, words] of rows) {
    const node = await startNode(t, { flags: { ...flags, tlsFingerprint } })
    t.match((await node.trouble(() => true)).message, words, name)
    await node.stop()
  }
  t.equal(server.links.length, 1, 'and nobody else said a word')
})

t.test('R30, R34: a node takes a certificate on the word that every client takes it on', async (t) => {
  const server = await NodeGateway.start(t)
  const authority = await trustedAuthority(t)
  const first = await authority.issue(['127.0.0.1'])
  const front = await tlsFront(t, first, server.port)
  const other = await makePair()
  const remote = { url: front.wss, token: 'remote-token' }
  const stateDir = folder(t, { gateway: { mode: 'remote', remote } })
  const pin = (cert: string) =>
    writeFileSync(
      join(stateDir, 'openclaw.json'),
      JSON.stringify({ gateway: { mode: 'remote', remote: { ...remote, tlsFingerprint: fingerprintOf(cert) } } })
    )
  const once = await startNode(t, { stateDir })
  await once.connected()
  await once.stop()
  const { gateways } = JSON.parse(readFileSync(join(stateDir, 'client/gateways.json'), 'utf8'))
  t.equal(`sha256:${gateways[front.wss].certificate.sha256}`, fingerprintOf(first.cert), 'the first use is remembered')

  const node = await startNode(t, { stateDir })
  await node.connected()
  front.show(await authority.issue(['127.0.0.1']))
  front.taken()
  server.links[1]!.socket.terminate()
  const changed = await node.trouble(({ message }) => message.includes('has changed since this host first saw it'))
  t.equal(changed.needs, 'owner')
  t.match(changed.fix, /--tls-fingerprint sha256:[0-9a-f]{64}/)
  t.equal(front.taken(), '', 'S16: not a byte was sent')

  front.show(other)
  pin(other.cert)
  await node.connected(2)
  t.pass('what is mended in the configuration counts at once')
  await node.stop()
})

t.test('R30: gateway.remote.edgeAuth goes with a node to the configured gateway, and nowhere else', async (t) => {
  const server = await NodeGateway.start(t)
  const pair = await makePair()
  const front = await tlsFront(t, pair, server.port)
  const edgeAuth = {
    'Cf-Access-Token': 'canary-edge',
    'X-Second': { source: 'env', provider: 'default', id: 'EDGE_TEST' }
  }
  const remote = { url: front.wss, token: 'remote-token', tlsFingerprint: fingerprintOf(pair.cert), edgeAuth }
  const stateDir = folder(t, { gateway: { mode: 'remote', remote } })
  const env = { EDGE_TEST: 'canary-second' }
  const without = await startNode(t, { stateDir })
  t.match((await without.trouble(() => true)).message, /gateway\.remote\.edgeAuth.*EDGE_TEST/)
  t.equal(front.taken(), '', 'R6: sends nothing when one does not resolve')
  await without.stop()

  const node = await startNode(t, { stateDir, env })
  await node.connected()
  t.match(front.taken(), /\r\nCf-Access-Token: canary-edge\r\nX-Second: canary-second\r\n/)
  await node.stop()

  const byHand = await startNode(t, { stateDir, env, flags: { host: '127.0.0.1', port: front.port, tls: true } })
  await byHand.connected()
  t.notMatch(front.taken(), /canary/, 'a host given by hand gets none of them, and the pin of that gateway holds')
  await byHand.stop()
  t.notMatch(readFileSync(join(stateDir, 'logs/node.log'), 'utf8'), /canary/)
})

t.test('S17: what the configuration holds for another gateway than before does not go to the one before', async (t) => {
  const server = await NodeGateway.start(t)
  // No device token: only what is configured could let it in.
  server.answer = () => ({})
  const pair = await makePair()
  const front = await tlsFront(t, pair, server.port)
  const stateDir = folder(t, {})
  const configure = (remote: Json) =>
    writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway: { mode: 'remote', remote } }))
  const tlsFingerprint = fingerprintOf(pair.cert)
  configure({ url: front.wss, token: 'remote-token', tlsFingerprint })
  const node = await startNode(t, { stateDir })
  await node.connected()
  front.taken()
  const edgeAuth = { 'Cf-Access-Token': 'canary-edge' }
  configure({ url: 'wss://other.example', token: 'canary-token', edgeAuth, tlsFingerprint })
  server.links[0]!.socket.terminate()
  const trouble = node.trouble(({ needs }) => needs === 'owner')
  await Promise.race([trouble, node.connected(2)])
  t.equal(front.taken(), '', 'not a byte is sent')
  t.notMatch(server.links.at(-1)?.params?.auth, { token: 'canary-token' })
  t.match(await trouble, {
    message: /gateway\.remote\.url does not name wss:\/\/127\.0\.0\.1:\d+ any more/,
    fix: 'openclaw node restart'
  })
  await node.stop()
})

t.test('it waits as long as helps, with jitter, and for ever', async (t) => {
  const lost = new GatewayError('CONNECTION_LOST', 'closed')
  for (const needs of ['time', 'approval', 'owner'] as const) {
    for (const attempt of [0, 1, 5, 50, 5_000]) {
      const [least, most] = [0, 1].map((random) => patience(lost, needs, attempt, () => random))
      t.ok(least! > 0 && most! <= 300_000 && least! < most!, `${needs}, attempt ${attempt}: ${least} to ${most} ms`)
    }
  }
  t.ok(patience(lost, 'approval', 1_000) <= 10_000, 'whoever approves sees it come')
  t.match(troubleOf(lost, 'ws://x/'), { needs: 'time' })
})

t.test('a key that cannot be read is not replaced', async (t) => {
  const { node } = await connectedNode(t)
  await node.stop()
  const file = join(node.stateDir, 'node/identity.json')
  writeFileSync(file, 'broken')
  await t.rejects(startNode(t, { stateDir: node.stateDir }), { code: 'NODE_IDENTITY_UNREADABLE', fix: /mv .*\.bad/ })
  t.equal(readFileSync(file, 'utf8'), 'broken')
  t.notOk(readdirSync(join(node.stateDir, 'node')).some((name) => name.endsWith('.tmp')))
})

t.test('one process a gateway, and others for other gateways', async (t) => {
  const { gateway, node } = await connectedNode(t)
  const { stateDir } = node
  const flags = { host: '127.0.0.1', port: gateway.port }
  await t.rejects(startNode(t, { stateDir, flags }), /already runs this node/)
  await connectedNode(t, { stateDir })
  await node.stop()
  await startNode(t, { stateDir, flags })
  await gateway.link(1)
})
