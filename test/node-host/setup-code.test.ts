import { existsSync, globSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { cleanEnv, startGateway } from '../../scripts/gateway-process.ts'
import { MAIN, spawnCli } from '../support/cli.ts'
import { newHome, startNodeProcess } from '../support/node-process.ts'
import { operatorAt } from '../support/nodes.ts'

const gateway = await startGateway([MAIN])
t.teardown(() => gateway.stop())
const admin = await operatorAt(t, gateway.url, gateway.token)

const noSystemd = process.platform === 'linux' ? false : 'systemd is Linux’s'

interface Made {
  setupId: string
  setupCode: string
  joinUrl?: string
}

/** A fresh setup code for a node. */
async function make(more: object = {}): Promise<Made> {
  const params = { publicUrl: gateway.url, bootstrapProfile: 'node', includeQr: false, ...more }
  const { ok, payload, error } = await admin.call('device.pair.setupCode', params)
  if (!ok) throw new Error(error?.message)
  return payload as unknown as Made
}

/** Everything that a node has written down. */
function written(home: string): string {
  const files = globSync('.openclaw/**', { cwd: home }).map((name) => path.join(home, name))
  return files
    .filter((file) => statSync(file).isFile())
    .map((file) => readFileSync(file, 'latin1'))
    .join('\n')
}

t.test('S13: a node pairs by a code, and comes back by itself', async (t) => {
  const ways: [name: string, args: (made: Made) => string[]][] = [
    ['a link', ({ setupCode }) => ['--pair', `oc-pair://${setupCode}`]],
    ['the bare code', ({ setupCode }) => ['--pair', setupCode]],
    ['a join link', ({ joinUrl }) => ['--pair', joinUrl!]],
    ['standard input', () => ['--pair', '-']]
  ]
  for (const [name, args] of ways) {
    await t.test(name, async (t) => {
      const made = await make(name === 'a join link' ? { joinUrl: true } : {})
      const node = startNodeProcess(t, [...args(made), '--display-name', name])
      node.child.stdin.end(name === 'standard input' ? `${made.setupCode}\n` : '')
      await node.says(/^connected to /m)
      const { bootstrapToken } = JSON.parse(Buffer.from(made.setupCode, 'base64url').toString())
      t.match((await admin.call('device.pair.setupStatus', { setupId: made.setupId })).payload, {
        completion: { deviceName: name, access: 'node' }
      })
      const shown = `/proc/${node.child.pid}/cmdline`
      const words = existsSync(shown) ? readFileSync(shown, 'utf8') : ''
      t.notOk(
        [made.setupCode, made.joinUrl].some((code) => code && words.includes(code)),
        'nor in the list of processes'
      )
      node.child.kill('SIGTERM')
      t.equal((await node.ended).code, 0)
      t.notOk(written(node.home).includes(bootstrapToken), 'what let it in is nowhere')
      t.equal(statSync(path.join(node.home, '.openclaw/node/state.json')).mode & 0o777, 0o600)
      const again = startNodeProcess(t, [], node.home)
      await again.says(/^connected to /m)
    })
  }
})

t.test('a code that lets nobody in is said to be so, once', async (t) => {
  const used = await make({ joinUrl: true })
  const first = startNodeProcess(t, ['--pair', used.setupCode])
  await first.says(/^connected to /m)
  const payload = JSON.parse(Buffer.from(used.setupCode, 'base64url').toString())
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  await fetch(used.joinUrl!)
  const rows: [code: string, words: RegExp][] = [
    [used.setupCode, /this setup code was used already, or has expired\nfix: openclaw devices join-code/],
    [used.joinUrl!, /this join link was used already, or has expired\nfix: openclaw devices join-code/],
    [encode({ ...payload, expiresAtMs: 1 }), /this setup code has expired/],
    [encode({ ...payload, bootstrapToken: undefined }), /this is no setup code/],
    [encode({ ...payload, url: 'ws://203.0.113.1:18789' }), /203\.0\.113\.1/],
    [used.setupCode.slice(0, 40), /this is no setup code, or only a part of one/],
    ['http://203.0.113.1/j/abc', /a join link begins with https:\/\//],
    ['http://127.0.0.1:1/j/abc', /http:\/\/127\.0\.0\.1:1 does not answer: .*\nfix: check the link/],
    ['', /this is no setup code/]
  ]
  for (const [code, words] of rows) {
    const { code: exit, stderr } = await startNodeProcess(t, ['--pair', code]).ended
    t.match(stderr, words)
    t.equal(exit, 1)
  }
  t.match(await startNodeProcess(t, ['--pair', 'x', '--host', 'y']).ended, { code: 1, stderr: /leave --host, .* out/ })
})

t.test('an install redeems its code first, and installs nothing where it cannot', { skip: noSystemd }, async (t) => {
  const home = newHome(t)
  // A stand-in for systemd, which takes whatever it is told.
  writeFileSync(path.join(home, 'systemctl'), '#!/bin/sh\nexit 0\n', { mode: 0o755 })
  const env = { ...cleanEnv(home), PATH: `${home}:${process.env.PATH}` }
  const install = (code: string) => spawnCli(['node', 'install', '--pair', code, '--json'], env)
  const unit = path.join(home, '.config/systemd/user/openclaw-node.service')
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const nowhere = { url: 'ws://127.0.0.1:1', bootstrapToken: 'canary', expiresAtMs: Date.now() + 60_000 }
  const failed = JSON.parse((await install(encode(nowhere))).stdout)
  t.match(failed.error, { code: 'NODE_NOT_PAIRED', message: /^nothing was installed: no connection/, fix: /not used/ })
  t.notOk(existsSync(unit))

  const { setupCode } = await make()
  const { stdout, stderr, code } = await install(setupCode)
  t.match(JSON.parse(stdout), { ok: true, result: 'installed' })
  t.equal(code, 0)
  const { bootstrapToken } = JSON.parse(Buffer.from(setupCode, 'base64url').toString())
  for (const text of [stdout, stderr, readFileSync(unit, 'utf8'), written(home)]) {
    t.notOk([setupCode, bootstrapToken, 'canary'].some((secret) => text.includes(secret)))
  }
  const node = startNodeProcess(t, [], home)
  await node.says(/^connected to /m)
  const used = JSON.parse((await install(setupCode)).stdout)
  t.match(used.error.code, /^(NODE_RUNNING|SETUP_CODE_REFUSED)$/)
})
