import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import { runCli, type Said } from '../support/cli.ts'
import { freePort, startProcess, tempDir } from '../support/gateway.ts'

t.jobs = 2

const TOKEN = 'canary-8Qf3vLx0ZpWm2RkT7yBn4GsHd6JcUaEi'
const auth = { mode: 'token', token: TOKEN }
const section = { mode: 'local', auth }
const main = join(import.meta.dirname, '../../src/cli/main.ts')

/** Everything that was said here: no secret may be in it. */
let printed = ''

function homeWith(t: Test, gateway: object = section, more: object = {}) {
  const home = tempDir(t)
  const dir = join(home, '.openclaw')
  mkdirSync(dir, { mode: 0o700 })
  const file = join(dir, 'openclaw.json')
  writeFileSync(file, JSON.stringify({ gateway, ...more }), { mode: 0o600 })
  return { home, dir, file, env: { HOME: home } }
}

async function audit(
  env: NodeJS.ProcessEnv,
  args: string[] = [],
  more: Parameters<typeof runCli>[2] = {}
): Promise<Said> {
  const said = await runCli(env, ['security', 'audit', ...args], more)
  printed += said.out + said.err
  return said
}

const ids = ({ out }: Said): string[] => {
  const { findings } = JSON.parse(out) as { findings: { checkId: string }[] }
  return findings.map(({ checkId }) => checkId)
}

t.test('a clean gateway is told in one line', async (t) => {
  const { env } = homeWith(t)
  t.same(await audit(env), { out: 'Nothing found: this gateway is closed to everybody but you.\n', err: '', code: 0 })
  const { ts, ...rest } = JSON.parse((await audit(env, ['--json'])).out)
  t.type(ts, 'number')
  t.same(rest, { summary: { critical: 0, warn: 0, info: 0 }, findings: [] })
  t.same((await audit({ HOME: tempDir(t) })).out.split('\n').length, 2, 'so is a host without any')
})

t.test('findings are told worst first, and the exit code says whether one is critical', async (t) => {
  const wrong = { ...section, bind: 'lan', allowRealIpFallback: true, reload: { mode: 'off' } }
  const { env, file } = homeWith(t, wrong, {
    security: { audit: { suppressions: [{ checkId: 'gateway.reload_off' }] } }
  })
  chmodSync(file, 0o644)
  const { out, err, code } = await audit(env)
  t.equal(err, '')
  t.equal(code, 1)
  const headings = [...out.matchAll(/^(CRITICAL|WARNING|TO KNOW) {2}(\S+)$/gm)].map(([, word]) => word)
  t.same(
    headings,
    headings.toSorted((a, b) => ORDER.indexOf(a!) - ORDER.indexOf(b!))
  )
  t.match(out, `fix: chmod 600 ${file}\n`)
  t.match(out.trimEnd().split('\n').at(-1), /^\d critical, \d warnings?, \d to know, 1 hidden$/)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colour is what must not be there
  t.notMatch(out, /\u001b/, 'no colour away from a terminal')
  for (const line of out.split('\n')) t.ok(line.length <= 80 || line.includes('fix:') || line.includes(file), line)
  t.match((await audit(env, [], { color: true })).out, '\u001b[31mCRITICAL')

  const json = await audit(env, ['--json'])
  t.equal(json.code, 1)
  const report = JSON.parse(json.out)
  t.same(Object.keys(report), ['ts', 'summary', 'findings', 'suppressedFindings'])
  for (const finding of report.findings) {
    t.same(
      Object.keys(finding).filter((key) => key !== 'fix'),
      ['checkId', 'severity', 'title', 'detail', 'remediation']
    )
    if (finding.fix) t.same(Object.keys(finding.fix), ['command', 'where'])
  }
  t.equal(
    report.summary.critical,
    report.findings.filter((each: { severity: string }) => each.severity === 'critical').length
  )
  t.match(report.suppressedFindings, [{ checkId: 'gateway.reload_off', suppression: {} }])

  const safe = homeWith(t, { ...section, bind: 'tailnet', auth: { ...auth, rateLimit: { maxAttempts: 60 } } })
  t.equal((await audit(safe.env)).code, 0, 'a warning alone is no failure')
})

const ORDER = ['CRITICAL', 'WARNING', 'TO KNOW']

t.test('--fix closes files, and reports what is left', async (t) => {
  const { env, dir, file } = homeWith(t, { ...section, allowRealIpFallback: true })
  chmodSync(dir, 0o777)
  chmodSync(file, 0o666)
  const said = await audit(env, ['--fix', '--json'])
  const { fix, report } = JSON.parse(said.out)
  t.same(fix, {
    ok: true,
    stateDir: dir,
    configPath: file,
    actions: [
      { kind: 'chmod', path: dir, mode: 0o700, ok: true },
      { kind: 'chmod', path: file, mode: 0o600, ok: true }
    ]
  })
  t.match(report, {
    summary: { critical: 0, warn: 1, info: 0 },
    findings: [{ checkId: 'gateway.real_ip_fallback_enabled' }]
  })
  t.equal(said.code, 0)
  t.equal(statSync(file).mode & 0o777, 0o600)
  chmodSync(file, 0o644)
  t.match((await audit(env, ['--fix'])).out, new RegExp(`^done {2}chmod 600 ${file}\n\n`))
})

