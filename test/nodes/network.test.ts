import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv } from '../../scripts/gateway-process.ts'
import { runCli } from '../support/cli.ts'
import { RawClient } from '../support/client.ts'
import { TOKEN, tempDir } from '../support/gateway.ts'
import { cannotMakeMachines, forward, ip, makeMachines, within } from '../support/netns.ts'
import { connectedNodes } from '../support/nodes.ts'

t.setTimeout(118_000)

const OFFLINE_MS = 60_000
const BACK_MS = 10_000
const address = '10.77.0.1'
const reason = cannotMakeMachines()

/** Three machines in a row, by the names of their namespaces. */
type Machines = ReturnType<typeof connectMachines>

/** Ways for a network to fail, and to come back. */
const cuts: { name: string; cut(machines: Machines): void; mend(machines: Machines): void }[] = [
  {
    name: 'whose cable is pulled',
    cut: ({ node }) => ip('-n', node, 'link', 'set', 'oc0', 'down'),
    mend({ node }) {
      ip('-n', node, 'link', 'set', 'oc0', 'up')
      ip('-n', node, 'route', 'add', 'default', 'via', '10.77.1.1')
    }
  },
  {
    name: 'whose packets are lost on the way without a word',
    cut: ({ router }) => forward(router, false),
    mend: ({ router }) => forward(router, true)
  }
]

if (reason === undefined) {
  t.jobs = cuts.length
  for (const [n, each] of cuts.entries()) {
    const name = `a node ${each.name} is offline within a minute, and back as soon as the network is`
    t.test(name, { buffered: true }, (t) => cutOff(t, n, each))
  }
} else t.plan(0, reason)

async function cutOff(t: Test, n: number, { cut, mend }: (typeof cuts)[number]): Promise<void> {
  const machines = connectMachines(t, n)
  const stateDir = tempDir(t)
  const gateway = { mode: 'local', bind: 'custom', customBindHost: address, auth: { mode: 'token', token: TOKEN } }
  writeFileSync(path.join(stateDir, 'openclaw.json'), JSON.stringify({ gateway }), { mode: 0o600 })
  const env = { ...cleanEnv(tempDir(t)), OPENCLAW_STATE_DIR: stateDir }
  await within(t, machines.gateway, ['gateway', 'run'], env, 'is ready on')

  const home = tempDir(t)
  const nodeEnv = { ...cleanEnv(home), OPENCLAW_GATEWAY_TOKEN: TOKEN }
  const { said, child } = await within(t, machines.node, ['node', 'run', '--host', address], nodeEnv, 'not paired')
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
  await owner.connect({ scopes: ['operator.write'] })
  await cli('devices', 'approve', '--latest')
  await said('connected to')
  const [{ requestId }] = (await answer<{ pending: { requestId: string }[] }>('nodes', 'pending')).pending as [
    { requestId: string }
  ]
  await cli('nodes', 'approve', requestId)
  const run = () => cli('nodes', 'invoke', '--command', 'system.which', '--params', '{"bins":["sh"]}')
  t.match(await run(), /sh/)

  // It has an answer to give just then, and what is on its way keeps a system from looking whether the peer is there.
  child.kill('SIGSTOP')
  const { nodes } = (await owner.call('node.list', {})).payload as { nodes: [{ nodeId: string }] }
  const request = { nodeId: nodes[0].nodeId, command: 'system.which', params: { bins: ['sh'] }, idempotencyKey: 'cut' }
  const lost = owner.call('node.invoke', { ...request, timeoutMs: 100_000 })
  await owner.call('health', {})
  const before = performance.now()
  cut(machines)
  child.kill('SIGCONT')
  await connectedNodes(owner, 0)
  const offline = performance.now()
  t.ok(offline - before < OFFLINE_MS, `listed offline after ${Math.round(offline - before)} ms`)
  t.match(await lost, { ok: false, error: { message: /disconnected/ } }, 'what it had under way is given up')
  await said('no connection to')
  const known = performance.now()
  t.ok(known - before < OFFLINE_MS, `the node knows it after ${Math.round(known - before)} ms`)

  const mended = performance.now()
  mend(machines)
  await connectedNodes(owner, 1)
  const back = performance.now()
  t.ok(back - mended < BACK_MS, `back after ${Math.round(back - mended)} ms`)
  t.match(await run(), /sh/, 'and works')

  async function answer<T>(...args: string[]): Promise<T> {
    return JSON.parse(await cli(...args, '--json')) as T
  }
}

/** A gateway, a node, and a router between them, as far as their processes can tell. */
function connectMachines(t: Test, n: number) {
  const [gateway, router, node] = ['g', 'r', 'n'].map((kind) => `oc${kind}${process.pid}-${n}`) as [
    string,
    string,
    string
  ]
  makeMachines(t, [gateway, router, node])
  for (const [side, name] of [gateway, node].entries()) {
    const net = `10.77.${side}`
    const port = `oc${side + 1}`
    // The router has the higher address of the gateway's net: the gateway's own is the one that nodes are told.
    const [own, via] = side === 0 ? [address, `${net}.2`] : [`${net}.2`, `${net}.1`]
    ip('link', 'add', 'oc0', 'netns', name, 'type', 'veth', 'peer', 'name', port, 'netns', router)
    ip('-n', name, 'addr', 'add', `${own}/24`, 'dev', 'oc0')
    ip('-n', router, 'addr', 'add', `${via}/24`, 'dev', port)
    ip('-n', name, 'link', 'set', 'oc0', 'up')
    ip('-n', router, 'link', 'set', port, 'up')
    ip('-n', name, 'route', 'add', 'default', 'via', via)
  }
  forward(router, true)
  return { gateway, router, node }
}
