import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { createServer } from 'node:net'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { checkGatewayUrl } from '../../src/client/url-policy.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import type { TlsConfig } from '../../src/config/types.ts'
import { type CertificateFact, readCertificate } from '../../src/security/certificate.ts'
import { type Facts, gatherFacts } from '../../src/security/facts.ts'
import { fileFindings } from '../../src/security/files.ts'
import { lookAtFiles } from '../../src/security/files-facts.ts'
import { type Finding, shellWord } from '../../src/security/finding.ts'
import { findingsOf } from '../../src/security/findings.ts'
import { type LiveFacts, liveFindings } from '../../src/security/live.ts'
import { closeFiles } from '../../src/security/repair.ts'
import { GUESSABLE_BITS, MIN_BITS, strengthOf } from '../../src/security/strength.ts'
import { tlsFindings } from '../../src/security/tls.ts'
import type { Pair } from '../../src/tls/generate.ts'
import { tempDir } from '../support/gateway.ts'
import { makePair, placesIn, putPair, VALID_DAYS, weakPair } from '../support/tls.ts'

t.jobs = 2

const DAY = 86_400_000
const brief = (findings: readonly Finding[]) => findings.map(({ checkId, severity }) => `${checkId} ${severity}`)

/** A state folder with everything in it that an audit looks at, closed as a gateway closes it. */
async function stateOf(t: Test, home = tempDir(t)) {
  const dir = join(home, '.openclaw')
  mkdirSync(join(dir, 'logs'), { recursive: true, mode: 0o700 })
  mkdirSync(join(dir, 'credentials'), { mode: 0o700 })
  const put = (name: string, text = 'x', mode = 0o600) => {
    writeFileSync(join(dir, name), text)
    chmodSync(join(dir, name), mode)
  }
  const config = {
    gateway: { mode: 'local', auth: { mode: 'token', token: { source: 'env', provider: 'default', id: 'TOKEN' } } },
    agents: { $include: './agents.json5' },
    secrets: {
      providers: {
        files: { source: 'file', path: join(dir, 'secrets.json') },
        vault: { source: 'exec', command: join(dir, 'vault') }
      }
    },
    channels: { telegram: { botToken: 'canary-bot' } }
  }
  put('openclaw.json', JSON.stringify(config))
  put('openclaw.json.bak', '{}')
  put('agents.json5', '{}')
  put('.env', '')
  put('secrets.json', '{}')
  put('vault', '#!/bin/sh\n', 0o755)
  for (const name of ['gateway.sqlite', 'gateway.sqlite-wal', 'gateway.sqlite-shm']) put(name)
  for (const name of ['logs/gateway.log', 'logs/gateway.log.1']) put(name)
  chmodSync(dir, 0o700)
  const server = createServer().listen(join(dir, 'gateway.sock'))
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  chmodSync(join(dir, 'gateway.sock'), 0o600)
  const env = { HOME: home, TOKEN: 'canary-8Qf3vLx0ZpWm2RkT7yBn4GsHd6JcUaEi' }
  const look = () => gatherFacts({ env, paths: resolvePaths(env), checkUrl: checkGatewayUrl })
  return { dir, look }
}

const fsOnly = (facts: Facts) => findingsOf(facts, Date.now()).filter(({ checkId }) => checkId.startsWith('fs.'))

const modes: [path: string, mode: number, want: string | undefined][] = [
  ['', 0o777, 'fs.state_dir.perms_world_writable critical'],
  ['', 0o770, 'fs.state_dir.perms_group_writable warn'],
  ['', 0o755, 'fs.state_dir.perms_readable warn'],
  ['', 0o711, 'fs.state_dir.perms_readable warn'],
  ['openclaw.json', 0o666, 'fs.config.perms_writable critical'],
  ['openclaw.json', 0o620, 'fs.config.perms_writable critical'],
  ['openclaw.json', 0o644, 'fs.config.perms_world_readable critical'],
  ['openclaw.json', 0o640, 'fs.config.perms_group_readable warn'],
  ['openclaw.json', 0o400, undefined],
  ['openclaw.json.bak', 0o644, 'fs.config_backup.perms_world_readable critical'],
  ['agents.json5', 0o664, 'fs.config_include.perms_writable critical'],
  ['agents.json5', 0o604, 'fs.config_include.perms_world_readable critical'],
  ['agents.json5', 0o640, 'fs.config_include.perms_group_readable warn'],
  ['.env', 0o644, 'fs.dotenv.perms_world_readable critical'],
  ['gateway.sqlite', 0o606, 'fs.database.perms_writable critical'],
  ['gateway.sqlite-wal', 0o640, 'fs.database.perms_readable warn'],
  ['gateway.sqlite-shm', 0o644, 'fs.database.perms_readable warn'],
  ['logs', 0o755, 'fs.logs_dir.perms_readable warn'],
  ['logs/gateway.log', 0o644, 'fs.log_file.perms_readable warn'],
  ['logs/gateway.log.1', 0o620, 'fs.log_file.perms_writable warn'],
  ['credentials', 0o770, 'fs.credentials_dir.perms_writable critical'],
  ['credentials', 0o750, 'fs.credentials_dir.perms_readable warn'],
  ['secrets.json', 0o644, 'fs.secret_file.perms_world_readable critical'],
  ['vault', 0o775, 'fs.secret_command.perms_writable critical'],
  ['vault', 0o755, undefined],
  ['gateway.sock', 0o666, 'fs.local_socket.perms_writable critical'],
  ['gateway.sock', 0o660, 'fs.local_socket.perms_writable critical']
]

