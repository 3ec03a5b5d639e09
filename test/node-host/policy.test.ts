import { existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { tempDir } from '../support/gateway.ts'
import { connectedNode, type NodeLink, type Result } from '../support/node-gateway.ts'

type Json = Record<string, unknown>

interface Prepared {
  plan: Json & { argv: string[]; cwd: string; mutableFileOperand?: { path: string; argvIndex: number } | null }
  allowAlwaysCoverage: { complete: boolean }
}

/** A node with a policy of its own. */
async function nodeWith(t: Test, defaults: Json, allowlist: Json[] = []) {
  const stateDir = join(tempDir(t), 'state')
  mkdirSync(stateDir, { mode: 0o700 })
  const path = join(stateDir, 'exec-approvals.json')
  const file = { version: 1, defaults, agents: { '*': { allowlist } } }
  writeFileSync(path, JSON.stringify(file), { mode: 0o600 })
  const { link } = await connectedNode(t, { stateDir })
  return { link, path }
}

const run = (link: NodeLink, params: Json): Promise<Result> => link.invoke('system.run', params)

async function prepare(link: NodeLink, params: Json): Promise<Prepared> {
  const { ok, payload, error } = await link.invoke('system.run.prepare', params)
  if (!ok) throw new Error(error?.message)
  return payload as Prepared
}

/** What a gateway forwards once a person has said yes to a prepared run. */
function approved({ plan }: Prepared, more: Json = {}): Json {
  const { argv: command, cwd, commandText: rawCommand, agentId, sessionKey } = plan
  const whose = Object.fromEntries(Object.entries({ agentId, sessionKey }).filter(([, value]) => value !== null))
  const decision = { approved: true, approvalDecision: 'allow-once' }
  return { command, rawCommand, cwd, ...whose, systemRunPlan: plan, runId: 'r', ...decision, ...more }
}

const denied = (message: string | RegExp, code = 'SYSTEM_RUN_DENIED') => ({ ok: false, error: { code, message } })
const ran = (stdout: string) => ({ ok: true, payload: { exitCode: 0, stdout } })

t.test('a node that allows nothing runs nothing, approved or not', async (t) => {
  const { link, path } = await nodeWith(t, { security: 'deny' })
  const prepared = await prepare(link, { command: ['echo', 'hi'] })
  for (const params of [{ command: ['echo', 'hi'] }, approved(prepared)]) {
    t.match(await run(link, params), denied('SYSTEM_RUN_DISABLED: security=deny'))
  }
  t.match(await link.told('exec.denied'), { command: 'echo hi', reason: 'security=deny', host: 'node' })
  t.test('and neither does one whose policy cannot be read', async (t) => {
    writeFileSync(path, '{ broken')
    t.match(await run(link, { command: ['echo', 'hi'] }), denied(/not JSON/))
  })
})

t.test('a list allows what is on it, and nothing around it', async (t) => {
  const echo = realpathSync('/bin/echo')
  const { link, path } = await nodeWith(t, { security: 'allowlist', ask: 'off' }, [{ pattern: echo }])
  t.match(await run(link, { command: ['echo', 'hi'] }), ran('hi\n'))
  t.match(await run(link, { command: ['sh', '-c', 'echo a && echo b'] }), ran('a\nb\n'), 'a shell that runs only that')
  const others = [
    ['ls'],
    ['sh', '-c', 'echo a; ls'],
    ['sh', '-c', 'echo $(ls)'],
    ['sh', '-c', 'echo a > /tmp/x'],
    ['env', 'ls'],
    ['/tmp/echo', 'hi']
  ]
  for (const command of others) {
    t.match(await run(link, { command }), denied('SYSTEM_RUN_DENIED: allowlist miss'), command.join(' '))
  }
  t.match(
    await run(link, { command: ['echo'], env: { MY_FLAG: '1' } }),
    denied(/environment override rejected/, 'INVALID_REQUEST'),
    'with the environment that it has'
  )
  t.match(
    await run(link, approved(await prepare(link, { command: ['ls'] }))),
    denied(/allowlist miss/),
    'nobody is asked'
  )
  t.match(JSON.parse(readFileSync(path, 'utf8')), { agents: { '*': { allowlist: [{ lastUsedAt: Number }] } } })
})

t.test('where a person is asked, what was approved is what runs', async (t) => {
  const { link, path } = await nodeWith(t, { security: 'allowlist', ask: 'on-miss' })
  const cwd = tempDir(t)
  t.match(await run(link, { command: ['echo', 'hi'] }), denied('SYSTEM_RUN_DENIED: approval required'))
  t.match(await link.told('exec.denied'), { reason: 'approval-required' })
  const prepared = await prepare(link, { command: ['echo', 'hi'], cwd, env: { LC_ALL: 'C' }, agentId: 'main' })
  t.match(
    prepared.plan,
    { argv: [/^\/.*\/echo$/, 'hi'], cwd, agentId: 'main' },
    'the program that the word leads to now'
  )
  const env = { LC_ALL: 'C' }
  t.match(await run(link, approved(prepared, { env })), ran('hi\n'))

  t.test('anything else is refused', async (t) => {
    const rows: [name: string, change: Json, want: ReturnType<typeof denied>][] = [
      [
        'other arguments',
        { command: [prepared.plan.argv[0], 'ho'] },
        denied(/matching systemRunPlan/, 'INVALID_REQUEST')
      ],
      ['another program', { command: ['/bin/ls', 'hi'] }, denied(/matching systemRunPlan/, 'INVALID_REQUEST')],
      ['another folder', { cwd: '/' }, denied(/matching systemRunPlan/, 'INVALID_REQUEST')],
      ['no folder', { cwd: null }, denied(/matching systemRunPlan/, 'INVALID_REQUEST')],
      ['another agent', { agentId: 'other' }, denied(/matching systemRunPlan/, 'INVALID_REQUEST')],
      ['another session', { sessionKey: 'other' }, denied(/matching systemRunPlan/, 'INVALID_REQUEST')],
      ['another text', { rawCommand: 'echo ho' }, denied(/matching systemRunPlan/, 'INVALID_REQUEST')],
      ['no plan', { systemRunPlan: null }, denied(/matching systemRunPlan/, 'INVALID_REQUEST')],
      ['another value', { env: { LC_ALL: 'de' } }, denied(/environment is not the approved one/)],
      ['another variable', { env: { LANG: 'C' } }, denied(/environment is not the approved one/)],
      ['a variable that steers', { env: { LD_PRELOAD: 'x' } }, denied(/override rejected/, 'INVALID_REQUEST')],
      ['a no', { approved: null, approvalDecision: 'deny' }, denied(/approval required/)]
    ]
    for (const [name, change, want] of rows)
      t.match(await run(link, approved(prepared, { env, ...change })), want, name)
  })
  t.test('"allow always" allows this command from now on, and only this one', async (t) => {
    t.match(await run(link, approved(prepared, { env, approvalDecision: 'allow-always' })), ran('hi\n'))
    const [program] = prepared.plan.argv
    t.match(await run(link, { command: [program, 'hi'], cwd, env, agentId: 'main' }), ran('hi\n'), 'without asking')
    for (const [name, change] of [
      ['other arguments', { command: [program, 'ho'] }],
      ['another folder', { cwd: '/' }],
      ['another environment', { env: {} }],
      ['another agent', { agentId: 'other' }]
    ] as const) {
      const params = { command: [program, 'hi'], cwd, env, agentId: 'main', ...change }
      t.match(await run(link, params), denied(/approval required/), name)
    }
    t.notMatch(readFileSync(path, 'utf8'), /echo hi/, 'the rule does not repeat the command')
  })
  t.test('always asks where it says so, whatever is on the list', async (t) => {
    const strict = await nodeWith(t, { security: 'allowlist', ask: 'always' }, [{ pattern: realpathSync('/bin/echo') }])
    t.match(await run(strict.link, { command: ['echo', 'hi'] }), denied(/approval required/))
    t.match(await run(strict.link, approved(await prepare(strict.link, { command: ['echo', 'hi'] }))), ran('hi\n'))
  })
})

t.test('an approval is for what a script says now', async (t) => {
  const { link } = await nodeWith(t, { security: 'allowlist', ask: 'on-miss' })
  const cwd = realpathSync(tempDir(t))
  const script = join(cwd, 'script.sh')
  const write = (text: string, file = script) => writeFileSync(file, text, { mode: 0o755 })
  const ways: [name: string, command: string[]][] = [
    ['to an interpreter', ['sh', 'script.sh']],
    ['by its path', ['sh', script]],
    ['as a program', ['./script.sh']],
    ['inside a shell', ['sh', '-c', './script.sh']]
  ]
  for (const [name, command] of ways) {
    write('#!/bin/sh\necho as approved\n')
    const prepared = await prepare(link, { command, cwd })
    t.equal(prepared.plan.mutableFileOperand?.path, script, name)
    t.match(await run(link, approved(prepared)), ran('as approved\n'), `${name}, unchanged`)
    write('#!/bin/sh\necho changed\n')
    t.match(await run(link, approved(prepared)), denied(/script operand changed before execution/), `${name}, changed`)
    const without = { ...prepared, plan: { ...prepared.plan, mutableFileOperand: null } }
    t.match(await run(link, approved(without)), denied(/misses its script operand/), `${name}, left out`)
    const { mutableFileOperand: _, ...absent } = prepared.plan
    t.match(
      await run(link, approved({ ...prepared, plan: absent as Prepared['plan'] })),
      denied(/misses/),
      `${name}, absent`
    )
  }
  t.test('a link that leads elsewhere by then is a change', async (t) => {
    write('echo one\n', join(cwd, 'one.sh'))
    write('echo two\n', join(cwd, 'two.sh'))
    const link1 = join(cwd, 'link.sh')
    symlinkSync('one.sh', link1)
    const prepared = await prepare(link, { command: ['sh', 'link.sh'], cwd })
    unlinkSync(link1)
    symlinkSync('two.sh', link1)
    t.match(await run(link, approved(prepared)), denied(/changed before execution/))
  })
  t.test('what cannot be bound is not offered for approval', async (t) => {
    write('echo one\n', join(cwd, 'a.sh'))
    write('echo two\n', join(cwd, 'b.sh'))
    for (const command of [
      ['sh', '-c', './a.sh; ./b.sh'],
      ['sh', '-c', 'eval "$X"'],
      ['node', '--import', './x.mjs', 'y.mjs'],
      ['sh'],
      ['awk', '-f', 'x.awk'],
      ['no-such-program']
    ]) {
      const answer = await link.invoke('system.run.prepare', { command, cwd })
      t.match(answer, denied(/^SYSTEM_RUN_DENIED: approval/, 'INVALID_REQUEST'), command.join(' '))
    }
  })
})

t.test('a policy that is changed holds for the next run', async (t) => {
  const { link, path } = await nodeWith(t, { security: 'full', ask: 'off' })
  t.match(await run(link, { command: ['echo', 'hi'] }), ran('hi\n'))
  writeFileSync(path, JSON.stringify({ version: 1, defaults: { security: 'deny' } }), { mode: 0o600 })
  t.match(await run(link, { command: ['echo', 'hi'] }), denied(/security=deny/))
  t.ok(existsSync(path))
})
