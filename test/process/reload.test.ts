import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { cli, controlUi, RawClient, TestDevice } from '../support/client.ts'
import { startProcess, type TestProcess, TOKEN, tempDir } from '../support/gateway.ts'

type Json = Record<string, unknown>

t.jobs = 2
t.setTimeout(100_000)

const NEXT = 'the-next-shared-token-0123456789abc'
const APPLIED = 'configuration applied'
const command = new URL('../../src/cli/main.ts', import.meta.url).pathname

/** A gateway process whose configuration file is edited while it runs. */
async function running(
  t: Test,
  gateway: Json = {},
  files: Record<string, string> = {},
  env: Record<string, string> = {}
) {
  const stateDir = tempDir(t)
  for (const [name, content] of Object.entries(files)) writeFileSync(join(stateDir, name), content, { mode: 0o600 })
  let section: Json = { mode: 'local', auth: { mode: 'token', token: TOKEN }, ...gateway }
  const child = await startProcess(t, { stateDir, config: JSON.stringify({ gateway: section }), env })
  const file = join(stateDir, 'openclaw.json')
  const owner = await RawClient.open(`ws+unix://${stateDir}/gateway.sock:/`)
  await owner.connect({ client: cli })
  t.teardown(() => owner.close())
  return {
    ...child,
    file,
    owner,
    /** As an editor saves: a new file in place of the old one. */
    edit(change: Json | string) {
      if (typeof change !== 'string') section = { ...section, ...change }
      writeFileSync(`${file}.new`, typeof change === 'string' ? change : JSON.stringify({ gateway: section }), {
        mode: 0o600
      })
      renameSync(`${file}.new`, file)
    },
    run: (...args: string[]) => run(child, args, env)
  }
}

