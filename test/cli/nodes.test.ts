import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv, freePort, startGateway } from '../../scripts/gateway-process.ts'
import { MAIN, runCli, spawnCli, startCli } from '../support/cli.ts'
import { nodeHost, RawClient, TestDevice } from '../support/client.ts'

t.setTimeout(110_000)

function home(): string {
  const folder = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'nodes-')))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const gateway = await startGateway([MAIN])
t.teardown(() => gateway.stop())
const env = { ...cleanEnv(path.dirname(gateway.stateDir)), OPENCLAW_GATEWAY_PORT: String(gateway.port) }
const machine = home()
const host = startNode('Kitchen')

const run = (...args: string[]) => runCli(env, ['nodes', ...args])
const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).out)

/** Starts the node host in a process of its own. */
function startNode(name: string): ChildProcess {
  const words = ['node', 'run', '--host', '127.0.0.1', '--port', String(gateway.port), '--display-name', name]
  const child = spawn(process.execPath, [MAIN, ...words], {
    cwd: machine,
    env: { ...cleanEnv(machine), OPENCLAW_GATEWAY_TOKEN: gateway.token },
    stdio: 'ignore'
  })
  t.teardown(async () => {
    const exited = once(child, 'exit')
    if (child.kill('SIGTERM')) await exited
  })
  return child
}

/** Asks until an answer is as it should be. */
async function until<T>(ask: () => Promise<T>, good: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask()
    if (good(answer)) return answer
  }
}

async function fails(t: Test, args: string[], err: RegExp | string, code = 1): Promise<void> {
  const said = await run(...args)
  t.match(said, { code, out: '', err }, args.join(' '))
}

t.test('what is missing or wrong is said with its fix', async (t) => {
  const rows: [args: string[], err: RegExp | string][] = [
    [[], 'a command is missing\nfix: openclaw nodes --help'],
    [['aprove', 'x'], 'unknown command "nodes aprove"; did you mean "approve"?'],
    [['describe'], "required option '--node <node>' not specified"],
    [['describe', '--node', 'nobody'], /there is no node "nobody"\nfix: use any of Kitchen/],
    [['approve'], "missing required argument 'request'"],
    [['approve', 'nope'], 'no node waits with the request "nope"\nfix: openclaw nodes pending'],
    [['reject', 'nope'], 'no node waits with the request "nope"'],
    [['rename', '--node', 'Kitchen', '--name', ' '], 'a name has 1 to 64 characters'],
    [['remove', '--node', 'nobody'], 'there is no node "nobody"'],
    [['status', '--last-connected', 'soon'], '--last-connected "soon" is no duration'],
    [['status', '--timeout', 'x'], 'Invalid --timeout'],
    [['invoke', '--node', 'Kitchen'], "required option '--command <command>' not specified"],
    [
      ['invoke', '--node', 'Kitchen', '--command', 'system.run'],
      'system.run is not for "nodes invoke"\nfix: openclaw nodes run'
    ],
    [['invoke', '--command', 'a.b', '--params', '{'], '--params is not JSON'],
    [['invoke', '--command', 'a.b', '--params', '[]'], '--params must be an object'],
    [['invoke', '--command', 'a.b', '--invoke-timeout', '0'], '--invoke-timeout "0" is no number of milliseconds'],
    [['invoke', '--command', 'a.b', '--idempotency-key', ''], '--idempotency-key is empty'],
    [['notify', '--title', ' '], 'there is nothing to show'],
    [['run'], "missing required argument 'command'"],
    [['run', '--env', 'LANG', '--', 'ls'], '--env "LANG" is not NAME=VALUE']
  ]
  await until(
    () => json('pending'),
    ({ pending }) => pending.length === 1
  )
  for (const [args, err] of rows) await fails(t, args, err)
  await fails(t, ['run', '--', 'ls'], 'no node is connected that may system.run\nfix: openclaw nodes status', 125)
  const away = await runCli({ ...env, OPENCLAW_GATEWAY_PORT: String(await freePort()), HOME: home() }, [
    'nodes',
    'list'
  ])
  t.match(away, { code: 1, err: /the gateway is not running on this host.*\nfix: openclaw gateway run/ })
})

t.test('help names what there is, and fits its reader', async (t) => {
  const words = 'status list describe pending approve reject rename remove invoke notify run'.split(' ')
  for (const each of [[], ...words.map((word) => [word])]) {
    const { out, code } = await run(...each, '--help')
    t.equal(code, 0)
    t.match(out, new RegExp(`^Usage: openclaw ${['nodes', ...each].join(' ')}`))
    for (const line of out.split('\n')) t.ok(line.length <= 120, line)
  }
})

