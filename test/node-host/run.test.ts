import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { tempDir } from '../support/gateway.ts'
import { connectedNode, type NodeLink, type Result } from '../support/node-gateway.ts'
import { ended, isAlive, pidsIn, stubborn } from '../support/node-process.ts'
import { schemaErrors } from '../support/schema.ts'

interface Ran {
  exitCode?: number
  timedOut: boolean
  success: boolean
  stdout: string
  stderr: string
  error: string | null
  truncated?: boolean
}

const sh = (script: string) => ['sh', '-c', script]

async function run(link: NodeLink, params: object, more: Record<string, unknown> = {}): Promise<Ran> {
  return ran(await link.invoke('system.run', params, more))
}

function ran({ ok, payload, error }: Result): Ran {
  if (!ok) throw new Error(`${error?.code}: ${error?.message}`)
  return payload as Ran
}

t.test('system.run answers with what the command did', async (t) => {
  const { link } = await connectedNode(t)
  const cwd = tempDir(t)
  const cases: [name: string, params: object, want: Partial<Ran>][] = [
    ['output', { command: ['echo', 'hi'] }, { exitCode: 0, success: true, stdout: 'hi\n', stderr: '', error: null }],
    [
      'both streams and the exit code',
      { command: sh('echo out; echo err >&2; exit 3') },
      { exitCode: 3, success: false, stdout: 'out\n', stderr: 'err\n' }
    ],
    ['its folder', { command: ['pwd'], cwd }, { stdout: `${cwd}\n` }],
    ['arguments as they are', { command: ['printf', '%s|', '$HOME', '*', 'a b', "'"] }, { stdout: "$HOME|*|a b|'|" }],
    ['no standard input', { command: ['cat'] }, { exitCode: 0, stdout: '' }],
    ['bytes that are no text', { command: ['printf', '\\377x'] }, { stdout: '\ufffdx' }],
    ['a name of its own', { command: ['sh', '-c', 'echo $0'] }, { stdout: 'sh\n' }]
  ]
  for (const [name, params, want] of cases) t.match(await run(link, params), { timedOut: false, ...want }, name)
  const killed = await run(link, { command: sh('kill -9 $$') })
  t.same([killed.exitCode, killed.success], [undefined, false], 'a signal is no exit code')
  const absent = await run(link, { command: ['/nowhere/tool'] })
  t.match(absent, { success: false, error: /could not start .*ENOENT/ }, 'what is not there')
  t.equal(absent.exitCode, undefined)
  const refused = await link.invoke('system.run', { command: ['pwd'], cwd: '/nowhere' })
  t.match(refused.error, { code: 'INVALID_REQUEST', message: /working directory does not exist/ })
  const shot = await link.invoke('system.run', { command: ['true'], needsScreenRecording: true })
  t.match(shot.error, { code: 'SYSTEM_RUN_DENIED', message: 'PERMISSION_MISSING: screenRecording' })
})

t.test('the end of a run is an event with the ids that came with it', async (t) => {
  const { link } = await connectedNode(t)
  await run(link, {
    command: sh('echo out; echo err >&2; exit 3'),
    runId: 'r-1',
    sessionKey: 'agent:main:main',
    suppressNotifyOnExit: true
  })
  t.same(await link.told('exec.finished'), {
    sessionKey: 'agent:main:main',
    runId: 'r-1',
    host: 'node',
    command: 'sh -c "echo out; echo err >&2; exit 3"',
    exitCode: 3,
    timedOut: false,
    success: false,
    output: 'out\n\nerr',
    suppressNotifyOnExit: true
  })
  await run(link, { command: ['true'] })
  t.match(await link.told('exec.finished', ({ command }) => command === 'true'), { sessionKey: 'node', runId: String })
})

t.test('output is bounded, and what is cut off is said', async (t) => {
  const { link } = await connectedNode(t)
  const big = await run(link, { command: sh('head -c 300000 /dev/zero | tr "\\0" a') })
  t.equal(big.stdout.length, 200_000 + '\n... (truncated)'.length)
  t.ok(big.stdout.endsWith('a\n... (truncated)'))
  t.equal(big.truncated, true)
  const both = await run(link, {
    command: sh('head -c 150000 /dev/zero | tr "\\0" a; head -c 150000 /dev/zero | tr "\\0" b >&2')
  })
  t.equal(both.stdout.length, 150_000)
  t.equal(both.stderr.length, 50_000 + '\n... (truncated)'.length, 'both streams share the bound')
  const exact = await run(link, { command: sh('head -c 200000 /dev/zero | tr "\\0" a') })
  t.same([exact.stdout.length, exact.truncated], [200_000, undefined])
  const endless = await run(link, { command: sh('yes'), timeoutMs: 300 })
  t.match(endless, { timedOut: true, truncated: true })
  const { output } = await link.told('exec.finished', ({ command }) => String(command).includes('yes'))
  t.ok(
    (output as string).startsWith('... (truncated) ') && (output as string).length < 20_100,
    'the event has the end of it'
  )
})

