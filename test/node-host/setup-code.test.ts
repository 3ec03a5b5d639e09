import { globSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { startGateway } from '../../scripts/gateway-process.ts'
import { MAIN } from '../support/cli.ts'
import { startNodeProcess } from '../support/node-process.ts'
import { operatorAt } from '../support/nodes.ts'

const gateway = await startGateway([MAIN])
t.teardown(() => gateway.stop())
const admin = await operatorAt(t, gateway.url, gateway.token)

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
