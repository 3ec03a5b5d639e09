import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Io } from '../../src/cli/io.ts'
import { installTunnel, restartTunnel, type ServiceOptions, uninstallTunnel } from '../../src/cli/tunnel/install.ts'
import { tunnelPlist } from '../../src/cli/tunnel/plist.ts'
import { entryText, hasForeignEntry, type SshEntry, withEntry, withoutEntry } from '../../src/cli/tunnel/ssh-config.ts'
import { localEnd } from '../../src/client/ssh/local-end.ts'
import { listen, type Said, spawnCli } from '../support/cli.ts'
import { freePort, startApp, TOKEN, tempDir } from '../support/gateway.ts'
import { insideOwnSshFolder, noSshd, sshFile, startSshd, withOwnSshFolder } from '../support/sshd.ts'
import { tunnelUp } from '../support/tunnel-up.ts'
import { parseXml } from '../support/xml.ts'

t.setTimeout(110_000)

const ENTRY: SshEntry = {
  alias: 'remote-gateway',
  hostName: '192.0.2.7',
  user: 'me',
  port: 22,
  proxyJump: undefined,
  identity: undefined,
  localPort: 18789,
  remotePort: 18789,
  strict: true
}

if (!insideOwnSshFolder) texts()
if (noSshd !== false) t.test('the tunnel as a service', { skip: noSshd }, async () => {})
else withOwnSshFolder(t, import.meta.filename, services)

function texts(): void {
  t.test('R36: the LaunchAgent is the one of the guide', async (t) => {
    const guide = readFileSync(new URL('../../docs/remote-access.md', import.meta.url), 'utf8')
    const [, xml] = /^```xml\n([\s\S]*?)^```$/m.exec(guide)!
    t.equal(tunnelPlist('ai.openclaw.ssh-tunnel', 'remote-gateway'), xml)
    const string = (text: string) => ({ name: 'string', children: [text] })
    const key = (text: string) => ({ name: 'key', children: [text] })
    const yes = { name: 'true', children: [] }
    const words = ['/usr/bin/ssh', '-N', 'remote-gateway'].map(string)
    t.same(parseXml(xml!), {
      name: 'plist',
      children: [
        {
          name: 'dict',
          children: [
            key('Label'),
            string('ai.openclaw.ssh-tunnel'),
            key('ProgramArguments'),
            { name: 'array', children: words },
            key('KeepAlive'),
            yes,
            key('RunAtLoad'),
            yes
          ]
        }
      ]
    })
  })

  t.test('an entry comes into the ssh configuration, and goes without a trace', async (t) => {
    const texts = [
      '',
      'IdentitiesOnly yes\n\nHost a b\n    User x\n',
      'Host *\n    ServerAliveInterval 5\n',
      '# no newline at the end'
    ]
    for (const text of texts) {
      const once = withEntry(text, ENTRY)
      t.equal(withEntry(once, ENTRY), once, 'twice is once')
      t.equal(withoutEntry(once, ENTRY.alias), text)
      t.equal(withoutEntry(withEntry(once, { ...ENTRY, port: 2222 }), ENTRY.alias), text, 'a new one replaces it')
      t.equal(withoutEntry(text, ENTRY.alias), text)
    }
    const other = { ...ENTRY, alias: 'remote-gateway-work' }
    const both = withEntry(withEntry('', ENTRY), other)
    t.equal(withoutEntry(both, other.alias), withEntry('', ENTRY), 'profiles do not meet')
    t.match(
      entryText({ ...ENTRY, port: 2222, identity: '/a b/key', proxyJump: 'me@jump', strict: false }),
      /"\/a b\/key"/
    )
  })

  t.test('the entry of somebody else is seen', async (t) => {
    const rows: [text: string, want: boolean][] = [
      ['Host remote-gateway\n', true],
      ['host=remote-gateway\n', true],
      ['  HOST a "remote-gateway" b\n', true],
      ['Host remote-gateway-2\n', false],
      ['# Host remote-gateway\n', false],
      ['Hostname remote-gateway\n', false],
      [withEntry('', ENTRY), false],
      [withEntry('Host remote-gateway\n', ENTRY), true]
    ]
    for (const [text, want] of rows) t.equal(hasForeignEntry(text, 'remote-gateway'), want, JSON.stringify(text))
  })
}

/** Programs of the system that write down how they are called; `answers` are lines of sh for their arguments. */
function tools(t: Test, answers: string): { path: string; calls(): string[] } {
  const dir = tempDir(t)
  const log = join(dir, 'calls')
  for (const name of ['launchctl', 'systemctl', 'loginctl']) {
    const script = `#!/bin/sh\necho "${name} $*" >> ${log}\n${answers}\nexit 0\n`
    writeFileSync(join(dir, name), script, { mode: 0o755 })
  }
  return {
    path: `${dir}:${process.env.PATH}`,
    calls: () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [])
  }
}

