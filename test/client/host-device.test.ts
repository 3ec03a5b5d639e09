import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCli } from '../support/cli.ts'
import { startProcess, TOKEN, tempDir } from '../support/gateway.ts'

const INSIDE = 'OPENCLAW_TEST_NETWORK'
/** An address by which this host is its own neighbour. */
const HOST = '192.168.77.6'

function hostFor(t: Test, url: string) {
  const stateDir = tempDir(t)
  const remote = { transport: 'direct', url, token: TOKEN }
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway: { mode: 'remote', remote } }), {
    mode: 0o600
  })
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir }
  return { stateDir, run: (...words: string[]) => runCli(env, words) }
}

async function paired(t: Test): Promise<void> {
  const gateway = await startProcess(t, {
    config: JSON.stringify({ gateway: { mode: 'local', bind: 'lan', auth: { mode: 'token', token: TOKEN } } })
  })
  const url = `ws://${HOST}:${gateway.port}`
  const owner = (...args: string[]) => runCli({ HOME: gateway.stateDir, OPENCLAW_STATE_DIR: gateway.stateDir }, args)
  const host = hostFor(t, url)
  const store = join(host.stateDir, 'client', 'gateways.json')

  const before = JSON.parse((await host.run('gateway', 'probe', '--json')).out)
  t.match(before.warnings, [{ code: 'probe_scope_limited' }], 'a shared secret alone is good for nothing')
  t.notOk(existsSync(store), 'who only looks begins nothing')

  const asked = await host.run('health')
  t.equal(asked.code, 1)
  t.match(asked.err, /pairing required: device is not approved yet/)
  t.equal(statSync(store).mode & 0o777, 0o600)
  const pending = JSON.parse((await host.run('gateway', 'probe', '--json')).out)
  t.match(pending.targets[0], {
    auth: { capability: 'pairing_pending' },
    facts: { auth: { state: 'yes' }, scope: { state: 'no' } }
  })

  const { pending: requests } = JSON.parse((await owner('gateway', 'call', 'device.pair.list', '--json')).out)
  t.equal(requests.length, 1, 'the probe left no second request')
  t.equal((await owner('devices', 'approve', requests[0].requestId)).code, 0)
  t.match((await host.run('health')).out, 'Gateway is healthy')
  const { token } = JSON.parse(readFileSync(store, 'utf8')).gateways[url].device
  t.ok(token, 'the device token is kept')

  writeFileSync(
    join(host.stateDir, 'openclaw.json'),
    JSON.stringify({ gateway: { mode: 'remote', remote: { transport: 'direct', url } } })
  )
  t.match((await host.run('health')).out, 'Gateway is healthy', 'and is enough by itself')
  const report = JSON.parse((await host.run('status', '--json')).out).gateway
  t.match(report, { auth: { method: 'device-token', credential: 'paired device' }, capability: 'read_only' })
  t.match((await host.run('auth', 'explain')).out, /device-token +paired device: sent \([0-9a-f]{8}\)/)
}

if (process.env[INSIDE] === '1') t.test('a plaintext gateway on a private network', paired)
else {
  const isolated = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']).status === 0
  const script = `ip link set lo up && ip addr add ${HOST}/32 dev lo && exec "$0" "$1"`
  const skip = isolated ? false : 'needs unshare --net and ip (root on Linux)'
  t.test('to a gateway elsewhere this host is a device', { skip }, async (t) => {
    await t.spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, import.meta.filename], {
      env: { ...process.env, [INSIDE]: '1' }
    })
  })
}
