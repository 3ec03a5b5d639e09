import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Approvals, type Resolver } from '../../src/approvals/approvals.ts'
import { approvedRun } from '../../src/approvals/run.ts'
import type { Decision, ExecApprovalRequestParams } from '../../src/protocol/approvals.ts'
import { type Approval, ApprovalStore, type Party } from '../../src/store/approvals.ts'
import { openDatabase } from '../../src/store/database.ts'

const agent: Party = { keys: ['device:agent'], name: 'agent' }
const boss: Resolver = { keys: ['device:boss'], name: 'Boss', kind: 'device', id: 'boss' }
const other: Resolver = { keys: ['token:other', 'user:other'], name: 'Other', kind: 'runtime', id: 'other' }
const MINUTE = 60_000

function world(t: Test, now = 1_000_000) {
  const db = openDatabase(':memory:')
  const clock = { now }
  const told: string[] = []
  const tell = (what: string) => (approval: Approval) => void told.push(`${what} ${approval.id}`)
  const make = () =>
    new Approvals({
      store: new ApprovalStore(db),
      requested: tell('requested'),
      resolved: tell('resolved'),
      log: { error: (fields) => t.fail(JSON.stringify(fields)) },
      now: () => clock.now
    })
  const approvals = make()
  t.teardown(() => {
    approvals.stop()
    db.close()
  })
  const ask = (id: string, more: Partial<ExecApprovalRequestParams> = {}) =>
    approvals.request({ id, command: 'x', ...more }, agent, true)
  return { approvals, clock, told, ask, make, db }
}

const status = (approval: Approval | undefined) => approval?.resolution?.status ?? (approval ? 'pending' : 'unknown')

t.test('every state, and what each attempt makes of it', async (t) => {
  type State = 'unknown' | 'pending' | 'allowed' | 'denied' | 'expired'
  const to: Record<State, (w: ReturnType<typeof world>) => Promise<unknown>> = {
    unknown: async () => {},
    pending: (w) => w.ask('a'),
    allowed: async (w) => {
      await w.ask('a')
      await w.approvals.resolve('a', 'allow-once', boss)
    },
    denied: async (w) => {
      await w.ask('a')
      await w.approvals.resolve('a', 'deny', boss)
    },
    expired: async (w) => {
      await w.ask('a', { timeoutMs: MINUTE })
      w.clock.now += MINUTE
    }
  }
  const attempts: Record<string, (w: ReturnType<typeof world>) => Promise<unknown>> = {
    allow: async ({ approvals }) => (await approvals.resolve('a', 'allow-once', other)).applied,
    always: async ({ approvals }) => (await approvals.resolve('a', 'allow-always', other)).applied,
    deny: async ({ approvals }) => (await approvals.resolve('a', 'deny', other)).applied,
    'allow own': async ({ approvals }) => (await approvals.resolve('a', 'allow-once', { ...other, ...agent })).applied,
    'deny own': async ({ approvals }) => (await approvals.resolve('a', 'deny', { ...other, ...agent })).applied,
    'ask again': async ({ ask }) => status(await ask('a')),
    'let it expire': async ({ clock, approvals }) => {
      clock.now += 31 * MINUTE
      await approvals.expire()
    }
  }
  const again = /already (pending|used)/
  const unknown = /unknown or expired/
  const own = /whoever asks/
  const rows: Record<State, Record<string, [outcome: unknown, then: State]>> = {
    unknown: {
      allow: [unknown, 'unknown'],
      always: [unknown, 'unknown'],
      deny: [unknown, 'unknown'],
      'allow own': [unknown, 'unknown'],
      'deny own': [unknown, 'unknown'],
      'ask again': ['pending', 'pending'],
      'let it expire': [undefined, 'unknown']
    },
    pending: {
      allow: [true, 'allowed'],
      always: [true, 'allowed'],
      deny: [true, 'denied'],
      'allow own': [own, 'pending'],
      'deny own': [true, 'denied'],
      'ask again': [again, 'pending'],
      'let it expire': [undefined, 'expired']
    },
    ...Object.fromEntries(
      (['allowed', 'denied', 'expired'] as const).map((end) => [
        end,
        {
          allow: [false, end],
          always: [false, end],
          deny: [false, end],
          'allow own': [false, end],
          'deny own': [false, end],
          'ask again': [again, end],
          'let it expire': [undefined, end]
        }
      ])
    )
  } as never
  for (const [state, row] of Object.entries(rows)) {
    for (const [name, [want, then]] of Object.entries(row)) {
      const w = world(t)
      await to[state as State](w)
      const outcome = await attempts[name]!(w).catch((error) => error.message)
      if (want instanceof RegExp) t.match(outcome, want, `${state}: ${name}`)
      else t.equal(outcome, want, `${state}: ${name}`)
      t.equal(status(await w.approvals.get('a')), then, `${state}: ${name}, then`)
    }
  }
})