interface Machine {
  home: string
  env: NodeJS.ProcessEnv
  calls(): string[]
  run(
    command: (io: Io, options: ServiceOptions, system?: string) => Promise<void>,
    options: ServiceOptions,
    system: string
  ): Promise<Said>
}

function machine(t: Test, remote: object, answers = ''): Machine {
  const home = tempDir(t)
  const { path, calls } = tools(t, answers)
  mkdirSync(join(home, '.openclaw'), { mode: 0o700 })
  const config = { gateway: { mode: 'remote', remote: { token: TOKEN, ...remote } } }
  writeFileSync(join(home, '.openclaw/openclaw.json'), JSON.stringify(config), { mode: 0o600 })
  const env = { PATH: path, HOME: home }
  return {
    home,
    env,
    calls,
    async run(command, options, system) {
      const { io, said } = listen(env)
      await command(io, options, system)
      return said
    }
  }
}

function clean(): void {
  rmSync(sshFile('config'), { force: true })
  rmSync(sshFile('known_hosts'), { force: true })
}

function services(): void {
  t.test('tunnel install --print shows both files and writes neither', async (t) => {
    clean()
    const here = machine(t, { sshTarget: 'me@192.0.2.7', sshIdentity: '~/.ssh/id_rsa' })
    const said = await here.run(installTunnel, { print: true }, 'linux')
    t.match(
      said.out,
      'Host remote-gateway\n    HostName 192.0.2.7\n    User me\n    LocalForward 18789 127.0.0.1:18789\n'
    )
    t.match(said.out, `    IdentityFile ${here.home}/.ssh/id_rsa\n`)
    t.match(said.out, /^ExecStart="\/\S*ssh" "-N" "remote-gateway"$/m)
    t.match(said.out, `${here.home}/.config/systemd/user/openclaw-ssh-tunnel.service:`)
    t.notOk(existsSync(sshFile('config')))
    t.notOk(existsSync(join(here.home, '.config')))
    const mac = await here.run(installTunnel, { print: true }, 'darwin')
    t.ok(mac.out.includes(tunnelPlist('ai.openclaw.ssh-tunnel', 'remote-gateway')))
    t.notOk(existsSync(join(here.home, 'Library')))
    t.notMatch(here.calls().join('\n'), /bootstrap|enable|restart/)
    t.notMatch(said.out + mac.out, TOKEN)
  })

  t.test('R36: on macOS the LaunchAgent is loaded, and the older one is unloaded first', async (t) => {
    clean()
    const here = machine(t, { sshTarget: `nobody@127.0.0.1:${await freePort()}` })
    const agents = join(here.home, 'Library/LaunchAgents')
    mkdirSync(agents, { recursive: true })
    writeFileSync(join(agents, 'com.openclaw.ssh-tunnel.plist'), 'old')
    const gui = `gui/${userInfo().uid}`
    const said = await here.run(installTunnel, {}, 'darwin')
    const plist = join(agents, 'ai.openclaw.ssh-tunnel.plist')
    t.equal(readFileSync(plist, 'utf8'), tunnelPlist('ai.openclaw.ssh-tunnel', 'remote-gateway'))
    t.match(said.err, /warning: .*is not reached \(ssh: .*Connection refused/, 'that it will not come up is said')
    t.match(said.err, /unloaded the older com\.openclaw\.ssh-tunnel/)
    t.notOk(existsSync(join(agents, 'com.openclaw.ssh-tunnel.plist')))
    const calls = here.calls().filter((call) => /bootout|bootstrap|kickstart/.test(call))
    t.same(calls, [
      `launchctl bootout ${gui}/com.openclaw.ssh-tunnel`,
      `launchctl bootout ${gui}/ai.openclaw.ssh-tunnel`,
      `launchctl bootstrap ${gui} ${plist}`
    ])
    t.match(readFileSync(sshFile('config'), 'utf8'), /^Host remote-gateway\n/m)

    await here.run(restartTunnel, {}, 'darwin')
    t.equal(here.calls().at(-1), `launchctl kickstart -k ${gui}/ai.openclaw.ssh-tunnel`)
    const printed = await here.run(restartTunnel, { print: true }, 'darwin')
    t.equal(printed.out, `launchctl kickstart -k ${gui}/ai.openclaw.ssh-tunnel\n`)
    await here.run(installTunnel, {}, 'darwin')
    t.pass('again over its own file')
    await here.run(uninstallTunnel, {}, 'darwin')
    t.ok(here.calls().includes(`launchctl bootout ${gui}/ai.openclaw.ssh-tunnel`))
    t.notOk(existsSync(plist))
    t.equal(readFileSync(sshFile('config'), 'utf8'), '')

    writeFileSync(plist, 'mine')
    await t.rejects(here.run(installTunnel, {}, 'darwin'), { code: 'SERVICE_FOREIGN', fix: `mv ${plist} ${plist}.old` })
    t.equal(readFileSync(plist, 'utf8'), 'mine')
  })

  t.test('on Linux what is installed is a tunnel that works', async (t) => {
    clean()
    const app = await startApp(t)
    const sshd = await startSshd(t)
    writeFileSync(sshFile('known_hosts'), `${sshd.hostLine}\n`)
    const localPort = await freePort()
    const remote = { sshTarget: sshd.target, sshIdentity: sshd.identity, remotePort: app.port }
    const here = machine(t, { ...remote, url: `ws://127.0.0.1:${localPort}` })
    // Settings that are kept in another folder, with something for every host at the top.
    const real = join(here.home, 'dotfile')
    writeFileSync(real, 'Compression no\nHost other\n    User x\n', { mode: 0o600 })
    symlinkSync(real, sshFile('config'))
    const said = await here.run(installTunnel, {}, 'linux')
    t.notMatch(said.err, /warning/)
    t.ok(lstatSync(sshFile('config')).isSymbolicLink())
    t.equal(statSync(real).mode & 0o777, 0o600)
    const unit = readFileSync(join(here.home, '.config/systemd/user/openclaw-ssh-tunnel.service'), 'utf8')
    t.match(unit, /^Restart=always$/m)
    t.same(
      here.calls().filter((call) => /--user (enable|restart|daemon-reload)/.test(call)),
      [
        'systemctl --user daemon-reload',
        'systemctl --user enable openclaw-ssh-tunnel.service',
        'systemctl --user restart openclaw-ssh-tunnel.service'
      ]
    )
    t.match(
      execFileSync('ssh', ['-G', 'other'], { encoding: 'utf8', stdio: 'pipe' }),
      /^user x$/m,
      'other hosts are as they were'
    )

    const [program, ...words] = /^ExecStart=(.*)$/m
      .exec(unit)![1]!
      .split(' ')
      .map((word) => JSON.parse(word) as string)
    const child = spawn(program!, words, { stdio: 'ignore' })
    const ended = once(child, 'exit')
    t.teardown(async () => {
      child.kill()
      await ended
    })
    // ssh says nothing at this level: whether it listens can only be looked at.
    while ((await localEnd(localPort)).state === 'free') await new Promise((resolve) => setTimeout(resolve, 50))
    const health = await spawnCli(['gateway', 'health'], here.env)
    t.equal(health.code, 0, health.stderr)
    const status = await spawnCli(['tunnel', 'status'], here.env)
    t.match(status.stdout, new RegExp(`^Local end +127\\.0\\.0\\.1:${localPort}, up \\(ssh, pid ${child.pid}\\)$`, 'm'))
    t.match(status.stdout, /^Gateway +answers through SSH$/m)
    t.match(status.stdout, /^SSH entry +remote-gateway in /m)
    child.kill()
    await ended

    // The host that was written can be named: ssh then opens the port by itself, and it is not asked for twice.
    const named = ['--ssh', 'remote-gateway', '--remote-port', String(app.port)]
    const up = tunnelUp(t, here.env, named)
    await up.until('up')
    up.child.kill()
    t.equal(await up.exited, 0)

    await here.run(uninstallTunnel, {}, 'linux')
    t.equal(readFileSync(real, 'utf8'), 'Compression no\nHost other\n    User x\n')
    t.ok(here.calls().includes('systemctl --user disable --now openclaw-ssh-tunnel.service'))
    const again = await here.run(uninstallTunnel, {}, 'linux')
    t.match(again.out, 'The tunnel service is not installed.')
    await t.rejects(here.run(restartTunnel, {}, 'linux'), { code: 'SERVICE_MISSING', fix: 'openclaw tunnel install' })
  })

  t.test('what the user wrote stays', async (t) => {
    clean()
    const own = 'Host remote-gateway\n    HostName mine\n'
    writeFileSync(sshFile('config'), own)
    chmodSync(sshFile('config'), 0o600)
    const here = machine(t, { sshTarget: `nobody@127.0.0.1:${await freePort()}` })
    const said = await here.run(installTunnel, {}, 'linux')
    t.match(said.out, 'its own entry for remote-gateway stays as it is')
    await here.run(uninstallTunnel, {}, 'linux')
    t.equal(readFileSync(sshFile('config'), 'utf8'), own)
  })

  t.test('a system without services says what to do instead', async (t) => {
    const target = { sshTarget: 'me@192.0.2.7' }
    const none = machine(t, target, 'echo "Failed to connect to bus" >&2; exit 1')
    await t.rejects(none.run(installTunnel, {}, 'linux'), {
      code: 'SERVICE_UNSUPPORTED',
      fix: /loginctl enable-linger/
    })
    await t.rejects(none.run(installTunnel, {}, 'win32'), {
      code: 'SERVICE_UNSUPPORTED',
      fix: 'run "openclaw tunnel up" under a supervisor of your own'
    })
    const nameless = machine(t, {})
    await t.rejects(nameless.run(installTunnel, {}, 'linux'), {
      code: 'SSH_TARGET_MISSING',
      fix: 'openclaw config set gateway.remote.sshTarget user@gateway-host'
    })
  })
}
