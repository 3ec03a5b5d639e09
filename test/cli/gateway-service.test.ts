import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { controlGateway, installGateway } from '../../src/cli/service/control.ts'
import { gatewayService } from '../../src/cli/service/gateway.ts'
import { serviceManager } from '../../src/cli/service/service.ts'
import { unitCommand, unitText } from '../../src/cli/service/systemd-unit.ts'
import { listen, MAIN, spawnCli } from '../support/cli.ts'
import { type FakeSystemd, fakeSystemd } from '../support/fake-systemd.ts'
import { freePort, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { parseXml } from '../support/xml.ts'

t.setTimeout(110_000)

const UNIT = 'openclaw-gateway.service'
const linux = process.platform === 'linux' ? false : 'systemd is a part of Linux'

/** A user with a configuration, whose gateway would listen on a free port. */
async function user(t: Test, gateway: object = {}): Promise<FakeSystemd & { port: number; stateDir: string }> {
  const systemd = fakeSystemd(t)
  const port = await freePort()
  const stateDir = join(systemd.home, '.openclaw')
  mkdirSync(stateDir, { mode: 0o700 })
  const config = { gateway: { mode: 'local', port, auth: { mode: 'token', token: TOKEN }, ...gateway } }
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify(config), { mode: 0o600 })
  return { ...systemd, port, stateDir }
}

const json = async (args: string[], env: NodeJS.ProcessEnv) => {
  const { stdout, stderr, code } = await spawnCli([...args, '--json'], env)
  return { ...JSON.parse(stdout), stderr, code }
}

t.test('a unit starts what it is told to, whatever its words hold', { skip: linux }, async (t) => {
  const folder = join(tempDir(t), 'a $HOME $$ 100%n')
  mkdirSync(folder)
  const program = join(folder, 'node')
  writeFileSync(program, '', { mode: 0o755 })
  const argv = [program, '$HOME', '$X', '$$', '%n', '"quoted"', "it's", '\\n', '; true', '', ' ']
  const env = { X: '$HOME $X $$ %n "quoted" \\n ' }
  const name = { kind: 'gateway', profile: undefined }
  const text = unitText({ ...name, description: '100% $HOME', argv, env, logDir: '/' })
  t.same(unitCommand(text), { argv, env })
  const unit = join(tempDir(t), UNIT)
  writeFileSync(unit, text)
  const environment = { ...process.env, XDG_RUNTIME_DIR: tempDir(t) }
  const verified = spawnSync('systemd-analyze', ['verify', '--user', unit], { env: environment, encoding: 'utf8' })
  if (verified.error === undefined) t.same([verified.status, verified.stderr], [0, ''], 'systemd finds the program')
})

