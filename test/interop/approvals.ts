import type { Test } from 'tap'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { cli, RawClient, TestDevice } from '../support/client.ts'
import { type Answer, compare, type Expected, settled, titleOf } from './answer.ts'
import { at, type Outcome, type Pair, shape } from './pair.ts'

type Json = Record<string, unknown>
type Who = 'agent' | 'boss' | 'reader'
type Stage = Record<Who, RawClient>

/** One call, and what is expected of its answer. */
interface Step extends Expected {
  name: string
  who: Who
  method: string
  params?: Json
  /** The keys of the answer that are compared; default: all. */
  pick?(payload: never): unknown
}

// The same at both gateways, so that ids are the same.
const asker = new TestDevice()
const person = new TestDevice()
const reading = new TestDevice()

const own = {
  code: 'FORBIDDEN',
  message: 'whoever asks for an approval cannot give it',
  details: { reason: 'APPROVAL_OWN_REQUEST' }
}
const APPROVERS = ['operator.approvals', 'operator.admin']
const ask = (id: string, more: Json = {}) => ({
  who: 'agent' as const,
  method: 'exec.approval.request',
  params: { id, command: 'echo hi', host: 'gateway', twoPhase: true, ...more }
})
const resolve = (id: string, decision: string, who: Who = 'boss') => ({
  who,
  method: 'exec.approval.resolve',
  params: { id, decision }
})
const unified = (id: string, decision: string, more: Json = {}) => ({
  who: 'boss' as const,
  method: 'approval.resolve',
  params: { id, kind: 'exec', decision, ...more }
})
const get = (method: string, params: Json = {}, who: Who = 'boss') => ({ who, method, params })
const plan = {
  argv: ['/bin/echo', 'hi'],
  cwd: '/tmp',
  commandText: '/bin/echo hi',
  agentId: 'main',
  sessionKey: null,
  commandPreview: null
}
const onNode = { command: undefined, host: 'node', nodeId: 'n', systemRunPlan: plan }

// What the reference's own agent and automations add.
const ours = ({
  commandAnalysis: _analysis,
  cronExecutionSource: _cron,
  cronOperationBinding: _op,
  ...request
}: Json) => request
const requests = (list: { request: Json }[]) => list.map((each) => ({ ...each, request: ours(each.request) }))

