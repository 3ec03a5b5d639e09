import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { cleanEnv, freePort, startGateway } from '../../scripts/gateway-process.ts'
import { RunInput } from '../../src/cli/nodes/run-input.ts'
import { RunOutput } from '../../src/cli/nodes/run-output.ts'
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
/** Runs a program on the node, by the real command. */
const there = (...args: string[]) => spawnCli(['nodes', 'run', ...args], env)

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
async function until<T>(ask: () => Promise<T> | T, good: (answer: T) => unknown): Promise<T> {
  for (;;) {
    const answer = await ask()
    if (good(answer)) return answer
    await delay(20)
  }
}

const waiting = (count: number) =>
  until(
    () => json('pending'),
    ({ pending }) => pending.length === count
  )

async function fails(t: Test, args: string[], err: RegExp | string, code = 1): Promise<void> {
  t.match(await run(...args), { code, out: '', err }, args.join(' '))
}

/** A process of the command, its output so far, and a way to wait for more of it. */
function watch(child: ChildProcess) {
  const said = { stdout: '', stderr: '' }
  const looks = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text) => {
      said[name] += text
      for (const look of [...looks]) look()
    })
  }
  const saw = (name: keyof typeof said, text: string | RegExp) =>
    new Promise<RegExpExecArray>((resolve) => {
      const look = () => {
        const found = new RegExp(text).exec(said[name])
        if (found === null) return
        looks.delete(look)
        resolve(found)
      }
      looks.add(look)
      look()
    })
  const closed = once(child, 'close').then(([code]) => code as number)
  return { said, saw, closed, child }
}

