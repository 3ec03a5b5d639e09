import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { userInfo } from 'node:os'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import { rememberHostKey, shownHostKey } from '../../src/client/ssh/host-key.ts'
import { localEnd } from '../../src/client/ssh/local-end.ts'
import { parseSshTarget } from '../../src/client/ssh/route.ts'
import { parseLsof } from '../../src/port-owner.ts'
import { followLog, type Outcome, spawnCli } from '../support/cli.ts'
import { freePort, startApp, startProcess, type TestApp, TOKEN, tempDir } from '../support/gateway.ts'
import { makeKey, noSshd, sshFile, startSshd, type TestSshd, withOwnSshFolder } from '../support/sshd.ts'
import { tunnelUp } from '../support/tunnel-up.ts'

t.setTimeout(110_000)

if (noSshd !== false) t.test('gateways behind a real sshd', { skip: noSshd }, async () => {})
else withOwnSshFolder(t, import.meta.filename, tests)

interface Laptop {
  env: NodeJS.ProcessEnv
  /** Runs a command in a process of its own. */
  cli(...words: string[]): Promise<Outcome>
}

/** Another machine, as far as files go: its configuration knows one gateway, behind SSH. */
function laptop(t: Test, remote: Record<string, unknown>): Laptop {
  const home = tempDir(t)
  mkdirSync(join(home, '.openclaw'), { mode: 0o700 })
  const config = { gateway: { mode: 'remote', remote: { token: TOKEN, ...remote } } }
  writeFileSync(join(home, '.openclaw/openclaw.json'), JSON.stringify(config), { mode: 0o600 })
  const env = { PATH: process.env.PATH, HOME: home }
  return { env, cli: (...words) => spawnCli(words, env) }
}

function knows(...lines: readonly string[]): void {
  writeFileSync(sshFile('known_hosts'), lines.map((line) => `${line}\n`).join(''), { mode: 0o600 })
}

/** The processes of ssh that lead to a server; what has ended has no command line. */
function sshProcesses({ port }: TestSshd): number[] {
  const words = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    } catch {
      return []
    }
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const [program = '', ...rest] = words(pid)
      return basename(program) === 'ssh' && rest[rest.indexOf('-p') + 1] === String(port)
    })
    .map(Number)
}

function remoteOf(app: TestApp, sshd: TestSshd): Record<string, unknown> {
  return { sshTarget: sshd.target, sshIdentity: sshd.identity, remotePort: app.port }
}