t.test('a run that takes a while streams its output', async (t) => {
  const { link } = await connectedNode(t)
  const id = link.start('system.run', { command: sh('echo one; sleep 0.3; echo two; sleep 0.3; echo three >&2') })
  const first = await link.request('node.invoke.progress')
  t.same(first.params, { invokeId: id, nodeId: link.nodeId, seq: 0, chunk: 'one\n' }, 'while it runs')
  t.same(schemaErrors('NodeInvokeProgressParams', first.params), [])
  const result = ran(await link.result(id))
  t.equal(link.progress(id).join(''), 'one\ntwo\nthree\n', 'all of it, in order')
  t.equal(result.stdout + result.stderr, 'one\ntwo\nthree\n')

  t.test('in chunks that the protocol takes, never through a character', async (t) => {
    const big = link.start('system.run', {
      command: sh('sleep 0.15; for i in 1 2 3 4 5; do printf "%8000s" | sed "s/ /😀/g"; done')
    })
    await link.result(big)
    const chunks = link.progress(big)
    t.ok(chunks.length > 2)
    t.ok(chunks.every((chunk) => chunk.length <= 16_384 && chunk.isWellFormed()))
    t.equal(chunks.join('').length, 2 * 8_000 * 5)
  })
  t.test('a quick one does not', async (t) => {
    const quick = link.start('system.run', { command: ['echo', 'hi'] })
    await link.result(quick)
    t.same(link.progress(quick), [])
  })
})

t.test('a run that takes too long is ended with all that it started', async (t) => {
  const { link } = await connectedNode(t)
  for (const [name, limit, more] of [
    ['by its own limit', { timeoutMs: 400 }, {}],
    ['by the time its caller waits', {}, { timeoutMs: 400 }]
  ] as const) {
    const file = join(tempDir(t), 'pids')
    const result = await run(link, { command: stubborn(file), ...limit }, more)
    t.match(result, { exitCode: 124, timedOut: true, success: false }, name)
    const pids = await pidsIn(file, 3)
    t.ok(await ended(pids), `${name}: even those that ignore SIGTERM`)
  }
  const polite = await run(link, { command: sh('trap "echo bye; exit 0" TERM; sleep 5 & wait'), timeoutMs: 300 })
  t.match(polite, { exitCode: 124, stdout: 'bye\n' }, 'a command may say goodbye')
})

t.test('a cancelled run is ended with all that it started', async (t) => {
  const { link } = await connectedNode(t)
  const file = join(tempDir(t), 'pids')
  const id = link.start('system.run', { command: stubborn(file) })
  const pids = await pidsIn(file, 3)
  t.ok(pids.every(isAlive))
  link.event('node.invoke.cancel', { invokeId: id, nodeId: link.nodeId })
  t.match(await link.result(id), { ok: false, error: { code: 'CANCELLED' } })
  t.ok(await ended(pids))
})

t.test('what runs ends when the gateway is gone, and when the node stops', async (t) => {
  const { gateway, node, link } = await connectedNode(t)
  const file = join(tempDir(t), 'pids')
  link.start('system.run', { command: stubborn(file) })
  const pids = await pidsIn(file, 3)
  link.socket.terminate()
  const again = await gateway.link(1)
  t.ok(await ended(pids), 'gateway gone')
  const other = join(tempDir(t), 'pids')
  const id = again.start('system.run', { command: stubborn(other) })
  const more = await pidsIn(other, 3)
  await node.stop()
  t.ok(await ended(more), 'node stopped')
  t.match(await again.result(id), { ok: false, error: { code: 'CANCELLED' } }, 'and the gateway has been told')
})

t.test('what a command leaves running does not hold its answer back', async (t) => {
  const { link } = await connectedNode(t)
  const file = join(tempDir(t), 'pids')
  const started = performance.now()
  const result = await run(link, { command: sh(`sleep 30 & echo $! > '${file}'; echo done`) })
  t.match(result, { exitCode: 0, stdout: 'done\n' })
  t.ok(performance.now() - started < 5_000)
  const [pid] = await pidsIn(file, 1)
  t.ok(isAlive(pid!), 'and lives on')
  process.kill(pid!)
})