const steps: readonly Step[] = [
  { name: 'nothing waits', ...get('exec.approval.list'), want: 'ok' },
  { name: 'no plugin asks', ...get('plugin.approval.list'), want: 'ok' },
  { name: 'no agent of the system asks', ...get('openclaw.approval.list'), want: 'ok' },
  { name: 'no grants', ...get('exec.approval.grants.list'), want: 'ok' },
  { name: 'no grant to revoke', ...get('exec.approval.grants.revoke', { grantId: 'x' }), want: 'ok' },
  { name: 'no history', ...get('approval.history'), want: 'ok' },
  { name: 'a reader', ...get('exec.approval.list', {}, 'reader'), want: 'FORBIDDEN' },
  { name: 'a reader and the policy', ...get('exec.approvals.get', {}, 'reader'), want: 'FORBIDDEN' },
  { name: 'a request', ...ask('first', { cwd: '/tmp', agentId: 'main' }), want: 'ok' },
  { name: 'a request of a known id', ...ask('first'), want: 'INVALID_REQUEST' },
  { name: 'an id that cannot be one', ...ask('a/b'), want: 'INVALID_REQUEST' },
  { name: 'an id of a plugin', ...ask('plugin:x'), want: 'INVALID_REQUEST' },
  { name: 'a request without a command', ...ask('none', { command: undefined }), want: 'INVALID_REQUEST' },
  { name: 'a request for no node', ...ask('none', { ...onNode, nodeId: undefined }), want: 'INVALID_REQUEST' },
  {
    name: 'a request without a plan',
    ...ask('none', { ...onNode, systemRunPlan: undefined }),
    want: 'INVALID_REQUEST'
  },
  { name: 'what waits', ...get('exec.approval.list'), pick: requests, want: 'ok' },
  { name: 'one that waits', ...get('exec.approval.get', { id: 'first' }), want: 'ok' },
  { name: 'one that waits, by its start', ...get('exec.approval.get', { id: 'fir' }), want: 'ok' },
  { name: 'one that waits, as any kind', ...get('approval.get', { id: 'first' }), want: 'ok' },
  { name: 'an unknown one', ...get('approval.get', { id: 'zzz' }), want: 'INVALID_REQUEST' },
  { name: 'an unknown decision', ...resolve('first', 'maybe'), want: 'INVALID_REQUEST' },
  {
    name: 'an answer to an unknown one',
    ...resolve('zzz', 'deny'),
    want: 'INVALID_REQUEST',
    differs: 'hints are in our own words',
    ours: { error: { details: { remediation: 'Ask for the action again; a request ends with its time.' } } }
  },
  { name: 'the same as any kind', ...unified('zzz', 'deny'), want: 'INVALID_REQUEST' },
  { name: 'a wait for an unknown one', ...get('exec.approval.waitDecision', { id: 'zzz' }), want: 'INVALID_REQUEST' },
  { name: 'an answer', ...resolve('first', 'allow-once'), want: 'ok' },
  { name: 'the same answer', ...resolve('first', 'allow-once'), want: 'ok' },
  {
    name: 'another answer',
    ...resolve('first', 'deny'),
    want: 'INVALID_REQUEST',
    differs: 'who comes second is told who was first',
    ours: { error: { details: { decision: 'allow-once', resolvedBy: 'cli', resolvedAtMs: 'TIME' } } }
  },
  {
    name: 'another answer, as any kind',
    ...unified('first', 'deny'),
    want: 'ok',
    differs: 'who answered is known by its device, whichever method it called',
    ours: { answer: { approval: { resolver: { kind: 'device', id: person.id } } } }
  },
  { name: 'the wait for it', ...get('exec.approval.waitDecision', { id: 'first' }, 'agent'), want: 'ok' },
  { name: 'a request that is always asked', ...ask('always', { ask: 'always' }), want: 'ok' },
  { name: 'an answer for all times', ...resolve('always', 'allow-always'), want: 'INVALID_REQUEST' },
  { name: 'a no, as any kind', ...unified('always', 'deny'), want: 'ok' },
  { name: 'a request for a node', ...ask('node', onNode), want: 'ok' },
  { name: 'what waits for a node', ...get('exec.approval.list'), pick: requests, want: 'ok' },
  {
    name: 'an answer of whoever asks',
    ...resolve('node', 'allow-once', 'agent'),
    want: 'ok',
    differs: 'whoever asks does not answer',
    ours: { answer: null, error: own }
  },
  { name: 'a last request', ...ask('last'), want: 'ok' },
  { name: 'and its end', ...unified('last', 'deny'), want: 'ok' },
  { name: 'what ended', ...get('approval.history', { limit: 1 }), pick: historyOf, want: 'ok' },
  { name: 'a request of one kind', ...ask('kind'), want: 'ok' },
  {
    name: 'an answer as another kind',
    ...unified('kind', 'allow-once', { kind: 'plugin' }),
    want: 'ok',
    differs: 'a mistake decides nothing: there it is a no',
    ours: {
      answer: null,
      error: { code: 'INVALID_REQUEST', message: 'approval not found', details: { reason: 'APPROVAL_NOT_FOUND' } }
    }
  },
  { name: 'the policy', ...get('exec.approvals.get'), pick: policyOf, want: 'ok' },
  {
    name: 'a policy in place of another',
    ...get('exec.approvals.set', { file: { version: 1 }, baseHash: 'x' }),
    want: 'INVALID_REQUEST',
    differs: 'refusals have codes',
    ours: { error: { details: { code: 'APPROVALS_CONFLICT' } } }
  },
  {
    name: 'the policy of a node that is not there',
    ...get('exec.approvals.node.get', { nodeId: 'x' }),
    want: 'UNAVAILABLE'
  },
  {
    name: 'a policy for a node that is not there',
    ...get('exec.approvals.node.set', { nodeId: 'x', file: { version: 1 } }),
    want: 'UNAVAILABLE'
  }
]

function historyOf({ items, nextCursor }: { items: Json[]; nextCursor?: string }) {
  return { items, more: typeof nextCursor }
}

function policyOf({ path, hash, ...rest }: Json & { file: Json }) {
  const { socket: _socket, ...file } = rest.file
  return { path: typeof path, hash: typeof hash, keys: Object.keys(rest).sort(), file: Object.keys(file).sort() }
}

