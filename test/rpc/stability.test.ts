import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LIMITS } from '../../src/rpc/limits.ts'
import { Stability, type StabilitySnapshot } from '../../src/rpc/stability.ts'
import { listBundles, writeBundle } from '../../src/rpc/stability-bundle.ts'
import { runCli, spawnCli } from '../support/cli.ts'
import { RawClient } from '../support/client.ts'
import { startApp, startProcess, type TestApp, TOKEN, tempDir } from '../support/gateway.ts'

t.setTimeout(60_000)

const steady = {
  degradedSinceMs: null,
  reasons: [],
  intervalMs: 1_000,
  delayP99Ms: 1,
  utilization: 0.1,
  cpuCoreRatio: 0.1
}

t.test('the record is bounded, and equal events are one', async (t) => {
  const stability = new Stability()
  for (let i = 0; i < 3; i++) stability.record('auth.lockout', { surface: 'http' })
  stability.record('auth.lockout', { surface: 'connect' })
  t.match(stability.snapshot(), {
    count: 2,
    firstSeq: 1,
    lastSeq: 2,
    dropped: 0,
    events: [
      { seq: 1, type: 'auth.lockout', surface: 'http', count: 3 },
      { seq: 2, surface: 'connect' }
    ],
    summary: { byType: { 'auth.lockout': 4 } }
  })
  for (let i = 0; i < 1_200; i++) stability.record(`test.${i}`)
  t.match(stability.snapshot({ limit: 5 }), { capacity: 1_000, count: 1_000, dropped: 202, lastSeq: 1_202 })
  t.equal(stability.snapshot({ limit: 5 }).events.length, 5)
  t.match(stability.snapshot({ type: 'test.1100' }), { count: 1, summary: { byType: { 'test.1100': 1 } } })
  t.match(stability.snapshot({ sinceSeq: 1_201 }), { count: 1, firstSeq: 1_202 })
  t.strictSame(stability.snapshot({ type: 'test.none' }).events, [])
})

t.test('a stalled event loop is an event', async (t) => {
  const stability = new Stability()
  stability.sampled({ ...steady, degraded: false, delayMaxMs: 20 })
  t.equal(stability.snapshot({ type: 'diagnostic.liveness.warning' }).count, 0)
  stability.sampled({ ...steady, degraded: false, delayMaxMs: 1_500 })
  t.match(stability.snapshot({ type: 'diagnostic.liveness.warning' }).events, [
    { reason: 'event_loop_delay', delayMaxMs: 1_500 }
  ])
})

const snapshotOf = async (app: TestApp, ...words: string[]): Promise<StabilitySnapshot> => {
  const env = { HOME: app.stateDir, OPENCLAW_STATE_DIR: app.stateDir }
  const target = ['--url', app.ws, '--token', TOKEN]
  return JSON.parse((await runCli(env, ['gateway', 'stability', ...target, '--json', ...words])).out)
}

t.test('what a gateway refuses and loses is recorded', async (t) => {
  const auth = { mode: 'token', token: TOKEN, rateLimit: { maxAttempts: 2, exemptLoopback: false } }
  const app = await startApp(t, { gateway: { auth } })
  const large = await RawClient.open(app.ws)
  large.send('x'.repeat(LIMITS.preauthPayload + 1))
  t.equal((await large.closed).code, 1009)
  t.equal(await post(app, 'x'.repeat(3_000_000)), 413)
  const all = await snapshotOf(app)
  t.match(
    all.events.map(({ type, surface }) => `${type} ${surface}`),
    ['payload.large websocket', 'payload.large http']
  )
  t.match(all.summary, { payloadLarge: { count: 2, rejected: 2, bySurface: { websocket: 1, http: 1 } } })
  t.match(await snapshotOf(app, '--type', 'payload.large', '--since-seq', '1'), { count: 1 })
  // Last, because it locks this address out.
  for (let i = 0; i < 3; i++) await (await RawClient.open(app.ws)).connect({ auth: { token: 'wrong' } })
  const [locked] = app.app.stability.snapshot({ type: 'auth.lockout' }).events
  t.match(locked, { surface: 'connect' })
  t.notMatch(JSON.stringify(app.app.stability.snapshot()), /127\.0\.0\.1|wrong/, 'no address, nothing that was sent')
})