t.test('standard input comes as input of the invocation', async (t) => {
  const { link } = await connectedNode(t)
  const id = link.start('system.run', { command: ['cat'], stdin: 'pipe' })
  const send = (seq: number, piece: unknown) =>
    link.event('node.invoke.input', { id, nodeId: link.nodeId, seq, payloadJSON: JSON.stringify(piece) })
  send(0, { data: 'one\n' })
  await link.request('node.invoke.progress', ({ invokeId }) => invokeId === id)
  send(0, { data: 'again\n' })
  send(1, { dataBase64: Buffer.from('two\n').toString('base64') })
  link.event('node.invoke.input', { id, nodeId: link.nodeId, seq: 2, payloadJSON: '{broken' })
  send(3, 'no object')
  send(4, { end: true })
  t.equal(ran(await link.result(id)).stdout, 'one\ntwo\n', 'each piece once, in order')
  send(5, { data: 'late' })
  t.equal((await run(link, { command: ['true'] })).exitCode, 0, 'what comes too late harms nobody')
})

t.test('streams that stay apart are exact, whole, and no faster than they are taken', async (t) => {
  const { link } = await connectedNode(t)
  const pieces = (id: string) =>
    link.requests
      .filter(({ method, params }) => method === 'node.invoke.progress' && params.invokeId === id)
      .map(({ params }) => params as { seq: number; chunk: string; stream: string })
  const bytesOf = (id: string, stream: string) =>
    Buffer.concat(pieces(id).flatMap((each) => (each.stream === stream ? [Buffer.from(each.chunk, 'base64')] : [])))
  const apart = (command: string[], more: object = {}) =>
    link.start('system.run', { command, streams: 'apart', ...more })
  let inputs = 0
  const taken = (id: string, bytes: number) =>
    link.event('node.invoke.input', {
      id,
      nodeId: link.nodeId,
      seq: inputs++,
      payloadJSON: JSON.stringify({ taken: bytes })
    })

  await t.test('a quick one as well', async (t) => {
    const id = apart(sh("printf '\\377\\0x'; echo err >&2"))
    await link.result(id)
    t.ok(bytesOf(id, 'stdout').equals(Buffer.from([0xff, 0, 0x78])))
    t.equal(bytesOf(id, 'stderr').toString(), 'err\n')
    for (const { chunk, stream } of pieces(id)) {
      t.same(schemaErrors('NodeInvokeProgressParams', { invokeId: id, nodeId: 'n', seq: 0, chunk }), [], stream)
    }
  })
  const held = async (id: string) => {
    for (let before = -1; before !== bytesOf(id, 'stdout').length; ) {
      before = bytesOf(id, 'stdout').length
      await delay(250)
    }
    return bytesOf(id, 'stdout').length
  }
  await t.test('more than the window waits for the word', async (t) => {
    const id = apart(sh('head -c 2000000 /dev/zero'))
    let sent = 0
    for (let last = -1; sent < 2_000_000 && sent > last; ) {
      last = sent
      sent = await held(id)
      // What its pipe still holds when it exits comes at once.
      t.ok(sent - Math.max(last, 0) <= 2 * 262_144, `${sent - last} at once`)
      taken(id, sent)
    }
    const result = ran(await link.result(id))
    t.match(result, { exitCode: 0, truncated: true })
    t.equal(bytesOf(id, 'stdout').length, 2_000_000, 'beyond what the result keeps')
  })
  await t.test('what is held ends all the same', async (t) => {
    const late = apart(sh('yes'), { timeoutMs: 600 })
    t.match(ran(await link.result(late)), { exitCode: 124, timedOut: true }, 'in time')
    const given = apart(sh('yes'))
    await held(given)
    link.event('node.invoke.cancel', { invokeId: given, nodeId: link.nodeId })
    t.match(await link.result(given), { ok: false, error: { code: 'CANCELLED' } }, 'when its caller gives up')
  })
  await t.test('and where the gateway does not take it, nothing is held', async (t) => {
    const { gateway, link } = await connectedNode(t)
    gateway.refuse.set('node.invoke.progress', { code: 'INVALID_REQUEST', message: 'unexpected property' })
    const id = link.start('system.run', { command: sh('head -c 2000000 /dev/zero'), streams: 'apart' })
    t.match(ran(await link.result(id)), { exitCode: 0, truncated: true })
  })
  await t.test('of input, it is told how much was taken; more than is read ends the run', async (t) => {
    const id = apart(['cat'], { stdin: 'pipe' })
    await link.request('node.invoke.progress', (each) => each.invokeId === id && each.stream === 'stdin')
    const send = (id: string, seq: number, piece: object) =>
      link.event('node.invoke.input', { id, nodeId: link.nodeId, seq, payloadJSON: JSON.stringify(piece) })
    send(id, 0, { data: 'one\n' })
    await link.request('node.invoke.progress', (each) => each.invokeId === id && each.chunk === '4')
    send(id, 1, { end: true })
    t.equal(ran(await link.result(id)).stdout, 'one\n')

    const deaf = apart(['sleep', '60'], { stdin: 'pipe' })
    for (let seq = 0; seq < 80; seq++) send(deaf, seq, { data: 'x'.repeat(16_000) })
    t.match(await link.result(deaf), { ok: false, error: { code: 'INPUT_OVERFLOW' } })
  })
  const killed = await run(link, { command: sh('kill -9 $$') })
  t.match(killed, { signal: 'SIGKILL' })
})