t.test('over generated histories: one end each, told once, and never by whoever asked', async (t) => {
  const id = fc.constantFrom('a', 'b', 'c')
  const step = fc.oneof(
    fc.record({ do: fc.constant('ask' as const), id, ms: fc.constantFrom(1, 5, 50) }),
    fc.record({
      do: fc.constant('resolve' as const),
      id,
      by: fc.constantFrom(boss, other, { ...other, ...agent }),
      decision: fc.constantFrom<Decision>('allow-once', 'allow-always', 'deny')
    }),
    fc.record({ do: fc.constant('wait' as const), id }),
    fc.record({ do: fc.constant('tick' as const), ms: fc.constantFrom(1, 3, 40) }),
    fc.record({ do: fc.constant('use' as const), id }),
    fc.record({ do: fc.constant('restart' as const) })
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const w = world(t)
      let { approvals } = w
      const ends = new Map<string, string>()
      const uses = new Map<string, number>()
      for (const each of steps) {
        if (each.do === 'tick') w.clock.now += each.ms
        if (each.do === 'ask') {
          await approvals.request({ id: each.id, command: 'x', timeoutMs: each.ms }, agent, true).catch(() => {})
        }
        if (each.do === 'resolve') await approvals.resolve(each.id, each.decision, each.by).catch(() => {})
        if (each.do === 'wait') void approvals.wait(each.id).catch(() => {})
        if (each.do === 'restart') {
          approvals.stop()
          approvals = w.make()
          await approvals.start()
        }
        const approval = 'id' in each ? await approvals.get(each.id) : undefined
        if (each.do === 'use' && approval !== undefined && (await approvals.use(approval))) {
          uses.set(each.id, (uses.get(each.id) ?? 0) + 1)
          if (approval.resolution?.status !== 'allowed') throw new Error('used what nobody allowed')
        }
        for (const name of ['a', 'b', 'c']) {
          const { resolution, expiresAtMs } = (await approvals.get(name)) ?? {}
          if (resolution === undefined) {
            if (ends.has(name)) throw new Error('an end was undone')
            if (expiresAtMs !== undefined && expiresAtMs <= w.clock.now) throw new Error('it outlived its time')
            continue
          }
          const text = JSON.stringify(resolution)
          if ((ends.get(name) ?? text) !== text) throw new Error('an end changed')
          ends.set(name, text)
          if (resolution.status === 'allowed' && resolution.by?.name === 'agent') throw new Error('it allowed itself')
          if (resolution.decision === 'allow-once' && (uses.get(name) ?? 0) > 1) throw new Error('once was twice')
        }
      }
      approvals.stop()
      for (const name of ends.keys()) {
        const told = w.told.filter((each) => each === `resolved ${name}`).length
        if (told !== 1) throw new Error(`told ${told} times`)
      }
    }),
    { numRuns: 150 }
  )
})

t.test('what one asks for, it does not allow; a person with two devices is one for each', async (t) => {
  const rows: [asker: Party['keys'], answers: Party['keys'], may: boolean][] = [
    [['device:a'], ['device:a'], false],
    [['device:a'], ['device:b'], true],
    [['device:a', 'user:u'], ['device:b', 'user:u'], true],
    [['user:u'], ['device:b', 'user:u'], true],
    [['device:a', 'user:u'], ['user:u'], false],
    [['user:u'], ['user:u'], false],
    [['device:a', 'token:t'], ['device:b', 'token:t'], false],
    [['token:t', 'user:u'], ['device:b', 'token:t', 'user:u'], false],
    [['socket:1'], ['socket:2'], true]
  ]
  for (const [asker, answers, may] of rows) {
    const { approvals } = world(t)
    await approvals.request({ id: 'a', command: 'x' }, { keys: asker, name: 'asker' }, true)
    const outcome = approvals.resolve('a', 'allow-once', { ...boss, keys: answers })
    const name = `${asker} asks, ${answers} answers`
    if (may) t.equal((await outcome).applied, true, name)
    else await t.rejects(outcome, { code: 'FORBIDDEN' }, name)
  }
})