t.test('a node is shown, approved, and may do then what it asked for', async (t) => {
  const { pending } = await json('pending')
  const [{ requestId, nodeId }] = pending
  t.match(
    (await run('pending')).out,
    /Kitchen .*\n {2}would be allowed .*system\.run.* \(reaches into the machine: an admin/
  )
  t.match((await run('list')).out, /openclaw nodes approve [0-9a-f-]{36}\n\n.*\nKitchen .* connected, not approved /)
  t.match(
    (await run('describe', '--node', 'kitchen')).out,
    /Would get +.*system\.run.*\nApprove with +openclaw nodes approve/
  )
  t.match(await run('reject', requestId.slice(0, 8)), { code: 0, out: 'Rejected what Kitchen asked for.\n' })
  await fails(t, ['approve', requestId], 'no node waits with the request')
  // Turned down, it asks again when it comes again.
  host.kill('SIGTERM')
  await once(host, 'exit')
  startNode('Kitchen')
  const again = await until(
    () => json('pending'),
    ({ pending }) => pending.length === 1
  )
  t.match(await run('approve', again.pending[0].requestId.slice(0, 8)), {
    code: 0,
    out: /^Approved\. Kitchen may: .*system\.run/
  })
  t.match(await run('pending'), { code: 0, out: 'No node waits for approval.\n' })
  t.match((await run('status')).out, /^NAME .*\nKitchen +[0-9a-f]{12} +connected +linux .*\n {2}load .* · mem /)
  t.match(await json('status', '--connected'), { nodes: [{ nodeId, connected: true, approvalState: 'approved' }] })
  t.match(await json('list', '--last-connected', '1h'), { pending: [], nodes: [{ nodeId }] })
  t.match(await json('describe', '--node', nodeId.slice(0, 8)), { nodeId, commands: ['fs.listDir'] })
  t.match(await run('rename', '--node', 'Kitchen', '--name', 'Attic'), { code: 0, out: 'Named Attic.\n' })
  t.match(await json('rename', '--node', nodeId, '--name', 'Kitchen'), { nodeId, displayName: 'Kitchen' })
})

t.test('a node does one thing', async (t) => {
  const params = ['--params', '{ bins: ["sh", "no-such"] }']
  const { out, code } = await run('invoke', '--node', 'Kitchen', '--command', 'system.which', ...params)
  t.equal(code, 0)
  t.match(JSON.parse(out), { bins: { sh: /sh$/ } })
  const key = ['--idempotency-key', 'k1']
  const answer = await json('invoke', '--command', 'system.which', ...params, ...key)
  t.match(answer, { ok: true, command: 'system.which', payload: { bins: { sh: /sh$/ } } })
  t.same(await json('invoke', '--command', 'system.which', ...params, ...key), answer)
  await fails(t, ['invoke', '--node', 'Kitchen', '--command', 'location.get'], 'does not support "location.get"')
})

t.test('a program runs as if it ran here', async (t) => {
  const script = 'echo out; echo err >&2; exit 7'
  t.same(await spawnCli(['nodes', 'run', '--', 'sh', '-c', script], env), { code: 7, stdout: 'out\n', stderr: 'err\n' })
  const shown = await spawnCli(['nodes', 'run', '--node', 'kitchen', '--json', '--', 'sh', '-c', script], env)
  t.equal(shown.code, 7)
  t.match(JSON.parse(shown.stdout), { exitCode: 7, stdout: 'out\n', stderr: 'err\n', timedOut: false })
  const folder = home()
  const there = ['nodes', 'run', '--cwd', folder, '--env', 'LC_ALL=C', '--env', 'TERM=dumb', '--', 'env']
  t.match((await spawnCli(there, env)).stdout, /^LC_ALL=C$/m)
  t.equal((await spawnCli(['nodes', 'run', '--cwd', folder, '--', 'pwd'], env)).stdout, `${folder}\n`)
  t.match(await spawnCli(['nodes', 'run', '--run-timeout', '300ms', '--', 'sleep', '60'], env), {
    code: 124,
    stderr: 'error: the program took too long, and was ended\n'
  })
  t.match(await spawnCli(['nodes', 'run', '--', '/no/such/program'], env), { code: 125, stderr: /could not start/ })
  const away = ['nodes', 'run', '--cwd', '/no/such/folder', '--', 'pwd']
  t.match(await spawnCli(away, env), { code: 125, stderr: /working directory does not exist/ })
})

t.test('lines come as they are printed, and input goes there', async (t) => {
  const child = spawn(process.execPath, [MAIN, 'nodes', 'run', '-i', '--', 'cat'], { env, stdio: 'pipe' })
  child.stdout.setEncoding('utf8')
  for (const line of ['one\n', 'two\n']) {
    child.stdin.write(line)
    // The next line is written only when this one is back: nothing is kept until the end.
    t.equal((await once(child.stdout, 'data'))[0], line)
  }
  const large = 'x'.repeat(60_000)
  let echoed = ''
  child.stdout.on('data', (text) => {
    echoed += text
  })
  child.stdin.end(large)
  const [code] = await once(child, 'close')
  t.equal(code, 0)
  t.equal(echoed, large)
})

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143]
] as const) {
  t.test(`${signal} ends the program there, with all that it started`, async (t) => {
    const file = path.join(home(), 'pids')
    const script = `trap '' TERM; sh -c 'echo $$ >> ${file}; echo up; sleep 600' & echo $$ >> ${file}; wait`
    const child = startCli(['nodes', 'run', '--', 'sh', '-c', script], env)
    await once(child.stdout, 'data')
    const pids = await until(
      async () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').map(Number) : []),
      ({ length }) => length === 2
    )
    t.ok(pids.every(isAlive), 'both run')
    child.kill(signal)
    t.equal((await once(child, 'exit'))[0], code)
    await until(
      async () => pids.some(isAlive),
      (some) => !some
    )
  })
}