/** Somebody else's program on a port, and everything that it was sent. */
async function squatter(t: Test): Promise<{ port: number; heard: () => string }> {
  let heard = ''
  const server: Server = createServer((socket) => {
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        heard += chunk.toString('latin1')
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { port: (server.address() as { port: number }).port, heard: () => heard }
}

function tests(): void {
  t.test('R34: TLS inside of the tunnel is pinned like any other', async (t) => {
    const gateway = await startProcess(t, {
      config: JSON.stringify({
        gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN }, tls: { enabled: true } }
      })
    })
    const sshd = await startSshd(t)
    knows(sshd.hostLine)
    const way = { sshTarget: sshd.target, sshIdentity: sshd.identity, remotePort: gateway.port }
    const url = `wss://127.0.0.1:${await freePort()}`
    const refused = await laptop(t, { ...way, url }).cli('health', '--json')
    t.match(JSON.parse(refused.stdout).error, { code: 'TLS_UNTRUSTED', fix: /gateway\.remote\.tlsFingerprint/ })
    const [, tlsFingerprint] = /(sha256:[0-9a-f]{64})/.exec(gateway.output())!
    const pinned = await laptop(t, { ...way, url, tlsFingerprint }).cli('status', '--deep')
    t.equal(pinned.code, 0, pinned.stdout + pinned.stderr)
    t.match(pinned.stdout, /^Health +ok/m)
    t.same(sshProcesses(sshd), [])
  })

  t.test('R20, R32: sshTarget alone is enough: a command opens a tunnel for itself, and closes it', async (t) => {
    const app = await startApp(t)
    const sshd = await startSshd(t)
    knows(sshd.hostLine)
    const { cli } = laptop(t, remoteOf(app, sshd))

    const status = await cli('status', '--deep')
    t.equal(status.code, 0, status.stdout + status.stderr)
    t.match(status.stdout, /^Reachable +yes/m)
    t.match(status.stdout, new RegExp(`^Tunnel +ssh ${sshd.target}, for this command alone`, 'm'))
    t.match(status.stdout, /^Health +ok/m)
    const health = await cli('health')
    t.equal(health.code, 0, health.stderr)
    t.match(health.stdout, /healthy/)
    const called = await cli('gateway', 'call', 'health', '--json')
    t.equal(JSON.parse(called.stdout).ok, true, called.stderr)
    t.same(sshProcesses(sshd), [], 'none of them left an ssh behind')
    t.notMatch(status.stdout + status.stderr + health.stdout, TOKEN)
  })

  t.test('whoever follows the log through ssh sees the gateway restart', async (t) => {
    const port = await freePort()
    const config = JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
    const first = await startProcess(t, { config, port })
    const sshd = await startSshd(t)
    knows(sshd.hostLine)
    const way = { sshTarget: sshd.target, sshIdentity: sshd.identity, remotePort: port }
    const { child, says, ended } = followLog(t, laptop(t, way).env)
    await says(/"message":"ready"/)
    first.child.kill('SIGTERM')
    await first.exited
    await says(/no gateway answers on 127\.0\.0\.1:\d+ of [^"]*again in/)
    await startProcess(t, { stateDir: first.stateDir, port })
    await says(/gateway reconnected.*"message":"ready"/s)
    child.kill('SIGINT')
    t.equal(await ended, 0)
  })

  t.test('a tunnel that is up is used, and left alone', async (t) => {
    const app = await startApp(t)
    const sshd = await startSshd(t)
    knows(sshd.hostLine)
    const port = await freePort()
    const { cli, env } = laptop(t, { ...remoteOf(app, sshd), url: `ws://127.0.0.1:${port}` })
    const tunnel = tunnelUp(t, env)
    const { pid } = await tunnel.until('up')
    const status = await cli('status', '--deep', '--json')
    t.match(JSON.parse(status.stdout).gateway.tunnel, { target: sshd.target, localPort: port, pid })
    t.same(sshProcesses(sshd), [pid])

    const shown = await cli('tunnel', 'status', '--json')
    t.equal(shown.code, 0, shown.stdout)
    t.match(JSON.parse(shown.stdout), { localEnd: { state: 'ssh', pid }, gateway: { answers: true } })
    const second = await cli('tunnel', 'up', '--json')
    t.match(JSON.parse(second.stdout), { error: { code: 'SSH_PORT_TAKEN', fix: `kill ${pid}` } })
    tunnel.child.kill('SIGTERM')
    t.equal(await tunnel.exited, 0)
    t.same(sshProcesses(sshd), [])
  })

  t.test('a tunnel whose ssh is killed is back within 5 s', async (t) => {
    const app = await startApp(t)
    const sshd = await startSshd(t)
    knows(sshd.hostLine)
    const port = await freePort()
    const { cli, env } = laptop(t, { ...remoteOf(app, sshd), url: `ws://127.0.0.1:${port}` })
    const tunnel = tunnelUp(t, env)
    const first = await tunnel.until('up')
    const started = Date.now()
    process.kill(first.pid as number, 'SIGKILL')
    const again = await tunnel.until('up', 2)
    t.ok(Date.now() - started < 5_000, `${Date.now() - started} ms`)
    t.not(again.pid, first.pid)
    t.match(await tunnel.until('waiting'), { error: { message: /SIGKILL/ } })
    const health = await cli('gateway', 'health')
    t.equal(health.code, 0, health.stderr)

    // The whole server goes, and comes back.
    await sshd.stop()
    for (const pid of sshProcesses(sshd)) process.kill(pid, 'SIGKILL')
    t.match(await tunnel.until('waiting', 3), { error: { code: 'SSH_UNREACHABLE', message: /Connection refused/ } })
    await sshd.again()
    await tunnel.until('up', 3)
  })

  t.test('the local end belongs to somebody else: nothing is sent there, and the tunnel does without', async (t) => {
    const app = await startApp(t)
    const sshd = await startSshd(t)
    knows(sshd.hostLine)
    const other = await squatter(t)
    const { cli } = laptop(t, { ...remoteOf(app, sshd), url: `ws://127.0.0.1:${other.port}` })
    const status = await cli('status', '--json')
    t.equal(status.code, 0, status.stdout)
    t.match(JSON.parse(status.stdout).gateway, { reachable: true, tunnel: { target: sshd.target } })
    t.equal(other.heard(), '')
    const up = await cli('tunnel', 'up')
    t.equal(up.code, 1)
    const mine = `127.0.0.1:${other.port} is taken by pid ${process.pid} (node)`
    t.match(up.stderr, `error: ${mine}\nfix: openclaw tunnel up --local-port ${other.port + 1}`)
    const shown = await cli('tunnel', 'status')
    t.equal(shown.code, 1)
    t.match(shown.stdout, new RegExp(`^Local end .*taken by pid ${process.pid}`, 'm'))
  })

  t.test('an ssh of this user counts as a tunnel, and one of another user does not', async (t) => {
    const rows = [
      { name: 'this user', argv0: 'ssh', uid: undefined, want: 'ssh' },
      { name: 'this user, another program', argv0: 'sshx', uid: undefined, want: 'taken' },
      { name: 'another user', argv0: 'ssh', uid: 65_534, want: 'taken' }
    ]
    const script = `require('net').createServer().listen(0, '127.0.0.1', function () { console.log(this.address().port) })`
    for (const { name, argv0, uid, want } of rows) {
      const root = userInfo().uid === 0
      await t.test(name, { skip: uid !== undefined && !root && 'needs root' }, async (t) => {
        const child = spawn(process.execPath, ['-e', script], {
          argv0,
          uid,
          cwd: '/',
          stdio: ['ignore', 'pipe', 'inherit']
        })
        t.teardown(() => child.kill())
        const [line] = await once(child.stdout!, 'data')
        t.equal((await localEnd(Number(line))).state, want)
      })
    }
    const lsof = 'p71\ncssh\nu501\nf5\nn127.0.0.1:18789\nf6\nn[::1]:18789\np80\ncnode\nu0\nf9\nn*:18790\n'
    t.same(parseLsof(lsof), [
      { id: '71:5', uid: 501, owner: { pid: 71, command: 'ssh' }, name: '127.0.0.1:18789' },
      { id: '71:6', uid: 501, owner: { pid: 71, command: 'ssh' }, name: '[::1]:18789' },
      { id: '80:9', uid: 0, owner: { pid: 80, command: 'node' }, name: '*:18790' }
    ])
  })

  t.test('what ssh refuses is told in its words, with what to do', async (t) => {
    const app = await startApp(t)
    const sshd = await startSshd(t)
    const another = await startSshd(t)
    const wrong = another.hostLine.replace(/^\S+/, `[127.0.0.1]:${sshd.port}`)
    const stranger = makeKey(tempDir(t), 'stranger')
    const open = join(tempDir(t), 'open')
    copyFileSync(sshd.identity, open)
    chmodSync(open, 0o644)
    const closed = await startSshd(t, { options: ['AllowTcpForwarding no'] })
    const way = remoteOf(app, sshd)
    const rows: { name: string; known?: string; remote?: object; code: string; message: RegExp; fix: RegExp }[] = [
      {
        name: 'another host key than before',
        known: wrong,
        code: 'SSH_HOST_KEY_CHANGED',
        message: /shows another host key than before \(ssh: .*(has changed|HAS CHANGED)/,
        fix: new RegExp(
          `nothing was sent; only when SHA256:\\S+ is what .* ssh-keygen -R '\\[127\\.0\\.0\\.1\\]:${sshd.port}'`
        )
      },
      {
        name: 'a host that nobody has met',
        known: '',
        code: 'SSH_HOST_KEY_UNKNOWN',
        message: /the host key of .* is not known here \(ssh: No \S+ host key is known/,
        fix: /log in once by hand, and compare the fingerprint before you say yes: ssh -p \d+ \S+@127\.0\.0\.1/
      },
      {
        name: 'a key that the host does not know',
        remote: { sshIdentity: stranger },
        code: 'SSH_DENIED',
        message: /does not accept the key.*\(ssh: .*Permission denied \(publickey/,
        fix: /ssh-copy-id -i \S+stranger -p \d+ \S+@127\.0\.0\.1/
      },
      {
        name: 'a key that is not there',
        remote: { sshIdentity: '/nowhere/key' },
        code: 'SSH_IDENTITY',
        message: /the key \/nowhere\/key cannot be used \(ssh: .*No such file/,
        fix: /gateway\.remote\.sshIdentity/
      },
      {
        name: 'a key that others can read',
        remote: { sshIdentity: open },
        code: 'SSH_IDENTITY',
        message: /cannot be used \(ssh: Permissions 0644 .* are too open/,
        fix: /chmod 600 \S+open/
      },
      {
        name: 'a host that forwards nothing',
        known: closed.hostLine,
        remote: { sshTarget: closed.target, sshIdentity: closed.identity },
        code: 'SSH_FORWARDING_REFUSED',
        message: /does not forward to 127\.0\.0\.1:\d+ \(ssh: .*administratively prohibited/,
        fix: /AllowTcpForwarding local/
      },
      {
        name: 'no gateway behind it',
        remote: { remotePort: await freePort() },
        code: 'SSH_GATEWAY_DOWN',
        message: /no gateway answers on 127\.0\.0\.1:\d+ of .*Connection refused/,
        fix: /openclaw gateway run \(on the gateway host\); another port: .*remotePort/
      },
      {
        name: 'no host there',
        remote: { sshTarget: `nobody@127.0.0.1:${await freePort()}` },
        code: 'SSH_UNREACHABLE',
        message: /is not reached \(ssh: connect to host 127\.0\.0\.1 port \d+: Connection refused\)/,
        fix: /check the connection itself: ssh -p \d+ nobody@127\.0\.0\.1/
      },
      {
        name: 'a name that is none',
        remote: { sshTarget: 'me@gateway.invalid' },
        code: 'SSH_UNREACHABLE',
        message: /the host gateway\.invalid is not found \(ssh: Could not resolve hostname/,
        fix: /gateway\.remote\.sshTarget/
      }
    ]
    for (const { name, known = sshd.hostLine, remote = {}, code, message, fix } of rows) {
      knows(known)
      const { cli } = laptop(t, { ...way, ...remote })
      const { stdout, code: exit } = await cli('health', '--json')
      const { error } = JSON.parse(stdout)
      t.equal(exit, 1, name)
      t.match(error, { code, message, fix }, name)
      t.notMatch(stdout, TOKEN)
      if (['SSH_GATEWAY_DOWN', 'SSH_FORWARDING_REFUSED', 'SSH_UNREACHABLE'].includes(code)) continue
      const up = await cli('tunnel', 'up', '--local-port', String(await freePort()))
      t.match(up.stderr, message, `tunnel up: ${name}`)
      t.equal(up.code, 1)
    }
  })

  t.test('the key of a host is the one that ssh saw, whatever the host says afterwards', async (t) => {
    const banner = join(tempDir(t), 'banner')
    const claimed = `SHA256:${'A'.repeat(43)}`
    writeFileSync(banner, `debug1: Server host key: ssh-ed25519 ${claimed}\n`)
    const sshd = await startSshd(t, { options: [`Banner ${banner}`] })
    const route = {
      target: parseSshTarget(sshd.target),
      identity: undefined,
      hostKeyPolicy: 'strict' as const,
      remotePort: 18_789
    }
    const options = { env: process.env, timeoutMs: 10_000 }
    knows()
    const shown = await shownHostKey(route, options)
    const kept = await rememberHostKey(route, options)
    t.same(kept, shown)
    t.not(kept.fingerprint, claimed)
    const known = sshFile('known_hosts')
    t.match(execFileSync('ssh-keygen', ['-lf', known], { encoding: 'utf8' }), kept.fingerprint)
    t.same(await shownHostKey(route, options), kept, 'one that is known as well')
  })

  t.test('a target is a name and nothing else', async (t) => {
    const proof = join(tempDir(t), 'proof')
    const targets = [
      `-oProxyCommand=touch ${proof}`,
      `me@-oProxyCommand=touch ${proof}`,
      `-oProxyCommand=touch\${IFS}${proof}@host`,
      `me@$(touch ${proof})`,
      `me@host;touch ${proof}`,
      'me@host:0',
      'me@host:22x',
      'me@host name',
      'me@',
      'a@b@-x',
      'me@host\nProxyCommand x',
      'me@`id`',
      ''
    ]
    for (const target of targets) {
      const { cli } = laptop(t, {})
      const probe = await cli('gateway', 'probe', `--ssh=${target}`, '--json')
      t.match(JSON.parse(probe.stdout).error, { code: 'SSH_TARGET_INVALID' }, JSON.stringify(target))
      const up = await cli('tunnel', 'up', `--ssh=${target}`)
      t.match(up.stderr, /--ssh is not a host for ssh; it must be user@host or user@host:port/)
    }
    t.throws(() => execFileSync('test', ['-e', proof]), 'and none was run')
  })

  t.test('R28: gateway probe --ssh looks behind a host, and takes no credential to another host', async (t) => {
    const app = await startApp(t)
    const sshd = await startSshd(t)
    knows(sshd.hostLine)
    const identity = ['--ssh-identity', sshd.identity, '--port', String(app.port)]
    const looked = async (machine: Laptop, ...words: string[]) => {
      const { stdout } = await machine.cli('gateway', 'probe', '--json', ...words)
      const { targets, primaryTargetId } = JSON.parse(stdout)
      return { primary: primaryTargetId, ssh: targets.find(({ id }: { id: string }) => id === 'sshTunnel'), targets }
    }
    const configured = laptop(t, { ...remoteOf(app, sshd), url: `ws://127.0.0.1:${await freePort()}` })
    const own = await looked(configured)
    t.equal(own.primary, 'sshTunnel')
    t.match(own.ssh, { connect: { ok: true, rpcOk: true }, auth: { credential: 'gateway.remote.token' } })
    t.match(
      own.targets.map(({ id }: { id: string }) => id),
      ['sshTunnel', 'configRemote', 'localLoopback']
    )
    t.match(own.targets[1].error, { message: /no tunnel is up/, fix: 'openclaw tunnel up' })
    const same = await looked(configured, '--ssh', sshd.target, ...identity)
    t.match(same.ssh, { connect: { ok: true }, auth: { credential: 'gateway.remote.token' } })

    t.match(same.ssh, { facts: { tls: { state: 'yes', evidence: 'ssh encrypts the way there' } } })
    await sshd.stop()
    const { stdout } = await configured.cli('gateway', 'probe', '--json')
    const down = JSON.parse(stdout)
    t.match(down.warnings[0], { code: 'ssh_tunnel_failed', targetIds: ['sshTunnel'] })
    t.match(down.targets[0].facts, {
      port: { state: 'unknown' },
      tls: { state: 'unknown' },
      auth: { state: 'unknown' }
    })
    await sshd.again()

    const elsewhere = laptop(t, { sshTarget: 'me@another-host' })
    const bare = await elsewhere.cli('gateway', 'probe', '--json', '--ssh', sshd.target, ...identity)
    t.match(JSON.parse(bare.stdout).error, {
      code: 'CREDENTIALS_MISSING',
      fix: 'pass --token or --password with --ssh'
    })
    const given = await looked(elsewhere, '--ssh', sshd.target, ...identity, '--token', TOKEN)
    t.match(given.ssh, { connect: { ok: true }, auth: { credential: 'explicit' } })
  })
}