t.test('commands name the profile, and the machine', async (t) => {
  const { home } = homeWith(t)
  mkdirSync(join(home, '.openclaw-two'), { mode: 0o700 })
  const file = join(home, '.openclaw-two/openclaw.json')
  writeFileSync(file, JSON.stringify({ gateway: { ...section, reload: { mode: 'off' } } }), { mode: 0o600 })
  const { out } = await audit({ HOME: home }, ['--json'], { profile: 'two' })
  t.match(JSON.parse(out).findings[0].fix, {
    command: 'openclaw --profile two config set gateway.reload.mode hybrid',
    where: 'gateway host'
  })
  const client = homeWith(t, { mode: 'remote', remote: { url: 'ws://gw.example.com' } })
  const told = await audit(client.env, ['--json'])
  t.match(JSON.parse(told.out).findings[0], {
    checkId: 'gateway.remote.plaintext',
    fix: { command: 'openclaw config set gateway.remote.url wss://gw.example.com', where: 'this client' }
  })
})

t.test('--deep looks at the running gateway, and tries to get in', async (t) => {
  const { env, dir } = homeWith(t)
  t.match(ids(await audit(env, ['--deep', '--json'])), ['gateway.probe_failed'], 'none runs')
  const port = await freePort()
  writeFileSync(join(dir, 'openclaw.json'), JSON.stringify({ gateway: { ...section, port } }))
  await startProcess(t, { stateDir: dir, port, env: { HOME: env.HOME } })
  const said = await audit(env, ['--deep', '--json'])
  t.equal(said.code, 0)
  const report = JSON.parse(said.out)
  t.same(report.findings, [])
  t.match(report.deep, { gateway: { attempted: true, ok: true, url: `unix:${dir}/gateway.sock`, error: null } })
  const tries = report.deep.attempts as { kind: string; url: string; refused: boolean }[]
  t.ok(tries.length >= 3)
  t.same(
    tries.filter(({ refused }) => !refused),
    [],
    'every door is closed'
  )
  t.ok(tries.some(({ kind, url }) => kind === 'websocket' && url === `ws://127.0.0.1:${port}/`))
  t.match(
    (await audit(env, ['--deep'])).out,
    /^Tried without a credential: (\d+) of \1 attempts were refused\.\nNothing found/
  )
  writeFileSync(join(dir, 'openclaw.json'), JSON.stringify({ gateway: { ...section, port: port + 1 } }))
  t.same(ids(await audit(env, ['--deep', '--json'])), ['gateway.live_drift'], 'the file has changed since the start')
})

t.test('--deep knows that without auth this host is let in', async (t) => {
  const port = await freePort()
  const { env, dir } = homeWith(t, {
    mode: 'local',
    port,
    auth: { mode: 'none' },
    nodes: { pairing: { autoApproveLocal: false } }
  })
  await startProcess(t, { stateDir: dir, port, env: { HOME: env.HOME } })
  const said = await audit(env, ['--deep', '--json'])
  t.same(ids(said), ['gateway.loopback_no_auth'])
  t.equal(said.code, 1)
})

t.test('--deep finds a gateway that lets strangers in', async (t) => {
  const auths: unknown[] = []
  const server = createServer((_request, response) => response.setHeader('content-type', 'text/plain').end('all of it'))
  const wss = new WebSocketServer({ server })
  wss.on('connection', (socket) => {
    socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n', ts: 1 } }))
    socket.on('message', (data) => {
      const { id, method, params } = JSON.parse(String(data))
      if (method === 'connect') auths.push(params.auth)
      const hello = { type: 'hello-ok', auth: { role: 'operator', scopes: params.scopes }, server: {}, snapshot: {} }
      socket.send(JSON.stringify({ type: 'res', id, ok: true, payload: method === 'connect' ? hello : {} }))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of wss.clients) socket.terminate()
    server.close()
  })
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { env } = homeWith(t)
  const said = await audit(env, ['--deep', '--json', '--url', url, '--token', 'canary-given'])
  t.equal(said.code, 1)
  t.same([...new Set(ids(said))], ['gateway.unauthenticated_websocket', 'gateway.unauthenticated_http'])
  t.match(
    JSON.parse(said.out).findings[0].detail,
    /a connection was let in with operator\.admin\. No credential was sent/
  )
  t.same(auths, [{ token: 'canary-given' }, undefined], 'the credential goes to the gateway it was given for, once')
})

t.test('R22: --deep --url never borrows credentials', async (t) => {
  const { env } = homeWith(t)
  t.match(await audit(env, ['--deep', '--url', 'ws://127.0.0.1:9']), { code: 1, err: /^error: missing credentials/ })
  const unresolved = homeWith(t, {
    mode: 'remote',
    remote: { url: 'ws://127.0.0.1:9', token: { source: 'env', provider: 'default', id: 'NOT_SET' } }
  })
  t.same(ids(await audit(unresolved.env, ['--deep', '--json'])), ['gateway.probe_auth_secretref_unavailable'])
})

t.test('as a process: quick, and with the exit code', async (t) => {
  const { env, file } = homeWith(t)
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [main, 'security', ...args], {
      env: { ...env, PATH: process.env.PATH },
      encoding: 'utf8'
    })
  t.match(run('audit'), { status: 0, stdout: /^Nothing found/, stderr: '' })
  chmodSync(file, 0o666)
  const bad = run('audit', '--json')
  t.equal(bad.status, 1)
  t.equal(JSON.parse(bad.stdout).summary.critical, 1)
  t.match(run('audit', '--nope'), { status: 1, stderr: /unknown option '--nope'\nfix: openclaw security audit --help/ })
  t.match(run(), { status: 1 })
})

t.test('S22: no secret was told', async (t) => {
  t.ok(printed.length > 5_000)
  t.notMatch(printed, /canary/)
})
