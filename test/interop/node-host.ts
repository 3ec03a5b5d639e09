import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Test } from 'tap'
import { cleanEnv, type GatewayProcess } from '../../scripts/gateway-process.ts'
import { ensureReference } from '../../scripts/reference.ts'
import { cli, RawClient, TestDevice } from '../support/client.ts'
import { titleOf } from './answer.ts'
import { oursMain, type Pair } from './pair.ts'

type Json = Record<string, unknown>

/** One thing that a gateway asks of a node, and that both node hosts answer alike. */
interface Case {
  name: string
  command: string
  params: (folder: string) => Json
  /** What the answer of every node fits: of a result the payload, of a refusal its message. */
  want: Json | RegExp
  /** Why the answers are not the same beyond that. */
  differs?: string
}

const sh = (script: string) => ['/bin/sh', '-c', script]
const run = (name: string, params: (folder: string) => Json, want: Case['want'], differs?: string): Case => ({
  name,
  command: 'system.run',
  params,
  want,
  ...(differs === undefined ? {} : { differs })
})

const cases: readonly Case[] = [
  {
    name: 'system.which',
    command: 'system.which',
    params: () => ({ bins: ['sh', 'no-such-program'] }),
    want: { bins: { sh: String } }
  },
  {
    name: 'fs.listDir',
    command: 'fs.listDir',
    params: (folder) => ({ path: folder }),
    want: { entries: [{ name: 'a' }, { name: 'link' }, { name: '.hidden', hidden: true }] }
  },
  {
    name: 'fs.listDir of no folder',
    command: 'fs.listDir',
    params: (folder) => ({ path: `${folder}/absent` }),
    want: /ENOENT|no such/i,
    differs: 'each in its own words'
  },
  run('output', () => ({ command: ['/bin/echo', 'a b'] }), {
    exitCode: 0,
    success: true,
    stdout: 'a b\n',
    error: null
  }),
  run('both streams and an exit code', () => ({ command: sh('echo out; echo err >&2; exit 3') }), {
    exitCode: 3,
    success: false,
    stdout: 'out\n',
    stderr: 'err\n'
  }),
  run('a folder', (folder) => ({ command: ['/bin/pwd'], cwd: folder }), { exitCode: 0 }),
  run(
    'a folder that is not there',
    () => ({ command: ['/bin/pwd'], cwd: '/nowhere' }),
    /working directory does not exist/,
    'refused before it is tried'
  ),
  run(
    'a harmless variable',
    () => ({ command: ['/usr/bin/env'], env: { LC_ALL: 'C' } }),
    { stdout: /LC_ALL=C/ },
    'PATH'
  ),
  run('a variable that steers', () => ({ command: ['/usr/bin/env'], env: { LD_PRELOAD: '/x.so' } }), /override/),
  run(
    'too long',
    () => ({ command: ['/bin/sleep', '20'], timeoutMs: 300 }),
    { timedOut: true, success: false },
    'ours names the signal'
  ),
  run('another text than the command', () => ({ command: ['/bin/echo'], rawCommand: 'rm' }), /rawCommand/),
  run('no command', () => ({ command: [] }), /command/, 'each in its own words'),
  run(
    'a program that is not there',
    () => ({ command: ['/nowhere/tool'] }),
    { success: false, error: /ENOENT|not found|could not/ },
    'each in its own words'
  ),
  {
    name: 'system.run.prepare',
    command: 'system.run.prepare',
    params: (folder) => ({ command: ['/bin/echo', 'a b'], cwd: folder, agentId: 'main' }),
    want: { plan: { argv: [/echo$/, 'a b'], agentId: 'main' }, execPolicy: { security: 'full', ask: 'off' } },
    differs: 'the rule of "allow always" binds the folder and the environment too'
  }
]

/** A node host of either make at a gateway, approved there. */
export interface Hosted {
  gateway: GatewayProcess
  operator: RawClient
  /** Somebody else, who answers. */
  reviewer: RawClient
  home: string
  nodeId: string
  output(): string
  stop(): Promise<void>
}