function post(app: TestApp, body: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
    const sent = request(`${app.http}/tools/invoke`, { method: 'POST', headers }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

const config = JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
const envOf = (stateDir: string) => ({ HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, PATH: process.env.PATH })

/** A file that makes a process throw when it is told to. */
function thrower(t: Test): string {
  const file = join(tempDir(t), 'thrower.mjs')
  writeFileSync(
    file,
    `process.on('SIGUSR2', () => { throw Object.assign(new TypeError('${TOKEN} at host.example'), { code: 'E_TEST' }) })\n`
  )
  return file
}

t.test('a process that ends by an error leaves behind what it knew', async (t) => {
  const gateway = await startProcess(t, { config, env: { NODE_OPTIONS: `--import=${thrower(t)}` } })
  const env = envOf(gateway.stateDir)
  t.match(await spawnCli(['gateway', 'stability'], env), { code: 0, stdout: /gateway\.started +duration \d/ })
  gateway.child.kill('SIGUSR2')
  t.not(await gateway.exited, 0)
  const [file] = listBundles(gateway.stateDir)
  t.match(file, /\/logs\/stability\/openclaw-stability-[\dTZ.-]+-\d+-uncaught\.json$/)
  t.equal(statSync(file!).mode & 0o777, 0o600)
  const text = readFileSync(file!, 'utf8')
  t.notMatch(text, /test-shared-token|host\.example/)
  t.match(JSON.parse(text), {
    version: 1,
    reason: 'uncaught',
    process: { pid: gateway.child.pid },
    error: { name: 'TypeError', code: 'E_TEST', stack: /thrower\.mjs/ },
    snapshot: { events: [{ type: 'gateway.started' }] }
  })
  const shown = await spawnCli(['gateway', 'stability', '--bundle'], env)
  t.match(shown.stdout, /^Error +TypeError E_TEST$/m)
  t.match(shown.stdout, 'gateway.started')
  const json = await spawnCli(['gateway', 'stability', '--bundle', file!, '--json', '--type', 'none'], env)
  t.match(JSON.parse(json.stdout), { path: file, bundle: { reason: 'uncaught', snapshot: { count: 0, events: [] } } })
})

t.test('a start that fails by itself leaves a bundle, a refusal none', async (t) => {
  const stateDir = tempDir(t)
  mkdirSync(join(stateDir, 'gateway.sqlite'))
  const failed = await startProcess(t, { config, stateDir, expectExit: true })
  t.equal(await failed.exited, 1)
  t.match(listBundles(stateDir), [/-failed\.json$/])
  const refused = await startProcess(t, { config: '{ gateway: { bind: "nowhere" } }', expectExit: true })
  t.equal(await refused.exited, 78)
  t.strictSame(listBundles(refused.stateDir), [])
})

t.test('a bundle that cannot be written does not hide why the process ended', async (t) => {
  const stateDir = tempDir(t)
  mkdirSync(join(stateDir, 'gateway.sqlite'))
  mkdirSync(join(stateDir, 'logs'))
  writeFileSync(join(stateDir, 'logs/stability'), '')
  const failed = await startProcess(t, { config, stateDir, expectExit: true })
  t.equal(await failed.exited, 1)
  t.match(failed.output(), /^error: unable to open database file$/m)
})

t.test('few bundles are kept, and only bundles are read', async (t) => {
  const stateDir = tempDir(t)
  for (let i = 0; i < 12; i++)
    writeBundle(stateDir, `r${String(i).padStart(2, '0')}`, undefined, new Stability().snapshot())
  t.equal(readdirSync(join(stateDir, 'logs/stability')).length, 10)
  t.match(listBundles(stateDir)[0], /r11\.json$/)
  const env = envOf(tempDir(t))
  t.match(await runCli(env, ['gateway', 'stability', '--bundle']), { code: 1, err: /there is no bundle/ })
  const other = join(stateDir, 'other.json')
  const { snapshot, ...whole } = JSON.parse(readFileSync(listBundles(stateDir)[0]!, 'utf8'))
  const broken = [null, { ...whole, snapshot: { events: [] } }, { ...whole, snapshot: { ...snapshot, events: [null] } }]
  for (const text of ['{}', 'x', '{"version":1}', ...broken.map((each) => JSON.stringify(each))]) {
    writeFileSync(other, text)
    t.match(await runCli(env, ['gateway', 'stability', '--bundle', other]), {
      code: 1,
      err: /is not a stability bundle/
    })
  }
})
