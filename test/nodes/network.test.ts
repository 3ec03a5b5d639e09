import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv } from '../../scripts/gateway-process.ts'
import { MAIN, runCli } from '../support/cli.ts'
import { RawClient } from '../support/client.ts'
import { TOKEN, tempDir } from '../support/gateway.ts'
import { connectedNodes } from '../support/nodes.ts'

t.setTimeout(118_000)

const OFFLINE_MS = 60_000
const BACK_MS = 10_000
const suffix = `${process.pid}`
const [onGateway, onNode] = [`ocg${suffix}`, `ocn${suffix}`]
const address = '10.77.0.1'
const reason = cannot()

if (reason === undefined) {
  t.test('a node whose network is cut is offline within a minute, and back as soon as it returns', cutOff)
} else t.plan(0, reason)

async function cutOff(t: Test): Promise<void> {
  connectMachines(t)
  const stateDir = tempDir(t)
  const gateway = { mode: 'local', bind: 'custom', customBindHost: address, auth: { mode: 'token', token: TOKEN } }
  writeFileSync(path.join(stateDir, 'openclaw.json'), JSON.stringify({ gateway }), { mode: 0o600 })
  const env = { ...cleanEnv(tempDir(t)), OPENCLAW_STATE_DIR: stateDir }
  await within(t, onGateway, ['gateway', 'run'], env, 'is ready on')

  const home = tempDir(t)
  const nodeEnv = { ...cleanEnv(home), OPENCLAW_GATEWAY_TOKEN: TOKEN }
  const said = await within(t, onNode, ['node', 'run', '--host', address], nodeEnv, 'not paired')
  // The owner’s socket is a file, which no network cuts off.
  const cli = async (...args: string[]) => {
    const { out, err, code } = await runCli(env, args)
    if (code !== 0) throw new Error(err)
    return out
  }
  const owner = new RawClient('ws://localhost/', {
    createConnection: () => connect(path.join(stateDir, 'gateway.sock'))
  })
  t.teardown(() => owner.close())
  await owner.event('connect.challenge')
  await owner.connect({ scopes: ['operator.read'] })
  await cli('devices', 'approve', '--latest')
  await said('connected to')
  const [{ requestId }] = (await answer<{ pending: { requestId: string }[] }>('nodes', 'pending')).pending as [
    { requestId: string }
  ]
  await cli('nodes', 'approve', requestId)
  const run = () => cli('nodes', 'invoke', '--command', 'system.which', '--params', '{"bins":["sh"]}')
  t.match(await run(), /sh/)

  const cut = performance.now()
  link('down')
  await connectedNodes(owner, 0)
  const offline = performance.now()
  t.ok(offline - cut < OFFLINE_MS, `listed offline after ${Math.round(offline - cut)} ms`)
  await said('no connection to')
  t.pass('and the node knows it too')

  const mended = performance.now()
  link('up')
  await connectedNodes(owner, 1)
  const back = performance.now()
  t.ok(back - mended < BACK_MS, `back after ${Math.round(back - mended)} ms`)
  t.match(await run(), /sh/, 'and works')

  async function answer<T>(...args: string[]): Promise<T> {
    return JSON.parse(await cli(...args, '--json')) as T
  }
}

/** Two machines with a cable between them, as far as their processes can tell. */
function connectMachines(t: Test): void {
  t.teardown(() => {
    for (const name of [onGateway, onNode]) ip('netns', 'del', name)
  })
  for (const name of [onGateway, onNode]) ip('netns', 'add', name)
  ip('link', 'add', 'oc0', 'netns', onGateway, 'type', 'veth', 'peer', 'name', 'oc0', 'netns', onNode)
  for (const [name, own] of [
    [onGateway, address],
    [onNode, '10.77.0.2']
  ] as const) {
    ip('-n', name, 'addr', 'add', `${own}/24`, 'dev', 'oc0')
    ip('-n', name, 'link', 'set', 'lo', 'up')
    ip('-n', name, 'link', 'set', 'oc0', 'up')
  }
}

function link(state: 'up' | 'down'): void {
  ip('-n', onNode, 'link', 'set', 'oc0', state)
}

/** Runs our command on one of the machines until the end of the test; gives a way to wait for what it says. */
async function within(t: Test, machine: string, args: string[], env: NodeJS.ProcessEnv, ready: string) {
  const words = ['netns', 'exec', machine, process.execPath, MAIN, ...args]
  const child = spawn('ip', words, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  let text = ''
  const look = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
      for (const each of look) each()
    })
  }
  const said = (word: string) =>
    new Promise<void>((resolve, reject) => {
      const check = () => text.includes(word) && resolve()
      look.add(check)
      void exited.then(() => reject(new Error(text)))
      check()
    })
  await said(ready)
  return said
}

/** Why this cannot be tested here. */
function cannot(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are Linux’s'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  if (!existsSync('/usr/sbin/ip') && !existsSync('/sbin/ip')) return 'iproute2 is not installed'
  try {
    ip('netns', 'add', `oct${suffix}`)
    ip('netns', 'del', `oct${suffix}`)
  } catch {
    return 'this machine makes no network namespaces'
  }
  return undefined
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