t.test('permissions', async (t) => {
  const { dir, look } = await stateOf(t)
  t.same(fsOnly(await look()), [], 'what a gateway leaves is closed')
  for (const [name, mode, want] of modes) {
    await t.test(`${name || 'the state folder'} with mode ${mode.toString(8)}`, async (t) => {
      const path = join(dir, name)
      const before = statSync(path).mode & 0o777
      chmodSync(path, mode)
      const findings = fsOnly(await look())
      t.same(brief(findings), want === undefined ? [] : [want])
      t.notMatch(JSON.stringify(findings), /canary/)
      for (const { fix, detail } of findings) {
        t.match(detail, `mode ${mode.toString(8)}`)
        t.match(fix?.command, /^chmod (700|600|go-w) /)
        t.equal(spawnSync('sh', ['-c', fix?.command ?? 'false']).status, 0)
      }
      t.same(fsOnly(await look()), [], 'the command closes it')
      chmodSync(path, before)
    })
  }
  await t.test('the finding names the secrets in the file, not their text', async (t) => {
    chmodSync(join(dir, 'openclaw.json'), 0o644)
    t.match(fsOnly(await look())[0]?.detail, /It holds channels\.telegram\.botToken\./)
  })
})

t.test('--fix closes everything at once, and touches nothing else', async (t) => {
  const { dir, look } = await stateOf(t)
  const names = [...new Set(modes.map(([name]) => name))]
  for (const name of names) chmodSync(join(dir, name), 0o777)
  writeFileSync(join(dir, 'other'), 'x')
  chmodSync(join(dir, 'other'), 0o644)
  t.equal(fsOnly(await look()).length, names.length)
  const actions = await closeFiles(await look())
  t.ok(actions.every(({ ok }) => ok))
  t.equal(actions[0]?.path, dir, 'the folder first')
  t.same(fsOnly(await look()), [])
  t.equal(statSync(dir).mode & 0o777, 0o700)
  t.equal(statSync(join(dir, 'openclaw.json')).mode & 0o777, 0o600)
  t.equal(statSync(join(dir, 'vault')).mode & 0o777, 0o755, 'a program stays one')
  t.equal(statSync(join(dir, 'other')).mode & 0o777, 0o644)
  t.same(await closeFiles(await look()), [], 'and a second time there is nothing to do')
})

t.test('symbolic links', async (t) => {
  const { dir, look } = await stateOf(t)
  const elsewhere = join(tempDir(t), 'real config.json')
  renameSync(join(dir, 'openclaw.json'), elsewhere)
  chmodSync(elsewhere, 0o644)
  symlinkSync(elsewhere, join(dir, 'openclaw.json'))
  const findings = fsOnly(await look())
  t.same(brief(findings), ['fs.config.perms_world_readable critical', 'fs.config.symlink warn'])
  t.equal(findings[0]?.fix?.command, `chmod 600 ${shellWord(elsewhere)}`, 'the command names the target')
  t.match(await closeFiles(await look()), [{ ok: false, skipped: 'symbolic link' }])
  t.equal(statSync(elsewhere).mode & 0o777, 0o644, 'what a link leads to is left alone')
  t.equal(spawnSync('sh', ['-c', findings[0]?.fix?.command ?? 'false']).status, 0)
  t.same(brief(fsOnly(await look())), ['fs.config.symlink warn'])

  const home = tempDir(t)
  symlinkSync(dir, join(home, '.openclaw'))
  const env = { HOME: home }
  const facts = await gatherFacts({ env, paths: resolvePaths(env), checkUrl: checkGatewayUrl })
  t.same(brief(fsOnly(facts)), ['fs.config.symlink warn', 'fs.state_dir.symlink warn'].sort().reverse())
})