async function run({ stateDir }: TestProcess, args: string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [command, ...args], {
    env: { PATH: process.env.PATH, HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const [code, out, err] = await Promise.all([
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
    text(child.stdout),
    text(child.stderr)
  ])
  return { code, out, err }
}

const status = async (gateway: { http: string }, token: string, headers: Record<string, string> = {}) =>
  (await fetch(`${gateway.http}/metrics`, { headers: { authorization: `Bearer ${token}`, ...headers } })).status

async function arrive(
  t: Test,
  url: string,
  params: Json,
  options: { headers?: Record<string, string>; device?: TestDevice } = {}
) {
  const client = await RawClient.open(url, options.headers === undefined ? {} : { headers: options.headers })
  t.teardown(() => client.close())
  const { ok, error, payload } = await client.connect(params, options.device)
  if (!ok) throw new Error(error?.message)
  return { client, payload, closed: client.closed }
}

const CHANGED = { code: 4001, reason: 'gateway auth changed' }

t.test('S14: a rotated shared secret ends what rested on it, at once, and nothing else', async (t) => {
  const gateway = await running(t)
  const by = {
    token: await arrive(t, gateway.ws, { auth: { token: TOKEN } }),
    device: undefined as never as Awaited<ReturnType<typeof arrive>>
  }
  const device = new TestDevice()
  const paired = await arrive(
    t,
    gateway.ws,
    { client: cli, auth: { token: TOKEN }, scopes: ['operator.read'] },
    { device }
  )
  const deviceToken = paired.payload?.auth.deviceToken as string
  by.device = await arrive(t, gateway.ws, { client: cli, auth: { deviceToken }, scopes: ['operator.read'] }, { device })
  const made = (await gateway.owner.call('gateway.tokens.create', { name: 'x', scopes: ['operator.read'] }))
    .payload as Json
  const named = await arrive(t, gateway.ws, { auth: { token: made.token as string }, scopes: ['operator.read'] })

  const rotated = await gateway.run('gateway', 'auth-token', '--rotate', '--json')
  t.equal(rotated.code, 0, rotated.err)
  t.match(JSON.parse(rotated.out), { ok: true, running: true, path: gateway.file })
  t.equal(await status(gateway, TOKEN), 401, 'the old one is dead on the next request')
  t.match(await by.token.closed, CHANGED)
  t.match(await paired.closed, CHANGED, 'a device that came by the shared secret too')
  const next = /token: "([^"]+)"|"token":"([^"]+)"/.exec(readFileSync(gateway.file, 'utf8'))
  const token = (next?.[1] ?? next?.[2])!
  t.not(token, TOKEN)
  t.notMatch(rotated.out + rotated.err + gateway.output(), token, 'S22: nobody has said it')
  t.equal(await status(gateway, token), 200)
  for (const [name, { client }] of [
    ['device token', by.device],
    ['named token', named]
  ] as const)
    t.ok((await client.call('health')).ok, `a socket by ${name} stays`)
  t.ok((await gateway.owner.call('health')).ok)
  const { payload } = await gateway.owner.call('gateway.audit.list', { kind: 'secret.rotated' })
  t.match(payload, { events: [{ kind: 'secret.rotated', detail: 'gateway.auth.token' }] })
})

t.test('a mismatch is explained in the log, by fingerprints alone', async (t) => {
  const gateway = await running(t)
  t.equal(await status(gateway, 'wrong'), 401)
  await gateway.said('http refused')
  const print = (secret: string) => createHash('sha256').update(secret).digest('hex').slice(0, 8)
  t.match(gateway.output(), `"expected":{"source":"gateway.auth.token","fingerprint":"${print(TOKEN)}"}`)
  const explained = await gateway.run('auth', 'explain', '--port', String(gateway.port), '--json')
  const [target] = (JSON.parse(explained.out) as { targets: { steps: Json[] }[] }).targets
  t.match(
    target?.steps.find(({ outcome }) => outcome === 'used'),
    { source: 'gateway.auth.token', fingerprint: print(TOKEN) }
  )
  const other = await gateway.run('auth', 'explain', '--url', 'ws://127.0.0.1:1', '--token', 'wrong')
  t.match(other.out, `sent (${print('wrong')})`)
  for (const { out } of [explained, other]) t.notMatch(out, TOKEN, 'S22')
})

t.test('edits of the file apply while the gateway runs', { jobs: 1 }, async (t) => {
  const gateway = await running(t, { trustedProxies: ['127.0.0.1'] })
  let applied = 0
  const edit = async (change: Json) => {
    gateway.edit(change)
    await gateway.said(APPLIED, ++applied)
  }
  await t.test('auth secrets', async (t) => {
    const { closed } = await arrive(t, gateway.ws, { auth: { token: TOKEN } })
    await edit({ auth: { mode: 'token', token: NEXT } })
    t.match(await closed, CHANGED)
    t.same([await status(gateway, TOKEN), await status(gateway, NEXT)], [401, 200])
  })
  await t.test('origins, and the pages that they let in', async (t) => {
    await edit({ controlUi: { allowedOrigins: ['https://desk.example'] } })
    const headers = { origin: 'https://desk.example' }
    const page = await arrive(
      t,
      gateway.ws,
      { client: controlUi, auth: { token: NEXT }, scopes: [] },
      { headers: { ...headers }, device: new TestDevice() }
    )
    const plain = await arrive(t, gateway.ws, { auth: { token: NEXT } })
    await edit({ controlUi: { allowedOrigins: ['https://other.example'] } })
    t.match(await page.closed, CHANGED)
    t.equal(await status(gateway, NEXT, headers), 403)
    t.ok((await plain.client.call('health')).ok)
  })
  await t.test('proxies, and the callers that they speak for', async (t) => {
    const headers = { 'x-forwarded-for': '203.0.113.7' }
    const proxied = await arrive(t, gateway.ws, { auth: { token: NEXT } }, { headers })
    await edit({ trustedProxies: ['10.0.0.1'] })
    t.match(await proxied.closed, CHANGED)
    t.equal(await status(gateway, NEXT, headers), 403)
  })
  await t.test('limits', async (t) => {
    await edit({ auth: { mode: 'token', token: NEXT, rateLimit: { maxAttempts: 2, exemptLoopback: false } } })
    t.equal(await status(gateway, 'wrong'), 401)
    t.equal(await status(gateway, 'wrong'), 401)
    t.equal(await status(gateway, NEXT), 429)
    await edit({ auth: { mode: 'token', token: NEXT } })
    t.equal(await status(gateway, NEXT), 200, 'this machine is exempt again')
  })
  await t.test('D7: the name it answers to', async (t) => {
    await edit({ publicOrigin: 'https://gateway.example' })
    const client = await RawClient.open(gateway.ws, { headers: { host: 'gateway.example' } })
    await client.close()
    t.pass()
  })
})

t.test('identities, and the sockets that rest on them', async (t) => {
  const proxy = (more: Json = {}, auth: Json = {}) => ({
    trustedProxies: ['127.0.0.1'],
    auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: 'x-user', allowLoopback: true, ...more }, ...auth }
  })
  const gateway = await running(t, proxy())
  const as = (user: string) =>
    arrive(
      t,
      gateway.ws,
      { client: cli, scopes: [] },
      { headers: { 'x-forwarded-for': '203.0.113.7', 'x-user': user } }
    )
  const [nick, boss] = [await as('nick@example.com'), await as('boss@example.com')]
  gateway.edit(proxy({}, { identityScopes: { 'boss@example.com': ['operator.read'] } }))
  t.match(await boss.closed, CHANGED, 'whose scopes changed')
  t.ok((await nick.client.call('health')).ok, 'and nobody else')
  gateway.edit(proxy({ allowUsers: ['boss@example.com'] }))
  t.match(await nick.closed, CHANGED, 'who is not allowed any more')
  await t.rejects(as('nick@example.com'))
})