t.test('the life of the service, by systemd', { skip: linux }, async (t) => {
  const here = await user(t)
  const { env } = here
  const secrets = { OPENCLAW_GATEWAY_TOKEN: 'a-secret-of-the-shell', OPENCLAW_GATEWAY_PASSWORD: 'another-secret' }

  t.test('before it is there', async (t) => {
    for (const action of ['start', 'restart']) {
      const { code, stderr } = await spawnCli(['gateway', action], env)
      t.match(stderr, /not installed\nfix: openclaw gateway install, or in this terminal: openclaw gateway run/)
      t.equal(code, 1)
    }
    for (const action of ['stop', 'uninstall']) {
      t.match(await json(['gateway', action], env), { code: 0, ok: true, action, result: 'not-loaded' })
    }
  })
  t.test('--print shows the unit, and writes nothing', async (t) => {
    const { stdout } = await spawnCli(['gateway', 'install', '--print'], { ...env, ...secrets })
    t.match(stdout, `${here.unitPath(UNIT)}:\n\n`)
    t.match(stdout, /^ExecStart="\S+node" "--max-semi-space-size=16" .* "\S+main.ts" "gateway" "run"$/m)
    t.notMatch(stdout, /secret/)
    t.notOk(existsSync(here.unitPath(UNIT)))
  })
  t.test('install waits until it is ready', async (t) => {
    const { code, stdout, stderr } = await spawnCli(['gateway', 'install'], { ...env, OPENCLAW_GATEWAY_PORT: '' })
    t.equal(code, 0, stderr)
    t.match(stdout, new RegExp(`The gateway is ready on port ${here.port} \\(pid ${here.pidOf(UNIT)}\\)`))
    const unit = readFileSync(here.unitPath(UNIT), 'utf8')
    for (const line of ['Restart=always', 'KillMode=mixed', 'LimitCORE=0', 'UMask=0077']) t.match(unit, line)
    t.notMatch(stdout + stderr + unit, TOKEN)
    t.equal((await spawnCli(['gateway', 'health'], env)).code, 0)
  })
  t.test('systemd takes the unit', async (t) => {
    const words = ['verify', '--user', here.unitPath(UNIT)]
    const environment = { ...process.env, XDG_RUNTIME_DIR: tempDir(t) }
    const { error, status, stderr } = spawnSync('systemd-analyze', words, { env: environment, encoding: 'utf8' })
    if (error !== undefined) return void t.pass('there is no systemd-analyze here', { skip: true })
    t.same([status, stderr], [0, ''])
  })
  t.test('what is there already is left alone', async (t) => {
    const pid = here.pidOf(UNIT)
    t.match(await json(['gateway', 'install'], env), { ok: true, result: 'already-installed' })
    t.match(await json(['gateway', 'start'], env), {
      ok: true,
      result: 'already-running',
      service: { runtime: { pid } }
    })
    t.equal(here.pidOf(UNIT), pid)
  })
  t.test('restart is another process, stop is none, start is one again', async (t) => {
    const pid = here.pidOf(UNIT)
    t.match(await json(['gateway', 'restart', '--force'], env), { ok: true, result: 'restarted' })
    t.not(here.pidOf(UNIT), pid)
    t.match(await json(['daemon', 'stop'], env), { ok: true, result: 'stopped', code: 0 })
    t.equal(here.pidOf(UNIT), undefined)
    t.equal((await spawnCli(['gateway', 'health'], env)).code, 1)
    t.match(await spawnCli(['gateway', 'start'], env), { code: 0, stdout: /is started, and ready on port/ })
  })
  t.test('what it has become is told, with what mends it', async (t) => {
    const unit = readFileSync(here.unitPath(UNIT), 'utf8')
    const { io } = listen(env)
    const drift = async (text: string, more: NodeJS.ProcessEnv = {}) => {
      writeFileSync(here.unitPath(UNIT), text)
      const { drift } = await gatewayService({ ...io, env: { ...env, ...more } }, 'linux')
      return drift.map(({ what }) => what)
    }
    // In this process the command is the test.
    const main = process.argv[1]!
    const own = unit.replaceAll(MAIN, main)
    t.same(await drift(own), [])
    t.same(await drift(own.replace(main, '/gone/main.js')), ['program'])
    t.same(await drift(unit), ['cli'])
    t.same(await drift(own.replace('"run"', '"run" "--port" "1"')), ['port'])
    t.same(await drift(own, { OPENCLAW_GATEWAY_PORT: '1' }), ['port'])
    t.same(await drift(own, { OPENCLAW_STATE_DIR: '/elsewhere' }), ['state', 'config', 'port'])
    t.same(await drift(own, { OPENCLAW_CONFIG_PATH: '/elsewhere.json' }), ['config', 'port'])
    t.same(await drift('[Service]\nExecStart="/x"\n'), [], 'what somebody else wrote is not looked into')
    writeFileSync(here.unitPath(UNIT), unit)
    const { checks } = await json(['doctor'], { ...env, OPENCLAW_GATEWAY_PORT: '1' })
    t.match(
      checks.filter(({ fix }: { fix?: { command: string } }) => fix?.command === 'openclaw gateway install --force'),
      [{ status: 'warning', path: here.unitPath(UNIT) }],
      'the doctor tells it too'
    )
    const elsewhere = { ...env, OPENCLAW_STATE_DIR: tempDir(t) }
    for (const action of ['restart', 'install']) {
      const { stderr, code } = await spawnCli(['gateway', action], elsewhere)
      t.match(
        stderr,
        /its state is in .*\/\.openclaw, and this command's in .*\nfix: openclaw gateway install --force/s
      )
      t.equal(code, 1)
    }
    t.match(await spawnCli(['gateway', 'install', '--port', '19999'], env), {
      code: 1,
      stderr: new RegExp(
        `listens on port ${here.port}, not on 19999\\nfix: openclaw gateway install --force --port 19999`
      )
    })
    const port = await freePort()
    const forced = await spawnCli(['gateway', 'install', '--force', '--port', String(port)], env)
    t.match(forced.stdout, `ready on port ${port}`, forced.stderr)
    t.match(forced.stderr, new RegExp(`it listens on port ${port}, and commands look for it on port ${here.port}`))
    t.equal((await spawnCli(['gateway', 'install', '--force'], env)).code, 0)
  })
  t.test('one that does not become ready says why', async (t) => {
    const config = join(here.stateDir, 'openclaw.json')
    const good = readFileSync(config, 'utf8')
    writeFileSync(config, '{ gateway: { mode: "local", bind: "nowhere" } }')
    const refused = await json(['gateway', 'restart'], env)
    t.match(refused, {
      ok: false,
      code: 1,
      action: 'restart',
      result: 'restart-health-failed',
      error: {
        code: 'SERVICE_NOT_READY',
        message: /exit code 78.*gateway\.bind/s,
        fix: `journalctl --user -u ${UNIT} -e`
      }
    })
    t.match(await spawnCli(['gateway', 'install', '--force'], env), {
      code: 1,
      stderr: /would not start as a service: .*gateway\.bind/s
    })
    writeFileSync(config, good)
    t.match(await spawnCli(['gateway', 'start'], env), { code: 0, stderr: '' })
  })
  t.test('uninstall takes the service, and leaves the state', async (t) => {
    t.match(await spawnCli(['gateway', 'uninstall'], env), { code: 0, stdout: /is uninstalled\. .*\.openclaw stays/ })
    t.notOk(existsSync(here.unitPath(UNIT)))
    t.equal(here.pidOf(UNIT), undefined)
    t.ok(existsSync(join(here.stateDir, 'openclaw.json')))
  })
})