t.test('where the files lie, and whose they are', async (t) => {
  const folders: [name: string, synced: boolean][] = [
    ['Dropbox', true],
    ['OneDrive - Example Inc', true],
    ['Library/CloudStorage/GoogleDrive-me', true],
    ['Library/Mobile Documents/com~apple~CloudDocs', true],
    ['Nextcloud', true],
    ['work', false],
    ['Dropboxes', false]
  ]
  for (const [name, synced] of folders) {
    const { look } = await stateOf(t, join(tempDir(t), name))
    t.same(brief(fsOnly(await look())), synced ? ['fs.synced_dir warn'] : [], name)
  }
  const { dir, look } = await stateOf(t)
  chmodSync(dirname(dir), 0o777)
  const [open] = fsOnly(await look())
  t.match(open, { checkId: 'fs.state_dir.parent_writable', severity: 'critical' })
  t.equal(spawnSync('sh', ['-c', open?.fix?.command ?? 'false']).status, 0)
  t.same(fsOnly(await look()), [])
  chmodSync(dirname(dir), 0o1777)
  t.same(fsOnly(await look()), [], 'a folder like /tmp lets nobody replace what is not theirs')
  chmodSync(dirname(dir), 0o700)

  const facts = await look()
  const { uid } = userInfo()
  t.same(brief(fileFindings({ ...facts, uid: 4242 })).sort(), uid === 0 ? [] : OWNED, "root's files are safe")
  const foreign = facts.files.map((file) => ({ ...file, owner: 4242 }))
  t.same(brief(fileFindings({ ...facts, uid: 1000, files: foreign })).sort(), OWNED)
  t.same(
    brief(fileFindings({ ...facts, uid: 0, files: foreign })).sort(),
    OWNED.map((each) => each.replace('critical', 'warn')),
    'root is warned of a user who decides for it'
  )
  if (uid !== 0) return t.comment('not root: no file can be given away here')
  chownSync(join(dir, 'openclaw.json'), 65_534, 65_534)
  t.same(brief(fsOnly(await look())), ['fs.config.owner warn'])
})

const OWNED = ['fs.config.owner', 'fs.config_include.owner', 'fs.dotenv.owner', 'fs.state_dir.owner'].map(
  (id) => `${id} critical`
)

t.test('Windows has no permission bits', async (t) => {
  const { dir, look } = await stateOf(t)
  chmodSync(dir, 0o777)
  const facts: Facts = { ...(await look()), platform: 'win32', uid: undefined }
  t.same(fsOnly(facts), [])
  t.same(await closeFiles(facts), [])
})

t.test('certificates', async (t) => {
  const dir = tempDir(t)
  const put = (name: string, pair: Pair) => {
    putPair(join(dir, name), pair)
    return placesIn(join(dir, name))
  }
  const good = put('good', await makePair())
  const other = put('other', await makePair())
  const old = put('old', await weakPair())
  const text = join(dir, 'text.pem')
  writeFileSync(text, 'not a certificate')
  const tls = (pair: Partial<TlsConfig>): TlsConfig => ({
    enabled: true,
    autoGenerate: true,
    caPath: undefined,
    ...good,
    ...pair
  })
  const rows: [name: string, pair: Partial<TlsConfig>, afterDays: number, want: string[]][] = [
    ['a fresh self-signed one', {}, 0, ['gateway.tls.self_signed info']],
    ['in its last weeks', {}, 85, ['gateway.tls.cert_expiring warn', 'gateway.tls.self_signed info']],
    ['after its end', {}, 101, ['gateway.tls.cert_expired critical', 'gateway.tls.self_signed info']],
    ['before its time', {}, -VALID_DAYS, ['gateway.tls.cert_expired critical', 'gateway.tls.self_signed info']],
    ['a weak key', old, 0, ['gateway.tls.weak_key warn', 'gateway.tls.self_signed info']],
    ["another one's key", { keyPath: other.keyPath }, 0, ['gateway.tls.unusable warn']],
    ['no certificate in the file', { certPath: text }, 0, ['gateway.tls.unusable warn']],
    ['no key in the file', { keyPath: text }, 0, ['gateway.tls.unusable warn']],
    ['a key without its certificate', { certPath: join(dir, 'none') }, 0, ['gateway.tls.unusable warn']],
    ['none yet', { certPath: join(dir, 'none'), keyPath: join(dir, 'none') }, 0, []]
  ]
  for (const [name, pair, afterDays, want] of rows) {
    const certificate: CertificateFact = await readCertificate(tls(pair))
    t.same(brief(tlsFindings({ certificate }, Date.now() + afterDays * DAY)), want, name)
  }
  chmodSync(good.keyPath, 0o640)
  const paths = resolvePaths({ HOME: dir })
  const files = await lookAtFiles({ paths, includes: [], config: {}, tlsKey: good.keyPath })
  const { gateway, ...facts } = await gatherFacts({ env: { HOME: dir }, paths, checkUrl: checkGatewayUrl })
  t.same(brief(fileFindings({ ...facts, gateway, files })), ['fs.tls_key.perms_group_readable warn'])
})