t.test('what cannot be applied changes nothing, and says why', async (t) => {
  const gateway = await running(t)
  const { client } = await arrive(t, gateway.ws, { auth: { token: TOKEN } })
  const problem = async () => ((await gateway.owner.call('status')).payload!.configReload as Json).problem
  for (const [index, [broken, want]] of (
    [
      ['{ gateway: { mode: "local",, } }', /openclaw\.json:1:\d+ — not valid JSON5/],
      ['{ gateway: { mode: "local", nope: 1 } }', /Unrecognized key: "nope"/],
      ['{ gateway: { mode: "local", auth: { mode: "token" } } }', /no token is configured/],
      [
        '{ gateway: { mode: "local", auth: { mode: "token", token: "x" }, trustedProxies: ["0.0.0.0/0"] } }',
        /trustedProxies/
      ],
      [
        '{ gateway: { mode: "local", auth: { token: { source: "env", provider: "default", id: "NOT_SET" } } } }',
        /NOT_SET/
      ],
      ['{}', /missing gateway\.mode/]
    ] as const
  ).entries()) {
    gateway.edit(broken)
    await gateway.said('configuration not applied', index + 1)
    t.match(await problem(), want)
    t.equal(await status(gateway, TOKEN), 200)
  }
  t.ok((await client.call('health')).ok, 'nobody is disturbed')
  gateway.edit({})
  await gateway.said('configuration is valid again')
  t.equal(await problem(), undefined)
})

t.test('what waits for a restart says so', async (t) => {
  const gateway = await running(t)
  const other = gateway.port === 65_535 ? 1_024 : gateway.port + 1
  const set = await gateway.run('config', 'set', 'gateway.bind', 'lan')
  t.match(set.out, /Restart the gateway to apply: gateway\.bind/)
  await gateway.said('restart the gateway to apply these settings')
  const both = await gateway.run(
    'config',
    'patch',
    `{ gateway: { port: ${other}, controlUi: { allowedOrigins: ["https://a.example"] } } }`,
    '--json'
  )
  t.match(JSON.parse(both.out), { ok: true, changed: true, restart: true })
  const { payload } = await gateway.owner.call('status')
  t.match(payload, {
    gateway: { port: gateway.port, bind: 'loopback' },
    configReload: { mode: 'hybrid', restart: ['gateway.bind'] }
  })
  t.equal(await status(gateway, TOKEN, { origin: 'https://a.example' }), 200, 'the rest applies')
  t.match(
    (await gateway.run('config', 'set', 'gateway.publicOrigin', 'https://b.example')).out,
    /Restart the gateway to apply: gateway\.bind/
  )
})

t.test('a writer gets its answer before its own socket ends', async (t) => {
  const gateway = await running(t)
  const { client, closed } = await arrive(t, gateway.ws, { auth: { token: TOKEN } })
  const { payload } = await client.call('config.get', {})
  const raw = JSON.stringify({ gateway: { auth: { token: NEXT } } })
  const answer = await client.call('config.patch', { raw, baseHash: payload?.hash })
  t.ok(answer.ok, JSON.stringify(answer.error))
  t.match(await closed, CHANGED)
  t.equal(await status(gateway, NEXT), 200)
})

