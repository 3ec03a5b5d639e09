import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv, startGateway } from '../../scripts/gateway-process.ts'
import { MAIN } from '../support/cli.ts'
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

/** `openclaw node run` in a HOME of its own: without any credential but what it is told. */
function startNode(t: Test, args: readonly string[], home = newHome(t)) {
  const child = spawn(process.execPath, [MAIN, 'node', 'run', ...args], {
    cwd: home,
    env: cleanEnv(home),
    stdio: 'pipe'
  })
  const seen = { stderr: '' }
  const listeners = new Set<() => void>()
  child.stderr.setEncoding('utf8').on('data', (text) => {
    seen.stderr += text
    for (const each of listeners) each()
  })
  const ended = once(child, 'close').then(([code]) => ({ code, stderr: seen.stderr }))
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  const says = (word: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => word.test(seen.stderr) && resolve()
      listeners.add(look)
      void ended.then(() => reject(new Error(seen.stderr)))
      look()
    })
  return { child, home, says, ended }
}

function newHome(t: Test): string {
  const home = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'node-')))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  return home
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
      const node = startNode(t, [...args(made), '--display-name', name])
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
      const again = startNode(t, [], node.home)
      await again.says(/^connected to /m)
    })
  }
})

t.test('a code that lets nobody in is said to be so, once', async (t) => {
  const used = await make({ joinUrl: true })
  const first = startNode(t, ['--pair', used.setupCode])
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
    const { code: exit, stderr } = await startNode(t, ['--pair', code]).ended
    t.match(stderr, words)
    t.equal(exit, 1)
  }
  t.match(await startNode(t, ['--pair', 'x', '--host', 'y']).ended, { code: 1, stderr: /leave --host, .* out/ })
})
