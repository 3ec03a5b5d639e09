import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCli } from '../support/cli.ts'
import { cli, nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { startApp, TOKEN, tempDir } from '../support/gateway.ts'
import { approve, freshKey, operator, TestNode } from '../support/nodes.ts'

type Json = Record<string, unknown>

const COMMANDS = ['system.run', 'system.execApprovals.get', 'system.execApprovals.set']
const { ws } = await startApp(t)
const root = t as Test
const admin = await operator(root, ws)
const node = await TestNode.connect(root, ws, {
  client: { ...nodeHost, displayName: 'Kitchen' },
  commands: COMMANDS
})
await approve(admin, node.id)
const asker = await device(root, 'Asker')
const other = await device(root, 'Other')
const boss = await device(root, 'Boss')

async function device(t: Test, displayName: string): Promise<RawClient> {
  const client = await RawClient.open(ws)
  t.teardown(() => client.close())
  const scopes = ['operator.write', 'operator.approvals', 'operator.admin']
  const { ok, error } = await client.connect(
    { auth: { token: TOKEN }, client: { ...cli, displayName }, scopes },
    new TestDevice()
  )
  if (!ok) throw new Error(error?.message)
  return client
}

const argv = ['/bin/echo', 'hi']
const plan = { argv, cwd: '/tmp', commandText: '/bin/echo hi', agentId: null, sessionKey: null }

/** Asks for a command on the node, and has it decided. */
async function asked(id: string, { decision = 'allow-once', ...more }: Json = {}): Promise<string> {
  const params = { id, host: 'node', nodeId: node.id, systemRunPlan: plan, twoPhase: true, ...more }
  const { payload, error } = await asker.call('exec.approval.request', params)
  if (payload?.status !== 'accepted') throw new Error(error?.message)
  if (decision !== null) await boss.call('exec.approval.resolve', { id, decision })
  return id
}

const run = (params: Json, who = asker) =>
  who.call('node.invoke', { nodeId: node.id, command: 'system.run', params, idempotencyKey: freshKey() })

const claim = (runId: string, more: Json = {}) => ({
  command: argv,
  cwd: '/tmp',
  runId,
  approved: true,
  approvalDecision: 'allow-once',
  ...more
})

t.test('without an approval, nobody can say that there is one', async (t) => {
  const answer = run({ command: argv, approvalDecision: null, systemRunPlan: { argv: ['/bin/rm'] } })
  const { id, paramsJSON } = await node.request()
  t.match(JSON.parse(paramsJSON!), { command: argv, runId: String })
  t.notMatch(paramsJSON, /approv|systemRunPlan/)
  await node.result(id, { ok: true, payload: { exitCode: 0 } })
  t.equal((await answer).ok, true)
})

t.test('what was approved runs once, as it was approved', async (t) => {
  const runId = await asked('once')
  const answer = run(claim(runId, { systemRunPlan: { ...plan, argv: ['/bin/rm'] } }))
  const { id, paramsJSON } = await node.request()
  t.strictSame(JSON.parse(paramsJSON!), {
    command: argv,
    rawCommand: '/bin/echo hi',
    cwd: '/tmp',
    runId,
    systemRunPlan: plan,
    approved: true,
    approvalDecision: 'allow-once'
  })
  await node.result(id, { ok: true, payload: { exitCode: 0 } })
  t.equal((await answer).ok, true)
  t.match((await run(claim(runId))).error, { details: { code: 'APPROVAL_REQUIRED', runId } })
  t.equal(node.untaken, 0)
})

t.test('anything else than what was approved is refused, and spends nothing', async (t) => {
  const runId = await asked('bound')
  const rows: [what: string, params: Json, code: string, who?: RawClient][] = [
    ['an argument', { command: ['/bin/echo', 'ho'] }, 'APPROVAL_REQUEST_MISMATCH'],
    ['one more argument', { command: [...argv, '-n'] }, 'APPROVAL_REQUEST_MISMATCH'],
    ['the text', { rawCommand: '/bin/rm -r /' }, 'APPROVAL_REQUEST_MISMATCH'],
    ['the folder', { cwd: '/' }, 'APPROVAL_REQUEST_MISMATCH'],
    ['no folder', { cwd: null }, 'APPROVAL_REQUEST_MISMATCH'],
    ['the environment', { env: { LD_PRELOAD: '/tmp/x.so' } }, 'APPROVAL_ENV_MISMATCH'],
    ['the agent', { agentId: 'other' }, 'APPROVAL_REQUEST_MISMATCH'],
    ['the decision', { approvalDecision: 'allow-always' }, 'APPROVAL_REQUIRED'],
    ['the id', { runId: 'nobody' }, 'UNKNOWN_APPROVAL_ID'],
    ['no id', { runId: '' }, 'MISSING_RUN_ID'],
    ['another device', {}, 'APPROVAL_DEVICE_MISMATCH', other]
  ]
  for (const [what, more, code, who] of rows) {
    t.match((await run(claim(runId, more), who)).error, { code: 'INVALID_REQUEST', details: { code } }, what)
  }
  for (const decision of ['deny', null]) {
    const id = await asked(`not-${decision}`, { decision })
    t.match((await run(claim(id))).error, { details: { code: 'APPROVAL_REQUIRED' } }, `decided: ${decision}`)
  }
  t.equal(node.untaken, 0, 'the node saw none of them')
  const answer = run(claim(runId))
  await node.result((await node.request()).id, { ok: true })
  t.equal((await answer).ok, true)
})

t.test('the file that an approval is bound to goes to the node as it was approved', async (t) => {
  const mutableFileOperand = { argvIndex: 1, path: '/tmp/x.sh', sha256: 'a'.repeat(64) }
  const script = { ...plan, argv: ['/bin/sh', '/tmp/x.sh'], commandText: '/bin/sh /tmp/x.sh', mutableFileOperand }
  const runId = await asked('script', { systemRunPlan: script })
  const forged = { ...script, mutableFileOperand: { ...mutableFileOperand, sha256: 'b'.repeat(64) } }
  const answer = run(claim(runId, { command: script.argv, systemRunPlan: forged }))
  const { id, paramsJSON } = await node.request()
  t.match(JSON.parse(paramsJSON!), { systemRunPlan: { mutableFileOperand } })
  await node.result(id, { ok: false, error: { code: 'SYSTEM_RUN_DENIED', message: 'changed' } })
  t.match((await answer).error, { message: /SYSTEM_RUN_DENIED/ })
})

t.test('a node that is away spends no approval', async (t) => {
  const away = await TestNode.connect(t, ws, { commands: COMMANDS })
  await approve(admin, away.id)
  const runId = await asked('away', { nodeId: away.id })
  await away.client.close()
  const command = { nodeId: away.id, command: 'system.run', params: claim(runId) }
  t.match((await asker.call('node.invoke', { ...command, idempotencyKey: freshKey() })).error, { code: 'UNAVAILABLE' })
  const back = await TestNode.connect(t, ws, { commands: COMMANDS, device: away.device })
  const answer = asker.call('node.invoke', { ...command, idempotencyKey: freshKey() })
  await back.result((await back.request()).id, { ok: true })
  t.equal((await answer).ok, true)
})

t.test('the policy of a node is read and written from the command line', async (t) => {
  const home = tempDir(t)
  const env = { HOME: home, OPENCLAW_STATE_DIR: home }
  const elsewhere = ['--node', 'kitchen', '--url', ws, '--token', TOKEN]
  const snapshot = { path: '/n/exec-approvals.json', exists: true, hash: 'h1', file: { version: 1, agents: {} } }
  const turns = async (...answers: Json[]) => {
    const seen: unknown[] = []
    for (const payload of answers) {
      const { id, command, paramsJSON } = await node.request()
      seen.push([command, JSON.parse(paramsJSON ?? 'null')])
      await node.result(id, { ok: true, payload })
    }
    return seen
  }
  const approvals = (...words: string[]) => runCli(env, ['approvals', ...words, ...elsewhere])

  const [shown] = await Promise.all([approvals('get'), turns(snapshot)])
  t.equal(shown.err, '')
  t.match(shown.out, /^Exec approvals of node Kitchen\nFile +\/n\/exec-approvals\.json\n/)

  const rule = { pattern: '/usr/bin/uname' }
  const written = { ...snapshot, hash: 'h2', file: { version: 1, agents: { main: { allowlist: [rule] } } } }
  const [added, sent] = await Promise.all([
    approvals('allowlist', 'add', rule.pattern, '--agent', 'main'),
    turns(snapshot, written)
  ])
  t.equal(added.out, 'Allowed /usr/bin/uname to agent main at node Kitchen.\n')
  t.strictSame(sent, [
    ['system.execApprovals.get', {}],
    ['system.execApprovals.set', { file: written.file, baseHash: 'h1' }]
  ])
  const [same] = await Promise.all([approvals('allowlist', 'add', rule.pattern, '--agent', 'main'), turns(written)])
  t.match(same.out, 'Already allowlisted.')

  const file = join(home, 'native.json5')
  writeFileSync(file, "{ defaultAction: 'deny', rules: [{ pattern: 'hostname', action: 'allow' }] }")
  const native = { enabled: true, hash: 'n1', defaultAction: 'deny', rules: [] }
  const [set, asked] = await Promise.all([approvals('set', '--file', file), turns(native, native)])
  t.match(set.out, /Policy +its own\nHash +n1\nDefault +deny\n/)
  t.match(asked[1], [
    'system.execApprovals.set',
    { defaultAction: 'deny', rules: [{ pattern: 'hostname', action: 'allow' }], baseHash: 'n1' }
  ])
  const [off] = await Promise.all([approvals('set', '--file', file), turns({ enabled: false })])
  t.match(off.err, /node Kitchen has its policy turned off\nfix: /)
  const [rules] = await Promise.all([approvals('allowlist', 'list'), turns(native)])
  t.match(rules.err, /has a policy of its own kind, without an allowlist/)

  await node.client.close()
  t.match((await approvals('get')).err, /NOT_CONNECTED: node not connected/)
  t.match(
    (await runCli(env, ['approvals', 'get', '--node', 'x', ...elsewhere.slice(2)])).err,
    /there is no node "x"\nfix: use any of .*Kitchen/
  )
})
