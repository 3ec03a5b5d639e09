import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { planDigest } from '../../src/approvals/plan.ts'
import { exactRule } from '../../src/approvals/rules.ts'
import { tempDir } from '../support/gateway.ts'
import { connectedNode, type Result } from '../support/node-gateway.ts'

interface Prepared {
  plan: { argv: string[]; cwd: string; commandText: string; mutableFileOperand?: { path: string; sha256: string } }
  allowAlwaysCoverage: { complete: boolean }
}

/** A node that asks about whatever no rule allows. */
async function careful(t: Test) {
  const stateDir = tempDir(t)
  mkdirSync(stateDir, { recursive: true })
  const file = join(stateDir, 'exec-approvals.json')
  const policy = { version: 1, defaults: { security: 'allowlist', ask: 'on-miss' } }
  writeFileSync(file, JSON.stringify(policy), { mode: 0o600 })
  const { link } = await connectedNode(t, { stateDir })
  const cwd = realpathSync(tempDir(t))
  const prepare = async (command: string[]) => {
    const { ok, payload, error } = await link.invoke('system.run.prepare', { command, cwd })
    if (!ok) throw new Error(error?.message)
    return payload as Prepared
  }
  const run = (command: string[], more: object = {}) => link.invoke('system.run', { command, cwd, ...more })
  const allowed = ({ plan }: Prepared, approvalDecision: string) =>
    run(plan.argv, { rawCommand: plan.commandText, systemRunPlan: plan, approved: true, approvalDecision, runId: 'r' })
  /** What "allow always" wrote before it looked at scripts. */
  const ruleFor = ({ plan: { argv, cwd } }: Prepared) => {
    const rule = exactRule(argv[0]!, planDigest({ argv, cwd, env: {} }), 0)
    writeFileSync(file, JSON.stringify({ ...policy, agents: { main: { allowlist: [rule] } } }), { mode: 0o600 })
  }
  return {
    cwd,
    prepare,
    run,
    allowed,
    ruleFor,
    rules: () => JSON.stringify(JSON.parse(readFileSync(file, 'utf8')).agents ?? {})
  }
}

const refused = (result: Result) => result.ok === false && /approval/.test(result.error?.message ?? '')

t.test('a program that was always allowed is not asked about again, with these arguments', async (t) => {
  const { prepare, run, allowed } = await careful(t)
  const uname = ['uname', '-s']
  t.ok(refused(await run(uname)))
  const prepared = await prepare(uname)
  t.equal(prepared.allowAlwaysCoverage.complete, true)
  t.ok((await allowed(prepared, 'allow-always')).ok)
  t.ok((await run(prepared.plan.argv)).ok)
  t.ok(refused(await run([prepared.plan.argv[0]!, '-a'])))
})

t.test('a script that may change is allowed as it is now, and never for all times', async (t) => {
  const { cwd, prepare, run, allowed, rules } = await careful(t)
  const script = join(cwd, 'deploy.sh')
  writeFileSync(script, 'echo first\n')
  const prepared = await prepare(['sh', script])
  t.equal(prepared.plan.mutableFileOperand?.path, script)
  t.equal(prepared.allowAlwaysCoverage.complete, false, 'which is said beforehand')
  const result = await allowed(prepared, 'allow-always')
  t.match(result, { ok: true, payload: { stdout: 'first\n' } })
  t.notMatch(rules(), /deploy/)
  t.ok(refused(await run(prepared.plan.argv)), 'the same again is asked about again')
  writeFileSync(script, 'echo second\n')
  t.ok(refused(await allowed(prepared, 'allow-always')), 'and what it became is not what was allowed')
})

t.test('S14: a rule for a script does not run what the script became', async (t) => {
  const { cwd, prepare, run, allowed, ruleFor } = await careful(t)
  const script = join(cwd, 'deploy.sh')
  for (const [name, text, command] of [
    ['named to a shell', 'echo first\n', ['sh', script]],
    ['run by itself', '#!/bin/sh\necho first\n', [script]],
    ['inside a shell command', '#!/bin/sh\necho first\n', ['sh', '-c', `${script} now`]]
  ] as const) {
    await t.test(name, async (t) => {
      writeFileSync(script, text, { mode: 0o755 })
      const prepared = await prepare([...command])
      ruleFor(prepared)
      t.ok(refused(await run(prepared.plan.argv)), 'the rule of old is not enough')
      t.match(await allowed(prepared, 'allow-once'), { ok: true, payload: { stdout: 'first\n' } })
      writeFileSync(script, text.replace('first', 'second'), { mode: 0o755 })
      t.ok(refused(await run(prepared.plan.argv)))
      t.ok(refused(await allowed(prepared, 'allow-once')), 'nor is what was allowed before')
    })
  }
  t.test('the rule for a program that nobody here can change still is', async (t) => {
    const prepared = await prepare(['uname', '-s'])
    ruleFor(prepared)
    t.ok((await run(prepared.plan.argv)).ok)
  })
})

t.test('S14: a plan that does not name its script is not the one that was approved', async (t) => {
  const { cwd, prepare, allowed, rules } = await careful(t)
  const script = join(cwd, 'deploy.sh')
  writeFileSync(script, 'echo first\n')
  const prepared = await prepare(['sh', script])
  const { mutableFileOperand, ...plan } = prepared.plan
  const other = { ...mutableFileOperand!, sha256: '0'.repeat(64) }
  for (const [name, told] of [
    ['none', plan],
    ['other content', { ...plan, mutableFileOperand: other }],
    ['another file', { ...plan, mutableFileOperand: { ...mutableFileOperand!, path: '/bin/sh' } }]
  ] as const) {
    for (const decision of ['allow-once', 'allow-always']) {
      t.ok(refused(await allowed({ ...prepared, plan: told }, decision)), `${name}, ${decision}`)
    }
  }
  t.notMatch(rules(), /deploy/)
  t.ok((await allowed(prepared, 'allow-once')).ok)
})
