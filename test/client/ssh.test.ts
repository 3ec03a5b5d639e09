import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Outcome, runCli, spawnCli } from '../support/cli.ts'
import { freePort, startApp, type TestApp, TOKEN, tempDir } from '../support/gateway.ts'
import { makeKey, noSshd, sshFile, startSshd, type TestSshd, withOwnSshFolder } from '../support/sshd.ts'

t.setTimeout(110_000)

if (noSshd !== false) t.test('gateways behind a real sshd', { skip: noSshd }, async () => {})
else await withOwnSshFolder(t, import.meta.filename, tests)

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

function knows(...servers: readonly TestSshd[]): void {
  writeFileSync(sshFile('known_hosts'), servers.map(({ hostLine }) => `${hostLine}\n`).join(''), { mode: 0o600 })
}

/** The processes of ssh that lead to a server. */
function sshProcesses({ port }: TestSshd): string[] {
  const all = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).split('\n')
  return all.filter((line) => /^\s*\d+ \S*ssh /.test(line) && line.includes(`-p ${port} `))
}

function remoteOf(app: TestApp, sshd: TestSshd): Record<string, unknown> {
  return { sshTarget: sshd.target, sshIdentity: sshd.identity, remotePort: app.port }
}

function tests(): void {
  t.test('R32: sshTarget alone is enough: a command opens a tunnel for itself, and closes it', async (t) => {
    const app = await startApp(t)
    const sshd = await startSshd(t)
    knows(sshd)
    const { cli } = laptop(t, remoteOf(app, sshd))

    const status = await cli('status', '--deep')
    t.equal(status.code, 0, status.stdout + status.stderr)
    t.match(status.stdout, /^Reachable +yes/m)
    t.match(status.stdout, new RegExp(`^Tunnel +ssh ${sshd.target}, for this command alone`, 'm'))
    t.match(status.stdout, /^Health +ok/m)
    t.same(sshProcesses(sshd), [])
    const health = await cli('health')
    t.equal(health.code, 0, health.stderr)
    t.match(health.stdout, /healthy/)
    const called = await cli('gateway', 'call', 'health', '--json')
    t.equal(called.code, 0, called.stderr)
    t.equal(JSON.parse(called.stdout).ok, true)
    t.same(sshProcesses(sshd), [])
  })
  void [createServer, chmodSync, freePort, makeKey, runCli]
  void (0 as unknown as AddressInfo)
}
