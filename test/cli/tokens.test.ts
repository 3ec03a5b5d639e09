import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import { cleanEnv, freePort, startGateway } from '../../scripts/gateway-process.ts'
import { spawnCli as cli, MAIN, startCli as start } from '../support/cli.ts'

const DAY = 86_400_000

const home = mkdtempSync(path.join(os.tmpdir(), 'cli-'))
t.teardown(() => rmSync(home, { recursive: true, force: true }))

t.test('what is missing or wrong is said with a full example, without a gateway', async (t) => {
  const env = { ...cleanEnv(home), OPENCLAW_GATEWAY_PORT: String(await freePort()) }
  const create = ['tokens', 'create', '--name', 'x', '--scopes', 'read']
  const example = 'fix: openclaw tokens create --name grafana --scopes operator.read --expires 90d\n'
  const rows: { args: string[]; err: RegExp | string }[] = [
    { args: ['tokens'], err: 'a command is missing\nfix: openclaw tokens --help' },
    { args: ['tokens', 'lits'], err: 'did you mean "list"?\nfix: openclaw tokens list' },
    {
      args: ['tokens', 'create', '--scopes', 'read'],
      err: `error: --name is missing: what is the token for?\n${example}`
    },
    { args: ['tokens', 'create', '--name', 'x'], err: `error: --scopes is missing: what may it do?\n${example}` },
    {
      args: ['tokens', 'create', '--name', 'x', '--scopes', 'raed'],
      err: /unknown scope "raed"; did you mean "read"\?\nfix: use any of admin, read, write, /
    },
    {
      args: ['tokens', 'create', '--name', 'x', '--scopes', 'read,operator.bogus'],
      err: 'unknown scope "operator.bogus"'
    },
    ...['', '0d', '1', '1w', '1.5h', '-1d', '2030-02-30', '2030-13-01', 'tomorrow', '1h ago'].map((when) => ({
      args: [...create, `--expires=${when}`],
      err: 'error: Invalid --expires. Use 90m, 12h, 30d, 1y, or a date such as 2030-01-31.\n'
    })),
    { args: ['tokens', 'revoke'], err: "missing required argument 'name'" },
    { args: ['audit', '--limit', '501'], err: 'Invalid --limit. Use a whole number from 1 to 500.' },
    { args: ['audit', '--before', 'x'], err: 'Invalid --before. Use a whole number from 1.' },
    { args: ['audit', '--outcome', 'x'], err: 'Allowed choices are allowed, denied, changed.' },
    { args: ['audit', '--kind', 'x'], err: /Allowed choices are connect, http, / },
    { args: ['audit', '--follow', '--before', '3'], err: '--follow and --before exclude each other' },
    { args: create, err: /the gateway is not running on this host/ },
    { args: ['audit'], err: /the gateway is not running on this host/ }
  ]
  for (const { args, err } of rows) {
    const outcome = await cli(args, env)
    t.equal(outcome.code, 1, args.join(' '))
    t.equal(outcome.stdout, '')
    t.match(outcome.stderr, err)
  }
})

