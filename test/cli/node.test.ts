import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import os, { userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { cleanEnv, startGateway } from '../../scripts/gateway-process.ts'
import { type ServiceSpec, serviceManager } from '../../src/cli/service/service.ts'
import { MAIN, runCli, spawnCli } from '../support/cli.ts'
import { freePort, tempDir } from '../support/gateway.ts'
import { NodeGateway } from '../support/node-gateway.ts'
import { approve, freshKey, operatorAt } from '../support/nodes.ts'
import { parseXml } from '../support/xml.ts'

t.setTimeout(110_000)

const SECRET = 'canary-3b91'
const gateway = await startGateway([MAIN])
t.teardown(() => gateway.stop())
const admin = await operatorAt(t, gateway.url, gateway.token)

function newHome(t: Test): string {
  const home = realpathSync(mkdtempSync(join(os.tmpdir(), 'node-')))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  return home
}

/** A command in a process of its own, and what it says on standard error. */
function start(t: Test, command: readonly string[], env: NodeJS.ProcessEnv) {
  const [program = '', ...args] = command
  const child = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const seen = { stderr: '' }
  const looks = new Set<() => void>()
  child.stderr.setEncoding('utf8').on('data', (text) => {
    seen.stderr += text
    for (const look of looks) look()
  })
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stderr: seen.stderr }))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const says = (word: RegExp) =>
    new Promise<string>((resolve, reject) => {
      const look = () => word.test(seen.stderr) && resolve(seen.stderr)
      looks.add(look)
      void ended.then(() => reject(new Error(seen.stderr)))
      look()
    })
  return { child, says, ended, seen }
}