/** Reports whether a process still runs; one that nobody has waited for yet does not. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !existsSync('/proc/self/stat') || !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** A shell with a child and a grandchild that ignore SIGTERM; all three write down who they are, and then say "up". */
function family(file: string): string[] {
  const grandchild = `trap "" TERM; echo \\$\\$ >> ${file}; echo up; while :; do sleep 0.05; done`
  const child = `trap '' TERM; echo \\$\\$ >> ${file}; sh -c '${grandchild.replaceAll("'", `'\\''`)}' & while :; do sleep 0.05; done`
  return [
    'sh',
    '-c',
    `echo $$ >> ${file}; sh -c "${child.replaceAll('"', '\\"').replaceAll('\\\\$', '\\\\\\$')}" & wait`
  ]
}

const pidsIn = (file: string) => readFileSync(file, 'utf8').trim().split('\n').map(Number)

t.test('what is missing or wrong is said with its fix', async (t) => {
  await waiting(1)
  const rows: [args: string[], err: RegExp | string][] = [
    [[], 'a command is missing\nfix: openclaw nodes --help'],
    [['aprove', 'x'], 'unknown command "nodes aprove"; did you mean "approve"?'],
    [['describe'], /which node\? .*\nfix: openclaw nodes describe NODE/],
    [['describe', 'a', '--node', 'b'], 'name the node once'],
    [['describe', 'nobody'], 'there is no node "nobody"\nfix: use any of Kitchen'],
    [['approve', 'nope'], 'no request begins with "nope", or more than one does\nfix: openclaw nodes pending'],
    [['reject'], "missing required argument 'request'"],
    [['reject', 'nope'], 'no request begins with "nope"'],
    [['rename'], /which node\?.*\nfix: openclaw nodes rename --node NODE --name NAME/],
    [['rename', 'Kitchen'], 'which name? Give the node, and then one name'],
    [['rename', 'Kitchen', 'a', 'b'], 'which name?'],
    [['rename', '--node', 'Kitchen', '--name', ' '], 'which name?'],
    [['rename', '--node', 'Kitchen', 'a', '--name', 'b'], 'which name?'],
    [['remove'], 'which node?'],
    [['remove', 'nobody'], 'there is no node "nobody"'],
    [['status', '--last-connected', 'soon'], 'Invalid --last-connected. Use 30s, 5m, 24h, 7d'],
    [['list', '--last-connected', '0h'], 'Invalid --last-connected'],
    [['status', '--timeout', 'x'], 'Invalid --timeout'],
    [
      ['invoke'],
      'which command? Give it with --command\nfix: openclaw nodes invoke --node NODE --command system.which'
    ],
    [
      ['invoke', '--node', 'my kitchen', '--command', 'system.run'],
      /which "nodes run" does\nfix: openclaw nodes run --node "my kitchen" -- uname -a/
    ],
    [['invoke', '--command', 'system.run.prepare'], 'fix: openclaw nodes run --node NODE'],
    [['invoke', '--command', 'system.execApprovals.set'], 'fix: openclaw approvals get --node NODE'],
    [['invoke', '--command', 'a.b', '--params', '{'], /Invalid --params: .*\nfix: use a JSON object/],
    [['invoke', '--command', 'a.b', '--params', '[]'], 'Invalid --params: it is not an object'],
    [['invoke', '--command', 'a.b', '--invoke-timeout', ' '], 'Invalid --invoke-timeout'],
    [['invoke', '--command', 'a.b', '--idempotency-key', ''], '--idempotency-key is empty'],
    [['invoke', '--command', 'a.b'], 'Kitchen cannot do a.b, or may not\nfix: openclaw nodes describe Kitchen'],
    [['notify', '--title', ' '], /a notification has a --title, a --body, or both\nfix: openclaw nodes notify/],
    [['notify', '--title', 'x', '--priority', 'loud'], 'Allowed choices are passive, active, timeSensitive'],
    [['run'], "missing required argument 'argv'"],
    [['run', '--', ' '], 'which program? Put it behind --'],
    [['run', 'uname', '-a'], "unknown option '-a'"],
    [['run', '--env', 'LANG', '--', 'ls'], 'Invalid --env "LANG". Use NAME=VALUE.'],
    [['run', '--cwd', '', '--', 'ls'], '--cwd is empty'],
    [['run', '--timeout', 'soon', '--', 'ls'], 'Invalid --timeout. Use 30s, 5m']
  ]
  for (const [args, err] of rows) await fails(t, args, err)
  const unapproved =
    /Kitchen may not do system\.run until somebody approves it\nfix: openclaw nodes approve [0-9a-f-]{36}/
  await fails(t, ['run', '--', 'ls'], unapproved, 255)
  await fails(t, ['run', '--node', 'kitchen', '--', 'ls'], unapproved, 255)
  const away = { ...env, OPENCLAW_GATEWAY_PORT: String(await freePort()), HOME: home() }
  for (const [words, code] of [
    [['list'], 1],
    [['run', '--', 'ls'], 255]
  ] as const) {
    const said = await runCli(away, ['nodes', ...words])
    t.match(said, { code, err: /the gateway is not running on this host.*\nfix: openclaw gateway run/ }, words[0])
  }
  const { out, err } = await run('run', '--json', '--', 'ls')
  t.match(JSON.parse(out), { ok: false, error: { code: 'NODE_UNAPPROVED', fix: /openclaw nodes approve/ } })
  t.equal(err, '')
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
  const would =
    /would let operators look into its folders, [\s\S]*run programs on it[\s\S]*commands: [\s\S]*system\.run[\s\S]*openclaw nodes approve [0-9a-f-]{36} +\(takes admin\)/
  t.match((await run('pending')).out, would)
  t.match((await run('list')).out, would)
  t.match(
    (await run('list')).out,
    /\n\nNodes \(1\)\nNAME .*\nKitchen +[0-9a-f]{12} +this host +\S+ ago +connected, unapproved\n/
  )
  t.match(
    (await run('status')).out,
    /Kitchen +connected, unapproved .*\n {2}waits for approval: openclaw nodes approve/
  )
  t.match(
    (await run('describe', 'kitchen')).out,
    /^Kitchen\nId +[0-9a-f]{64}\n[\s\S]*Operators may not use it\n\nApproval would let operators [\s\S]*Takes +admin\n +Approve +openclaw nodes approve/
  )
  const target = ['--url', gateway.url, '--token', gateway.token]
  const profile = await runCli(env, ['nodes', 'pending', ...target], { profile: 'p' })
  t.match(profile.out, 'openclaw --profile p nodes approve', 'what is to be typed names the profile')
  t.match(await json('describe', '--node', nodeId.slice(0, 8)), { nodeId, pendingRequestId: requestId })
  t.match(await run('reject', requestId.slice(0, 8)), { code: 0, out: /^Rejected Kitchen\. / })
  await fails(t, ['approve', requestId], 'no request begins with')
  await fails(t, ['approve'], /no node waits for approval\nfix: openclaw devices list/)
  t.match(await run('pending'), { code: 0, out: /^No node waits for approval\. / })

  // Turned down, it asks again when it comes again.
  host.kill('SIGTERM')
  await once(host, 'exit')
  await until(
    () => json('status'),
    ({ nodes }) => nodes[0].connected === false
  )
  t.match((await run('status')).out, /Kitchen +seen \d+s ago, unapproved/)
  t.match(await run('status', '--connected'), { code: 0, out: 'No such nodes.\n' })
  await fails(
    t,
    ['run', '--node', 'Kitchen', '--', 'ls'],
    /Kitchen is not connected \(seen \d+s ago\)\nfix: openclaw node run/,
    255
  )
  startNode('Kitchen')
  const [again] = (await waiting(1)).pending

  const { token } = JSON.parse(
    (await runCli(env, ['tokens', 'create', '--name', 'desk', '--scopes', 'pairing', '--json'])).out
  )
  const desk = ['--url', gateway.url, '--token', token]
  const refused = await run('approve', again.requestId, ...desk)
  t.match(refused, {
    code: 1,
    out: would,
    err: /approving this takes admin, and this credential has not got it\nfix: openclaw nodes approve [0-9a-f-]{36} \(on the gateway host\)/
  })
  const unnamed = await run('approve', '--url', gateway.url, '--token', gateway.token)
  t.match(
    unnamed,
    { code: 1, err: /nothing was approved\nfix: openclaw nodes approve/ },
    'away, nobody is let in unnamed'
  )
  t.match(await run('approve', again.requestId.slice(0, 8)), { code: 0, out: /\nApproved\. Kitchen may be used/ })
  // It tells how its machine fares once it is approved.
  const fares = /^NAME .*\nKitchen +connected +linux .*\n {2}load .* · mem /
  await until(
    async () => (await run('status')).out,
    (out) => fares.test(out)
  )
  t.match(await json('status', '--connected'), { nodes: [{ nodeId, connected: true, approvalState: 'approved' }] })
  t.match(await json('list', '--last-connected', '1h'), { pending: [], paired: [{ nodeId }] })
  t.match(await json('list', '--last-connected', '1ms'), { pending: [], paired: [] })
  t.match((await run('describe', nodeId)).out, /Operators may look into its folders, [\s\S]*\n {2}fs\.listDir, /)
  t.match(await run('rename', 'kitchen', 'Attic'), { code: 0, out: 'Renamed to Attic.\n' })
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
  const wrong = ['invoke', '--command', 'system.which', '--params', '{ bins: 5 }']
  await fails(t, wrong, /Kitchen: invalid system\.which params: .*\nfix: openclaw nodes invoke --help/)
  await fails(t, ['notify', '--title', 'x'], 'Kitchen cannot do system.notify')
})

t.test('a program runs as if it ran here', async (t) => {
  const script = 'echo out; echo err >&2; exit 7'
  t.same(await there('--', 'sh', '-c', script), { code: 7, stdout: 'out\n', stderr: 'err\n' })
  const shown = await there('--node', 'kitchen', '--json', '--', 'sh', '-c', script)
  t.equal(shown.code, 7)
  t.match(JSON.parse(shown.stdout), {
    ok: false,
    exitCode: 7,
    stdout: 'out\n',
    stderr: 'err\n',
    displayName: 'Kitchen'
  })
  const folder = home()
  const listed = await there('--cwd', folder, '--env', 'LC_ALL=C', '--env', 'TERM=a=b', '--', 'env')
  t.match(listed.stdout, /^LC_ALL=C$/m)
  t.match(listed.stdout, /^TERM=a=b$/m)
  t.equal((await there('--cwd', folder, '--', 'pwd')).stdout, `${folder}\n`)
  t.match(await there('--', 'cat'), { code: 0, stdout: '' }, 'without -i there is no input')

  t.test('and what went wrong has a code and words of its own', async (t) => {
    const rows: [args: string[], code: number, stderr: RegExp][] = [
      [
        ['--timeout', '300ms', '--', 'sleep', '60'],
        124,
        /^error: ended on Kitchen: it took longer than 300ms\nfix: pass a longer/
      ],
      [['--', 'no-such-program'], 127, /could not start no-such-program: .*ENOENT/],
      [['--', 'ls -l'], 127, /ENOENT\nfix: openclaw nodes run -- sh -c "ls -l"\n/],
      [['--', 'sh', '-c', 'kill -9 $$'], 137, /^Kitchen: ended by SIGKILL\n$/],
      [
        ['--cwd', '/no/such/folder', '--', 'pwd'],
        126,
        /working directory does not exist.*\nfix: pass a folder that is there on Kitchen, with --cwd/
      ],
      [['--env', 'LD_PRELOAD=x', '--', 'ls'], 126, /environment override rejected.*\nfix: leave out that --env/],
      [['--node', 'nobody', '--', 'ls'], 255, /there is no node "nobody"/]
    ]
    for (const [args, code, stderr] of rows) t.match(await there(...args), { code, stdout: '', stderr }, args.join(' '))
    const { stdout, code } = await there('--json', '--timeout', '300', '--', 'sh', '-c', 'echo first; sleep 60')
    t.equal(code, 124)
    t.match(JSON.parse(stdout), { ok: false, timedOut: true, exitCode: 124, stdout: 'first\n' })
  })

  t.test('all that it writes arrives, byte for byte, as fast as it is read', async (t) => {
    const file = path.join(home(), 'blob')
    writeFileSync(file, randomBytes(3_000_000))
    const child = startCli(['nodes', 'run', '--', 'cat', file], env)
    child.stdout.pause()
    // A reader that does nothing for a while: what is on the way has to wait.
    await delay(300)
    const [read, [code]] = await Promise.all([buffer(child.stdout), once(child, 'close')])
    t.equal(code, 0)
    t.ok(read.equals(readFileSync(file)))
    const short = startCli(['nodes', 'run', '--', 'head', '-c', '7', file], env)
    t.ok((await buffer(short.stdout)).equals(readFileSync(file).subarray(0, 7)), 'a quick one, too')
    const { stdout } = await there('--json', '--', 'cat', file)
    t.match(JSON.parse(stdout), { truncated: true, exitCode: 0 }, 'as JSON, up to a bound')
  })

  t.test('a reader that goes away ends it', async (t) => {
    const file = path.join(home(), 'pids')
    const child = startCli(
      ['nodes', 'run', '--', 'sh', '-c', `echo $$ >> ${file}; while :; do echo x; sleep 0.05; done`],
      env
    )
    await once(child.stdout, 'data')
    child.stdout.destroy()
    t.equal((await once(child, 'close'))[0], 141)
    await until(
      () => pidsIn(file).some(isAlive),
      (some) => !some
    )
  })
})

t.test('lines come as they are printed, each on its stream', async (t) => {
  // One for each turn: a reader that opens a fifo while the last writer is about to close it reads its end.
  const folder = home()
  const [first, second] = [path.join(folder, 'first'), path.join(folder, 'second')]
  const script = `mkfifo ${first} ${second}; echo one; read x < ${first}; echo two >&2; read x < ${second}; echo three`
  const { said, saw, closed } = watch(startCli(['nodes', 'run', '--', 'sh', '-c', script], env))
  // It goes on only when what it wrote has been seen here.
  await saw('stdout', 'one\n')
  await writeFile(first, '\n')
  await saw('stderr', 'two\n')
  t.same(said, { stdout: 'one\n', stderr: 'two\n' })
  await writeFile(second, '\n')
  t.equal(await closed, 0)
  t.same(said, { stdout: 'one\nthree\n', stderr: 'two\n' })
})

t.test('input goes there, as fast as it is read', async (t) => {
  const stdin = (args: string[]) =>
    spawn(process.execPath, [MAIN, 'nodes', 'run', '-i', '--', ...args], { env, stdio: 'pipe' })
  const cat = watch(stdin(['cat']))
  for (const line of ['one\n', 'two\n']) {
    cat.child.stdin!.write(line)
    // The next line is written only when this one is back: nothing is kept until the end.
    await cat.saw('stdout', line)
  }
  cat.child.stdin!.end('end')
  t.equal(await cat.closed, 0)
  t.equal(cat.said.stdout, 'one\ntwo\nend')

  const bytes = Buffer.alloc(4_000_000, 'ab\u0000\u00ff\n', 'latin1')
  const slow = watch(stdin(['sh', '-c', 'sleep 0.3; wc -c']))
  slow.child.stdin!.end(bytes)
  t.equal(await slow.closed, 0)
  t.match(slow.said.stdout, /^ *4000000\n$/, 'more than fits anywhere on the way')

  const short = watch(stdin(['true']))
  t.equal(await short.closed, 0, 'what nobody reads holds nothing back')
})

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143]
] as const) {
  t.test(`${signal} ends the program there, with all that it started`, async (t) => {
    const file = path.join(home(), 'pids')
    const { saw, closed, child } = watch(startCli(['nodes', 'run', '--', ...family(file)], env))
    await saw('stdout', 'up\n')
    const pids = pidsIn(file)
    t.equal(pids.length, 3)
    t.ok(pids.every(isAlive), 'they all run')
    child.kill(signal)
    t.equal(await closed, code)
    await until(
      () => pids.some(isAlive),
      (some) => !some
    )
  })
}

t.test('a second Ctrl-C leaves at once, and the program ends all the same', async (t) => {
  const file = path.join(home(), 'pids')
  const { saw, closed, child } = watch(startCli(['nodes', 'run', '--', ...family(file)], env))
  await saw('stdout', 'up\n')
  // A gateway that does not answer for a while.
  process.kill(gateway.pid, 'SIGSTOP')
  child.kill('SIGINT')
  await delay(50)
  child.kill('SIGINT')
  const code = await closed
  process.kill(gateway.pid, 'SIGCONT')
  t.equal(code, 130)
  const pids = pidsIn(file)
  await until(
    () => pids.some(isAlive),
    (some) => !some
  )
})

t.test('where the policy asks a person, the run waits for that', async (t) => {
  const policy = async (text: string) => {
    const file = path.join(machine, 'policy.json5')
    writeFileSync(file, text)
    t.equal((await runCli(env, ['approvals', 'set', '--node', 'Kitchen', '--file', file])).code, 0)
  }
  const asked = (...args: string[]) => {
    const watched = watch(spawn(process.execPath, [MAIN, 'nodes', 'run', ...args], { env, stdio: 'pipe' }))
    const id = watched.saw(
      'stderr',
      /openclaw approvals resolve (\S+) allow-once\n {2}openclaw approvals resolve \1 deny\n/
    )
    return { ...watched, id: id.then(([, each]) => each!) }
  }
  const resolve = (id: string, decision: string) => runCli(env, ['approvals', 'resolve', id, decision])
  await policy('{ version: 1, defaults: { security: "allowlist", ask: "on-miss" } }')

  await t.test('and goes on when it was allowed', async (t) => {
    const allowed = asked('--', 'echo', 'allowed')
    t.match(await resolve(await allowed.id, 'allow-once'), { code: 0, out: /^Allowed once: / })
    t.equal(await allowed.closed, 0)
    t.equal(allowed.said.stdout, 'allowed\n')
  })
  await t.test('with its input, of which nothing is lost meanwhile', async (t) => {
    const fed = asked('-i', '--', 'cat')
    fed.child.stdin!.end('kept\n')
    await resolve(await fed.id, 'allow-once')
    t.equal(await fed.closed, 0)
    t.equal(fed.said.stdout, 'kept\n')
  })
  await t.test('and does not when it was denied', async (t) => {
    const denied = asked('--', 'echo', 'no')
    await resolve(await denied.id, 'deny')
    t.equal(await denied.closed, 126)
    t.match(denied.said, { stdout: '', stderr: /error: somebody refused this; nothing ran on Kitchen\n/ })
  })
  await t.test('and nobody is asked about what nobody could judge', async (t) => {
    const refused = await there('--', 'sh', '-c', 'echo no; exit 3')
    t.match(refused, {
      code: 126,
      stdout: '',
      stderr: /Kitchen: approval cannot bind .*\nfix: name the program without/
    })
  })
  await t.test('Ctrl-C takes the question back', async (t) => {
    const given = asked('--', 'echo', 'no')
    const id = await given.id
    given.child.kill('SIGINT')
    t.equal(await given.closed, 130)
    t.match(await resolve(id, 'allow-once'), { code: 1, err: /answered already: deny/ })
  })
  await t.test('a credential that may not ask is told so', async (t) => {
    const { token } = JSON.parse(
      (await runCli(env, ['tokens', 'create', '--name', 'runner', '--scopes', 'write', '--json'])).out
    )
    const refused = await there('--url', gateway.url, '--token', token, '--', 'echo', 'no')
    t.match(refused, {
      code: 125,
      stdout: '',
      stderr: /wants a person to allow this, and this credential may not ask\nfix: /
    })
  })
  await policy('{ version: 1, defaults: { security: "deny" } }')
  t.match(await there('--', 'echo'), {
    code: 126,
    stdout: '',
    stderr: /Kitchen: .*security=deny\nfix: openclaw approvals get --node Kitchen\n/
  })
  await policy('{ version: 1 }')
})

t.test('two nodes of one name are told apart by their ids, and a node is removed', async (t) => {
  const other = new TestDevice()
  const client = await RawClient.open(gateway.url)
  t.teardown(() => client.close())
  const named = { ...nodeHost, displayName: 'Kitchen\n\u001b[31mred' }
  await client.connect(
    { client: named, role: 'node', scopes: [], commands: ['system.run'], auth: { token: gateway.token } },
    other
  )
  const { pending } = await waiting(1)
  t.match(pending, [{ nodeId: other.id }])
  t.notOk((await run('status')).out.includes('\u001b'), 'what a node calls itself is no output of ours')
  t.equal((await there('--', 'true')).code, 0, 'only one of two can')
  t.equal((await run('approve', pending[0].requestId)).code, 0)
  await fails(t, ['run', '--', 'true'], /2 nodes that are connected can do this: .*\nfix: name one: --node /, 255)
  await run('rename', other.id, 'Kitchen')
  const both =
    /"Kitchen" may be any of 2 nodes: Kitchen \([0-9a-f]{64}\), Kitchen \([0-9a-f]{64}\)\nfix: name one of them by its id/
  await fails(t, ['describe', 'Kitchen'], both)
  await fails(t, ['run', '--node', 'Kitchen', '--', 'true'], both, 255)
  t.match(await run('remove', other.id), { code: 0, out: /^Removed Kitchen\. It has to be let in/ })
  t.equal((await client.closed).code, 4001)
  const [{ nodeId }] = (await json('status')).nodes
  t.match(await json('remove', '--node', nodeId), { nodeId })
})

t.test('output is written once and in order, and what is missing is noticed', async (t) => {
  type Pieces = [seq: number, chunk: string, stream?: string][]
  const rows: [name: string, pieces: Pieces, out: string, err: string, all: boolean][] = [
    ['nothing was streamed', [], 'abc', 'xyz', true],
    [
      'all of it was',
      [
        [0, 'ab', 'stdout'],
        [1, 'xyz', 'stderr'],
        [2, 'c', 'stdout']
      ],
      'abc',
      'xyz',
      true
    ],
    ['the beginning was not', [[1, 'b', 'stdout']], '', '', false],
    [
      'a piece between was not',
      [
        [0, 'a', 'stdout'],
        [2, 'c', 'stdout']
      ],
      'a',
      '',
      false
    ],
    [
      'input was taken',
      [
        [0, '0', 'stdin'],
        [1, 'a', 'stdout']
      ],
      'a',
      '',
      true
    ],
    [
      'one stream for both',
      [
        [0, 'aby'],
        [1, 'xzc']
      ],
      'abyxzc',
      '',
      true
    ],
    [
      'a piece of that is missing',
      [
        [0, 'ab'],
        [2, 'c']
      ],
      'ab',
      '',
      false
    ]
  ]
  for (const [name, pieces, out, err, all] of rows) {
    const written = { stdout: '', stderr: '' }
    const output = new RunOutput(async (stream, data) => {
      written[stream] += data
    })
    for (const [seq, text, stream] of pieces) {
      const chunk = stream === 'stdout' || stream === 'stderr' ? Buffer.from(text).toString('base64') : text
      await output.take({ seq, chunk, ...(stream === undefined ? {} : { stream }) })
    }
    t.equal(output.end({ stdout: 'abc', stderr: 'xyz' }), all, name)
    t.same(written, { stdout: out, stderr: err }, name)
  }
})

t.test('input waits until it is taken', async (t) => {
  const sent: object[] = []
  let bytes = 0
  const { PassThrough } = await import('node:stream')
  const source = new PassThrough({ highWaterMark: 1 })
  source.end(Buffer.alloc(600_000))
  const ended = Promise.withResolvers<void>()
  const input = new RunInput(source, async (piece) => {
    sent.push(piece)
    if ('end' in piece) return ended.resolve()
    bytes += Buffer.from(piece.dataBase64, 'base64').length
    t.ok(JSON.stringify(piece).length <= 16_384, 'as the protocol has it')
  })
  await delay(10)
  t.same(sent, [], 'nothing is read before the program runs')
  input.taken(0)
  let taken = 0
  while (taken < 600_000) {
    await until(
      () => bytes,
      (all) => all > taken
    )
    await delay(5)
    t.ok(bytes - taken <= 262_144 + 12_000, 'no more is on its way than the window takes')
    taken = bytes
    input.taken(taken)
  }
  await ended.promise
  t.equal(bytes, 600_000)
  input.close()
})
