import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { cleanEnv } from '../../scripts/gateway-process.ts'
import { spawnCli } from '../support/cli.ts'
import { startProcess, TOKEN } from '../support/gateway.ts'
import { ended, newHome, pidsIn, startNodeProcess, stubborn } from '../support/node-process.ts'
import { approve, connectedNodes, freshKey, operator } from '../support/nodes.ts'

type Json = Record<string, unknown>

// What outlives a part of the test.
const all = t

t.setTimeout(100_000)

// Nobody is paired for being near, as if the node were on another machine.
const section = {
  mode: 'local',
  auth: { mode: 'token', token: TOKEN },
  nodes: { pairing: { autoApproveLocal: false } }
}
let gateway = await startProcess(t, { config: JSON.stringify({ gateway: section }) })
let admin = await operator(t, gateway.ws)
const home = newHome(t)
const folder = newHome(t)
let node: ReturnType<typeof startNodeProcess>
let nodeId = ''

async function invoke(command: string, params: Json, idempotencyKey = freshKey()) {
  const { payload, error } = await admin.call('node.invoke', { nodeId, command, params, idempotencyKey })
  return { result: payload?.payload as Json | undefined, message: error?.message ?? '' }
}

async function setPolicy(security: string, ask: string): Promise<void> {
  const { payload } = await admin.call('exec.approvals.node.get', { nodeId })
  const file = { version: 1, defaults: { security, ask } }
  const set = await admin.call('exec.approvals.node.set', { nodeId, file, baseHash: payload?.hash })
  t.ok(set.ok, `the policy is ${security}, ${ask}`)
}

async function status(): Promise<Json & { connections: Json[] }> {
  return JSON.parse((await spawnCli(['node', 'status', '--json'], cleanEnv(home))).stdout)
}

t.test('an unpaired node waits, says what is missing, and is in as soon as it is let in', async (t) => {
  const words = ['--host', '127.0.0.1', '--port', String(gateway.port), '--display-name', 'Box', '--json']
  node = startNodeProcess(t, words, newHome(t), { OPENCLAW_GATEWAY_TOKEN: TOKEN })
  const { message, fix, needs } = await node.tells('not-connected')
  const { payload } = await admin.call('device.pair.list', {})
  const [{ requestId, deviceId }] = payload!.pending as [{ requestId: string; deviceId: string }]
  t.match(message, `not paired: the gateway at ${gateway.ws}/ has to approve this node (request ${requestId})`)
  t.same([fix, needs], [`openclaw devices approve ${requestId} (on the gateway host)`, 'approval'])
  t.ok((await admin.call('device.pair.approve', { requestId })).ok)
  await node.tells('connected')
  t.equal((await node.tells('started')).nodeId, deviceId)
  await approve(admin, deviceId)
  nodeId = deviceId
  t.match((await invoke('system.which', { bins: ['sh'] })).result, { bins: { sh: /sh$/ } })
  node.child.kill('SIGTERM')
  t.equal((await node.ended).code, 0)
  t.notMatch(node.seen, TOKEN)
})