t.test('where the policy asks a person, the run waits for that', async (t) => {
  const policy = async (text: string) => {
    const file = path.join(machine, 'policy.json5')
    writeFileSync(file, text)
    t.equal((await runCli(env, ['approvals', 'set', '--node', 'Kitchen', '--file', file])).code, 0)
  }
  await policy('{ version: 1, defaults: { security: "allowlist", ask: "on-miss" } }')
  for (const [word, code, stdout] of [
    ['approve', 0, 'allowed\n'],
    ['deny', 125, '']
  ] as const) {
    const child = startCli(['nodes', 'run', '--', 'echo', 'allowed'], env)
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text) => {
        output[name] += text
      })
    }
    const closed = once(child, 'close')
    await once(child.stderr, 'data')
    const [, id] = /openclaw approvals approve (\w+)\n/.exec(output.stderr) ?? []
    t.equal((await runCli(env, ['approvals', word, id!])).code, 0)
    t.equal((await closed)[0], code)
    t.equal(output.stdout, stdout)
    if (word === 'deny') t.match(output.stderr, /error: this command was denied\n/)
  }
  await policy('{ version: 1, defaults: { security: "deny" } }')
  t.match(await spawnCli(['nodes', 'run', '--', 'echo'], env), {
    code: 125,
    stderr: /security=deny\nfix: openclaw approvals get --node NODE\n/
  })
  await policy('{ version: 1 }')
})

t.test('two nodes of one name are told apart by their ids, and a node is removed', async (t) => {
  const other = new TestDevice()
  const client = await RawClient.open(gateway.url)
  t.teardown(() => client.close())
  const named = { ...nodeHost, displayName: 'Kitchen\n\u001b[31mred' }
  await client.connect({ client: named, role: 'node', scopes: [], auth: { token: gateway.token } }, other)
  await until(
    () => json('status'),
    ({ nodes }) => nodes.length === 2
  )
  t.notOk((await run('status')).out.includes('\u001b'), 'what a node calls itself is no output of ours')
  await run('rename', '--node', other.id, '--name', 'Kitchen')
  await fails(t, ['describe', '--node', 'Kitchen'], /"Kitchen" is 2 nodes: .*\nfix: name one of them by its id/)
  t.match(await run('remove', '--node', other.id), { code: 0, out: /^Removed Kitchen; to come back it has/ })
  t.equal((await client.closed).code, 4001)
  t.equal((await json('status')).nodes.length, 1)
  const [{ nodeId }] = (await json('status')).nodes
  t.match(await json('remove', '--node', nodeId), { nodeId })
})

/** Reports whether a process still runs; one that nobody has waited for yet does not. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  return !existsSync('/proc/self/stat') || !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}
