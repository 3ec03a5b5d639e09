import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv, freePort, type GatewayProcess, startGateway } from '../../scripts/gateway-process.ts'
import { findNode } from '../../src/cli/find-node.ts'
import { CliError } from '../../src/cli/io.ts'
import { spawnCli as cli, MAIN, pipeToCli, runCli } from '../support/cli.ts'
import { cli as client, RawClient, TestDevice } from '../support/client.ts'

type Json = Record<string, unknown>

/** A HOME in which nothing runs, and its file. */
async function lone(t: Test) {
  const home = mkdtempSync(path.join(os.tmpdir(), 'cli-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const env = { ...cleanEnv(home), OPENCLAW_GATEWAY_PORT: String(await freePort()) }
  const file = path.join(home, '.openclaw/exec-approvals.json')
  const run = (...args: string[]) => runCli(env, ['approvals', ...args])
  const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).out)
  return { home, env, file, run, json, read: () => JSON.parse(readFileSync(file, 'utf8')) as Json }
}

t.test('what is missing or wrong is said with its fix', async (t) => {
  const { run, home } = await lone(t)
  const broken = path.join(home, 'broken.json5')
  const wrong = path.join(home, 'wrong.json5')
  writeFileSync(broken, '{ version: 1,')
  writeFileSync(wrong, "{\n  version: 1,\n  defaults: { ask: 'sometimes' }\n}\n")
  const rows: [args: string[], err: RegExp | string][] = [
    [[], 'a command is missing\nfix: openclaw approvals --help'],
    [['allowlist'], 'a command is missing\nfix: openclaw approvals allowlist --help'],
    [['alowlist', 'add'], 'did you mean "allowlist"?\nfix: openclaw approvals allowlist'],
    [['set'], 'give either --file or --stdin\nfix: openclaw approvals set --file FILE'],
    [['set', '--stdin', '--file', wrong], 'give either --file or --stdin'],
    [['set', '--file', `${wrong}.not`], /cannot read .*: ENOENT\nfix: ls -l /],
    [['set', '--file', broken], /broken\.json5 is not JSON5: .*\nfix: echo '\{ version: 1/],
    [
      ['set', '--file', wrong],
      /wrong\.json5:3 — defaults\.ask: .*"off"\|"on-miss"\|"always".*\nfix: openclaw approvals set/
    ],
    [['allowlist', 'add'], "missing required argument 'pattern'"],
    [['allowlist', 'add', ' '], 'the pattern is empty\nfix: openclaw approvals allowlist add "/usr/bin/uname"'],
    [['allowlist', 'add', 'x', '--agent', ''], '--agent is empty'],
    [['get', '--gateway', '--node', 'x'], '--gateway and --node exclude each other'],
    [
      ['get', '--url', 'ws://127.0.0.1:1'],
      '--url is for the exec approvals of a gateway or a node, not of this host\nfix: add --gateway'
    ],
    [['get', '--timeout', 'x'], 'Invalid --timeout'],
    [['get', '--gateway'], /the gateway is not running on this host.*\nfix: openclaw gateway run/],
    [['pending'], /the gateway is not running on this host/],
    [['resolve', 'x'], "missing required argument 'decision'"],
    [
      ['resolve', 'x', 'maybe'],
      'unknown decision "maybe"; use allow-once, allow-always, deny\nfix: openclaw approvals resolve x allow-once'
    ]
  ]
  for (const [args, err] of rows) {
    const said = await run(...args)
    t.equal(said.code, 1, args.join(' '))
    t.equal(said.out, '')
    t.match(said.err, err)
  }
})

t.test('help names what there is, and fits its reader', async (t) => {
  const { run } = await lone(t)
  for (const words of [[], ['set'], ['allowlist'], ['allowlist', 'add'], ['resolve'], ['pending']]) {
    const { out, code } = await run(...words, '--help')
    t.equal(code, 0)
    t.match(out, new RegExp(`^Usage: openclaw ${['approvals', ...words].join(' ')}`))
    for (const line of out.split('\n')) t.ok(line.length <= 120, line)
  }
  t.match((await run('--help')).out, /openclaw approvals resolve ID allow-once/)
})

t.test('without a gateway, the file of this host is read and changed', async (t) => {
  const { run, json, read, file } = await lone(t)
  t.match(await json('get'), { exists: false, path: file, hash: /^missing:/, file: { version: 1 } })
  t.match((await run('get')).out, /not there yet: nobody is asked, and everything runs/)
  const added = await run('allowlist', 'add', '/usr/bin/uname')
  t.equal(added.out, 'Allowed /usr/bin/uname to all agents at this host.\n')
  t.match(added.err, /^note: rules change nothing there yet: security is full for all agents/)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.match(read(), { version: 1, agents: { '*': { allowlist: [{ id: /-/, pattern: '/usr/bin/uname' }] } } })

  const before = readFileSync(file, 'utf8')
  t.equal((await run('allowlist', 'add', ' /usr/bin/uname ')).out, 'Already allowlisted.\n')
  t.equal((await run('allowlist', 'remove', '/usr/bin/nothing')).out, 'Pattern not found.\n')
  t.match(await json('allowlist', 'add', '/usr/bin/uname'), { exists: true, hash: /^[0-9a-f]{64}$/ })
  t.equal(readFileSync(file, 'utf8'), before, 'and nothing was written')

  await run('allowlist', 'add', '~/bin/**/rg', '--agent', 'main')
  const carrier = await run('allowlist', 'add', 'python3', '--agent', 'main')
  t.match(carrier.err, /note: python3 runs what its arguments say/)
  const { rules } = await json('allowlist', 'list', '--agent', 'main')
  t.match(rules, [{ agent: 'main', pattern: '~/bin/**/rg' }, { pattern: 'python3' }])
  t.equal((await json('allowlist', 'list')).rules.length, 3)
  t.match((await run('allowlist', 'remove', rules[1].id, '--agent', 'main')).out, /^Took .* from agent main/)
  t.equal((await run('allowlist', 'remove', 'python3')).out, 'Pattern not found.\n', 'each agent has its own')
  const { out } = await run('allowlist', 'list')
  t.match(
    out,
    /^AGENT +LAST USED +ARGUMENTS +PATTERN\n\* +never +any +\/usr\/bin\/uname\nmain +never +any +~\/bin\/\*\*\/rg\n$/
  )
  for (const name of ['__proto__', 'constructor']) {
    await run('allowlist', 'add', 'rg', '--agent', name)
    t.match((await json('allowlist', 'list', '--agent', name)).rules, [{ agent: name, pattern: 'rg' }])
  }
})

t.test('set takes JSON5, keeps a socket’s token, and mends a broken file', async (t) => {
  const { env, run, json, read, file, home } = await lone(t)
  const given = "{ version: 1, /* why */ defaults: { security: 'allowlist', ask: 'on-miss', }, }"
  const text = await pipeToCli(['approvals', 'set', '--stdin', '--json'], env, given)
  t.match(JSON.parse(text), { exists: true, file: { defaults: { security: 'allowlist' } } })
  writeFileSync(file, JSON.stringify({ ...read(), socket: { path: '/s', token: 'canary' } }), { mode: 0o600 })
  const next = path.join(home, 'next.json5')
  writeFileSync(next, "{ version: 1, agents: { main: { security: 'full', allowlist: [{ pattern: 'rg' }] } } }")
  const { out, code } = await run('set', '--file', next)
  t.equal(code, 0)
  t.match(
    out,
    /AGENT +SECURITY +ASK +NOBODY TO ASK +RULES\n\(defaults\) +full +off +deny +0\nmain +full +off +deny +1\n/
  )
  t.match(read(), { socket: { token: 'canary' }, agents: { main: { allowlist: [{ pattern: 'rg' }] } } })
  t.notMatch(out + JSON.stringify(await json('get')), 'canary')

  writeFileSync(file, '{ broken')
  const told = await run('get')
  t.equal(told.code, 1)
  t.match(told.err, /is not JSON: .*\nfix: openclaw approvals set --file FILE/)
  t.equal((await run('allowlist', 'add', 'x')).code, 1, 'a change of what cannot be read is refused')
  t.equal((await run('set', '--file', next)).code, 0)
  t.match(read(), { agents: { main: {} } })
  t.ok(
    readdirSync(path.dirname(file)).some((name) => name.startsWith('exec-approvals.json.bak')),
    'the old is kept'
  )
})

t.test('a profile has a policy of its own', async (t) => {
  const { env, run, json } = await lone(t)
  await run('allowlist', 'add', 'rg')
  const { out } = await runCli(env, ['approvals', 'get', '--json'], { profile: 'other' })
  t.match(JSON.parse(out), { exists: false, path: /\.openclaw-other\/exec-approvals\.json$/ })
  t.match(await json('get'), { exists: true })
})

t.test('a node is found by its id, name, address, or the start of its id', async (t) => {
  const nodes = [
    { nodeId: 'abcdef1', displayName: 'Kitchen', remoteIp: '192.0.2.1', connected: true },
    { nodeId: 'abcdef2', displayName: 'abcdef1' },
    { nodeId: 'b', displayName: 'Twin', remoteIp: '192.0.2.1' },
    { nodeId: 'c', displayName: 'twin' },
    { nodeId: 'd', displayName: '192.0.2.9', connected: true },
    { nodeId: 'e', displayName: 'old', remoteIp: '192.0.2.9' },
    { nodeId: 'f', displayName: 'OLD', connected: true }
  ]
  const rows: [which: string, found: string | RegExp][] = [
    ['abcdef1', 'abcdef1'],
    ['ABCDEF2', 'abcdef2'],
    ['kitchen', 'abcdef1'],
    [' b ', 'b'],
    ['c', 'c'],
    ['192.0.2.9', 'e'],
    ['abcdef', /"abcdef" may be any of 2 nodes: Kitchen \(abcdef1\), abcdef1 \(abcdef2\)/],
    ['abcde', /there is no node "abcde"/],
    ['twin', /"twin" may be any of 2 nodes: Twin \(b\), twin \(c\)/],
    ['old', /"old" may be any of 2 nodes/],
    ['192.0.2.1', /may be any of 2 nodes/],
    ['', /there is no node ""/],
    ['x', /there is no node "x"/]
  ]
  for (const [which, found] of rows) {
    if (typeof found === 'string') t.equal(findNode(nodes, which).nodeId, found, which)
    else t.throws(() => findNode(nodes, which), { message: found }, which)
  }
  for (const [which, found] of [
    ['old', 'f'],
    ['192.0.2.1', 'abcdef1'],
    ['abcdef', 'abcdef1']
  ]) {
    t.equal(findNode(nodes, which!, true).nodeId, found, `${which}, of those that are here`)
  }
  t.throws(() => findNode(nodes, 'twin', true), { message: /any of 2 nodes/ })
  t.throws(
    () => findNode([], 'x'),
    new CliError('NODE_UNKNOWN', 'there is no node "x"', { fix: 'openclaw nodes list' })
  )
})

t.test('with a running gateway', async (t) => {
  const gateway = await startGateway([MAIN])
  t.teardown(() => gateway.stop())
  const env = { ...cleanEnv(gateway.stateDir), OPENCLAW_STATE_DIR: gateway.stateDir }
  const run = (...args: string[]) => cli(['approvals', ...args], env)
  const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout)
  const asker = await agent(t, gateway)
  let ids = 0
  const ask = async (more: Json = {}) => {
    const { id = `ask-${++ids}` } = more as { id?: string }
    const params = { command: 'echo hi', host: 'gateway', cwd: '/tmp', agentId: 'main', twoPhase: true, ...more, id }
    const { payload, error } = await asker.call('exec.approval.request', params)
    if (payload?.status !== 'accepted') throw new Error(error?.message)
    return id
  }

  t.test('--gateway and the file of its host are the same', async (t) => {
    const added = await run('allowlist', 'add', '/usr/bin/uname', '--gateway')
    t.equal(added.code, 0)
    t.equal(added.stdout, 'Allowed /usr/bin/uname to all agents at the gateway.\n')
    const [local, remote] = await Promise.all([json('get'), json('get', '--gateway')])
    t.strictSame(local, remote)
    t.match(local.file.agents['*'].allowlist, [{ pattern: '/usr/bin/uname' }])
    const elsewhere = ['--gateway', '--url', gateway.url]
    t.match(await json('get', ...elsewhere, '--token', gateway.token), local)
    t.equal((await run('get', ...elsewhere)).code, 1, 'and not without a credential')
    t.match((await run('get', '--gateway')).stdout, /^Exec approvals of the gateway\n/)
    const { events } = JSON.parse((await cli(['audit', '--kind', 'policy.changed', '--json'], env)).stdout)
    t.match(events, [{ kind: 'policy.changed', detail: 'this gateway', who: 'owner' }])
  })

  t.test('a document that is wrong is refused before it is sent', async (t) => {
    const file = path.join(gateway.stateDir, 'next.json5')
    writeFileSync(file, "{ version: 1, agents: { main: { allowlist: [{ pattern: 'x', argPattern: '(' }] } } }")
    const refused = await run('set', '--gateway', '--file', file)
    t.equal(refused.code, 1)
    t.match(refused.stderr, /next\.json5:1 — agents\.main\.allowlist\[0\]\.argPattern/)
    writeFileSync(file, "{ version: 1, defaults: { security: 'allowlist', ask: 'on-miss' } }")
    t.match((await run('set', '--gateway', '--file', file)).stdout, /\(defaults\) +allowlist +on-miss +deny +0\n/)
  })

  t.test('what waits is shown whole, and no command looks like what stands around it', async (t) => {
    t.equal((await run('pending')).stdout, 'Nothing waits for an answer.\n')
    t.same(await json('pending'), { approvals: [] })
    const id = await ask({ command: 'echo \u001b[31m \u202e\nNothing waits\rx', warningText: 'careful', ask: 'always' })
    const { stdout } = await run('pending')
    t.match(
      stdout,
      `${id}\n  > echo \\u{1b}[31m \\u{202e}\n  > Nothing waits\\u{d}x\n  ! careful\n  on the gateway, in /tmp, agent main, asked `
    )
    t.match(stdout, '  answers: allow-once, deny\n\nAnswer with: openclaw approvals resolve ID')
    t.match(await json('pending'), {
      approvals: [{ id, kind: 'exec', summary: /^echo/, createdAtMs: Number, expiresAtMs: Number }]
    })
    const always = await run('resolve', id, 'allow-always')
    t.equal(always.code, 1)
    t.match(
      always.stderr,
      `allow-always is not among the answers to this request\nfix: openclaw approvals resolve ${id} allow-once`
    )
    t.equal((await run('deny', id)).code, 0)
  })

  t.test('an answer ends the wait of whoever asked; the same again is fine, another is not', async (t) => {
    const id = await ask()
    const decision = asker.call('exec.approval.waitDecision', { id })
    const first = await run('resolve', id, 'allow-once')
    t.equal(first.stderr, '')
    t.equal(first.stdout, 'Allowed once: echo hi\n')
    t.match((await decision).payload, { id, decision: 'allow-once' })
    const again = await run('resolve', id, 'allow-once')
    t.equal(again.code, 0)
    t.equal(again.stdout, `${id}: already resolved (same decision)\n`)
    const other = await run('deny', id)
    t.equal(other.code, 1)
    t.match(other.stderr, 'this request was answered already: allow-once\nfix: openclaw approvals pending')
    t.match(await json('resolve', id, 'deny'), { ok: false, error: { code: 'APPROVAL_ALREADY_RESOLVED' } })
    const denied = await ask()
    t.equal((await run('resolve', denied, 'deny', '--reason', 'not now')).stdout, 'Denied: echo hi (not now)\n')
    t.match(await json('approve', await ask()), {
      applied: true,
      approval: { status: 'allowed', decision: 'allow-once' }
    })
    t.match(await json('approve', await ask(), '--always'), { approval: { decision: 'allow-always' } })
  })

  t.test('the start of an id is enough where one begins so; ids that are not there are said to be so', async (t) => {
    for (const id of ['start-of-one', 'start-of-two']) await ask({ id })
    t.match((await run('approve', 'start-of')).stderr, /ambiguous/)
    t.match((await run('approve', 'start-of-o')).stdout, 'Allowed once')
    t.match((await run('approve', 'nothing')).stderr, /unknown or expired approval id\nfix: openclaw approvals pending/)
    const { payload } = await asker.call('exec.approval.request', {
      id: 'brief',
      command: 'x',
      twoPhase: true,
      timeoutMs: 1
    })
    t.match(payload, { status: 'accepted' })
    await asker.call('exec.approval.waitDecision', { id: 'brief' })
    t.match(await json('approve', 'brief'), { error: { code: 'APPROVAL_EXPIRED' } })
  })

  t.test('whoever asks is told that another has to answer', async (t) => {
    const { token } = JSON.parse(
      (await cli(['tokens', 'create', '--name', 'agent', '--scopes', 'approvals', '--json'], env)).stdout
    )
    const named = await RawClient.open(gateway.url)
    t.teardown(() => named.close())
    await named.connect({ auth: { token }, scopes: ['operator.approvals'] })
    await named.call('exec.approval.request', { id: 'own', command: 'x', twoPhase: true })
    const elsewhere = ['--url', gateway.url, '--token', token]
    const refused = await run('approve', 'own', ...elsewhere)
    t.equal(refused.code, 1)
    t.match(refused.stderr, /whoever asks .*\nfix: openclaw approvals approve own \(on the gateway host\)/)
    t.equal((await run('approve', 'own')).code, 0, 'and that command works there')
    t.equal((await run('pending', ...elsewhere)).code, 0)
    t.match((await run('get', '--gateway', ...elsewhere)).stderr, /missing scope: operator\.admin/)
  })
})

/** Whoever asks, on a device of its own. */
async function agent(t: Test, { url, token }: GatewayProcess): Promise<RawClient> {
  const socket = await RawClient.open(url)
  t.teardown(() => socket.close())
  const { ok, error } = await socket.connect(
    { client, auth: { token }, scopes: ['operator.approvals'] },
    new TestDevice()
  )
  if (!ok) throw new Error(error?.message)
  return socket
}
