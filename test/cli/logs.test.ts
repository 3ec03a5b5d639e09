import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isAtLeast, lineText, parseLine } from '../../src/cli/logs/line.ts'
import { styleOf } from '../../src/cli/output.ts'
import { followLog, runCli, spawnCli } from '../support/cli.ts'
import { freePort, startApp, startProcess, TOKEN, tempDir } from '../support/gateway.ts'

t.setTimeout(110_000)

const plain = styleOf({ color: false })

t.test('a line is taken apart, whoever wrote it', async (t) => {
  const rows: [name: string, raw: string, want: string][] = [
    [
      'ours',
      '{"level":"info","_meta":{"logLevelName":"INFO"},"time":"2026-11-25T10:00:00.000Z","port":1,"message":"ready"}',
      '2026-11-25T10:00:00.000Z info  ready port=1'
    ],
    [
      "the reference's",
      '{"0":"{\\"subsystem\\":\\"gateway/ws\\"}","1":"hi","_meta":{"logLevelName":"WARN","name":"{\\"subsystem\\":\\"gateway/ws\\"}"},"time":"2026-11-25T10:00:00.000+00:00","hostname":"vm","message":"hi"}',
      '2026-11-25T10:00:00.000Z warn  [gateway/ws] hi'
    ],
    ['an error', '{"level":"error","err":{"message":"no","stack":"x"},"message":"failed"}', 'error failed err="no"'],
    ['no JSON', 'hello \u001b[31mred', 'hello \\x1b[31mred'],
    ['JSON of another kind', '[1]', '[1]'],
    ['a message that writes to the terminal', '{"message":"a\\u0007b","level":"info"}', 'info  a\\x07b'],
    ['a level that does', '{"message":"a","level":"\\u001b[2J"}', '\\x1b[2J a'],
    ['a message that would be two', '{"message":"a\\nerror b","level":"info"}', 'info  a\\nerror b'],
    ['a field that would be another line', '{"message":"a","level":"info","k":"v\\nb"}', 'info  a k=v\\nb'],
    ['a level that every object has', '{"message":"a","level":"__proto__"}', '__proto__ a']
  ]
  for (const [name, raw, want] of rows) t.equal(lineText(parseLine(raw), plain, true), want, name)
  t.match(lineText(parseLine(rows[0]![1]), plain, false), /^2026-11-\d\dT\d\d:\d\d:00\.000[+-]\d\d:\d\d info /)
  t.ok(isAtLeast(parseLine('text'), 'error'))
  t.notOk(isAtLeast(parseLine(rows[0]![1]), 'warn'))
  t.ok(isAtLeast(parseLine(rows[1]![1]), 'warn'))
})

t.test('the log of a gateway', async (t) => {
  const app = await startApp(t)
  const file = join(app.stateDir, 'logs/gateway.log')
  const line = (level: string, message: string) => JSON.stringify({ level, time: '2026-11-25T10:00:00.000Z', message })
  writeFileSync(file, ['one', 'two', 'three'].map((each, at) => `${line(at === 1 ? 'warn' : 'info', each)}\n`).join(''))
  const env = { HOME: tempDir(t) }
  const target = ['--url', app.ws, '--token', TOKEN]
  t.test('is shown from elsewhere', async (t) => {
    const { out, err, code } = await runCli(env, ['logs', ...target, '--limit', '2', '--utc'])
    t.equal(out, '2026-11-25T10:00:00.000Z warn  two\n2026-11-25T10:00:00.000Z info  three\n')
    t.match(err, `Log file: ${file}`)
    t.equal(code, 0)
  })
  t.test('by level, of which the limit counts those that are shown', async (t) => {
    const { out } = await runCli(env, ['logs', ...target, '--limit', '1', '--level', 'warn', '--utc'])
    t.equal(out, '2026-11-25T10:00:00.000Z warn  two\n')
  })
  t.test('as JSON, one record a line', async (t) => {
    const { out } = await runCli(env, ['logs', ...target, '--json'])
    const records = out
      .trim()
      .split('\n')
      .map((each) => JSON.parse(each))
    t.match(records[0], { type: 'meta', file, sourceKind: 'file', cursor: Number, size: Number })
    t.match(records[1], {
      type: 'log',
      time: '2026-11-25T10:00:00.000Z',
      level: 'info',
      message: 'one',
      raw: line('info', 'one')
    })
    t.equal(records.length, 4)
  })
  t.test('is not read here when a gateway elsewhere is meant', async (t) => {
    const { err, code } = await runCli({ ...env, OPENCLAW_STATE_DIR: app.stateDir }, [
      'logs',
      '--url',
      'ws://127.0.0.1:1',
      '--token',
      'x'
    ])
    t.match(err, /^error: no gateway answers at/)
    t.equal(code, 1)
  })
  t.test('what makes no sense is refused', async (t) => {
    const rows: [string[], RegExp][] = [
      [['--limit', '0'], /Invalid --limit\. Use a whole number from 1 to 5000/],
      [['--interval', '5'], /Invalid --interval/],
      [['--max-bytes', 'x'], /Invalid --max-bytes/],
      [['--level', 'loud'], /Allowed choices are trace, debug/]
    ]
    for (const [words, want] of rows) t.match(await runCli(env, ['logs', ...words]), { code: 1, err: want })
  })
})

t.test('whoever follows sees a gateway restart', async (t) => {
  const port = await freePort()
  const config = JSON.stringify({ gateway: { mode: 'local', port, auth: { mode: 'token', token: TOKEN } } })
  const first = await startProcess(t, { config, port })
  const { stateDir } = first
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, PATH: process.env.PATH }
  const { child, says, ended, said } = followLog(t, env)
  await says(/"message":"ready"/)
  first.child.kill('SIGTERM')
  await first.exited
  await says(/"type":"notice","message":"[^"]*again in/)
  await startProcess(t, { stateDir, port })
  await says(/gateway reconnected/)
  await says(/"message":"stopping".*"message":"stopped".*"message":"ready"/s)
  t.equal(said().split('"message":"stopped"').length, 2, 'nothing is shown twice')
  child.kill('SIGINT')
  t.equal(await ended, 0)
})

t.test('a gateway that is stopped has a log too', async (t) => {
  const stateDir = tempDir(t)
  mkdirSync(join(stateDir, 'logs'))
  const file = join(stateDir, 'logs/gateway.log')
  const port = String(await freePort())
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, OPENCLAW_GATEWAY_PORT: port, PATH: process.env.PATH }
  t.match(await spawnCli(['logs'], env), { code: 1, stderr: /is not running on this host/ }, 'unless it never ran')
  writeFileSync(file, '{"level":"error","message":"the last"}\n')
  const { stdout, stderr, code } = await spawnCli(['logs'], env)
  t.equal(stdout, 'error the last\n')
  t.match(stderr, 'no gateway answers here')
  t.equal(code, 0)
  const { child, says, ended } = followLog(t, env)
  await says(/the last/)
  appendFileSync(file, '{"level":"info","message":"and on"}\n')
  await says(/and on/)
  child.stdout.destroy()
  appendFileSync(file, '{"level":"info","message":"to nobody"}\n')
  t.equal(await ended, 0, 'it ends when nobody reads any more')
  t.match(readFileSync(file, 'utf8'), 'to nobody')
})
