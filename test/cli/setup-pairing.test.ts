import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import JSON5 from 'json5'
import t, { type Test } from 'tap'
import { runCli, startCli } from '../support/cli.ts'
import { startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { noTerminal, typedCli } from '../support/pty.ts'

const INSIDE = 'OPENCLAW_TEST_NETWORK'
/** An address by which this host is its own neighbour. */
const HOST = '192.168.77.7'

async function gateway(t: Test) {
  const started = await startProcess(t, {
    config: JSON.stringify({ gateway: { mode: 'local', bind: 'lan', auth: { mode: 'token', token: TOKEN } } })
  })
  const env = { HOME: started.stateDir, OPENCLAW_STATE_DIR: started.stateDir }
  return { url: `ws://${HOST}:${started.port}`, owner: (...words: string[]) => runCli(env, words) }
}

function host(t: Test) {
  const home = tempDir(t)
  const env = { PATH: process.env.PATH, HOME: home }
  const file = join(home, '.openclaw/openclaw.json')
  return {
    env,
    file,
    run: (...words: string[]) => runCli(env, words),
    config: () => JSON5.parse(readFileSync(file, 'utf8')).gateway
  }
}

function waiting(): void {
  t.test('a new host waits until somebody lets it in, and is written then', async (t) => {
    const { url, owner } = await gateway(t)
    const here = host(t)
    const child = startCli(['setup', '--json', '--remote', url, '--token', TOKEN], here.env)
    t.teardown(() => child.kill())
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text
    })
    const requestId = await new Promise<string>((resolve) => {
      let err = ''
      child.stderr.setEncoding('utf8').on('data', (text) => {
        err += text
        const id = /openclaw devices approve (\S+)\n/.exec(err)?.[1]
        if (id !== undefined) resolve(id)
      })
    })
    t.notOk(existsSync(here.file), 'nothing is written while it waits')
    t.equal((await owner('devices', 'approve', requestId)).code, 0)
    const code = await new Promise((resolve) => child.once('close', resolve))
    t.equal(code, 0)
    t.match(JSON.parse(out), { ok: true, verified: true, connection: { url, scopes: ['operator.admin'] } })
    t.match((await here.run('health')).out, 'Gateway is healthy')
    const link = await here.run('dashboard', '--no-open', '--json')
    t.equal(link.code, 0, 'what it was let in for is enough for the commands that follow')
  })

  t.test('it waits no longer than it is told to, and writes nothing', async (t) => {
    const { url } = await gateway(t)
    const here = host(t)
    const said = await here.run('setup', '--json', '--remote', url, '--token', TOKEN, '--wait', '50ms')
    t.match(JSON.parse(said.out).error, { code: 'PAIRING_REQUIRED', fix: /openclaw devices approve/ })
    t.notOk(existsSync(here.file))
    if (noTerminal !== false) return
    const cli = typedCli(t, ['setup', '--remote', url, '--token', TOKEN], here.env)
    await cli.answer('openclaw devices approve', '\u0003')
    t.equal(await cli.exited, 130)
    t.notOk(existsSync(here.file))
  })

  t.test('a setup code is good for a pairing, once, and leaves no secret in the configuration', async (t) => {
    const { url, owner } = await gateway(t)
    const code = async () => (await owner('qr', '--setup-code-only', '--url', url)).out.trim()
    const here = host(t)
    const given = await code()
    const done = JSON.parse((await here.run('setup', '--json', '--setup-code', given)).out)
    t.match(done, { ok: true, verified: true, where: url, connection: { method: 'bootstrap-token' } })
    t.same(here.config(), { mode: 'remote', remote: { url, transport: 'direct' } })
    t.match((await here.run('health')).out, 'Gateway is healthy')
    const other = host(t)
    const spent = await other.run('setup', '--json', '--remote', given)
    t.match(JSON.parse(spent.out).error, { code: 'AUTH_BOOTSTRAP_TOKEN_INVALID', fix: /openclaw qr/ })
    t.notOk(existsSync(other.file))

    // A token that is here already would be sent in its place: the code must not be spent for nothing.
    const fresh = await code()
    const shadowed = await runCli({ ...other.env, OPENCLAW_GATEWAY_TOKEN: 'x' }, ['setup', '--json', '--remote', fresh])
    t.match(JSON.parse(shadowed.out).error, { code: 'SETUP_CODE_SHADOWED', fix: 'unset OPENCLAW_GATEWAY_TOKEN' })
    t.equal((await other.run('setup', '--remote', fresh)).code, 0)
  })
}

if (process.env[INSIDE] === '1') waiting()
else {
  const isolated = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']).status === 0
  const script = `ip link set lo up && ip addr add ${HOST}/32 dev lo && exec "$0" "$1"`
  const skip = isolated ? false : 'needs unshare --net and ip (root on Linux)'
  t.test('setup, of a gateway in a network', { skip }, async (t) => {
    await t.spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, import.meta.filename], {
      env: { ...process.env, [INSIDE]: '1' }
    })
  })
}