/** What waits for a person, and what the reference CLI makes of it. */
export async function approvalTests(t: Test, pair: Pair): Promise<void> {
  const stages = await Promise.all([stageOf(t, pair.ours), stageOf(t, pair.reference)])
  for (const step of steps) {
    await t.test(titleOf(step), async (t) => {
      const [mine, reference] = await Promise.all(stages.map((stage) => answerOf(stage, step)))
      compare(t, [mine!, reference!], step)
    })
  }
  await t.test('events', async (t) => {
    const [mine, reference] = stages.map(({ boss }) =>
      boss.events
        // Those without a difference above.
        .filter(({ event, payload }) => event.startsWith('exec.') && !UNFINISHED.includes(payload?.id as string))
        .map(({ event, payload }) => settled({ event, ...payload, request: ours(payload?.request as Json) }))
    )
    t.same(mine, reference)
  })
  // Now the same waits at both.
  for (const { boss } of stages) {
    for (const id of UNFINISHED) await boss.call('approval.resolve', { id, kind: 'exec', decision: 'deny' })
  }
  await Promise.all(stages.map((stage) => answerOf(stage, { ...ask('cli', { cwd: '/tmp' }), name: '', want: 'ok' })))
  for (const { name, args, code, json } of commands) {
    await t.test(`the reference CLI: ${name}`, async (t) => {
      const target = ({ url, token }: GatewayProcess) => [...args, '--url', url, '--token', token]
      const [mine, reference] = await pair.both(target)
      t.equal(reference.code, code, 'the reference ends as recorded', reference)
      t.equal(mine.code, code, 'ours ends the same', mine)
      t.equal(shape(mine.stderr), shape(reference.stderr), 'the same on stderr')
      if (json === undefined) t.equal(shape(mine.stdout), shape(reference.stdout), 'the same on stdout')
      else t.same(picked(mine, json), picked(reference, json), 'the same JSON')
    })
  }
}

/** What the steps leave waiting at one of the two. */
const UNFINISHED = ['node', 'kind']

const policy = ['path?', 'exists?', 'hash?', 'file.version', 'file.defaults', 'file.agents'] as const
const waiting = ['id', 'kind', 'summary', 'createdAtMs?', 'expiresAtMs?'].map((key) => `approvals.0.${key}`)

const commands: readonly { name: string; args: readonly string[]; code: number; json?: readonly string[] }[] = [
  { name: 'approvals get', args: ['approvals', 'get', '--gateway', '--json'], code: 0, json: policy },
  { name: 'approvals pending --json', args: ['approvals', 'pending', '--json'], code: 0, json: waiting },
  { name: 'approvals pending', args: ['approvals', 'pending'], code: 0 },
  { name: 'approvals resolve', args: ['approvals', 'resolve', 'cli', 'allow-once'], code: 0 },
  { name: 'the same again', args: ['approvals', 'resolve', 'cli', 'allow-once'], code: 0 },
  { name: 'another answer', args: ['approvals', 'resolve', 'cli', 'deny'], code: 1 },
  { name: 'an unknown id', args: ['approvals', 'resolve', 'zzz', 'deny'], code: 1 },
  { name: 'nothing waits', args: ['approvals', 'pending'], code: 0 },
  { name: 'no grants', args: ['approvals', 'grants', 'list'], code: 0 },
  {
    name: 'approvals allowlist add',
    args: ['approvals', 'allowlist', 'add', '/usr/bin/uname', '--gateway', '--json'],
    code: 0,
    json: ['file.version', 'file.agents.*.allowlist.0.pattern', 'hash?']
  },
  { name: 'the same rule', args: ['approvals', 'allowlist', 'add', '/usr/bin/uname', '--gateway'], code: 0 },
  {
    name: 'approvals allowlist remove',
    args: ['approvals', 'allowlist', 'remove', '/usr/bin/uname', '--gateway', '--json'],
    code: 0,
    json: ['file.version', 'hash?']
  },
  { name: 'the policy of no node', args: ['approvals', 'get', '--node', 'nope'], code: 1 }
]

function picked({ stdout }: Outcome, paths: readonly string[]): unknown {
  const json = JSON.parse(stdout) as unknown
  return Object.fromEntries(paths.map((path) => [path, at(json, path)]))
}

async function stageOf(t: Test, { url, token }: GatewayProcess): Promise<Stage> {
  const open = async (device: TestDevice, scopes: string[], caps: string[] = []) => {
    const client = await RawClient.open(url)
    t.teardown(() => client.close())
    const params = { client: cli, auth: { token }, scopes, caps }
    const { ok, error } = await client.connect(params, device)
    if (!ok) throw new Error(error?.message)
    return client
  }
  return {
    agent: await open(asker, APPROVERS),
    boss: await open(person, APPROVERS, ['approvals']),
    reader: await open(reading, ['operator.read'])
  }
}

async function answerOf(
  stage: Stage,
  { who, method, params = {}, pick = (payload: never): unknown => payload }: Step
): Promise<Answer> {
  const { ok, payload, error } = await stage[who].call(method, params)
  const told = settled(ok ? { answer: pick(payload as never) } : { error }) as Json
  return { word: ok ? 'ok' : error!.code, told }
}
