import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv } from '../../scripts/gateway-process.ts'
import { MAIN, type Outcome, outcomeOf, spawnCli } from '../support/cli.ts'
import { startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { cannotMakeMachines, ip, makeMachines, within } from '../support/netns.ts'
import { fingerprintOf, makePair, placesIn, putPair } from '../support/tls.ts'

t.setTimeout(110_000)

const auth = { mode: 'token', token: TOKEN }

t.test('R34: a self-signed gateway, from its first refusal to its next certificate', async (t) => {
  const dir = tempDir(t)
  const first = await makePair()
  putPair(dir, first)
  const gateway = { mode: 'local', auth, tls: { enabled: true, autoGenerate: false, ...placesIn(dir) } }
  const { port, said } = await startProcess(t, { config: JSON.stringify({ gateway }) })
  const home = tempDir(t)
  const run = (...words: string[]) => spawnCli(words, cleanEnv(home))
  const url = `wss://127.0.0.1:${port}`
  for (const [key, value] of Object.entries({ mode: 'remote', 'remote.transport': 'direct', 'remote.url': url })) {
    t.equal((await run('config', 'set', `gateway.${key}`, value)).code, 0, key)
  }
  await run('config', 'set', 'gateway.remote.token', TOKEN)

  const refused = await run('health')
  t.equal(refused.code, 1)
  t.match(refused.stderr, /is not trusted by this system \(it is self-signed\)/)
  await mend(refused, first.cert)
  t.match(await run('health'), { code: 0, stdout: /Gateway is healthy/ }, 'what it says to do is all there is to do')
  const { gateway: seen } = JSON.parse((await run('status', '--json')).stdout)
  t.match(seen.facts.tls, { state: 'yes', evidence: /trusted by gateway\.remote\.tlsFingerprint/ })

  const second = await makePair()
  putPair(dir, second)
  await said('tls certificate renewed')
  const changed = await run('health')
  t.equal(changed.code, 1)
  t.match(changed.stderr, /is not the pinned one \(gateway\.remote\.tlsFingerprint\)/, 'says which pin')
  t.match(changed.stderr, fingerprintOf(second.cert), 'and which certificate it is now')
  t.match(changed.stderr, /^fix: compare it with .*openclaw config set gateway\.remote\.tlsFingerprint sha256:…$/m)
  t.notMatch(changed.stdout + changed.stderr, TOKEN)
  const { facts, errorCode } = JSON.parse((await run('status', '--json')).stdout).gateway
  t.match(
    { facts, errorCode },
    { facts: { port: { state: 'yes' }, tls: { state: 'no' } }, errorCode: 'TLS_PIN_MISMATCH' }
  )
  await run('config', 'set', 'gateway.remote.tlsFingerprint', fingerprintOf(second.cert))
  t.equal((await run('health')).code, 0)

  // The command of the fix, as it stands.
  async function mend({ stderr }: Outcome, cert: string): Promise<void> {
    const words = /^fix: .*then: openclaw (config set gateway\.remote\.tlsFingerprint \S+)$/m.exec(stderr)?.[1] ?? ''
    t.ok(words.endsWith(fingerprintOf(cert)), stderr)
    t.equal((await run(...words.split(' '))).code, 0)
  }
})

const reason = cannotMakeMachines()
t.test('R33: a gateway in a private network, and one at a public address', { skip: reason ?? false }, async (t) => {
  const hosts = twoHosts(t)
  const folder = (config: object) => {
    const home = tempDir(t)
    writeFileSync(join(home, 'openclaw.json'), JSON.stringify(config), { mode: 0o600 })
    return { ...cleanEnv(home), OPENCLAW_STATE_DIR: home }
  }
  const gatewayEnv = folder({ gateway: { mode: 'local', bind: 'lan', auth } })
  await within(t, hosts.gateway, ['gateway', 'run'], gatewayEnv, 'is ready on')
  const at = (words: string[], url: string, more = {}, env: NodeJS.ProcessEnv = {}) => {
    const remote = { transport: 'direct', url, token: TOKEN, ...more }
    return outcomeOf('ip', hosts.exec(hosts.client, words), {
      ...folder({ gateway: { mode: 'remote', remote } }),
      ...env
    })
  }
  const home = folder({ gateway: { mode: 'remote', remote: { transport: 'direct', url: PRIVATE, token: TOKEN } } })
  const run = (...words: string[]) => outcomeOf('ip', hosts.exec(hosts.client, words), home)

  await t.test('ws:// to the private address works', async (t) => {
    const asks = await run('gateway', 'call', 'status')
    t.match(asks.stderr, /pairing required/, 'a host that is new has to be let in')
    const owner = await outcomeOf('ip', hosts.exec(hosts.gateway, ['devices', 'approve', '--latest']), gatewayEnv)
    t.equal(owner.code, 0, owner.stderr)
    t.match(await run('health'), { code: 0, stdout: /Gateway is healthy/ })
    t.match(await run('status', '--deep'), { code: 0, stdout: /^Reachable +yes.*^Health +ok.*^rpc +yes: /ms })
    t.match(await run('gateway', 'call', 'status'), { code: 0, stdout: /"runtimeVersion"/ })
    t.match(await run('gateway', 'probe'), { code: 0, stdout: /^Reachable: yes/ })
  })

  await t.test('to a public address not a packet goes', async (t) => {
    const before = hosts.sent()
    hosts.connects(hosts.client, PUBLIC)
    t.ok(hosts.sent() > before, 'there is a way, and what goes on it is counted')
    const ways: Record<string, () => Promise<Outcome>> = {
      'gateway.remote.url': () => at(['health'], PUBLIC),
      'gateway.remote.url, for a look': () => at(['status', '--deep'], PUBLIC),
      'gateway.remote.url, for all looks': () => at(['gateway', 'probe'], PUBLIC),
      '--url': () => at(['gateway', 'call', 'health', '--url', PUBLIC, '--token', TOKEN], PRIVATE),
      OPENCLAW_GATEWAY_URL: () =>
        at(['health'], PRIVATE, {}, { OPENCLAW_GATEWAY_URL: PUBLIC, OPENCLAW_GATEWAY_TOKEN: TOKEN }),
      'a node': () => at(['node', 'run', '--host', new URL(PUBLIC).hostname], PRIVATE)
    }
    for (const [name, way] of Object.entries(ways)) {
      const still = hosts.sent()
      const { stdout, stderr } = await way()
      t.match(stdout + stderr, /is plaintext to a host that is not private.*use wss:\/\//s, name)
      // A probe of all looks at this host's loopback too, which is not on that way.
      t.equal(hosts.sent(), still, `${name}: nothing was sent`)
    }
  })

  await t.test('wss:// there works with a pin', async (t) => {
    const dir = tempDir(t)
    const pair = await makePair({ names: [new URL(PUBLIC).hostname] })
    putPair(dir, pair)
    const tls = { enabled: true, autoGenerate: false, ...placesIn(dir) }
    const env = folder({ gateway: { mode: 'local', port: 18790, bind: 'lan', auth, tls } })
    await within(t, hosts.gateway, ['gateway', 'run'], env, 'is ready on')
    const secure = PUBLIC.replace('ws:', 'wss:').replace('18789', '18790')
    t.match(await at(['health'], secure), { code: 1, stderr: /not trusted by this system/ })
    const remote = { transport: 'direct', url: secure, token: TOKEN, tlsFingerprint: fingerprintOf(pair.cert) }
    const pinned = folder({ gateway: { mode: 'remote', remote } })
    const health = () => outcomeOf('ip', hosts.exec(hosts.client, ['health']), pinned)
    t.match(await health(), { code: 1, stderr: /pairing required/ })
    t.equal((await outcomeOf('ip', hosts.exec(hosts.gateway, ['devices', 'approve', '--latest']), env)).code, 0)
    t.match(await health(), { code: 0, stdout: /Gateway is healthy/ })
  })
})

const PRIVATE = 'ws://10.78.0.1:18789'
const PUBLIC = 'ws://203.0.113.7:18789'

/** Two hosts with a cable between them, each with a private and a public-looking address. */
function twoHosts(t: Test) {
  const gateway = `ocg${process.pid}`
  const client = `occ${process.pid}`
  makeMachines(t, [gateway, client])
  for (const name of [gateway, client]) {
    // What a new interface says of itself would be counted.
    ip('netns', 'exec', name, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6')
  }
  ip('link', 'add', 'oc0', 'netns', gateway, 'type', 'veth', 'peer', 'name', 'oc0', 'netns', client)
  for (const [name, last] of [
    [gateway, [1, 7]],
    [client, [2, 8]]
  ] as const) {
    ip('-n', name, 'addr', 'add', `10.78.0.${last[0]}/24`, 'dev', 'oc0')
    ip('-n', name, 'addr', 'add', `203.0.113.${last[1]}/24`, 'dev', 'oc0')
    ip('-n', name, 'link', 'set', 'oc0', 'up')
  }
  return {
    gateway,
    client,
    exec: (name: string, words: readonly string[]) => ['netns', 'exec', name, process.execPath, MAIN, ...words],
    /** Makes a connection of TCP, and nothing more. */
    connects(name: string, url: string) {
      const { hostname, port } = new URL(url)
      const script = `require('node:net').connect(${port}, '${hostname}').once('connect', () => process.exit(0))`
      ip('netns', 'exec', name, process.execPath, '-e', script)
    },
    /** Packets that the client has sent so far, to anybody. */
    sent() {
      const [link] = JSON.parse(
        execFileSync('ip', ['-n', client, '-s', '-j', 'link', 'show', 'oc0'], { encoding: 'utf8' })
      )
      return link.stats64.tx.packets as number
    }
  }
}