t.test('what stands in the way of a service is named', { skip: linux }, async (t) => {
  t.test('a gateway that runs in a terminal', async (t) => {
    const here = await user(t)
    const gateway = await startProcess(t, { stateDir: here.stateDir, port: here.port, env: { HOME: here.home } })
    const { pid } = gateway.child
    for (const action of ['install', 'restart']) {
      const { stderr, code } = await spawnCli(['gateway', action], here.env)
      t.match(stderr, `(pid ${pid}) that is not this service`)
      t.equal(code, 1)
    }
    t.match(await json(['gateway', 'stop'], here.env), {
      ok: true,
      result: 'not-loaded',
      warnings: [`a gateway runs here (pid ${pid}) that is not this service`]
    })
    t.equal(gateway.child.exitCode, null, 'it runs on')
    t.notOk(existsSync(here.unitPath(UNIT)))
  })
  t.test('another process on its port', async (t) => {
    const here = await user(t)
    const other = createServer().listen(here.port, '127.0.0.1')
    t.teardown(() => other.close())
    const { stderr, code } = await spawnCli(['gateway', 'install'], here.env)
    t.match(
      stderr,
      new RegExp(`port ${here.port} is taken by pid ${process.pid} .*\\nfix: .*openclaw config set gateway.port`)
    )
    t.equal(code, 1)
  })
  t.test('a secret that the service would not have', async (t) => {
    const here = await user(t, { auth: { mode: 'token' } })
    const { stderr, code } = await spawnCli(['gateway', 'install'], { ...here.env, OPENCLAW_GATEWAY_TOKEN: TOKEN })
    t.match(
      stderr,
      /would not start as a service: .*\nfix: OPENCLAW_GATEWAY_TOKEN of this shell is not stored; write it to/s
    )
    t.equal(code, 1)
    const given = await spawnCli(['gateway', 'install', '--token', TOKEN], here.env)
    t.match(given.stderr, /\nfix: openclaw config set gateway\.auth\.token/)
    t.notMatch(stderr + given.stderr, TOKEN)
  })
  t.test('a unit of somebody else', async (t) => {
    const here = await user(t)
    mkdirSync(join(here.home, '.config/systemd/user'), { recursive: true })
    writeFileSync(here.unitPath(UNIT), '[Service]\nExecStart=/bin/true\n')
    t.match(await spawnCli(['gateway', 'install', '--force'], here.env), {
      code: 1,
      stderr: /was not written by .*\nfix: mv /
    })
    t.match(await spawnCli(['gateway', 'uninstall'], here.env), {
      code: 1,
      stderr: /was not written by .* stays\nfix: openclaw gateway stop, .*: rm /
    })
    t.equal(readFileSync(here.unitPath(UNIT), 'utf8'), '[Service]\nExecStart=/bin/true\n')
  })
  t.test('a gateway elsewhere', async (t) => {
    const here = await user(t, { mode: 'remote', remote: { url: 'wss://gateway.example.com' } })
    t.match(await spawnCli(['gateway', 'install'], here.env), { code: 1, stderr: /mode=local/ })
  })
})

