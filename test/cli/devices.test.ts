import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import jsQR from 'jsqr'
import t, { type Test } from 'tap'
import { lockState } from '../../src/store/lock.ts'
import { runCli, type Said, spawnCli } from '../support/cli.ts'
import { cli, nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { freePort, startProcess, type TestProcess, TOKEN, tempDir } from '../support/gateway.ts'

type Json = Record<string, unknown>
type Decoder = (data: Uint8ClampedArray, width: number, height: number) => { data: string } | null

t.jobs = 2
t.setTimeout(100_000)

const decode = jsQR as unknown as Decoder
const far = { headers: { 'x-forwarded-for': '203.0.113.7' } }
const CSI = '\u001b['

function configOf(port: number, more: Json = {}): string {
  const gateway = { mode: 'local', port, auth: { mode: 'token', token: TOKEN }, trustedProxies: ['127.0.0.1'], ...more }
  return JSON.stringify({ gateway })
}

function envOf(stateDir: string): NodeJS.ProcessEnv {
  return { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, PATH: process.env.PATH }
}

async function start(t: Test, stateDir: string, more: Json = {}): Promise<TestProcess> {
  const port = await freePort()
  return startProcess(t, { stateDir, port, config: configOf(port, more) })
}

async function stop({ child, exited }: TestProcess): Promise<void> {
  child.kill('SIGTERM')
  await exited
}

/** Connects once with the shared secret; the id of the request that this left, if it was refused. */
async function comes(gateway: TestProcess, device: TestDevice, more: Json, away = true): Promise<string | undefined> {
  const client = await RawClient.open(gateway.ws, away ? far : {})
  const { ok, error } = await client.connect({ auth: { token: TOKEN }, client: cli, ...more }, device)
  await client.close()
  return ok ? undefined : (error?.details?.requestId as string)
}

for (const mode of ['while the gateway runs', 'while it is stopped'] as const) {
  t.test(`devices ${mode}: every command, for people and as JSON`, async (t) => {
    const offline = mode === 'while it is stopped'
    const stateDir = tempDir(t)
    const gateway = await start(t, stateDir)
    const kitchen = new TestDevice()
    const both = new TestDevice()
    const [tablet, phone, hostile] = [new TestDevice(), new TestDevice(), new TestDevice()]
    const named = (displayName: string) => ({ client: { ...cli, displayName } })
    await comes(gateway, kitchen, { ...named('Kitchen'), scopes: ['operator.read'] }, false)
    await comes(gateway, both, { scopes: ['operator.read'] }, false)
    await comes(gateway, both, { role: 'node', scopes: [], client: nodeHost }, false)
    const first = await comes(gateway, tablet, { ...named('Tablet'), scopes: ['operator.read'] })
    const second = await comes(gateway, hostile, { ...named(`x${CSI}31mred\r\n\u009b2J`), scopes: [] })
    const third = await comes(gateway, phone, { scopes: ['operator.admin'] })
    const latest = await comes(gateway, kitchen, { ...named('Kitchen'), scopes: ['operator.read', 'operator.write'] })
    if (offline) await stop(gateway)

    const env = envOf(stateDir)
    const note = offline ? `note: no gateway runs here; working on ${stateDir} itself\n` : ''
    const run = async (...words: string[]): Promise<Said> => runCli(env, ['devices', ...words])
    const says = async (words: string[], out: RegExp | string) => {
      const said = await run(...words)
      t.match(said.out, out, words.join(' '))
      t.equal(said.err, note)
      t.equal(said.code, 0)
      t.notOk((said.out + said.err).includes('\u001b'), 'without colour or anybody’s escapes')
      return said.out
    }
    const fails = async (words: string[], err: RegExp | string, code?: string) => {
      const said = await run(...words)
      t.equal(said.code, 1, words.join(' '))
      t.match(said.err, err)
      t.match(said.err, /\nfix: |^fix: /, 'and names what mends it')
      const document = JSON.parse((await run(...words, '--json')).out)
      t.match(document, { ok: false, error: { code: code ?? String, message: String, fix: String } })
    }
    const json = async (...words: string[]) => JSON.parse((await run(...words, '--json')).out)

    const shown = await says(['list'], /^REQUEST +DEVICE +WHY +AGE +FROM\n/)
    t.match(shown, new RegExp(`${latest?.slice(0, 8)} +Kitchen +scope-upgrade +\\S+ +203.0.113.7`))
    t.match(shown, `  would get operator: read,write (paired already)\n  openclaw devices approve ${latest}\n`)
    t.match(shown, /cli +not-paired .*\n {2}would get operator: admin\n/)
    t.match(shown, /x\\x1b\[31mred/, 'a name is shown as what it is')
    t.match(shown, /\nDEVICE +NAME +PAIRED BY +SEEN +MAY\n/)
    t.match(shown, new RegExp(`${both.id.slice(0, 12)} +\\S+ +silent +\\S+ ago +operator: read \\+ node\n`))
    for (const line of shown.split('\n')) {
      if (!line.startsWith('  ')) t.ok([...line].length <= 80, `fits 80 columns: ${line}`)
    }
    const inventory = await json('list')
    t.equal(inventory.pending.length, 4)
    t.equal(inventory.paired.length, 2)
    t.match(inventory.pending[0], {
      requestId: latest,
      isRepair: true,
      reason: 'scope-upgrade',
      remoteIp: '203.0.113.7'
    })
    t.match(inventory.paired[0], { approvedVia: 'silent', connected: false, tokens: [] })

    await fails(['approve'], /4 devices wait for approval; name one, or take the newest/, 'SEVERAL_PENDING')
    await fails(['approve', 'nobody'], 'no request begins with "nobody"', 'REQUEST_UNKNOWN')
    await fails(['approve', third!.slice(0, 3)], 'or more than one does', 'REQUEST_UNKNOWN')
    await fails(['approve', third!, '--latest'], 'not both', 'USAGE')
    await fails(['reject', 'nobody'], 'no request begins with "nobody"', 'REQUEST_UNKNOWN')
    await fails(['reject'], "missing required argument 'request'", 'USAGE')
    const approved = await says(
      ['approve', '--latest'],
      /Approved\. Kitchen may now come in as operator: read,write\.\n$/
    )
    t.match(
      approved,
      /Why +scope-upgrade, paired already\nWould get +operator: read,write\n/,
      'says first what that means'
    )
    t.match(await json('approve', first!.slice(0, 8)), {
      requestId: first,
      device: { deviceId: tablet.id, approvedVia: 'owner', scopes: ['operator.read'] }
    })
    await says(['reject', second!], /^Rejected x\\x1b\[31mred.*It may ask again\.\n$/)
    await says(['approve'], /Approved\. cli may now come in as operator: admin\.\n$/)
    await fails(['approve'], 'no device waits for approval', 'NOTHING_PENDING')
    await fails(['approve', '--latest'], 'no device waits for approval', 'NOTHING_PENDING')

    await fails(['grant', 'nobody', '--admin'], 'no device is called "nobody"', 'DEVICE_UNKNOWN')
    await fails(['grant', 'kitchen'], 'say what to grant: --admin, or --scopes', 'USAGE')
    await fails(['grant', 'kitchen', '--admin', '--scopes', 'read'], 'say what to grant', 'USAGE')
    await fails(['grant', 'kitchen', '--scopes', 'raed'], 'unknown scope "raed"; did you mean "read"?', 'USAGE')
    await says(['grant', 'kitchen', '--scopes', 'approvals'], 'may now come in as operator: read,write,approvals.\n')
    await says(['grant', tablet.id.slice(0, 8), '--admin'], 'Granted. Tablet may now come in as operator: admin.\n')
    t.match(await json('grant', tablet.id, '--scopes', 'read'), {
      deviceId: tablet.id,
      device: { deviceId: tablet.id }
    })

    await fails(['rename', 'kitchen'], 'a device needs a name of 1 to 64 characters', 'USAGE')
    await fails(['rename', 'kitchen', 'x'.repeat(65)], 'a device needs a name of 1 to 64 characters', 'USAGE')
    await says(['rename', 'kitchen', 'Big', 'Kitchen'], 'Kitchen is now called Big Kitchen.\n')
    t.match(await json('rename', '--device', 'big kitchen', '--name', 'Kitchen'), {
      deviceId: kitchen.id,
      label: 'Kitchen'
    })
    await says(['rename', tablet.id, 'kitchen'], 'is now called kitchen.')
    await fails(['rotate', 'kitchen'], /"kitchen" may be any of .*; use more of the id/, 'DEVICE_AMBIGUOUS')
    await says(['rename', '--device', tablet.id, 'Tablet'], 'kitchen is now called Tablet.\n')

    await fails(['rotate'], 'which device? Name it by its id', 'USAGE')
    await fails(['rotate', both.id], 'has the roles operator and node; say which', 'USAGE')
    await fails(['rotate', both.id, '--role', 'chief'], 'device token rotation denied')
    await fails(['rotate', 'kitchen', '--scope', 'admin'], 'device token rotation denied')
    await fails(['rotate', 'kitchen', '--scope', 'read', '--no-scopes'], 'exclude each other', 'USAGE')
    await says(['rotate', both.id, '--role', 'node'], /needs the shared secret once more, .*: node\.\n$/)
    await says(['rotate', '--device', 'kitchen', '--scope', 'read'], 'gets a new token: operator: read.\n')
    t.match(await json('rotate', 'kitchen', '--no-scopes'), { scopes: [], tokenDelivery: 'withheld-cross-device' })

    await fails(['revoke', 'nobody'], 'no device is called "nobody"', 'DEVICE_UNKNOWN')
    await fails(['revoke', 'kitchen', '--role', 'node'], 'device token revocation denied')
    await says(['revoke', both.id, '--role', 'node'], 'may no longer come in as node; its connections are closed.\n')
    t.match(await json('revoke', both.id), { deviceId: both.id, role: 'operator', revokedAtMs: Number })
    await says(['list'], new RegExp(`${both.id.slice(0, 12)} +\\S+ +silent +.* +nothing\n`))
    await says(['grant', both.id, '--admin'], 'may now come in as operator: admin.\n')

    await fails(['remove', 'nobody'], 'no device is called "nobody"', 'DEVICE_UNKNOWN')
    await says(['remove', 'kitchen'], 'Removed Kitchen; its connections are closed.\n')
    t.match(await json('remove', '--device', tablet.id), { deviceId: tablet.id })

    await fails(['clear'], 'nothing was removed: that would end 2 paired devices', 'NOT_CONFIRMED')
    t.match(await run('list', '--timeout', 'soon'), { code: 1, err: 'Invalid --timeout. Use a number' })
    await fails(['lsit'], 'unknown command "devices lsit"; did you mean "list"?', 'USAGE')

    const audit = offline ? undefined : await runCli(env, ['audit', '--outcome', 'changed'])
    if (offline) {
      const again = await start(t, stateDir)
      t.equal(await comes(again, phone, { scopes: ['operator.admin'] }), undefined, 'what was approved stands')
      t.equal(await comes(again, both, { scopes: ['operator.admin'] }), undefined)
      t.ok(await comes(again, kitchen, { scopes: ['operator.read'] }), 'what was removed has to ask again')
      await stop(again)
      const trail = await start(t, stateDir)
      const { out } = await runCli(env, ['audit', '--outcome', 'changed', '--json'])
      const kinds = new Set((JSON.parse(out).events as { kind: string }[]).map(({ kind }) => kind))
      for (const kind of ['paired', 'rejected', 'granted', 'rotated', 'revoked', 'removed']) {
        t.ok(kinds.has(`device.${kind}`), `the trail says: ${kind}`)
      }
      await stop(trail)
    } else {
      t.match(audit?.out, /device\.granted/)
      await comes(gateway, hostile, { scopes: [] })
      await comes(gateway, phone, { client: { ...cli, platform: 'darwin' }, scopes: [] })
    }
    const cleared = await json('clear', '--pending', '--yes')
    t.equal(cleared.removedDevices.length, 2)
    t.equal(cleared.rejectedPending.length, offline ? 1 : 2)
    await says(['clear', '--yes'], 'There is nothing to remove.\n')
    await says(['list'], /^No device is paired\. Open the Control UI with "openclaw dashboard"/)
    if (!offline) await stop(gateway)
  })
}

t.test('the owner gets in whatever the configuration says, and works on nothing but their own state', async (t) => {
  const stateDir = tempDir(t)
  const env = envOf(stateDir)
  // Port 18789 may really be in use where the tests run.
  const fresh = await runCli({ ...env, OPENCLAW_GATEWAY_PORT: String(await freePort()) }, ['devices', 'list'])
  t.match(fresh, { code: 1, err: /the gateway is not running on this host.*\nfix: openclaw gateway/s })

  const gateway = await start(t, stateDir)
  const device = new TestDevice()
  const requestId = await comes(gateway, device, { scopes: ['operator.admin'] })
  await stop(gateway)
  const port = await freePort()
  const broken = ['{ gateway: ', JSON.stringify({ gateway: { mode: 'local', port: 'x' } })]
  for (const text of broken) {
    writeFileSync(join(stateDir, 'openclaw.json'), text)
    const said = await runCli(env, ['devices', 'list', '--json'])
    t.equal(JSON.parse(said.out).pending[0]?.requestId, requestId, 'a broken file keeps nobody out')
  }
  const elsewhere: [name: string, config: string, words: string[], env: NodeJS.ProcessEnv][] = [
    ['--url', configOf(port), ['--url', `ws://127.0.0.1:${port}`, '--token', TOKEN], {}],
    ['--port', configOf(port), ['--port', String(port)], {}],
    ['--token', configOf(port), ['--token', TOKEN], {}],
    ['OPENCLAW_GATEWAY_URL', configOf(port), [], { OPENCLAW_GATEWAY_URL: `ws://127.0.0.1:${port}` }],
    ['mode remote', configOf(port, { mode: 'remote', remote: { url: `ws://127.0.0.1:${port}`, token: TOKEN } }), [], {}]
  ]
  for (const [name, config, words, more] of elsewhere) {
    writeFileSync(join(stateDir, 'openclaw.json'), config)
    const said = await runCli({ ...env, ...more }, ['devices', 'approve', requestId!, ...words])
    t.equal(said.code, 1, `${name} means another gateway`)
    t.notMatch(said.err, 'working on')
  }
  writeFileSync(join(stateDir, 'openclaw.json'), configOf(port))

  const lock = lockState(stateDir, process.pid)
  const held = await runCli(env, ['devices', 'list'])
  t.match(held, { code: 1, err: /holds .*, and no gateway answers\nfix: openclaw doctor/ })
  if ('release' in lock) lock.release()

  const many = await Promise.all(Array.from({ length: 4 }, () => spawnCli(['devices', 'list', '--json'], env)))
  for (const { code, stdout } of many) {
    t.equal(code, 0, 'commands at the same time wait for each other')
    t.equal(JSON.parse(stdout).pending.length, 1)
  }
  const started = performance.now()
  t.equal((await spawnCli(['devices', 'approve', '--latest'], env)).code, 0)
  t.ok(performance.now() - started < 3_000, 'at once')
  const back = await start(t, stateDir)
  t.equal(await comes(back, device, { scopes: ['operator.admin'] }), undefined)
  await stop(back)
})

t.test('away from the host nobody approves what they have not named', async (t) => {
  const stateDir = tempDir(t)
  const gateway = await start(t, stateDir)
  const elsewhere = envOf(tempDir(t))
  const target = ['--url', gateway.ws, '--token', TOKEN]
  const requestId = await comes(gateway, new TestDevice(), { scopes: ['operator.read'] })
  const unnamed = await runCli(elsewhere, ['devices', 'approve', '--latest', ...target])
  t.match(unnamed, { code: 1, out: /Would get +operator: read/, err: `fix: openclaw devices approve ${requestId}\n` })
  t.match(await runCli(elsewhere, ['devices', 'approve', requestId!, ...target]), { code: 0, out: /Approved\./ })
  const next = await comes(gateway, new TestDevice(), { scopes: ['operator.read'] })
  const yes = await runCli(elsewhere, ['devices', 'approve', '--latest', '--yes', '--json', ...target])
  t.match(JSON.parse(yes.out), { requestId: next })
  await stop(gateway)
})

t.test('qr and setup codes', async (t) => {
  const stateDir = tempDir(t)
  const gateway = await start(t, stateDir)
  const env = envOf(stateDir)
  const url = 'wss://gateway.example.com'
  const payloadOf = (code: string) => JSON.parse(Buffer.from(code, 'base64url').toString()) as Json

  for (const words of [['qr'], ['devices', 'setup-code']]) {
    const said = await runCli(env, [...words, '--url', url])
    t.equal(said.code, 0)
    t.notOk(said.out.includes('\u001b'), 'no colour without a terminal')
    const code = /^ {2}([\w-]+)$/m.exec(said.out)?.[1] ?? ''
    t.equal(payloadOf(code).url, url)
    const drawn = said.out.split('\n').filter((line) => /^[█▀▄ ]+$/.test(line) && line.length > 20)
    t.equal(scan(drawn), code, `${words.join(' ')}: a phone reads it off the terminal`)
    for (const line of drawn) t.ok([...line].length <= 80, 'in 80 columns')
    t.match(said.out, /Gateway +wss:\/\/gateway\.example\.com \(from request\.publicUrl\)\n/)
    t.match(said.out, /Makes it +full: a node, and an operator with admin/)
    t.match(said.out, /Works +once, until 2\d{3}-/)
  }
  const painted = await runCli(env, ['qr', '--url', url], { color: true, isTTY: false })
  t.match(painted.out, `${CSI}97;40m`, 'on a terminal it is white on black, whatever the colours are')

  const plain = await runCli(env, ['qr', '--url', url, '--no-ascii', '--limited'])
  t.notMatch(plain.out, /[█▀▄]/)
  t.match(plain.out, /Makes it +limited: /)
  const only = await runCli(env, ['qr', '--public-url', url, '--setup-code-only', '--node'])
  t.match(only.out, /^[\w-]+\n$/)
  t.equal(only.err, '')

  const file = join(stateDir, 'code.png')
  const made = JSON.parse((await runCli(env, ['qr', '--url', url, '--json', '--png', file])).out)
  t.match(made, { setupId: String, gatewayUrl: url, auth: 'token', access: 'full', urlSource: 'request.publicUrl' })
  t.equal(statSync(file).mode & 0o777, 0o600, 'whoever sees the image may use it')
  t.equal(scanPng(readFileSync(file)), made.setupCode, 'a phone reads it off the image')

  const rows: [words: string[], err: RegExp | string][] = [
    [[], /listens on loopback only.*\nfix: openclaw config set gateway\.tailscale\.mode serve/s],
    [['--limited', '--node'], '--limited and --node exclude each other\nfix: openclaw qr --help'],
    [['--url', 'http://'], /is not the URL of a gateway.*\nfix: openclaw qr --url wss:/s],
    [['--url', 'ws://203.0.113.5:18789'], /is plaintext.*\nfix: openclaw qr --url wss:/s],
    [['--url', 'wss://user:secret@gateway.example.com'], 'is not the URL of a gateway'],
    [['--url', url, '--png', join(stateDir, 'no', 'such.png')], /cannot write .*\nfix: openclaw qr --png FILE/],
    [['--voice'], "unknown option '--voice'\nfix: openclaw qr --help"]
  ]
  for (const [words, err] of rows) {
    const said = await runCli(env, ['qr', ...words])
    t.equal(said.code, 1, words.join(' '))
    t.match(said.err, err)
    t.notMatch(said.err, 'secret')
  }
  const near = JSON.parse((await runCli(env, ['qr', '--url', 'ws://192.168.1.5:18789', '--json'])).out)
  t.match(near, { access: 'limited', accessDowngraded: true }, 'over plaintext a code is not worth everything')
  t.match((await runCli(env, ['qr', '--url', 'ws://192.168.1.5:18789'])).out, 'so the code is for limited control')

  t.match(await runCli(env, ['devices', 'join-code']), { code: 1, err: /listens on loopback only/ })
  await stop(gateway)
  t.match(await runCli(env, ['qr', '--url', url]), { code: 1, err: /is not running on this host.*\nfix: openclaw/s })

  const open = await start(t, stateDir, { publicOrigin: 'https://gateway.example.com' })
  const joined = await runCli(env, ['devices', 'join-code'])
  const path = /openclaw node run --pair https:\/\/gateway\.example\.com(\/j\/[\w-]{22})\n/.exec(joined.out)?.[1] ?? ''
  t.equal((await fetch(`${open.http}${path}`, { method: 'HEAD' })).status, 404, 'a mere look does not use it up')
  const fetched = await fetch(`${open.http}${path}`)
  t.equal(fetched.headers.get('cache-control'), 'no-store')
  const payload = (await fetched.json()) as Json
  t.match(payload, { url: 'wss://gateway.example.com', bootstrapToken: /^[\w-]{43}$/, expiresAtMs: Number })
  t.equal((await fetch(`${open.http}${path}`)).status, 404, 'a join link is good once')
  const link = JSON.parse((await runCli(env, ['devices', 'join-code', '--json'])).out)
  t.match(link, { joinUrl: /^https:\/\/gateway\.example\.com\/j\//, access: 'node' })
  await stop(open)

  const seen = [gateway, open].map((each) => each.output()).join() + readFileSync(join(stateDir, 'logs/gateway.log'))
  const codes = [made, near, link].map(({ setupCode }) => String(payloadOf(setupCode).bootstrapToken))
  for (const secret of [...codes, String(payload.bootstrapToken), path]) {
    t.notOk(seen.includes(secret), 'S13: no code is in what the gateway says or logs')
  }
})

t.test('each command has its help', async (t) => {
  const env = envOf(tempDir(t))
  const commands = ['list', 'approve', 'reject', 'grant', 'remove', 'rename', 'rotate', 'revoke', 'clear']
  const rows = [[], ...[...commands, 'setup-code', 'join-code'].map((each) => [each])]
  for (const words of [...rows.map((each) => ['devices', ...each]), ['qr']]) {
    const { code, out } = await runCli(env, [...words, '--help'])
    t.equal(code, 0)
    t.match(out, `Usage: openclaw ${words.join(' ')} `)
    if (words.length > 1) t.match(out, '--json')
    for (const line of out.split('\n')) t.ok(line.length <= 100, line)
  }
  const help = await spawnCli(['devices', '--help'], env)
  t.match(help, { code: 0, stdout: /approve --latest/, stderr: '' })
  t.match(await spawnCli(['devices'], env), { code: 1, stderr: /a command is missing\nfix: openclaw devices --help/ })
})

/** What a scanner reads off lines of half blocks: drawn is light, everything else dark. */
function scan(lines: readonly string[]): string | undefined {
  const modules = lines.flatMap((line) => [
    [...line].map((each) => each === '█' || each === '▀'),
    [...line].map((each) => each === '█' || each === '▄')
  ])
  return read(modules)
}

/** What a scanner reads off a PNG of one bit a pixel without filters. */
function scanPng(png: Buffer): string | undefined {
  const width = png.readUInt32BE(16)
  const at = png.indexOf('IDAT')
  const pixels = inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4)))
  const stride = Math.ceil(width / 8) + 1
  const bit = (x: number, y: number) => (pixels[y * stride + 1 + (x >> 3)]! & (0x80 >> (x & 7))) !== 0
  return read(
    Array.from({ length: width }, (_, y) => Array.from({ length: width }, (_, x) => bit(x, y))),
    1
  )
}

function read(light: readonly boolean[][], scale = 4): string | undefined {
  const width = Math.max(...light.map((row) => row.length)) * scale
  const height = light.length * scale
  const data = new Uint8ClampedArray(width * height * 4).fill(255)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (light[Math.floor(y / scale)]?.[Math.floor(x / scale)] !== true)
        data.fill(0, (y * width + x) * 4, (y * width + x) * 4 + 3)
    }
  }
  return decode(data, width, height)?.data
}