/** Runs every node host at every gateway, and compares what they answer with the reference's node at the reference. */
export async function nodeHostTests(t: Test, pair: Pair): Promise<void> {
  const folder = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'interop-')))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const name of ['a', '.hidden']) mkdirSync(path.join(folder, 'shown', name), { recursive: true })
  symlinkSync('a', path.join(folder, 'shown/link'))
  writeFileSync(path.join(folder, 'shown/file'), '')
  const shown = path.join(folder, 'shown')
  const reference = ensureReference()
  const truth = await hosted(t, pair.reference, reference, 'reference node')
  const others: [name: string, hosted: Hosted][] = [
    ['our node at the reference', await hosted(t, pair.reference, oursMain, 'our node')],
    ['the reference node at our gateway', await hosted(t, pair.ours, reference, 'reference node')],
    ['our node at our gateway', await hosted(t, pair.ours, oursMain, 'our node')]
  ]
  for (const each of cases) {
    await t.test(
      titleOf({ name: each.name, ...(each.differs === undefined ? {} : { differs: each.differs }) }),
      async (t) => {
        const params = each.params(shown)
        const expected = await answerOf(truth, each.command, params)
        fits(t, expected, each.want, 'the reference answers as recorded')
        for (const [name, node] of others) {
          const answer = await answerOf(node, each.command, params)
          fits(t, answer, each.want, name)
          if (each.differs === undefined) t.strictSame(answer, expected, `${name} answers the same`)
        }
      }
    )
  }
  for (const [name, node] of [['the reference node at the reference', truth] as const, ...others]) {
    await t.test(`${name}: what a person allows is what runs`, (t) =>
      approvalTests(t, node, { folder: shown, refuses: node.gateway === pair.ours })
    )
  }
}

function fits(t: Test, answer: Json, want: Case['want'], name: string): void {
  if (want instanceof RegExp) t.match(answer.message ?? (answer.payload as Json).error, want, name)
  else t.match(answer, { ok: true, payload: want }, name)
}

/** Starts a node host, and approves what it declares. */
async function hosted(t: Test, gateway: GatewayProcess, command: string, displayName: string): Promise<Hosted> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'interop-node-'))
  const [operator, reviewer] = await Promise.all([operatorAt(gateway), operatorAt(gateway, 'approvals')])
  const words = ['--host', '127.0.0.1', '--port', String(gateway.port), '--display-name', displayName]
  const env = { ...cleanEnv(home), OPENCLAW_GATEWAY_TOKEN: gateway.token }
  const child = spawn(process.execPath, [command, 'node', 'run', ...words], { cwd: home, env, stdio: 'pipe' })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text = (text + chunk).slice(-64_000)
    })
  }
  const orphan = (): boolean => child.kill('SIGKILL')
  process.once('exit', orphan)
  const exited = once(child, 'exit')
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      const killer = setTimeout(orphan, 10_000)
      await exited
      clearTimeout(killer)
    }
    process.off('exit', orphan)
    await Promise.all([operator.close(), reviewer.close()])
    rmSync(home, { recursive: true, force: true })
  }
  t.teardown(stop)
  // The reference makes two requests of it: the device is let in at once, and what it may do waits.
  const { payload } = await operator.event('node.pair.requested').catch((cause) => {
    throw new Error(text, { cause })
  })
  const { requestId, nodeId } = payload as { requestId: string; nodeId: string }
  const approved = await operator.call('node.pair.approve', { requestId })
  if (!approved.ok) throw new Error(approved.error?.message)
  return { gateway, operator, reviewer, home, nodeId, output: () => text, stop }
}

async function operatorAt({ url, token }: GatewayProcess, ...caps: string[]): Promise<RawClient> {
  const client = await RawClient.open(url)
  const scopes = ['operator.admin', 'operator.approvals', 'operator.pairing', 'operator.read', 'operator.write']
  const { ok, error } = await client.connect({ client: cli, auth: { token }, scopes, caps }, new TestDevice())
  if (!ok) throw new Error(error?.message)
  return client
}