t.test('a node that pairs by a code does what its gateway asks of it', async (t) => {
  const params = { publicUrl: gateway.ws, bootstrapProfile: 'node', includeQr: false }
  const { setupCode } = (await admin.call('device.pair.setupCode', params)).payload as unknown as { setupCode: string }
  node = startNodeProcess(t, ['--pair', '-', '--json'], home)
  node.child.stdin.end(setupCode)
  await node.tells('connected')
  nodeId = String((await node.tells('started')).nodeId)
  await approve(admin, nodeId)
  t.match(await status(), {
    paired: `${gateway.ws}/`,
    connections: [{ gateway: `${gateway.ws}/`, running: true, connected: true }]
  })

  t.test('output is there while the program runs', async (t) => {
    const go = path.join(folder, 'go')
    const key = freshKey()
    const running = invoke(
      'system.run',
      { command: ['sh', '-c', `echo first; until [ -e ${go} ]; do sleep 0.02; done; echo last`] },
      key
    )
    const { payload } = await admin.event('node.invoke.progress')
    t.match(payload, { chunk: 'first\n' })
    writeFileSync(go, '')
    t.match(await running, { result: { exitCode: 0, stdout: 'first\nlast\n' } })
  })

  t.test('a cancel ends the program with all that it started', async (t) => {
    const file = path.join(folder, 'cancelled')
    const key = freshKey()
    const running = invoke('system.run', { command: stubborn(file) }, key)
    const pids = await pidsIn(file, 3)
    t.same((await admin.call('node.invoke.cancel', { nodeId, idempotencyKey: key })).payload, { cancelled: true })
    t.match(await running, { message: /CANCELLED/ })
    t.ok(await ended(pids))
  })

  t.test('what a person allows is what runs', async (t) => {
    const reviewer = await operator(t, gateway.ws, 'operator.approvals')
    await setPolicy('allowlist', 'on-miss')
    const script = path.join(folder, 'script.sh')
    writeFileSync(script, 'echo approved\n')
    const asked = { command: ['sh', script], cwd: folder }
    t.match(await invoke('system.run', asked), { message: /approval required/ })
    const allowed = async (decision: string) => {
      const { plan } = (await invoke('system.run.prepare', asked)).result as { plan: Json }
      const id = freshKey()
      const { argv, cwd, commandText } = plan
      const about = { id, host: 'node', nodeId, systemRunPlan: plan, command: commandText, cwd, twoPhase: true }
      t.match(await admin.call('exec.approval.request', about), { payload: { status: 'accepted' } })
      t.ok((await reviewer.call('exec.approval.resolve', { id, decision })).ok)
      const said = { rawCommand: commandText, approved: true, approvalDecision: decision, runId: id }
      return { command: argv, cwd, systemRunPlan: plan, ...said }
    }
    const first = await allowed('allow-once')
    t.match(await invoke('system.run', { ...first, command: ['sh', '/x'] }), { message: /match/ })
    t.match(await invoke('system.run', first), { result: { stdout: 'approved\n' } })
    t.match(await invoke('system.run', first), { message: /approval/ }, 'once')
    const second = await allowed('allow-once')
    writeFileSync(script, 'echo changed\n')
    t.match(await invoke('system.run', second), { message: /changed before execution/ }, 'S14: a changed script')
    t.match(await invoke('system.run', asked), { message: /approval required/ })
    await setPolicy('full', 'off')
  })
})

t.test('a gateway that comes back has its node back, and what ran meanwhile is over', async (t) => {
  const file = path.join(folder, 'lost')
  node = startNodeProcess(t, ['--json'], home)
  await node.tells('connected')
  void invoke('system.run', { command: stubborn(file) }).catch(() => {})
  const pids = await pidsIn(file, 3)
  const { stateDir, port } = gateway
  gateway.child.kill('SIGKILL')
  await gateway.exited
  await node.tells('not-connected')
  t.ok(await ended(pids))
  t.match(await status(), {
    connections: [{ running: true, connected: false, trouble: { message: /^no connection/ } }]
  })
  gateway = await startProcess(all, { stateDir, port })
  admin = await operator(all, gateway.ws)
  await connectedNodes(admin, 1)
  await node.tells('connected', 2)
  t.match(await invoke('system.run', { command: ['echo', 'back'] }), { result: { stdout: 'back\n' } })
})

t.test('SIGTERM ends a node with all that runs on it, and a removed one is told to pair again', async (t) => {
  const file = path.join(folder, 'stopped')
  node = startNodeProcess(t, ['--json'], home, { OPENCLAW_GATEWAY_TOKEN: 'meant for another gateway' })
  await node.tells('connected')
  t.pass('and what the environment holds for another gateway is in nobody’s way')
  const running = invoke('system.run', { command: stubborn(file) })
  const pids = await pidsIn(file, 3)
  node.child.kill('SIGTERM')
  t.equal((await node.ended).code, 0)
  t.ok(await ended(pids))
  t.match(await running, { message: /CANCELLED/ })
  t.match(await status(), { connections: [{ running: false, connected: false }] })

  t.ok((await admin.call('device.pair.remove', { deviceId: nodeId })).ok)
  node = startNodeProcess(t, ['--json'], home, { OPENCLAW_GATEWAY_TOKEN: 'meant for another gateway' })
  t.match(await node.tells('not-connected'), {
    message: /does not know this node any more/,
    fix: /^openclaw devices join-code/
  })
})