const nodeRun = (t: Test, home: string, words: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  start(t, [process.execPath, MAIN, 'node', 'run', ...words], { ...cleanEnv(home), ...env })

const here = ['--host', '127.0.0.1', '--port', String(gateway.port)]
const withToken = { OPENCLAW_GATEWAY_TOKEN: gateway.token }

t.test('node run', async (t) => {
  const home = newHome(t)
  const before = await spawnCli(['node', 'identity', '--json'], cleanEnv(home))
  t.match(before, { code: 1, stdout: /NODE_IDENTITY_MISSING/ })
  t.notOk(existsSync(join(home, '.openclaw/node')), 'asking makes no key')

  const node = nodeRun(t, home, [...here, '--display-name', 'Build box', '--node-id', 'box-1'], withToken)
  const said = await node.says(/^connected to .*$/m)
  t.match(said, /openclaw nodes approve/, 'what is left to do is said')
  const identity = JSON.parse((await spawnCli(['node', 'identity', '--json'], cleanEnv(home))).stdout)
  t.match(identity, { deviceId: /^[0-9a-f]{64}$/, publicKey: /^[\w-]{43}$/ })
  const { nodes } = (await admin.call('node.list', {})).payload as { nodes: { nodeId: string; displayName: string }[] }
  t.match(nodes, [{ nodeId: identity.deviceId, displayName: 'Build box' }])
  if (existsSync('/proc/self/cmdline')) {
    t.equal(readFileSync(`/proc/${node.child.pid}/cmdline`, 'utf8').replaceAll('\0', ''), 'openclaw-node')
  }

  t.test('runs once for a gateway', async (t) => {
    const second = await nodeRun(t, home, here, withToken).ended
    t.match(second, { code: 1, stderr: new RegExp(`process \\(pid ${node.child.pid}\\) already runs this node`) })
  })
  t.test('SIGTERM ends it, with all that it runs', async (t) => {
    await approve(admin, identity.deviceId)
    const file = join(home, 'pid')
    const command = ['sh', '-c', `echo $$ > '${file}'; trap '' TERM; while :; do sleep 0.05; done`]
    const params = { nodeId: identity.deviceId, command: 'system.run', params: { command }, idempotencyKey: freshKey() }
    const answer = admin.call('node.invoke', params)
    while (!existsSync(file) || readFileSync(file, 'utf8') === '') await delay(10)
    const pid = Number(readFileSync(file, 'utf8'))
    node.child.kill('SIGTERM')
    t.equal((await node.ended).code, 0)
    t.match(await answer, { ok: false, error: { code: 'UNAVAILABLE' } })
    while (isAlive(pid)) await delay(10)
  })
  t.test('what it was called is kept, and it comes back by its own token', async (t) => {
    const again = nodeRun(t, home, here)
    await again.says(/^connected to /m)
    const state = JSON.parse(readFileSync(join(home, '.openclaw/node/state.json'), 'utf8'))
    t.match(state, { displayName: 'Build box', instanceId: 'box-1' })
    again.child.kill('SIGINT')
    t.equal((await again.ended).code, 0)
  })
  t.notMatch(readFileSync(join(home, '.openclaw/logs/node.log'), 'utf8'), gateway.token)
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const stat = existsSync('/proc/self/stat') ? readFileSync(`/proc/${pid}/stat`, 'utf8') : ''
  return !/^\d+ \(.*\) [ZX]/s.test(stat)
}

t.test('a reason that stays is said once, and the next one when it comes', async (t) => {
  const port = await freePort()
  const home = newHome(t)
  const node = nodeRun(t, home, ['--host', '127.0.0.1', '--port', String(port)])
  await node.says(/^no connection to /m)
  const log = join(home, '.openclaw/logs/node.log')
  const tries = (words: string) => readFileSync(log, 'utf8').split(words).length - 1
  while (tries('"not connected"') < 2) await delay(20)
  const late = await NodeGateway.start(t, { port })
  late.answer = (_params, n) => {
    const requestId = n < 2 ? 'req-1' : 'req-2'
    return { code: 'NOT_PAIRED', message: 'pairing required', details: { code: 'PAIRING_REQUIRED', requestId } }
  }
  const said = await node.says(/^fix: .* req-2 .*$/m)
  const about = (words: RegExp) => said.match(words)?.length
  t.equal(about(/^no connection to /gm), 1, 'after two tries')
  t.equal(about(/^not paired: .*req-1/gm), 1, 'after two refusals')
  t.equal(about(/^fix: openclaw devices approve req-[12] \(on the gateway host\)$/gm), 2)
  node.child.kill('SIGTERM')
  t.equal((await node.ended).code, 0, 'it ends while it waits')
})

t.test('what cannot be is said before anything is done', async (t) => {
  const rows: [words: string[], want: RegExp][] = [
    [['--port', '0'], /port/i],
    [['--host', ''], /Invalid --host/],
    [['--host', 'gateway.example.com'], /plaintext|wss/],
    [['--tls-fingerprint', 'abc'], /--tls-fingerprint is no fingerprint/],
    [['--no-tls', '--tls-fingerprint', `sha256:${'ab'.repeat(32)}`], /not both/],
    [['--display-name', 'a\nb'], /Invalid --display-name/],
    [['--wat'], /unknown option/]
  ]
  for (const [words, want] of rows) {
    const home = newHome(t)
    const { code, err } = await runCli(cleanEnv(home), ['node', 'run', ...words])
    t.match(err, want, words.join(' '))
    t.not(code, 0)
    t.notOk(existsSync(join(home, '.openclaw/node')))
  }
  for (const name of ['run', 'identity', 'install', 'status', 'start', 'stop', 'restart', 'uninstall']) {
    const { code, out } = await runCli(cleanEnv(newHome(t)), ['node', name, '--help'])
    t.match(out, `Usage: openclaw node ${name}`)
    t.equal(code, 0)
  }
})

/** A machine whose tools of the system write down how they are called. */
function machine(t: Test, answers = '') {
  const home = newHome(t)
  const bin = tempDir(t)
  const log = join(bin, 'calls')
  for (const name of ['systemctl', 'loginctl', 'launchctl']) {
    writeFileSync(join(bin, name), `#!/bin/sh\necho "${name} $*" >> '${log}'\n${answers}\nexit 0\n`, { mode: 0o755 })
  }
  const calls = () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [])
  return { home, env: { ...cleanEnv(home), PATH: `${bin}:${process.env.PATH}` }, calls }
}

const unitOf = (home: string) => join(home, '.config/systemd/user/openclaw-node.service')

const linux = process.platform === 'linux' ? false : 'systemd is a part of Linux'

t.test('the service, by systemd', { skip: linux }, async (t) => {
  const { home, env, calls } = machine(t)
  const secrets = { OPENCLAW_GATEWAY_TOKEN: SECRET, OPENCLAW_GATEWAY_PASSWORD: SECRET, MY_API_KEY: SECRET }
  const words = [...here, '--display-name', 'Nick\'s "box" 100% $HOME']

  t.test('--print shows the unit, and writes nothing', async (t) => {
    const { code, out } = await runCli({ ...env, ...secrets }, ['node', 'install', ...words, '--print'])
    t.equal(code, 0)
    t.match(out, /^ExecStart=.* "node" "run" "--host=127\.0\.0\.1"/m)
    const json = await runCli({ ...env, ...secrets }, ['node', 'install', ...words, '--print', '--json'])
    t.match(JSON.parse(json.out), { action: 'install', ok: true, result: 'printed', path: unitOf(home) })
    t.notMatch(out + json.out, SECRET)
    t.notOk(existsSync(unitOf(home)))
    t.notMatch(calls().join('\n'), /enable|restart|daemon-reload/)
  })
  t.test('before it is there', async (t) => {
    const status = await runCli(env, ['node', 'status', '--json'])
    t.match(JSON.parse(status.out), { service: { label: 'systemd', installed: false, loaded: false } })
    t.match((await runCli(env, ['node', 'stop', '--json'])).out, /"not-loaded"/, 'it is stopped already')
    t.match(await runCli(env, ['node', 'restart']), { code: 1, err: /not installed\nfix: openclaw node install/ })
  })
  t.test('what is installed holds no secret, and is a node that works', async (t) => {
    const { code, stdout, stderr } = await spawnCli(['node', 'install', ...words], { ...env, ...secrets })
    t.equal(code, 0, stderr)
    const unit = readFileSync(unitOf(home), 'utf8')
    t.notMatch(stdout + stderr + unit, SECRET)
    t.match(
      stderr,
      /OPENCLAW_GATEWAY_TOKEN and OPENCLAW_GATEWAY_PASSWORD of this shell is not stored; write it to .*\.env/
    )
    t.same(
      calls().filter((call) => /--user (enable|restart|daemon-reload)/.test(call)),
      [
        'systemctl --user daemon-reload',
        'systemctl --user enable openclaw-node.service',
        'systemctl --user restart openclaw-node.service'
      ]
    )
    // As systemd reads it: quotes, then its own escapes.
    const command = [.../^ExecStart=(.*)$/m.exec(unit)![1]!.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) =>
      word!.replaceAll(/\\(.)/g, '$1').replaceAll('$$', '$').replaceAll('%%', '%')
    )
    t.equal(command.at(-1), '--display-name=Nick\'s "box" 100% $HOME')
    mkdirSync(join(home, '.openclaw'), { recursive: true, mode: 0o700 })
    writeFileSync(join(home, '.openclaw/.env'), `OPENCLAW_GATEWAY_TOKEN=${gateway.token}\n`, { mode: 0o600 })
    const node = start(t, command, { HOME: home, PATH: process.env.PATH })
    await node.says(/^connected to /m)
    node.child.kill('SIGTERM')
    t.equal((await node.ended).code, 0)
  })
  t.test('systemd takes it', async (t) => {
    // Without a folder of this kind it reads no unit at all.
    const environment = { ...process.env, XDG_RUNTIME_DIR: tempDir(t) }
    const words = ['verify', '--user', unitOf(home)]
    const { error, status, stderr } = spawnSync('systemd-analyze', words, { env: environment, encoding: 'utf8' })
    if (error !== undefined) return void t.pass('there is no systemd-analyze here', { skip: true })
    t.same([status, stderr], [0, ''])
  })
  t.test('is installed again over itself, and not over what somebody wrote', async (t) => {
    t.equal((await runCli(env, ['node', 'install', ...here])).code, 0)
    const mine = '[Service]\nExecStart=/bin/true\n'
    writeFileSync(unitOf(home), mine)
    t.match(await runCli(env, ['node', 'install', ...here]), { code: 1, err: /was not written by .*\nfix: mv / })
    t.match(await runCli(env, ['node', 'uninstall']), { code: 1, err: /was not written by .* stays\nfix: .*: rm / })
    t.equal(readFileSync(unitOf(home), 'utf8'), mine)
    rmSync(unitOf(home))
    t.equal((await runCli(env, ['node', 'install', ...here])).code, 0)
  })
  t.test('is stopped, started and removed', async (t) => {
    for (const [action, done] of [
      ['stop', 'stopped'],
      ['start', 'started'],
      ['restart', 'restarted'],
      ['uninstall', 'uninstalled']
    ] as const) {
      const { code, out } = await runCli(env, ['node', action, '--json'])
      t.match(JSON.parse(out), { action, ok: true, result: done })
      t.equal(code, 0)
    }
    t.ok(calls().includes('systemctl --user disable --now openclaw-node.service'))
    t.notOk(existsSync(unitOf(home)))
  })
  t.test('a profile has one of its own', async (t) => {
    const { out } = await runCli(env, ['node', 'install', ...here, '--print'], { profile: 'work' })
    t.match(out, 'openclaw-node-work.service:')
    t.match(out, '"--profile" "work" "node" "run"')
  })
  t.test('what systemd says of it is shown', async (t) => {
    const shown = 'ActiveState=active\nSubState=running\nMainPID=4711\nUnitFileState=enabled\nResult=success'
    const running = machine(t, `case "$*" in *show*--property*) printf '${shown.replaceAll('\n', '\\n')}\\n';; esac`)
    mkdirSync(join(running.home, '.config/systemd/user'), { recursive: true })
    writeFileSync(unitOf(running.home), '')
    const { out } = await runCli(running.env, ['node', 'status'])
    t.match(out, /openclaw-node\.service \(systemd, enabled\)/)
    t.match(out, /running \(pid 4711/)
  })
  t.test('a machine that cannot says what to do instead', async (t) => {
    const silent = machine(t, 'echo "Failed to connect to bus" >&2; exit 1')
    const { code, err } = await runCli(silent.env, ['node', 'install', ...here])
    t.match(err, /systemd does not answer for user .*\nfix: sudo loginctl enable-linger/)
    t.equal(code, 1)
    t.notOk(existsSync(unitOf(silent.home)))
    await t.rejects(serviceManager({}, 'openclaw node run', 'win32'), {
      code: 'SERVICE_UNSUPPORTED',
      fix: /openclaw node run/
    })
  })
})

t.test('the service, by launchd', async (t) => {
  const { home, env, calls } = machine(t)
  const manager = await serviceManager(env, 'openclaw node run', 'darwin')
  const spec: ServiceSpec = {
    kind: 'node',
    profile: undefined,
    description: 'OpenClaw node host',
    argv: ['/usr/bin/node', '/x/main.js', 'node', 'run', '--display-name=<a & "b">'],
    env: { PATH: '/usr/bin:/bin' },
    logDir: join(home, '.openclaw/logs')
  }
  const plist = join(home, 'Library/LaunchAgents/ai.openclaw.node.plist')
  const gui = `gui/${userInfo().uid}`
  await manager.install(spec)
  t.equal(calls().at(-1), `launchctl bootstrap ${gui} ${plist}`)
  t.equal(statSync(plist).mode & 0o777, 0o644)
  const text = readFileSync(plist, 'utf8')
  const escaped = (word: string) => word.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
  const flat = JSON.stringify(parseXml(text))
  for (const word of ['ai.openclaw.node', 'RunAtLoad', 'KeepAlive', ...spec.argv.map(escaped)]) {
    t.ok(flat.includes(JSON.stringify(word)), word)
  }
  t.match(await manager.status(spec), { name: 'ai.openclaw.node', installed: true, loaded: true })
  await manager.stop(spec)
  t.equal(calls().at(-1), `launchctl bootout ${gui}/ai.openclaw.node`)
  await manager.uninstall(spec)
  t.notOk(existsSync(plist))
})