t.test('the strength of a secret', async (t) => {
  const rows: [secret: string, least: number, most: number][] = [
    ['password', 0, 10],
    ['Password123', 0, 25],
    ['openclaw-gateway-token', 20, 40],
    ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 0, 5],
    ['12345678901234567890123456789012', 0, 40],
    ['abcdefghijklmnopqrstuvwxyz', 0, 20],
    ['tr0ub4dor&3', 25, 60],
    ['correct horse battery staple', 80, 120]
  ]
  for (const [secret, least, most] of rows) {
    const { bits } = strengthOf(secret)
    t.ok(bits >= least && bits <= most, `${secret}: ${bits}`)
  }
  t.ok(strengthOf('Password123').bits < GUESSABLE_BITS)
  for (let i = 0; i < 2_000; i++) {
    const bytes = randomBytes(32)
    for (const encoding of ['base64url', 'hex', 'base64'] as const) {
      const { bits, placeholder } = strengthOf(bytes.toString(encoding))
      if (bits < MIN_BITS || placeholder) t.fail(`random ${encoding} passes for weak: ${bits}`)
    }
    const { bits } = strengthOf(randomBytes(18).toString('base64'))
    if (bits < MIN_BITS) t.fail(`24 random characters pass for weak: ${bits}`)
  }
})

t.test('what a running gateway shows', async (t) => {
  const { look } = await stateOf(t)
  const facts = await look()
  const status = { bind: 'loopback', port: 18789, authMode: 'token', tailscale: 'off', listeners: ['127.0.0.1:18789'] }
  const base: LiveFacts = { url: 'unix:/s', own: true, status, attempts: [] }
  const attempt = { kind: 'http' as const, url: 'http://127.0.0.1:18789/metrics', detail: 'the answer was 200' }
  const wide = [...status.listeners, '[::1]:18789', '0.0.0.0:18789', '/run/gateway.sock', '[::]:18789']
  const rows: [name: string, live: Partial<LiveFacts>, want: string[]][] = [
    ['as configured', {}, []],
    ['does not answer', { error: { code: 'GATEWAY_TIMEOUT', message: 'no' } }, ['gateway.probe_failed warn']],
    [
      'its credential does not resolve',
      { error: { code: 'CONFIG_SECRET_UNRESOLVED', message: 'no' } },
      ['gateway.probe_auth_secretref_unavailable warn']
    ],
    ['on another port', { status: { ...status, port: 1 } }, ['gateway.live_drift warn']],
    ['another gateway on another port', { own: false, status: { ...status, port: 1 } }, []],
    ['beyond loopback', { status: { ...status, listeners: wide } }, ['gateway.live_exposure warn']],
    [
      'beyond loopback without auth',
      { status: { ...status, authMode: 'none', listeners: wide } },
      ['gateway.live_exposure critical', 'gateway.live_drift warn']
    ],
    ['refuses', { attempts: [{ ...attempt, refused: true }] }, []],
    ['cannot be reached', { attempts: [{ ...attempt, refused: undefined }] }, []],
    [
      'lets strangers in',
      {
        attempts: [
          { ...attempt, refused: false },
          { ...attempt, kind: 'websocket', refused: false }
        ]
      },
      ['gateway.unauthenticated_http critical', 'gateway.unauthenticated_websocket critical']
    ]
  ]
  for (const [name, live, want] of rows) t.same(brief(liveFindings(facts, { ...base, ...live })), want, name)
  t.match(
    liveFindings(facts, { ...base, status: { ...status, listeners: wide } })[0]?.detail,
    /It listens on "0\.0\.0\.0:18789", "\[::\]:18789", while/
  )
  t.ok(existsSync(facts.stateDir) && readFileSync(facts.configPath).length > 0)
})