t.test('with a running gateway', async (t) => {
  const gateway = await startGateway([MAIN])
  t.teardown(() => gateway.stop())
  const env = { ...cleanEnv(home), OPENCLAW_STATE_DIR: gateway.stateDir }
  const json = async (...args: string[]) => JSON.parse((await cli([...args, '--json'], env)).stdout)

  t.test('the owner makes a token; it is printed once, and told how to use', async (t) => {
    const { code, stdout, stderr } = await cli(
      ['tokens', 'create', '--name', 'grafana', '--scopes', 'operator.read'],
      env
    )
    t.equal(stderr, '')
    t.equal(code, 0)
    t.match(stdout, 'grafana may read; it never expires.\n')
    t.equal(stdout.match(/oct_[\w-]{43}/g)?.length, 1)
    t.match(stdout, 'It is shown this once')
    t.match(stdout, `curl -H "Authorization: Bearer TOKEN" http://127.0.0.1:${gateway.port}/metrics\n`)
    t.match(stdout, `openclaw health --url ${gateway.url} --token TOKEN\n`)
    const again = await cli(['tokens', 'create', '--name', 'grafana', '--scopes', 'read'], env)
    t.equal(again.code, 1)
    t.match(again.stderr, /a live token has this name already.*\nfix: openclaw tokens revoke NAME/)
  })

  t.test('scopes, expiry and networks are taken as people write them', async (t) => {
    const made = await json(
      'tokens',
      'create',
      '--name',
      'ci bot',
      '--scopes',
      'write, read',
      '--scopes=read',
      '--expires',
      '30d',
      '--cidr',
      '10.0.0.0/8',
      '--cidr',
      '192.168.0.0/16,fd00::/8'
    )
    t.match(made, {
      name: 'ci bot',
      token: /^oct_/,
      scopes: ['operator.write', 'operator.read'],
      cidrs: ['10.0.0.0/8', '192.168.0.0/16', 'fd00::/8']
    })
    t.equal(made.scopes.length, 2)
    const rows: [string, (now: number) => number][] = [
      ['90m', (now) => now + 90 * 60_000],
      ['12h', (now) => now + DAY / 2],
      ['1y', (now) => now + 365 * DAY],
      ['10y', (now) => now + 3_650 * DAY],
      ['2030-01-31', () => Date.UTC(2030, 0, 31)],
      ['2030-01-31T12:30+02:00', () => Date.UTC(2030, 0, 31, 10, 30)]
    ]
    for (const [when, want] of rows) {
      const now = Date.now()
      const { expiresAtMs } = await json('tokens', 'create', '--name', when, '--scopes', 'read', '--expires', when)
      t.ok(Math.abs(expiresAtMs - want(now)) < 15_000, when)
    }
    t.match(await json('tokens', 'create', '--name', 'late', '--scopes', 'read', '--expires', '11y'), {
      ok: false,
      error: { code: 'INVALID_REQUEST', message: /within ten years/ }
    })
    t.match(await json('tokens', 'create', '--name', 'wide', '--scopes', 'read', '--cidr', '0.0.0.0/0'), {
      error: { message: /not "0\.0\.0\.0\/0"/ }
    })
  })

  t.test('tokens list fits 80 columns, shows the live first, and no token', async (t) => {
    await json('tokens', 'create', '--name', `long ${'n'.repeat(59)}`, '--scopes', 'admin,talk,questions,pairing')
    t.match(await json('tokens', 'revoke', '12h'), { id: /-/, name: '12h', revokedAtMs: Number })
    const { tokens } = await json('tokens', 'list')
    const { stdout } = await cli(['tokens', 'list'], env)
    const lines = stdout.trimEnd().split('\n')
    t.match(lines[0], /^NAME +STATE +SCOPES +EXPIRES +LAST USED$/)
    for (const line of lines) t.ok([...line].length <= 80, line)
    t.match(stdout, /\ngrafana +live +read +never +never\n/)
    t.match(stdout, /\nci bot +live +write,read .*\n {2}only from 10\.0\.0\.0\/8\n {2}only from 192/)
    t.match(lines.at(-1), /^12h +revoked /)
    t.match(stdout, /\nlong n+… +live +admin,talk,ques… /)
    t.notMatch(stdout + JSON.stringify(tokens), /oct_/)
    t.equal(tokens.length, 9)
    t.match(tokens.at(-1), { name: 'grafana', createdBy: 'owner', state: 'live', connected: false })
  })

  t.test('tokens revoke takes a name or an id, and says what it did', async (t) => {
    const { code, stdout } = await cli(['tokens', 'revoke', 'grafana'], env)
    t.equal(code, 0)
    t.equal(stdout, 'Revoked grafana; its connections are closed.\n')
    const { id } = (await json('tokens', 'list')).tokens.find(({ name }: { name: string }) => name === '90m')
    t.match(await json('tokens', 'revoke', id), { id, name: '90m' })
    const again = await cli(['tokens', 'revoke', id], env)
    t.equal(again.code, 1)
    t.match(again.stderr, /no such token, or it is revoked already\nfix: openclaw tokens list/)
    const secret = `oct_${'x'.repeat(43)}`
    const mistaken = await cli(['tokens', 'revoke', secret], env)
    t.equal(mistaken.code, 1)
    t.notMatch(mistaken.stdout + mistaken.stderr, secret)
  })

  t.test('audit shows what happened, newest first, filtered and paged', async (t) => {
    const { stdout, code } = await cli(['audit'], env)
    t.equal(code, 0)
    const [head, ...rows] = stdout.split('\n')
    t.match(head, /^TIME +OUTCOME +WHAT +WHO +FROM +METHOD +WHY$/)
    const revoked = rows.find((row) => row.includes('token.revoked'))
    t.match(revoked, /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2} {2}changed {2}token\.revoked +owner +local +owner +90m$/)
    t.notMatch(stdout, '\u001b', 'no colour away from a terminal')
    const page = await json('audit', '--kind', 'token.created', '--limit', '2', '--who', 'OWN')
    t.equal(page.events.length, 2)
    t.match(page.events[0], { kind: 'token.created', outcome: 'changed', detail: /^long n+: operator\.admin, / })
    const older = await json('audit', '--kind', 'token.created', '--before', String(page.nextBefore))
    t.equal(older.events.at(-1).detail, 'grafana: operator.read')
    t.notMatch(JSON.stringify([page, older]), /oct_/)
    t.equal((await cli(['audit', '--address', '192.0.2.1'], env)).stdout, 'Nothing of this is recorded.\n')
  })

  t.test('audit --follow prints what happens, and ends with its reader', async (t) => {
    const child = start(['audit', '--follow', '--json', '--limit', '1', '--kind', 'token.revoked'], env)
    t.teardown(() => child.kill('SIGKILL'))
    const closed = once(child, 'close')
    const lines: { kind: string; detail: string }[] = []
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n')
      rest = parts.pop()!
      lines.push(...parts.map((line) => JSON.parse(line)))
    })
    while (lines.length < 1) await once(child.stdout, 'data')
    await json('tokens', 'revoke', '1y')
    await json('tokens', 'revoke', '10y')
    while (lines.length < 3) await once(child.stdout, 'data')
    t.same(
      lines.map(({ kind, detail }) => `${kind} ${detail}`),
      ['token.revoked 90m', 'token.revoked 1y', 'token.revoked 10y']
    )
    child.stdout.destroy()
    await json('tokens', 'revoke', 'ci bot')
    t.same(await closed, [0, null])
  })
})