t.test(
  'a first install writes the configuration, and a profile has a service of its own',
  { skip: linux },
  async (t) => {
    const systemd = fakeSystemd(t)
    const words = ['--profile', 'work', 'gateway']
    const port = String(await freePort())
    const { code, stdout, stderr } = await spawnCli([...words, 'install', '--port', port], systemd.env)
    t.equal(code, 0, stderr)
    const config = join(systemd.home, '.openclaw-work/openclaw.json')
    t.match(stdout, `Wrote ${config}\n`)
    t.equal(statSync(config).mode & 0o777, 0o600)
    t.ok(systemd.pidOf('openclaw-gateway-work.service'))
    t.notMatch(stdout, 'bootstrapToken')
    t.equal((await spawnCli([...words, 'uninstall'], systemd.env)).code, 0)
    rmSync(config)
  }
)

t.test('the service, by launchd', async (t) => {
  const home = tempDir(t)
  const bin = tempDir(t)
  const calls = join(bin, 'calls')
  const absent = join(bin, 'absent')
  writeFileSync(absent, '')
  const script = `#!/bin/sh
echo "launchctl $*" >> '${calls}'
case "$*" in
  *print*ai.openclaw.gateway) if [ -e '${absent}' ]; then exit 113; fi; printf '\\tstate = not running\\n\\tlast exit code = 78\\n' ;;
  bootstrap*) rm -f '${absent}' ;;
esac
`
  writeFileSync(join(bin, 'launchctl'), script, { mode: 0o755 })
  const port = await freePort()
  const env = { HOME: home, PATH: `${bin}:${process.env.PATH}` }
  mkdirSync(join(home, '.openclaw/logs'), { recursive: true, mode: 0o700 })
  writeFileSync(
    join(home, '.openclaw/openclaw.json'),
    JSON.stringify({ gateway: { mode: 'local', port, auth: { token: TOKEN } } })
  )
  writeFileSync(join(home, '.openclaw/logs/gateway.launchd.log'), 'one\nGateway failed to start: because\n')
  const { io, said } = listen(env)
  const plist = join(home, 'Library/LaunchAgents/ai.openclaw.gateway.plist')
  await t.rejects(installGateway(io, {}, 'darwin'), {
    code: 'SERVICE_NOT_READY',
    message: /exit code 78.*Gateway failed to start: because/s,
    fix: `tail -n 50 ${home}/.openclaw/logs/gateway.launchd.log`
  })
  const text = readFileSync(plist, 'utf8')
  const flat = JSON.stringify(parseXml(text))
  for (const word of [
    'ai.openclaw.gateway',
    'KeepAlive',
    'RunAtLoad',
    'Umask',
    'HardResourceLimits',
    'gateway',
    'run'
  ]) {
    t.ok(flat.includes(JSON.stringify(word)), word)
  }
  t.notMatch(text + said.out + said.err, TOKEN)
  const manager = await serviceManager(env, '', 'darwin')
  const { argv, env: kept } = manager.command({ kind: 'gateway', profile: undefined })!
  t.same([argv[0], argv.slice(-2), kept.PATH], [process.execPath, ['gateway', 'run'], env.PATH])
  t.same((await gatewayService(io, 'darwin')).drift, [])
  await controlGateway(io, 'stop', {}, 'darwin')
  await controlGateway(io, 'uninstall', {}, 'darwin')
  t.notOk(existsSync(plist))
  await t.rejects(controlGateway(io, 'start', {}, 'win32'), {
    code: 'SERVICE_UNSUPPORTED',
    fix: /openclaw gateway run/
  })
})