t.test('the time of a request', async (t) => {
  const { approvals, clock, ask, told, make } = world(t)
  const ends = async (id: string) => (await approvals.get(id))!.expiresAtMs - clock.now
  await ask('usual')
  t.equal(await ends('usual'), 30 * MINUTE)
  await ask('endless', { timeoutMs: Number.MAX_SAFE_INTEGER })
  t.equal(await ends('endless'), 30 * 86_400_000)
  await ask('brief', { timeoutMs: 10 })
  const waits = approvals.wait('brief')
  clock.now += 9
  await approvals.expire()
  t.same(
    told.filter((each) => each.startsWith('resolved')),
    []
  )
  clock.now += 1
  await approvals.expire()
  t.match(await waits, { id: 'brief', resolution: { status: 'expired', atMs: clock.now } })
  t.same(
    told.filter((each) => each.startsWith('resolved')),
    ['resolved brief']
  )
  clock.now += 31 * MINUTE
  const next = make()
  await next.start()
  t.match(await next.get('usual'), { resolution: { status: 'expired' } }, 'also what ran out while nobody ran')
  next.stop()
})

t.test('waiting', async (t) => {
  const { approvals, ask } = world(t)
  await t.rejects(approvals.wait('nobody'), { message: 'approval expired or not found' })
  await ask('a')
  const gone = { alive: true }
  const lost = Array.from({ length: 32 }, () => approvals.wait('a', () => gone.alive))
  await t.rejects(approvals.wait('a'), { message: 'too many wait for this approval' })
  gone.alive = false
  const stays = approvals.wait('a')
  const race = approvals.resolve('a', 'allow-once', boss)
  const late = approvals.wait('a')
  await race
  t.match(
    await Promise.all([stays, late, approvals.wait('a')]),
    Array(3).fill({ resolution: { decision: 'allow-once' } })
  )
  t.equal(await Promise.race([...lost, 'still waiting']), 'still waiting', 'whose socket is gone is forgotten')
  await ask('b')
  const let_go = approvals.wait('b')
  approvals.stop()
  await t.rejects(let_go, { code: 'UNAVAILABLE', retryable: true })
  await t.rejects(approvals.wait('b'), { code: 'UNAVAILABLE' })
})

t.test('256 requests wait at most, and the newest 1,000 that ended are kept', async (t) => {
  const { approvals, clock } = world(t)
  const from = (n: number): Party => ({ keys: [`device:${n % 8}`], name: 'x' })
  for (let n = 0; n < 256; n++) await approvals.request({ id: `p${n}`, command: 'x' }, from(n), true)
  await t.rejects(approvals.request({ id: 'more', command: 'x' }, from(9), true), {
    message: 'too many approvals are pending'
  })
  for (let n = 0; n < 256; n++) {
    clock.now++
    await approvals.resolve(`p${n}`, 'deny', boss)
  }
  for (let n = 0; n < 760; n++) {
    clock.now++
    await approvals.request({ id: `q${n}`, command: 'x' }, from(n), true)
    await approvals.resolve(`q${n}`, 'deny', boss)
  }
  t.equal((await approvals.history(2_000)).length, 1_000)
  t.equal(status(await approvals.get('p15')), 'unknown')
  t.equal(status(await approvals.get('p16')), 'denied')
})

