import { setMaxListeners } from 'node:events'
import t from 'tap'
import { openNode } from '../../src/cli/node-process.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import { type RawClient, TestDevice } from '../support/client.ts'
import { freePort, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { connectedNodes, operator, TestNode } from '../support/nodes.ts'

t.setTimeout(115_000)

const NODES = 50
const ROUNDS = 20
const LATEST_MS = 10_000

t.test('nodes come back after every crash, as what they were, to what waited for them', async (t) => {
  setMaxListeners(0)
  const stateDir = tempDir(t)
  const port = await freePort()
  const config = JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } } })
  let gateway = await startProcess(t, { stateDir, port, config })
  let admin = await operator(t, gateway.ws)
  const hosts = await Promise.all(Array.from({ length: NODES }, (_, n) => startHost(n)))
  t.teardown(() => Promise.all(hosts.map((host) => host.stop())))
  await approveAll(admin)

  // A phone that is not here: what waits for it is there when it comes.
  const phone = new TestDevice()
  const first = await TestNode.connect(t, gateway.ws, { device: phone })
  await approveAll(admin, NODES + 1)
  await first.client.close()
  const waiting = new Map<string, string>()
  const enqueue = async () => {
    const { nodes } = (await admin.call('node.list', {})).payload as unknown as { nodes: { nodeId: string }[] }
    for (const { nodeId } of nodes) {
      const { payload } = await admin.call('node.pending.enqueue', { nodeId, type: 'location.request' })
      const { id } = payload!.queued as { id: string }
      t.equal(waiting.get(nodeId) ?? id, id, 'what waits is still there, and not there twice')
      waiting.set(nodeId, id)
    }
  }
  await enqueue()

  const took: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    gateway.child.kill('SIGKILL')
    await gateway.exited
    gateway = await startProcess(t, { stateDir, port })
    const up = performance.now()
    admin = await operator(t, gateway.ws)
    const nodes = await connectedNodes(admin, NODES)
    took.push(performance.now() - up)
    t.ok(
      nodes.every(({ approvalState }) => approvalState === 'approved'),
      'nobody is asked again'
    )
    t.strictSame((await admin.call('node.pair.list', {})).payload?.pending, [])
    await enqueue()
    await admin.close()
  }
  const latest = Math.max(...took)
  t.ok(latest < LATEST_MS, `all ${NODES} were back within ${Math.round(latest)} ms of each restart`)

  const back = await TestNode.connect(t, gateway.ws, { device: phone })
  const { payload } = await back.client.call('node.pending.drain', {})
  t.match(payload, { items: [{ id: waiting.get(phone.id), type: 'location.request' }] }, 'it comes to the phone')

  /** One node host as it is run, but for the process. */
  async function startHost(n: number) {
    const home = tempDir(t)
    const env = { HOME: home, OPENCLAW_STATE_DIR: home, OPENCLAW_GATEWAY_TOKEN: TOKEN }
    const host = await openNode({
      paths: resolvePaths(env, { profile: undefined, dev: false }),
      env,
      ownEnv: env,
      cwd: home,
      flags: { host: '127.0.0.1', port },
      instanceId: undefined,
      displayName: `node ${n}`,
      say() {},
      onTrouble() {}
    })
    if ('heldBy' in host) throw new Error('somebody runs this node')
    return host
  }
})

/** Approves what waits until so many nodes are approved. */
async function approveAll(admin: RawClient, count = NODES): Promise<void> {
  for (;;) {
    const { pending, paired } = (await admin.call('node.pair.list', {})).payload as unknown as {
      pending: { requestId: string }[]
      paired: unknown[]
    }
    if (paired.length === count) return
    for (const { requestId } of pending) await admin.call('node.pair.approve', { requestId })
  }
}