t.test('the environment of a run', async (t) => {
  const secret = 'canary-5f1c2d'
  const env = {
    PATH: process.env.PATH!,
    HARMLESS: 'yes',
    OPENCLAW_GATEWAY_TOKEN: secret,
    OPENCLAW_GATEWAY_PASSWORD: secret
  }
  const { link } = await connectedNode(t, { env })
  const shown = async (given: object, command: string[] = ['env']) =>
    new Map(
      (await run(link, { command, env: given })).stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/=(.*)/s) as [string, string])
    )

  t.test("is the node's own, without its secrets", async (t) => {
    const seen = await shown({})
    t.equal(seen.get('HARMLESS'), 'yes')
    t.notOk([...seen.values()].includes(secret))
  })
  t.test('takes what changes nothing about what runs', async (t) => {
    t.equal((await shown({ LC_ALL: 'C', MY_FLAG: '1' })).get('MY_FLAG'), '1')
  })
  t.test('of a shell takes only the names on the list', async (t) => {
    const seen = await shown({ LC_ALL: 'C', NO_COLOR: '1', MY_FLAG: '1' }, sh('env'))
    t.same([seen.get('LC_ALL'), seen.get('NO_COLOR'), seen.get('MY_FLAG')], ['C', '1', undefined])
  })
  t.test('is refused what steers the command', async (t) => {
    const names = [
      'PATH',
      'HOME',
      'LD_PRELOAD',
      'DYLD_INSERT_LIBRARIES',
      'NODE_OPTIONS',
      'BASH_ENV',
      'IFS',
      'GIT_SSH_COMMAND'
    ]
    const others = [
      'PYTHONPATH',
      'npm_config_x',
      'https_proxy',
      'OPENCLAW_STATE_DIR',
      'SSL_CERT_FILE',
      'Path',
      'ld_preload'
    ]
    for (const name of [...names, ...others]) {
      for (const command of [['true'], sh('true')]) {
        const { error } = await link.invoke('system.run', { command, env: { [name]: 'x' } })
        t.match(error, { code: 'INVALID_REQUEST', message: `(blocked override keys: ${name.toUpperCase()})` }, name)
      }
    }
    for (const name of ['', '1A', 'A-B', 'A B', 'A=B', 'é']) {
      const { error } = await link.invoke('system.run', { command: ['true'], env: { [name]: 'x' } })
      t.match(error, { code: 'INVALID_REQUEST', message: /invalid non-portable override keys/ }, `"${name}"`)
    }
  })
  t.match((await link.invoke('system.run', { command: ['true'], env: { A: 1 } })).error, { code: 'INVALID_REQUEST' })
})

t.test('what is said of a command and the command agree', async (t) => {
  const { link } = await connectedNode(t)
  const said = async (command: string[], rawCommand: string) =>
    (await link.invoke('system.run', { command, rawCommand })).ok
  t.ok(await said(['echo', 'a b'], 'echo "a b"'))
  t.ok(await said(sh('echo a'), 'echo a'), "a shell's script speaks for it")
  t.ok(await said(sh('echo a'), 'sh -c "echo a"'))
  t.notOk(await said(['echo', 'x'], 'rm -rf /'))
  t.notOk(await said(sh('rm -rf /'), 'echo a'))
})

t.test('runs beyond a number are refused, and those before them answered', async (t) => {
  const { link } = await connectedNode(t)
  const file = join(tempDir(t), 'go')
  const ids = Array.from({ length: 65 }, () =>
    link.start('system.run', { command: sh(`while ! [ -e '${file}' ]; do sleep 0.05; done`) })
  )
  t.match(await link.result(ids[64]!), { ok: false, error: { code: 'BUSY' } })
  writeFileSync(file, '')
  const results = await Promise.all(ids.slice(0, 64).map((id) => link.result(id)))
  t.ok(results.every(({ ok }) => ok))
})