t.test('what was approved is what is forwarded to a node, and nothing else', async (t) => {
  const plan = {
    argv: ['/bin/sh', '-c', 'make'],
    cwd: '/work',
    commandText: '/bin/sh -c make',
    agentId: 'main',
    sessionKey: 's'
  }
  const asked = { host: 'node', nodeId: 'n', systemRunPlan: plan, env: { CI: '1' } } as const
  const params = {
    command: plan.argv,
    cwd: '/work',
    env: { CI: '1' },
    agentId: 'main',
    sessionKey: 's',
    approved: true,
    runId: 'a',
    timeoutMs: 5
  }
  const { approvals, clock, ask } = world(t)
  const run = (more: object = {}, by: Party = agent, nodeId = 'n') =>
    approvedRun(approvals, { nodeId, params: { ...params, ...more }, by })
  const code = (outcome: Promise<unknown>) =>
    outcome.then(
      () => 'ok',
      (error) => error.details.code
    )
  const decided = async (id: string, decision: Decision, more: object = {}) => {
    await ask(id, { ...asked, ...more })
    await approvals.resolve(id, decision, boss)
  }

  t.same(
    await approvedRun(approvals, {
      nodeId: 'n',
      params: { command: ['x'], approved: 'yes', systemRunPlan: plan, approvalDecision: null },
      by: agent
    }),
    { command: ['x'] },
    'without an approval nothing of one is forwarded'
  )
  await ask('a', asked)
  t.equal(await code(run()), 'APPROVAL_REQUIRED', 'before the decision')
  await approvals.resolve('a', 'allow-once', boss)
  const rows: [name: string, more: object, code: string, by?: Party, nodeId?: string][] = [
    ['no id', { runId: undefined }, 'MISSING_RUN_ID'],
    ['an id that is no text', { runId: 5 }, 'MISSING_RUN_ID'],
    ['another id', { runId: 'nobody' }, 'UNKNOWN_APPROVAL_ID'],
    ['the start of the id', { runId: '' }, 'MISSING_RUN_ID'],
    ['another node', {}, 'APPROVAL_NODE_MISMATCH', agent, 'm'],
    ['another caller', {}, 'APPROVAL_DEVICE_MISMATCH', boss],
    ['another command', { command: ['/bin/sh', '-c', 'make install'] }, 'APPROVAL_REQUEST_MISMATCH'],
    ['one argument more', { command: [...plan.argv, 'x'] }, 'APPROVAL_REQUEST_MISMATCH'],
    ['the same text in other parts', { command: ['/bin/sh', '-c make'] }, 'APPROVAL_REQUEST_MISMATCH'],
    ['a command in one text', { command: '/bin/sh -c make' }, 'APPROVAL_REQUEST_MISMATCH'],
    ['no command', { command: undefined }, 'APPROVAL_REQUEST_MISMATCH'],
    ['another text beside it', { rawCommand: 'ls' }, 'APPROVAL_REQUEST_MISMATCH'],
    ['another folder', { cwd: '/' }, 'APPROVAL_REQUEST_MISMATCH'],
    ['no folder', { cwd: undefined }, 'APPROVAL_REQUEST_MISMATCH'],
    ['another agent', { agentId: 'evil' }, 'APPROVAL_REQUEST_MISMATCH'],
    ['another session', { sessionKey: 't' }, 'APPROVAL_REQUEST_MISMATCH'],
    ['another value', { env: { CI: '2' } }, 'APPROVAL_ENV_MISMATCH'],
    ['another variable', { env: { CI: '1', LD_PRELOAD: 'x' } }, 'APPROVAL_ENV_MISMATCH'],
    ['no environment', { env: undefined }, 'APPROVAL_ENV_MISMATCH'],
    ['an environment of lists', { env: { CI: ['1'] } }, 'APPROVAL_ENV_MISMATCH'],
    ['another decision', { approvalDecision: 'allow-always' }, 'APPROVAL_REQUIRED']
  ]
  for (const [name, more, want, by, nodeId] of rows) t.equal(await code(run(more, by, nodeId)), want, name)
  const { approved: _approved, ...rest } = params
  t.strictSame(
    await run({ systemRunPlan: { argv: ['evil'] } }),
    {
      ...rest,
      rawCommand: plan.commandText,
      systemRunPlan: plan,
      approved: true,
      approvalDecision: 'allow-once'
    },
    'none of these has spent it, and the plan is the one that was approved'
  )
  t.equal(await code(run()), 'APPROVAL_REQUIRED', 'once is once')
  const twice = await (async () => {
    await decided('b', 'allow-once')
    return Promise.all([code(run({ runId: 'b' })), code(run({ runId: 'b' }))])
  })()
  t.same(twice.sort(), ['APPROVAL_REQUIRED', 'ok'], 'also at the same time')

  await decided('c', 'allow-always')
  for (let n = 0; n < 3; n++) t.match(await run({ runId: 'c' }), { approved: true, approvalDecision: 'allow-always' })
  await decided('d', 'deny')
  t.equal(await code(run({ runId: 'd' })), 'APPROVAL_REQUIRED')
  await decided('e', 'allow-once', { timeoutMs: 10 })
  clock.now += MINUTE
  t.equal(await code(run({ runId: 'e' })), 'ok', 'an answer in the last moment can still be used')
  await decided('f', 'allow-always', { timeoutMs: 10 })
  clock.now += MINUTE + 1
  t.equal(await code(run({ runId: 'f' })), 'APPROVAL_REQUIRED', 'and no longer than that')
  await ask('g', { command: 'x', host: 'gateway' })
  await approvals.resolve('g', 'allow-once', boss)
  t.equal(await code(run({ runId: 'g' })), 'UNKNOWN_APPROVAL_ID', 'an approval of this host is none for a node')
})
