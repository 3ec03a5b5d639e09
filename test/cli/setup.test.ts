import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import JSON5 from 'json5'
import t, { type Test } from 'tap'
import { parsePlace } from '../../src/cli/setup/place.ts'
import { pipeToCli, runCli, spawnCli } from '../support/cli.ts'
import { fakeSystemd } from '../support/fake-systemd.ts'
import { freePort, startApp, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { KEY, noTerminal, typedCli } from '../support/pty.ts'
import { insideOwnSshFolder, noSshd, sshFile, startSshd, withOwnSshFolder } from '../support/sshd.ts'
import { fingerprintOf, makePair } from '../support/tls.ts'
import { tlsFront } from '../support/tls-front.ts'

t.setTimeout(110_000)

/** A host where nothing is set up, unless a configuration is given. */
function host(t: Test, config?: string) {
  const home = tempDir(t)
  const stateDir = join(home, '.openclaw')
  const file = join(stateDir, 'openclaw.json')
  const env = { PATH: process.env.PATH, HOME: home }
  if (config !== undefined) {
    mkdirSync(stateDir, { mode: 0o700 })
    writeFileSync(file, config, { mode: 0o600 })
  }
  return {
    home,
    stateDir,
    file,
    env,
    setup: (...words: string[]) => runCli(env, ['setup', ...words]),
    json: async (...words: string[]) => JSON.parse((await runCli(env, ['setup', '--json', ...words])).out),
    text: () => (existsSync(file) ? readFileSync(file, 'utf8') : undefined),
    config: () => JSON5.parse(readFileSync(file, 'utf8')).gateway
  }
}

/** Ends the gateway that a host has started in the background, once the test is over. */
function endAfter(t: Test, { stateDir }: { stateDir: string }): void {
  const file = join(stateDir, 'gateway.pid')
  t.teardown(() => void (existsSync(file) && process.kill(Number(readFileSync(file, 'utf8')))))
}

if (!insideOwnSshFolder) {
  words()
  local()
  remote()
  typed()
}
if (noSshd !== false) t.test('a gateway behind ssh', { skip: noSshd }, async () => {})
else withOwnSshFolder(t, import.meta.filename, ssh)

function words(): void {
  t.test('an address is read as people write it, and nothing else is one', async (t) => {
    const rows: { text: string; want: unknown }[] = [
      { text: 'ssh://me@host', want: { kind: 'ssh', target: { user: 'me', host: 'host', port: undefined } } },
      { text: ' ssh://host:2222/ ', want: { kind: 'ssh', target: { user: undefined, host: 'host', port: 2222 } } },
      { text: 'SSH://me@[::1]:22', want: { kind: 'ssh', target: { user: 'me', host: '::1', port: 22 } } },
      { text: 'ssh://-oProxyCommand=x', want: 'SSH_TARGET_INVALID' },
      { text: 'ssh://me@host/path', want: 'USAGE' },
      { text: 'ssh://', want: 'USAGE' },
      { text: 'wss://gateway.example:8443', want: { kind: 'direct' } },
      { text: 'ws://192.168.1.5:18789', want: { kind: 'direct' } },
      { text: 'ws://gateway.example', want: 'URL_INSECURE' },
      { text: 'ws://127.evil.com', want: 'URL_INSECURE' },
      { text: 'wss://me:secret@gateway.example', want: 'URL_CREDENTIALS' },
      { text: 'https://gateway.example/', want: 'USAGE' },
      { text: 'gateway.example', want: 'USAGE' },
      { text: '', want: 'USAGE' },
      { text: `oc-pair://${'a'.repeat(80)}`, want: { kind: 'code' } },
      { text: 'b'.repeat(200), want: { kind: 'code' } }
    ]
    for (const { text, want } of rows) {
      if (typeof want === 'string') t.throws(() => parsePlace(text), { code: want }, text)
      else t.match(parsePlace(text), want as object, text)
    }
  })

  t.test('S22: what is no address is not said again, because it may be a secret', async (t) => {
    const code = Buffer.from(JSON.stringify({ bootstrapToken: 'canary', url: 'wss://gateway.example' })).toString(
      'base64'
    )
    const rows: [text: string, fix: string][] = [
      [`${code.slice(0, 50)} ${code.slice(50)}`, 'ssh://user@gateway-host'],
      [`${code}.`, 'ssh://user@gateway-host'],
      ['https://gateway.example:8443/join/canary', 'wss://gateway.example:8443'],
      ['http://me:canary@gateway.example', 'ws://gateway.example'],
      ['ssh://me:canary@gateway.example', 'ssh://user@gateway-host']
    ]
    for (const [text, fix] of rows) {
      const { err } = await host(t).setup('--non-interactive', '--remote', text)
      t.match(err, `--remote ${fix}\n`)
      t.notMatch(err, /canary/)
      t.notMatch(err, code.slice(0, 20))
    }
  })

  t.test('what contradicts itself is refused before anything is done', async (t) => {
    const here = host(t)
    const rows: { words: string[]; says: RegExp }[] = [
      { words: [], says: /no terminal to ask at[\s\S]*--mode local[\s\S]*--remote ADDRESS/ },
      { words: ['--mode', 'remote'], says: /address of the gateway is missing/ },
      { words: ['--mode', 'elsewhere'], says: /Allowed choices are local, remote/ },
      { words: ['--remote', 'wss://a', '--remote-url', 'wss://b'], says: /--remote and --remote-url/ },
      {
        words: ['--remote', 'wss://a', '--gateway-bind', 'lan'],
        says: /--gateway-bind is for the gateway of this host/
      },
      {
        words: ['--remote', 'wss://a', '--gateway-token', 'x'],
        says: /--gateway-token is for the gateway of this host/
      },
      { words: ['--mode', 'local', '--tls-fingerprint', 'x'], says: /--tls-fingerprint is for a gateway elsewhere/ },
      { words: ['--remote', 'wss://a', '--tls-fingerprint', 'x'], says: /--tls-fingerprint is no fingerprint/ },
      { words: ['--remote', 'wss://a', '--remote-port', '1'], says: /--remote-port is for ssh:\/\// },
      {
        words: ['--remote', 'ws://10.0.0.1', '--tls-fingerprint', 'ab'.repeat(32)],
        says: /--tls-fingerprint is for wss:\/\//
      },
      { words: ['--mode', 'local', '--token', 'x', '--password', 'y'], says: /--token and --password, not both/ },
      { words: ['--mode', 'local', '--token', ' '], says: /--token is empty/ },
      { words: ['--mode', 'local', '--token-file', join(here.home, 'none')], says: /--token-file .* cannot be read/ },
      { words: ['--mode', 'local', '--gateway-port', '0'], says: /Invalid --gateway-port/ },
      { words: ['--mode', 'local', '--gateway-auth', 'token', '--password', 'x'], says: /auth.mode is to be token/ },
      { words: ['--setup-code', 'a'.repeat(60), '--no-verify'], says: /--no-verify makes none/ },
      { words: ['--mode', 'local', '--wait', 'long'], says: /Invalid --wait/ }
    ]
    for (const { words, says } of rows) {
      const { code, err } = await here.setup(...words)
      t.equal(code, 1, words.join(' '))
      t.match(err, says, words.join(' '))
    }
    t.notOk(existsSync(here.stateDir), 'nothing was begun')
  })
}

function local(): void {
  t.test('by options: one change, with a secret wherever the network reaches it (R3)', async (t) => {
    const generated = { mode: 'token', token: /^[\w-]{43}$/ }
    const rows: { words: string[]; env?: Record<string, string>; want: object | string; made?: string }[] = [
      { words: [], want: { mode: 'local', auth: generated }, made: 'gateway.auth.token' },
      {
        words: ['--gateway-bind', 'lan', '--gateway-port', '19001'],
        want: { bind: 'lan', port: 19001, auth: generated },
        made: 'gateway.auth.token'
      },
      { words: ['--gateway-bind', 'tailnet', '--token', 'abc'], want: { auth: { mode: 'token', token: 'abc' } } },
      {
        words: ['--gateway-auth', 'password'],
        want: { auth: { mode: 'password', password: /^[\w-]{43}$/ } },
        made: 'gateway.auth.password'
      },
      { words: ['--gateway-password', 'abc'], want: { auth: { mode: 'password', password: 'abc' } } },
      { words: ['--gateway-auth', 'none'], want: { auth: { mode: 'none' } } },
      { words: ['--gateway-auth', 'none', '--gateway-bind', 'lan'], want: 'CONFIG_WOULD_NOT_START' },
      { words: ['--gateway-auth', 'trusted-proxy'], want: 'CONFIG_WOULD_NOT_START' },
      { words: ['--tailscale', 'funnel'], want: 'CONFIG_WOULD_NOT_START' },
      { words: ['--tailscale', 'serve', '--gateway-bind', 'lan'], want: 'CONFIG_WOULD_NOT_START' },
      { words: ['--tailscale', 'serve'], want: { tailscale: { mode: 'serve' } }, made: 'gateway.auth.token' },
      {
        words: ['--gateway-token-ref-env', 'MY_TOKEN'],
        env: { MY_TOKEN: 'abc' },
        want: { auth: { mode: 'token', token: { source: 'env', provider: 'default', id: 'MY_TOKEN' } } }
      },
      { words: ['--gateway-token-ref-env', 'MY_TOKEN'], want: 'CONFIG_SECRET_UNRESOLVED' },
      { words: [], env: { OPENCLAW_GATEWAY_TOKEN: 'abc' }, want: { auth: { mode: 'token', token: undefined } } },
      { words: [], env: { OPENCLAW_CONFIG_READONLY: '1' }, want: 'CONFIG_READ_ONLY' }
    ]
    for (const { words, env, want, made } of rows) {
      const here = host(t)
      const name = `${words.join(' ') || 'nothing'} ${Object.keys(env ?? {})}`
      const said = await runCli({ ...here.env, ...env }, [
        'setup',
        '--mode',
        'local',
        '--skip-daemon',
        '--json',
        ...words
      ])
      const answer = JSON.parse(said.out)
      if (typeof want === 'string') {
        t.equal(answer.error.code, want, name)
        t.notOk(existsSync(here.file), `${name}: nothing was written`)
        continue
      }
      t.match(answer, { ok: true, mode: 'local', verified: false, gateway: { state: 'stopped' } }, name)
      t.equal(answer.generated, made, name)
      t.match(here.config(), want, name)
      t.equal(statSync(here.file).mode & 0o777, 0o600, name)
      const { auth } = here.config()
      for (const secret of [auth.token, auth.password])
        if (typeof secret === 'string') t.notMatch(said.out, secret, name)
    }
  })

  t.test('what is there stays, unless an option names it', async (t) => {
    const before = `// mine\n{ gateway: { mode: 'local', port: 19002, auth: { token: 'kept' }, bind: 'lan' }, agents: { list: [] } }\n`
    const here = host(t, before)
    t.match(await here.json('--non-interactive', '--skip-daemon'), { ok: true, changed: [] })
    t.equal(here.text(), before, 'not a byte of it')
    t.same((await here.json('--gateway-port', '19003', '--skip-daemon')).changed, ['gateway.port'])
    t.equal(here.text(), before.replace('19002', '19003'))
    t.equal(readFileSync(`${here.file}.bak`, 'utf8'), before)
    const other = host(t, `{ gateway: { mode: 'remote', remote: { url: 'wss://gateway.example' } } }`)
    const { changed } = await other.json('--mode', 'local', '--skip-daemon')
    t.same(changed, ['gateway.mode', 'gateway.auth.mode', 'gateway.auth.token'])
    t.match(other.config(), { mode: 'local', remote: { url: 'wss://gateway.example' } })
  })

  t.test('a broken configuration is left alone, with what mends it', async (t) => {
    for (const text of ['{ gateway: ', '{ gateway: { port: "x" } }', '{ gateway: { unheard: 1 } }']) {
      for (const words of [
        ['--mode', 'local'],
        ['--remote', 'wss://gateway.example']
      ]) {
        const here = host(t, text)
        const { code, err } = await here.setup(...words)
        t.equal(code, 78, text)
        t.match(err, /openclaw\.json:1[\s\S]*Nothing was changed[\s\S]*fix: openclaw doctor --fix/)
        t.equal(here.text(), text)
      }
    }
  })

  t.test('it starts the gateway, and does not end before it answers', async (t) => {
    const here = host(t)
    endAfter(t, here)
    const port = await freePort()
    const { code, stdout, stderr } = await spawnCli(
      ['setup', '--non-interactive', '--start', '--gateway-port', String(port)],
      here.env
    )
    const pid = Number(readFileSync(join(here.stateDir, 'gateway.pid'), 'utf8'))
    t.equal(code, 0, stderr)
    t.match(stdout, /It works: version/)
    t.match(stdout, new RegExp(`^Runs +yes, in the background until this host restarts \\(pid ${pid}\\)$`, 'm'))
    t.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200)

    const again = await here.json('--gateway-port', String(port), '--tailscale', 'off')
    t.match(again, { verified: true, gateway: { state: 'running', pid }, connection: { method: 'owner' } })
    const late = await here.json('--gateway-bind', 'lan')
    t.match(late, {
      verified: true,
      changed: ['gateway.bind'],
      warnings: [/takes this at its next start: gateway\.bind/]
    })

    const scripted = await spawnCli(
      ['onboard', '--non-interactive', '--accept-risk', '--skip-skills', '--json'],
      here.env
    )
    t.match(JSON.parse(scripted.stdout), { verified: true, changed: [] }, 'as scripts of the reference say it')

    const absent = host(t)
    const refused = await absent.json('--non-interactive')
    t.match(refused, { ok: false, error: { code: 'GATEWAY_UNREACHABLE', fix: /--start/ }, written: true })
    const taken = await spawnCli(['setup', '--json', '--start', '--gateway-port', String(port)], absent.env)
    const { error } = JSON.parse(taken.stdout)
    t.match(error, { code: 'GATEWAY_NOT_STARTED', message: new RegExp(`Port ${port} is already in use`) })
  })

  t.test('it installs the gateway as a service', async (t) => {
    const { env, home, pidOf } = fakeSystemd(t)
    const port = String(await freePort())
    const done = await spawnCli(['setup', '--json', '--install-daemon', '--gateway-port', port], env)
    t.equal(done.code, 0, done.stdout + done.stderr)
    const pid = pidOf('openclaw-gateway.service')
    t.match(JSON.parse(done.stdout), { verified: true, gateway: { state: 'installed', pid } })
    t.ok(pid)
    const again = await spawnCli(['setup', '--json', '--install-daemon', '--gateway-bind', 'lan'], env)
    t.match(JSON.parse(again.stdout), { verified: true, gateway: { pid }, warnings: [/at its next start/] })
    t.match(readFileSync(join(home, '.openclaw/openclaw.json'), 'utf8'), 'bind: "lan"')
    if (noTerminal !== false) return
    const fresh = fakeSystemd(t)
    const cli = typedCli(t, ['setup', '--mode', 'local', '--gateway-port', String(await freePort())], fresh.env)
    await cli.answer('From where may it be reached?', KEY.enter)
    await cli.answer('How do clients prove themselves?', KEY.enter)
    await cli.answer('As a service', KEY.enter)
    await cli.shows('It works: version')
    await cli.shows('as a service of this user')
    t.equal(await cli.exited, 0)
  })
}

function remote(): void {
  t.test('R34: TLS by options, tried before it is written', async (t) => {
    const { port } = await startApp(t)
    const pair = await makePair()
    const front = await tlsFront(t, pair, port)
    const pin = fingerprintOf(pair.cert)
    const here = host(t)
    const token = join(here.home, 'token')
    writeFileSync(token, `${TOKEN}\n`)
    const nobody = `wss://127.0.0.1:${await freePort()}`
    const rows: { name: string; words: string[]; want: object }[] = [
      {
        name: 'without a pin',
        words: ['--remote', front.wss],
        want: { code: 'TLS_UNTRUSTED', fix: new RegExp(`add --tls-fingerprint ${pin}`) }
      },
      {
        name: 'with another pin',
        words: ['--remote', front.wss, '--tls-fingerprint', 'ab'.repeat(32)],
        want: { code: 'TLS_PIN_MISMATCH' }
      },
      {
        name: 'with a wrong token',
        words: ['--remote', front.wss, '--tls-fingerprint', pin, '--token', 'wrong-canary'],
        want: { code: 'AUTH_TOKEN_MISMATCH', fix: /then add --token-file/ }
      },
      {
        name: 'with no token at all',
        words: ['--remote', front.wss, '--tls-fingerprint', pin],
        want: { code: 'DEVICE_IDENTITY_REQUIRED', message: /nothing was sent/ }
      },
      { name: 'where nobody listens', words: ['--remote', nobody], want: { code: 'GATEWAY_UNREACHABLE' } }
    ]
    for (const { name, words, want } of rows) {
      const said = await here.setup('--json', ...words)
      t.match(JSON.parse(said.out).error, want, name)
      t.notMatch(said.out + said.err, 'wrong-canary')
      t.notOk(existsSync(here.file), `${name}: nothing was written`)
    }

    const works = ['--remote', front.wss, '--tls-fingerprint', pin, '--token-file', token]
    const done = await here.json(...works)
    t.match(done, { ok: true, mode: 'remote', where: front.wss, verified: true, connection: { method: 'token' } })
    t.same(here.config(), {
      mode: 'remote',
      remote: { url: front.wss, transport: 'direct', token: TOKEN, tlsFingerprint: pin }
    })
    t.equal(statSync(here.file).mode & 0o777, 0o600)
    t.match((await runCli(here.env, ['health'])).out, 'Gateway is healthy', 'and commands go there')
    t.same((await here.json(...works)).changed, [], 'a second time changes nothing')
    const kept = await here.json('--remote', front.wss)
    t.match(kept, { verified: true, changed: [] }, 'the same gateway keeps its secret and its pin')

    const borrowed = host(t)
    const env = { ...borrowed.env, OPENCLAW_GATEWAY_TOKEN: TOKEN }
    const lent = await runCli(env, ['setup', '--json', ...works.slice(0, 4)])
    t.match(JSON.parse(lent.out), { verified: true, warnings: [/^OPENCLAW_GATEWAY_TOKEN let this host in/] })

    const input = ['setup', '--json', '--remote', front.wss, '--tls-fingerprint', pin, '--token-file', '-']
    t.match(JSON.parse(await pipeToCli(input, here.env, `${TOKEN}\n`)), { ok: true })
  })

  t.test('what is kept for one gateway goes to no other', async (t) => {
    const { ws } = await startApp(t)
    const config = `{ gateway: { mode: 'remote', remote: { url: 'wss://old.example', transport: 'direct', token: 'canary-old', tlsFingerprint: '${'ab'.repeat(32)}', edgeAuth: { 'x-key': 'canary' } } } }`
    const here = host(t, config)
    const refused = await here.json('--remote', ws)
    t.match(refused.error.message, 'nothing was sent', 'the old token was not')
    t.equal(here.text(), config)
    const done = await here.json('--remote', ws, '--token', TOKEN)
    t.same(
      done.changed,
      ['url', 'token', 'tlsFingerprint', 'edgeAuth'].map((key) => `gateway.remote.${key}`)
    )
    t.same(here.config().remote, { url: ws, transport: 'direct', token: TOKEN })
  })

  t.test('R33: plaintext to a public host is refused before a packet is sent', async (t) => {
    const here = host(t)
    for (const flag of [[], ['--force'], ['--no-verify']]) {
      const { error } = await here.json('--remote', 'ws://203.0.113.7:18789', '--token', 'x', ...flag)
      t.match(error, { code: 'URL_INSECURE', fix: /wss:\/\/203\.0\.113\.7/ })
    }
    t.notOk(existsSync(here.file))
  })

  t.test('it writes what was not tried, or did not work, only when told so', async (t) => {
    const nobody = `ws://127.0.0.1:${await freePort()}`
    const here = host(t)
    const forced = await here.setup('--remote', nobody, '--token', TOKEN, '--force')
    t.equal(forced.code, 0)
    t.match(forced.err, /warning: written all the same, as --force says: no gateway answers/)
    t.match(forced.out, /^Not tried +no connection was made$/m)
    const other = host(t)
    t.match(await other.json('--remote', nobody, '--skip-health'), { ok: true, verified: false })
    t.same(other.config().remote, { url: nobody, transport: 'direct' })
    const overridden = await runCli({ ...other.env, OPENCLAW_GATEWAY_URL: 'wss://x.example' }, [
      'setup',
      '--remote',
      nobody,
      '--no-verify'
    ])
    t.match(overridden.err, /warning: OPENCLAW_GATEWAY_URL is set/)
  })

  t.test('a setup code that leads nowhere is said to', async (t) => {
    const here = host(t)
    const code = (payload: object) => Buffer.from(JSON.stringify(payload)).toString('base64url')
    const rows = [
      { text: code({ url: 'wss://127.0.0.1:1', bootstrapToken: 'x' }), want: 'SETUP_CODE_LOOPBACK' },
      { text: code({ url: 'wss://gateway.example', bootstrapToken: 'x', expiresAtMs: 1 }), want: 'SETUP_CODE_EXPIRED' },
      { text: 'c'.repeat(60), want: 'SETUP_CODE_INVALID' },
      { text: code({ url: 'ws://gateway.example', bootstrapToken: 'canary' }), want: 'URL_INSECURE' }
    ]
    for (const { text, want } of rows) {
      const said = await here.setup('--json', '--setup-code', text)
      t.equal(JSON.parse(said.out).error.code, want)
      t.notMatch(said.out, 'canary')
    }
  })
}

function typed(): void {
  const skip = noTerminal

  t.test('in a terminal: questions, a gateway that runs, and the next command', { skip }, async (t) => {
    const here = host(t)
    endAfter(t, here)
    const port = await freePort()
    const cli = typedCli(t, ['setup'], here.env)
    await cli.answer('Where does the gateway run?', KEY.enter)
    await cli.answer('Which port?', `${KEY.erase}x${KEY.enter}`)
    await cli.answer('Invalid port', `${KEY.erase}${port}${KEY.enter}`)
    await cli.answer('From where may it be reached?', KEY.enter)
    await cli.answer('How do clients prove themselves?', KEY.down + KEY.enter)
    await cli.answer('The password', `typed-canary${KEY.enter}`)
    await cli.answer('Start it now?', KEY.enter)
    await cli.shows('It works: version')
    await cli.shows('openclaw dashboard')
    t.equal(await cli.exited, 0)
    t.match(here.config(), { port, bind: 'loopback', auth: { mode: 'password', password: 'typed-canary' } })
    t.notMatch(cli.screen(), 'typed-canary', 'what is typed as a secret is not shown')
  })

  t.test('in a terminal: what is there is shown, and kept', { skip }, async (t) => {
    const before = `{ gateway: { mode: 'local', port: 19004, auth: { token: 'kept' } } }`
    const here = host(t, before)
    const cli = typedCli(t, ['setup', '--mode', 'local'], here.env)
    await cli.answer('has a gateway (port 19004, bind loopback, auth token). Keep it as it is?', KEY.enter)
    await cli.answer('Start it now?', KEY.down + KEY.enter)
    t.equal(await cli.exited, 0)
    t.equal(here.text(), before)
  })

  t.test('in a terminal: Ctrl-C leaves nothing by halves', { skip }, async (t) => {
    const steps: [question: string, keys: string][] = [
      ['Where does the gateway run?', KEY.enter],
      ['Which port?', KEY.enter],
      ['From where may it be reached?', KEY.enter],
      ['How do clients prove themselves?', KEY.down + KEY.enter],
      ['The password', `secret${KEY.enter}`],
      ['Start it now?', '']
    ]
    await Promise.all(
      steps.map(async ([last], index) => {
        const here = host(t)
        const cli = typedCli(t, ['setup'], here.env)
        for (const [question, keys] of steps.slice(0, index)) await cli.answer(question, keys)
        await cli.answer(last, KEY.interrupt)
        t.equal(await cli.exited, 130, last)
        t.match(cli.screen(), 'cancelled; nothing was changed')
        t.notOk(existsSync(here.file), last)
      })
    )
    // While it waits for an answer of the network, no question is open.
    const server = createServer().listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const here = host(t)
    const silent = `ws://127.0.0.1:${(server.address() as { port: number }).port}`
    const cli = typedCli(t, ['setup', '--remote', silent, '--token', 'x'], here.env)
    await cli.answer('Waiting for the gateway', KEY.interrupt)
    t.equal(await cli.exited, 130)
    t.notOk(existsSync(here.stateDir) && readdirSync(here.stateDir).length > 0, 'not even a lock is left')
  })

  t.test('in a terminal: a certificate is compared, a token asked for again', { skip }, async (t) => {
    const { port } = await startApp(t)
    const pair = await makePair()
    const front = await tlsFront(t, pair, port)
    const pin = fingerprintOf(pair.cert)
    const here = host(t)
    const no = typedCli(t, ['setup', '--remote', front.wss, '--token', TOKEN], here.env)
    await no.answer('Is it the same?', KEY.enter)
    t.equal(await no.exited, 1)
    t.notOk(existsSync(here.file), 'no is the answer unless somebody says yes')

    const cli = typedCli(t, ['setup'], here.env)
    await cli.answer('Where does the gateway run?', KEY.down + KEY.enter)
    await cli.answer('Where is the gateway?', `gateway${KEY.enter}`)
    await cli.answer('is no address of a gateway', `${KEY.erase}${front.wss}${KEY.enter}`)
    await cli.answer('How does this host prove itself there?', KEY.enter)
    await cli.answer('The token', `wrong${KEY.enter}`)
    await cli.shows(pin)
    await cli.answer('Is it the same?', `y`)
    await cli.shows('It does not work yet')
    await cli.answer('How does this host prove itself there?', KEY.enter)
    await cli.answer('The token', `${TOKEN}${KEY.enter}`)
    await cli.shows('It works: version')
    t.equal(await cli.exited, 0)
    t.same(here.config().remote, { url: front.wss, transport: 'direct', token: TOKEN, tlsFingerprint: pin })
    t.notMatch(cli.screen(), TOKEN)
  })
}

function ssh(): void {
  t.test('R32: through ssh, with a host key that somebody has looked at', async (t) => {
    const sshd = await startSshd(t)
    const app = await startApp(t)
    const here = host(t)
    const known = (text: string) => writeFileSync(sshFile('known_hosts'), text, { mode: 0o600 })
    const words = [
      '--remote',
      `ssh://${sshd.target}`,
      '--ssh-identity',
      sshd.identity,
      '--remote-port',
      String(app.port)
    ]
    known('')
    const unknown = await here.json(...words, '--token', TOKEN)
    const shown = /SHA256:[A-Za-z0-9+/]+/.exec(unknown.error.message)?.[0]
    t.match(unknown.error, {
      code: 'SSH_HOST_KEY_UNKNOWN',
      message: /it shows ssh-ed25519 SHA256:/,
      fix: /log in once by hand/
    })
    t.equal(readFileSync(sshFile('known_hosts'), 'utf8'), '', 'nobody said yes')
    t.notOk(existsSync(here.file))

    const typedWords = ['setup', ...words, '--token', TOKEN]
    if (noTerminal === false) {
      const no = typedCli(t, typedWords, here.env)
      await no.shows(shown!)
      await no.answer('shall ssh remember it?', KEY.enter)
      t.equal(await no.exited, 1)
      t.equal(readFileSync(sshFile('known_hosts'), 'utf8'), '')
      const yes = typedCli(t, typedWords, here.env)
      await yes.shows(shown!)
      await yes.answer('shall ssh remember it?', 'y')
      await yes.shows('It works: version')
      t.equal(await yes.exited, 0)
      t.match(readFileSync(sshFile('known_hosts'), 'utf8'), sshd.hostLine.split(' ').at(-1)!)
    }
    known('')
    const claim = `echo debug1: Server host key: ssh-ed25519 SHA256:${'A'.repeat(43)} >&2`
    const unchecked = `ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i ${sshd.identity}`
    const proxy = `sh -c "${claim}; exec ${unchecked} -p ${sshd.port} -W %h:%p 127.0.0.1"`
    for (const way of [`ProxyJump ${sshd.target}`, `ProxyCommand ${proxy}`]) {
      const jump = `Host far\n    HostName localhost\n    Port ${sshd.port}\n    ${way}\n`
      writeFileSync(sshFile('config'), jump, { mode: 0o600 })
      const far = await here.json('--remote', 'ssh://far', '--token', TOKEN)
      t.match(far.error, { code: 'SSH_HOST_KEY_UNKNOWN', fix: /log in once by hand/ })
      t.notMatch(far.error.message, 'SHA256:', 'what a host on the way says is not shown as the key of the gateway')
    }
    writeFileSync(sshFile('config'), '')

    known(`${sshd.hostLine}\n`)
    t.match(await here.json(...words, '--token', TOKEN), { ok: true, verified: true, where: `ssh://${sshd.target}` })
    t.same(here.config().remote, {
      url: 'ws://127.0.0.1:18789',
      transport: 'ssh',
      sshTarget: sshd.target,
      sshIdentity: sshd.identity,
      remotePort: app.port,
      token: TOKEN
    })
    const { code, stdout } = await spawnCli(['status', '--deep'], here.env)
    t.equal(code, 0)
    t.match(stdout, /^Tunnel +ssh /m)
    await runCli(here.env, ['config', 'set', 'gateway.remote.url', 'ws://127.0.0.1:18790'])
    t.match(await here.json('--remote', `ssh://${sshd.target}`), { verified: true, changed: [] }, 'what is there stays')

    const fresh = host(t)
    const rows: { name: string; words: string[]; want: object }[] = [
      { name: 'a wrong token', words: [...words, '--token', 'wrong'], want: { code: 'AUTH_TOKEN_MISMATCH' } },
      {
        name: 'no gateway behind it',
        words: [...words.slice(0, 4), '--remote-port', String(await freePort()), '--token', TOKEN],
        want: { code: 'SSH_GATEWAY_DOWN' }
      },
      {
        name: 'nobody listens',
        words: ['--remote', `ssh://127.0.0.1:${await freePort()}`, '--token', TOKEN],
        want: { code: 'SSH_UNREACHABLE' }
      }
    ]
    for (const { name, words, want } of rows) t.match((await fresh.json(...words)).error, want, name)
    known(sshd.hostLine.replace(/ \S+$/, ' AAAAC3NzaC1lZDI1NTE5AAAAIE4LtWPlzXCXGAZQDS9HpJOJwDYZLHYc4yGGBjmU0Vp8'))
    t.match((await fresh.json(...words, '--token', TOKEN)).error, { code: 'SSH_HOST_KEY_CHANGED' })
    t.notOk(existsSync(fresh.file))
  })

  t.test('R34: TLS behind ssh is pinned as well', async (t) => {
    const sshd = await startSshd(t)
    writeFileSync(sshFile('known_hosts'), `${sshd.hostLine}\n`, { mode: 0o600 })
    const gateway = await startProcess(t, {
      config: JSON.stringify({
        gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN }, tls: { enabled: true } }
      })
    })
    const [pin] = /sha256:\w+/.exec(gateway.output())!
    const here = host(t)
    const words = [
      '--remote',
      `ssh://${sshd.target}`,
      '--ssh-identity',
      sshd.identity,
      '--remote-port',
      String(gateway.port)
    ]
    const done = await here.json(...words, '--token', TOKEN, '--tls-fingerprint', pin!)
    t.match(done, { ok: true, verified: true })
    t.match(here.config().remote, { url: 'wss://127.0.0.1:18789', tlsFingerprint: pin })
    t.equal((await spawnCli(['health'], here.env)).code, 0)
  })
}