t.test('secrets that are kept elsewhere', async (t) => {
  const ref = { source: 'file', provider: 'here', id: 'value' }
  const stateDir = tempDir(t)
  const secret = join(stateDir, 'secret')
  writeFileSync(secret, TOKEN, { mode: 0o600 })
  const gateway = await running(t)
  gateway.edit(
    JSON.stringify({
      gateway: { mode: 'local', auth: { mode: 'token', token: ref } },
      secrets: { providers: { here: { source: 'file', path: secret, mode: 'singleValue' } } }
    })
  )
  t.equal(await status(gateway, TOKEN), 200)
  const refused = await gateway.run('gateway', 'auth-token', '--rotate')
  t.equal(refused.code, 1)
  t.match(refused.err, /gateway\.auth\.token is a reference/)
  writeFileSync(secret, NEXT)
  t.ok((await gateway.owner.call('secrets.reload')).ok)
  t.same([await status(gateway, TOKEN), await status(gateway, NEXT)], [401, 200])
})

t.test('gateway.reload.mode: off leaves the running gateway alone', async (t) => {
  const gateway = await running(t, { reload: { mode: 'off' } })
  const set = await gateway.run('config', 'set', 'gateway.auth.token', NEXT)
  t.match(set.err, /gateway\.reload\.mode is off/)
  t.equal(await status(gateway, TOKEN), 200)
  t.equal((await gateway.run('gateway', 'auth-token', '--rotate')).code, 0, 'but a rotation is meant now')
  t.equal(await status(gateway, TOKEN), 401)
})

t.test('a token that the environment decides is not rotated in the file', async (t) => {
  const gateway = await running(t, {}, {}, { OPENCLAW_GATEWAY_TOKEN: NEXT })
  const before = readFileSync(gateway.file, 'utf8')
  const refused = await gateway.run('gateway', 'auth-token', '--rotate')
  t.equal(refused.code, 1)
  t.match(refused.err, /OPENCLAW_GATEWAY_TOKEN decides the token/)
  t.equal(readFileSync(gateway.file, 'utf8'), before)
})

t.test(
  'S14: a named token that is revoked, or expires, is dead on the next request and its sockets close',
  async (t) => {
    const gateway = await running(t)
    const make = async (more: Json) =>
      (await gateway.owner.call('gateway.tokens.create', { scopes: ['operator.read'], ...more })).payload as {
        token: string
        id: string
      }
    const revoked = await make({ name: 'revoked' })
    const expiring = await make({ name: 'expiring', expiresInMs: 2_500 })
    const lan = await make({ name: 'lan', cidrs: ['10.0.0.0/8'] })
    const here = await make({ name: 'here', cidrs: ['127.0.0.0/8'] })
    t.same(
      await Promise.all([revoked, expiring, lan, here].map(({ token }) => status(gateway, token))),
      [200, 200, 401, 200]
    )
    const arrivals = await Promise.all(
      [revoked, expiring].map(({ token }) =>
        arrive(
          t,
          gateway.ws,
          { client: cli, auth: { token }, scopes: ['operator.read', 'operator.admin'] },
          { device: new TestDevice() }
        )
      )
    )
    for (const { payload } of arrivals) {
      t.strictSame(payload?.auth.scopes, ['operator.read'], 'S8: what it names, whatever is asked')
      t.equal(payload?.auth.deviceToken, undefined, 'S6: and it pairs nothing')
    }
    await gateway.owner.call('gateway.tokens.revoke', { name: 'revoked' })
    t.match(await arrivals[0]!.closed, { code: 1008, reason: 'token revoked' })
    t.match(await arrivals[1]!.closed, { code: 1008, reason: 'token expired' })
    for (const [{ token }, words, reason] of [
      [revoked, 'the token was revoked', 'token_revoked'],
      [expiring, 'the token expired', 'token_expired']
    ] as const) {
      const answer = await fetch(`${gateway.http}/metrics`, { headers: { authorization: `Bearer ${token}` } })
      t.equal(answer.status, 401)
      t.match(answer.headers.get('www-authenticate'), `error="invalid_token", error_description="${words}"`)
      const client = await RawClient.open(gateway.ws)
      t.match((await client.connect({ auth: { token } })).error, {
        details: { code: 'AUTH_TOKEN_MISMATCH', authReason: reason }
      })
      await client.close()
    }
    const { payload } = await gateway.owner.call('gateway.tokens.list', {})
    t.match(
      (payload as { tokens: Json[] }).tokens.find(({ name }) => name === 'here'),
      { state: 'live', lastUsedFrom: '127.0.0.1' }
    )
  }
)