async function invoke({ operator, nodeId }: Hosted, command: string, params: Json) {
  const idempotencyKey = randomUUID()
  return operator.call('node.invoke', { nodeId, command, params, idempotencyKey, timeoutMs: 20_000 })
}

async function answerOf(node: Hosted, command: string, params: Json): Promise<Json> {
  const { ok, payload, error } = await invoke(node, command, params)
  const answer = ok ? { ok, payload: payload?.payload } : { ok, message: error?.message }
  return JSON.parse(JSON.stringify(answer).replaceAll(node.home, 'HOME'))
}

/** `refuses`: the reference runs what was approved, whatever it was asked to run; ours asks what that is about. */
async function approvalTests(
  t: Test,
  node: Hosted,
  { folder, refuses }: { folder: string; refuses: boolean }
): Promise<void> {
  const { operator, reviewer, nodeId } = node
  const policy = async (security: string, ask: string, allowlist: Json[] = []) => {
    const before = await operator.call('exec.approvals.node.get', { nodeId })
    const file = { version: 1, defaults: { security, ask }, agents: { main: { allowlist } } }
    const set = await operator.call('exec.approvals.node.set', { nodeId, file, baseHash: before.payload?.hash })
    t.equal(set.ok, true, 'the policy is set', set)
  }
  // A rule of ours is for the path that it names, not for what a link leads to.
  const command = [realpathSync('/bin/echo'), 'hi']
  await policy('deny', 'off')
  fits(t, await answerOf(node, 'system.run', { command }), /security=deny/, 'denied')
  await policy('allowlist', 'off', [{ pattern: command[0] }])
  fits(t, await answerOf(node, 'system.run', { command, agentId: 'main' }), { stdout: 'hi\n' }, 'on the list')
  fits(t, await answerOf(node, 'system.run', { command: ['/bin/ls'], agentId: 'main' }), /allowlist miss/, 'not on it')

  await policy('allowlist', 'on-miss')
  const script = path.join(folder, 'script.sh')
  writeFileSync(script, 'echo approved\n', { mode: 0o755 })
  const asked = { command: ['/bin/sh', script], cwd: folder, agentId: 'main', sessionKey: 'agent:main:main' }
  fits(t, await answerOf(node, 'system.run', asked), /approval required/, 'not without being asked')
  const ask = async () => {
    const prepared = await invoke(node, 'system.run.prepare', asked)
    t.equal(prepared.ok, true, 'prepared', prepared)
    const { plan } = (prepared.payload?.payload ?? {}) as { plan: Json & { argv: string[] } }
    const id = randomUUID()
    const waits = { id, host: 'node', nodeId, systemRunPlan: plan, command: plan.commandText, timeoutMs: 30_000 }
    const more = { cwd: plan.cwd, agentId: plan.agentId, sessionKey: plan.sessionKey, twoPhase: true }
    const accepted = await operator.call('exec.approval.request', { ...waits, ...more })
    t.match(accepted, { ok: true, payload: { status: 'accepted' } }, 'a person is asked')
    const resolved = await reviewer.call('exec.approval.resolve', { id, decision: 'allow-once' })
    t.equal(resolved.ok, true, 'and says yes', resolved)
    const { argv: words, cwd, agentId, sessionKey, commandText: rawCommand } = plan
    return {
      command: words,
      rawCommand,
      cwd,
      agentId,
      sessionKey,
      systemRunPlan: plan,
      runId: id,
      approved: true,
      approvalDecision: 'allow-once'
    }
  }
  const first = await ask()
  if (refuses) {
    fits(t, await answerOf(node, 'system.run', { ...first, command: ['/bin/sh', '/x'] }), /match/, 'another command')
  }
  fits(t, await answerOf(node, 'system.run', first), { stdout: 'approved\n' }, 'what was approved runs')
  fits(t, await answerOf(node, 'system.run', first), /approval/, 'once')
  const second = await ask()
  writeFileSync(script, 'echo changed\n', { mode: 0o755 })
  fits(t, await answerOf(node, 'system.run', second), /changed before execution/, 'a script that was changed does not')
  await policy('full', 'off')
}
