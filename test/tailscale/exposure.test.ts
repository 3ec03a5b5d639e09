import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { TailscalePlace } from '../../src/tailscale/cli.ts'
import { TailscaleDaemon } from '../../src/tailscale/daemon.ts'
import {
  type ExposureOptions,
  type ExposureState,
  type ExposureWaits,
  startExposure
} from '../../src/tailscale/exposure.ts'
import { olderVersion, routeOwner, supportsUnixTarget } from '../../src/tailscale/serve.ts'
import { tempDir } from '../support/gateway.ts'
import { startTailnet, TAILNET_NAME, type Tailnet, type TailnetSettings } from '../support/tailscaled.ts'
import { watchStates } from './cases.ts'

t.setTimeout(110_000)
t.jobs = 3

const url = `https://${TAILNET_NAME}/`
const fast = { firstRetry: 20, lastRetry: 100, look: 20 }

interface Line {
  level: 'info' | 'warn' | 'error'
  fields: { retryInMs?: number; error?: string }
  message: string
}

/** An exposure with a record of all that it says. */
function expose(t: Test, place: TailscalePlace, options: Partial<ExposureOptions> = {}) {
  const lines: Line[] = []
  const to = (level: Line['level']) => (fields: object, message: string) => void lines.push({ level, fields, message })
  const watch = watchStates()
  const exposure = startExposure({
    mode: 'serve',
    daemon: new TailscaleDaemon(place),
    target: async () => 'unix:/run/gateway.sock',
    log: { info: to('info'), warn: to('warn'), error: to('error') },
    onChange: watch.onChange,
    waits: fast,
    ...options
  })
  t.teardown(() => exposure.stop())
  const phase = (phase: ExposureState['phase'], from = 0) => watch.when((state) => state.phase === phase, from)
  return { exposure, lines, phase, ...watch }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within 15 s: ${what}`)
    await delay(20)
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // What has ended and is not yet waited for is no process any more.
    return process.platform !== 'linux' || !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

function parentOf(pid: number): number {
  return Number(/^\d+ \(.*\) \S+ (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))![1])
}

t.test('the version says whether a Unix socket can be a target', (t) => {
  const cases: [string, boolean][] = [
    ['1.94.0', true],
    ['1.94.1-t1234567', true],
    ['1.94', true],
    ['v1.100.0', true],
    ['2.0.0', true],
    ['1.93.9', false],
    ['1.9.4', false],
    ['0.94.0', false],
    ['', false],
    ['unstable', false],
    ['99999999.0.0', false]
  ]
  for (const [version, want] of cases) t.equal(supportsUnixTarget(version), want, version)
  t.equal(olderVersion('1.94.0', '1.93.0-t1'), '1.93.0-t1')
  t.equal(olderVersion('1.9.0', '1.10.0'), '1.9.0')
  t.equal(olderVersion('1.94.0', 'unstable'), 'unstable')
  t.end()
})

t.test('who owns the HTTPS root is read from Serve’s status', (t) => {
  const site = (root: object, port = 443) => ({
    TCP: { [port]: { HTTPS: true } },
    Web: { [`box.ts.net:${port}`]: { Handlers: { '/': root } } }
  })
  const cases: { name: string; input: unknown; want: string | undefined }[] = [
    { name: 'nothing', input: {}, want: undefined },
    { name: 'null', input: null, want: undefined },
    { name: 'a proxy', input: site({ Proxy: 'http://127.0.0.1:3000' }), want: 'http://127.0.0.1:3000' },
    { name: 'a folder', input: site({ Path: '/srv' }), want: '/srv' },
    { name: 'a text', input: site({ Text: 'secret' }), want: 'text' },
    { name: 'another port', input: site({ Proxy: 'x' }, 8443), want: undefined },
    {
      name: 'another path',
      input: { Web: { 'box.ts.net:443': { Handlers: { '/a': { Proxy: 'x' } } } } },
      want: undefined
    },
    { name: 'a TCP forward', input: { TCP: { 443: { TCPForward: '127.0.0.1:22' } } }, want: 'tcp://127.0.0.1:22' },
    { name: 'a foreground session', input: { Foreground: { a: {}, b: site({ Proxy: 'y' }) } }, want: 'y' },
    { name: 'wrong types', input: { TCP: 1, Web: [{ Handlers: 2 }], Foreground: [null, 3] }, want: undefined },
    { name: 'control characters', input: site({ Proxy: 'a\u001bb' }), want: 'a?b' }
  ]
  for (const { name, input, want } of cases) t.equal(routeOwner(JSON.stringify(input)), want, name)
  t.equal(routeOwner('no json'), undefined)
  fc.assert(fc.property(fc.json(), (text) => typeof (routeOwner(text) ?? '') === 'string'))
  t.end()
})

t.test('a route is claimed in order, held, and gone with its owner', async (t) => {
  const tailnet = await startTailnet(t)
  const { exposure, phase, lines } = expose(t, tailnet)
  t.same(exposure.state(), { intended: 'serve', actual: 'off', phase: 'starting', attempts: 0 })
  const state = await phase('active')
  t.match(state, { intended: 'serve', actual: 'serve', url, attempts: 0, error: undefined })
  t.ok(Math.abs(state.since! - Date.now()) < 5_000)
  t.same(exposure.state(), state)
  t.same(tailnet.calls(), [
    ['version'],
    ['status', '--json'],
    ['serve', 'status', '--json'],
    ['serve', '--yes', '--bg=false', 'unix:/run/gateway.sock'],
    ['status', '--json']
  ])
  t.ok(tailnet.rawCalls().every(([flag, path]) => flag === '--socket' && path === tailnet.socket))
  t.match(await tailnet.route(), { mode: 'serve', target: 'unix:/run/gateway.sock', by: 'foreground' })
  const claimant = (await tailnet.claimant())!
  const calls = tailnet.calls().length
  const started = performance.now()
  await exposure.stop()
  t.ok(performance.now() - started < 2_900, 'it ends at SIGTERM')
  t.same(exposure.state(), { intended: 'serve', actual: 'off', phase: 'stopped', attempts: 0 })
  t.equal(await tailnet.route(), undefined)
  t.notOk(alive(claimant))
  t.equal(tailnet.calls().length, calls, 'nobody runs "serve off"')
  t.same(
    lines.map(({ level, message }) => [level, message]),
    [['info', 'tailscale exposes the gateway']]
  )
  await exposure.stop()
})

t.test('a Funnel is claimed as one; the usual socket needs no flag', async (t) => {
  const tailnet = await startTailnet(t)
  const { phase } = expose(t, { env: tailnet.env, socket: undefined }, { mode: 'funnel' })
  t.match(await phase('active'), { intended: 'funnel', actual: 'funnel', url })
  t.same(tailnet.rawCalls()[3], ['funnel', '--yes', '--bg=false', 'unix:/run/gateway.sock'])
  t.match(await tailnet.route(), { mode: 'funnel' })
})

t.test('the target follows the older of the two versions', async (t) => {
  const tailnet = await startTailnet(t, { version: '1.92.3' })
  const asked: string[] = []
  const target = async (version: string) => {
    asked.push(version)
    return supportsUnixTarget(version) ? 'unix:/run/gateway.sock' : '44473'
  }
  const { exposure, phase } = expose(t, tailnet, { target })
  await phase('active')
  t.same(asked, ['1.92.3'])
  t.match(await tailnet.route(), { target: '44473' })
  await exposure.stop()
  t.same(tailnet.calls()[3], ['serve', '--yes', '--bg=false', '44473'])
})

t.test('D3: a route that is lost comes back, whoever ended it', async (t) => {
  const tailnet = await startTailnet(t)
  const { phase, states, lines } = expose(t, tailnet)
  await phase('active')
  const ways: { name: string; end: () => Promise<void>; error: RegExp }[] = [
    {
      name: 'tailscaled',
      end: async () => {
        await tailnet.kill()
        await phase('retrying', states.length - 1)
        await tailnet.start()
      },
      error: /went away|appear to be running/
    },
    {
      name: 'the command',
      end: async () => void process.kill((await tailnet.claimant())!, 'SIGKILL'),
      error: /^tailscale serve ended$/
    },
    {
      name: 'the shell that holds it',
      end: async () => {
        const claimant = (await tailnet.claimant())!
        process.kill(parentOf(claimant), 'SIGKILL')
        await until('the command ends too', () => !alive(claimant))
      },
      error: /^tailscale serve ended$/
    }
  ]
  for (const { name, end, error } of ways) {
    if (name.startsWith('the shell') && process.platform !== 'linux') continue
    const from = states.length
    await end()
    const retrying = await phase('retrying', from)
    t.match(retrying, { actual: 'off', error, fix: { where: 'gateway host' }, url: undefined, since: undefined }, name)
    t.ok(retrying.attempts > 0 && retrying.retryAtMs! > Date.now() - 10_000)
    t.match(await phase('active', from), { actual: 'serve', url, error: undefined })
    t.match(await tailnet.route(), { by: 'foreground' })
  }
  t.ok(
    lines.some(({ level }) => level === 'error'),
    'it is said aloud'
  )
})

t.test('D3: without Tailscale there is an error, and a retry, and no exception', async (t) => {
  const dir = tempDir(t)
  const { exposure, lines, when, states } = expose(t, { env: { PATH: dir }, socket: join(dir, 'none.sock') })
  await when(({ attempts }) => attempts === 8)
  t.match(states[0], {
    intended: 'serve',
    actual: 'off',
    phase: 'retrying',
    error: 'the tailscale command is not on PATH',
    fix: { command: /install/, where: 'gateway host' }
  })
  t.equal(lines.filter(({ level }) => level === 'error').length, 1, 'the same reason is an error once')
  t.equal(lines.filter(({ level }) => level === 'warn').length, lines.length - 1, 'and a warning then')
  for (const [index, { fields }] of lines.entries()) {
    const ceiling = Math.min(100, 20 * 2 ** index)
    t.ok(fields.retryInMs! >= ceiling / 2 && fields.retryInMs! <= ceiling, `wait ${index} is ${fields.retryInMs} ms`)
  }
  await exposure.stop()
  t.equal(exposure.state().phase, 'stopped')
})

t.test('a tailscaled that is starting is waited for without an error', async (t) => {
  const tailnet = await startTailnet(t, { state: 'NoState' })
  const { lines, when, phase } = expose(t, tailnet)
  t.match(await when(({ error }) => /NoState/.test(error ?? '')), { phase: 'starting', actual: 'off', attempts: 0 })
  tailnet.set({ state: 'Starting' })
  await when(({ error }) => /Starting/.test(error ?? ''))
  tailnet.set({ state: 'Running' })
  t.match(await phase('active'), { attempts: 0, url })
  t.same([...new Set(lines.map(({ level }) => level))], ['info'])
  t.equal(lines.length, 3, 'each state is said once')
})

t.test('what stands in the way is told with what helps, until it does not', async (t) => {
  const blocked = { mode: 'serve', target: 'http://127.0.0.1:3000' } as const
  interface Case {
    name: string
    settings: Partial<TailnetSettings>
    waits?: Partial<ExposureWaits>
    error: RegExp
    fix: RegExp
    warns?: boolean
  }
  const cases: Case[] = [
    { name: 'not logged in', settings: { state: 'NeedsLogin' }, error: /NeedsLogin/, fix: /^tailscale up$/ },
    { name: 'stopped', settings: { state: 'Stopped' }, error: /Stopped/, fix: /^tailscale up$/ },
    {
      name: 'no rights',
      settings: { serveFails: 'Access denied: serve config denied' },
      error: /^tailscale serve ended before it claimed the route: Access denied/,
      fix: /--operator/
    },
    {
      name: 'Serve is not enabled',
      settings: { serveFails: 'Serve is not enabled on your tailnet.\u001b[0m\nTo enable, visit:\n\n  https://login' },
      error: /enabled on your tailnet\.\?\[0m \| To enable, visit: \| https:\/\/login$/,
      fix: /serve status/
    },
    {
      name: 'a background route',
      settings: { route: { ...blocked, by: 'background' } },
      error: /listener already exists for port 443/,
      fix: /serve status/,
      warns: true
    },
    {
      name: 'a foreground session of somebody else',
      settings: { route: { ...blocked, by: 'foreground' } },
      error: /listener already exists for port 443/,
      fix: /serve status/,
      warns: true
    },
    {
      name: 'a command that never says that it is ready',
      settings: { serveStalls: true },
      waits: { ready: 1_500 },
      error: /did not claim the route within 1500 ms/,
      fix: /serve status/
    }
  ]
  for (const { name, settings, waits, error, fix, warns } of cases) {
    const tailnet = await startTailnet(t, settings)
    const { exposure, phase, lines, states } = expose(t, tailnet, { waits: { ...fast, ...waits } })
    t.match(await phase('retrying'), { error, fix: { command: fix } }, name)
    t.equal(lines[0]!.level, warns === true ? 'warn' : 'error')
    const from = states.length
    tailnet.set({ state: 'Running', serveFails: undefined, route: undefined, serveStalls: false })
    t.match(await phase('active', from), { url }, `${name}, and then it works`)
    await exposure.stop()
  }
})

t.test('a target that cannot be opened is tried again, and a bad listener changes nothing', async (t) => {
  const tailnet = await startTailnet(t)
  let failures = 2
  const states: ExposureState[] = []
  const active = Promise.withResolvers<void>()
  const { exposure, lines } = expose(t, tailnet, {
    async target() {
      if (failures-- > 0) throw new Error('EADDRINUSE\u0007')
      return '4000'
    },
    onChange(state) {
      states.push(state)
      if (state.phase === 'active') active.resolve()
      throw new Error('bad listener')
    }
  })
  await active.promise
  t.same(
    states.map(({ phase, error }) => [phase, error]),
    [
      ['retrying', 'EADDRINUSE?'],
      ['retrying', 'EADDRINUSE?'],
      ['active', undefined]
    ]
  )
  t.ok(lines.some(({ message }) => /listener of the tailscale exposure failed/.test(message)))
  await exposure.stop()
})

t.test('it stops at once, whatever it is doing', async (t) => {
  const cases: {
    name: string
    settings: Partial<TailnetSettings>
    waits?: object
    at: (s: ExposureState) => boolean
  }[] = [
    { name: 'waiting for tailscaled', settings: { state: 'NoState' }, at: ({ error }) => error !== undefined },
    {
      name: 'waiting for a retry',
      settings: { state: 'Stopped' },
      waits: { firstRetry: 60_000 },
      at: ({ phase }) => phase === 'retrying'
    },
    { name: 'active', settings: {}, at: ({ phase }) => phase === 'active' }
  ]
  for (const { name, settings, waits, at } of cases) {
    const tailnet = await startTailnet(t, settings)
    const { exposure, when } = expose(t, tailnet, { waits: { ...fast, look: 60_000, lastRetry: 60_000, ...waits } })
    await when(at)
    const started = performance.now()
    await exposure.stop()
    t.ok(performance.now() - started < 2_900, name)
    t.equal(await tailnet.route(), undefined)
  }
  const tailnet = await startTailnet(t, { serveStalls: true })
  const { exposure } = expose(t, tailnet)
  await exposure.stop()
  t.equal(exposure.state().phase, 'stopped', 'before anything happened')
  const stalled = expose(t, tailnet)
  await until('the claim', async () => (await tailnet.claimant()) !== undefined)
  const claimant = (await tailnet.claimant())!
  await stalled.exposure.stop()
  t.notOk(alive(claimant), 'during a claim')
})

t.test('a command that ignores SIGTERM is killed after three seconds', async (t) => {
  const tailnet = await startTailnet(t, { serveIgnoresTerm: true })
  const { exposure, phase } = expose(t, tailnet)
  await phase('active')
  const claimant = (await tailnet.claimant())!
  const started = performance.now()
  await exposure.stop()
  const took = performance.now() - started
  t.ok(took > 2_900 && took < 6_000, `${Math.round(took)} ms`)
  t.notOk(alive(claimant))
})

/** A process that keeps a route, as a gateway does. */
async function exposingProcess(t: Test, tailnet: Tailnet): Promise<ChildProcess> {
  const file = join(tempDir(t), 'gateway.ts')
  const src = new URL('../../src/tailscale/', import.meta.url).href
  writeFileSync(
    file,
    `import { TailscaleDaemon } from '${src}daemon.ts'
     import { startExposure } from '${src}exposure.ts'
     const quiet = { info() {}, warn() {}, error() {} }
     const daemon = new TailscaleDaemon(${JSON.stringify({ env: tailnet.env, socket: tailnet.socket })})
     const onChange = ({ phase }) => console.log(phase)
     startExposure({ mode: 'serve', daemon, target: async () => '4000', log: quiet, onChange })
     process.on('SIGTERM', () => process.exit(0))`
  )
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data')
  t.match(String(line), /active/)
  return child
}

t.test('a gateway that dies leaves nothing behind', async (t) => {
  for (const { name, signal, settings } of [
    { name: 'kill -9', signal: 'SIGKILL', settings: {} },
    { name: 'an exit without a stop', signal: 'SIGTERM', settings: {} },
    { name: 'kill -9 and a stubborn command', signal: 'SIGKILL', settings: { serveIgnoresTerm: true } }
  ] as const) {
    const tailnet = await startTailnet(t, settings)
    const gateway = await exposingProcess(t, tailnet)
    const claimant = (await tailnet.claimant())!
    const shell = process.platform === 'linux' ? parentOf(claimant) : undefined
    if (shell !== undefined) t.equal(parentOf(shell), gateway.pid, 'one shell stands between them')
    const exited = once(gateway, 'exit')
    gateway.kill(signal)
    await exited
    await until(`${name}: the command ends`, () => !alive(claimant))
    await until(`${name}: the route goes`, async () => (await tailnet.route()) === undefined)
    if (shell !== undefined) await until(`${name}: the shell ends`, () => !alive(shell))
    t.pass(name)
  }
})
