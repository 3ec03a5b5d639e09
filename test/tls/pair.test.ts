import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { hostname, networkInterfaces } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { certificateNames } from '../../src/tls/provide.ts'
import { RawClient } from '../support/client.ts'
import { printed, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { fingerprintOf, makePair, placesIn, VALID_DAYS, weakPair } from '../support/tls.ts'

t.jobs = 3
t.setTimeout(110_000)

const config = (tls: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN }, tls, ...more } })
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
const [good, other, old] = await Promise.all([makePair(), makePair(), makePair({ days: -1 })])

function encrypted(key: string): string {
  return createPrivateKey(key)
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString()
}

interface Bad {
  name: string
  /** What lies in the folder; the paths of cert.pem and key.pem are configured. */
  files: Record<string, string>
  prepare?: (dir: string) => void
  tls?: Record<string, unknown>
  /** Below `gateway.tls.`; DIR is the folder. */
  want: string
  fix: string
}

const both = { 'cert.pem': good.cert, 'key.pem': good.key }
const bad: Bad[] = [
  {
    name: 'a certificate without its key',
    files: { 'cert.pem': good.cert },
    want: 'keyPath: DIR/key.pem is missing, while DIR/cert.pem is there; bring it back, or move the other one out of the way',
    fix: 'mv DIR/cert.pem DIR/cert.pem.old'
  },
  {
    name: 'a key without its certificate',
    files: { 'key.pem': good.key },
    want: 'certPath: DIR/cert.pem is missing, while DIR/key.pem is there; bring it back, or move the other one out of the way',
    fix: 'mv DIR/key.pem DIR/key.pem.old'
  },
  {
    name: 'no pair, and none is to be generated',
    files: {},
    tls: { autoGenerate: false },
    want: 'certPath: DIR/cert.pem is missing, and gateway.tls.autoGenerate is off',
    fix: 'openclaw config set gateway.tls.autoGenerate true'
  },
  {
    name: 'a folder that cannot be made',
    files: { file: '' },
    tls: { certPath: 'DIR/file/x/cert.pem', keyPath: 'DIR/file/x/key.pem' },
    want: 'certPath: DIR/file/x/cert.pem and its key cannot be written: ENOTDIR',
    fix: 'openclaw config set gateway.tls.certPath /path/to/cert.pem'
  },
  {
    name: 'a certificate that cannot be read',
    files: { 'key.pem': good.key },
    prepare: (dir) => symlinkSync('cert.pem', join(dir, 'cert.pem')),
    want: 'certPath: DIR/cert.pem cannot be read: ELOOP',
    fix: 'openclaw config set gateway.tls.certPath /path/to/cert.pem'
  },
  {
    name: 'a folder in place of a key',
    files: { 'cert.pem': good.cert },
    prepare: (dir) => mkdirSync(join(dir, 'key.pem')),
    want: 'keyPath: DIR/key.pem is not a file',
    fix: 'openclaw config set gateway.tls.keyPath /path/to/key.pem'
  },
  {
    name: 'a certificate file without a certificate',
    files: { ...both, 'cert.pem': 'nothing\n' },
    want: 'certPath: DIR/cert.pem holds no certificate (PEM)',
    fix: 'openclaw config set gateway.tls.certPath /path/to/cert.pem'
  },
  {
    name: 'a certificate that is cut off',
    files: { ...both, 'cert.pem': good.cert.slice(0, 200) },
    want: 'certPath: DIR/cert.pem holds a certificate that cannot be read',
    fix: 'openclaw config set gateway.tls.certPath /path/to/cert.pem'
  },
  {
    name: 'a chain whose second certificate is broken',
    files: { ...both, 'cert.pem': good.cert + other.cert.slice(0, 200) },
    want: 'certPath: DIR/cert.pem holds a certificate that cannot be read',
    fix: 'openclaw config set gateway.tls.certPath /path/to/cert.pem'
  },
  {
    name: 'a certificate file of two megabytes',
    files: { ...both, 'cert.pem': good.cert + '\n'.repeat(2_000_000) },
    want: 'certPath: DIR/cert.pem is too big: a PEM file is expected',
    fix: 'openclaw config set gateway.tls.certPath /path/to/cert.pem'
  },
  {
    name: 'a key file without a key',
    files: { ...both, 'key.pem': good.cert },
    want: 'keyPath: DIR/key.pem holds no private key (PEM)',
    fix: 'openclaw config set gateway.tls.keyPath /path/to/key.pem'
  },
  {
    name: 'an encrypted key',
    files: { ...both, 'key.pem': encrypted(good.key) },
    want: 'keyPath: DIR/key.pem is encrypted; a gateway starts unattended',
    fix: 'openclaw config set gateway.tls.keyPath /path/to/key.pem'
  },
  {
    name: 'the key of another certificate',
    files: { ...both, 'key.pem': other.key },
    want: 'keyPath: DIR/key.pem is not the key of the certificate DIR/cert.pem',
    fix: 'openclaw config set gateway.tls.keyPath /path/to/key.pem'
  },
  {
    name: 'a key that is too short',
    files: await weakPair().then(({ cert, key }) => ({ 'cert.pem': cert, 'key.pem': key })),
    want: 'certPath: DIR/cert.pem cannot be served: ee key too small',
    fix: 'openclaw config set gateway.tls.certPath /path/to/cert.pem'
  },
  {
    name: 'a generated certificate that has expired',
    files: { 'cert.pem': old.cert, 'key.pem': old.key },
    want: 'certPath: DIR/cert.pem expired on DAY; without the pair, the next start generates another',
    fix: 'rm DIR/cert.pem DIR/key.pem'
  },
  {
    name: 'a certificate that has expired where none is generated',
    files: { 'cert.pem': old.cert, 'key.pem': old.key },
    tls: { autoGenerate: false },
    want: 'certPath: DIR/cert.pem expired on DAY',
    fix: 'openclaw config set gateway.tls.certPath /path/to/cert.pem'
  },
  {
    name: 'a CA file that is not there',
    files: both,
    tls: { caPath: 'DIR/ca.pem' },
    want: 'caPath: DIR/ca.pem cannot be read: ENOENT',
    fix: 'openclaw config set gateway.tls.caPath /path/to/ca.pem'
  },
  {
    name: 'a CA file without a certificate',
    files: { ...both, 'ca.pem': good.key },
    tls: { caPath: 'DIR/ca.pem' },
    want: 'caPath: DIR/ca.pem holds no certificate (PEM)',
    fix: 'openclaw config set gateway.tls.caPath /path/to/ca.pem'
  }
]

t.test('what does not start', { jobs: 2 }, async (t) => {
  const day = new X509Certificate(old.cert).validToDate.toISOString().slice(0, 10)
  for (const { name, files, prepare, tls, want, fix } of bad) {
    t.test(name, async (t) => {
      const dir = tempDir(t)
      const here = (text: string) => text.replaceAll(/\bDIR\b/g, dir).replace('DAY', day)
      for (const [file, text] of Object.entries(files)) writeFileSync(join(dir, file), text)
      prepare?.(dir)
      const before = readdirSync(dir).sort()
      const paths = { ...placesIn(dir), ...tls }
      const run = await startProcess(t, { config: here(config({ enabled: true, ...paths })), expectExit: true })
      t.equal(await run.exited, 78, run.output())
      t.equal(run.output(), `Gateway failed to start: gateway.tls.${here(want)}\nfix: ${here(fix)}\n`)
      t.same(readdirSync(dir).sort(), before, 'nothing was made')
      for (const [file, text] of Object.entries(files))
        t.equal(readFileSync(join(dir, file), 'utf8'), text, `${file} is left alone`)
      t.notOk(await listens(run.port), 'nothing listens')
    })
  }
})

t.test('starting', { jobs: 2 }, async (t) => {
  t.test('where there is no pair, one is made for every name of this host, and kept', async (t) => {
    const run = await startProcess(t, { config: config({ enabled: true }) })
    const dir = join(run.stateDir, 'gateway/tls')
    t.same(readdirSync(dir).sort(), ['gateway-cert.pem', 'gateway-key.pem'])
    for (const file of readdirSync(dir)) t.equal(mode(join(dir, file)), '600', file)
    t.equal(mode(dir), '700')
    const text = readFileSync(join(dir, 'gateway-cert.pem'), 'utf8')
    const cert = new X509Certificate(text)
    await printed(run, `TLS certificate: ${fingerprintOf(text)}\n`)
    t.match(run.output(), `is ready on https://127.0.0.1:${run.port}/ `)
    t.same(cert.publicKey.asymmetricKeyDetails, { namedCurve: 'prime256v1' })
    t.equal(cert.ca, false)
    t.same(cert.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'for servers')
    const days = (cert.validToDate.getTime() - cert.validFromDate.getTime()) / 86_400_000
    t.equal(days, VALID_DAYS)
    for (const host of ['localhost', hostname(), `${hostname().split('.')[0]}.local`]) t.ok(cert.checkHost(host), host)
    const own = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
    for (const { address } of own.filter(({ address }) => !address.startsWith('fe80')))
      t.ok(cert.checkIP(address), address)

    run.child.kill('SIGTERM')
    await run.exited
    const again = await startProcess(t, { stateDir: run.stateDir })
    await printed(again, `TLS certificate: ${fingerprintOf(text)}\n`)
    t.pass('the next start serves the same')
  })

  t.test('it is made at configured paths, and a folder that is there keeps its mode', async (t) => {
    const dir = tempDir(t)
    mkdirSync(join(dir, 'there'), { mode: 0o755 })
    const paths = { certPath: join(dir, 'there/own.crt'), keyPath: join(dir, 'not/yet/own.key') }
    const run = await startProcess(t, { config: config({ enabled: true, ...paths }) })
    t.equal(mode(join(dir, 'there')), '755')
    t.equal(mode(join(dir, 'not/yet')), '700')
    t.equal(mode(paths.keyPath), '600')
    await printed(run, fingerprintOf(readFileSync(paths.certPath, 'utf8')))
    t.notOk(readdirSync(run.stateDir).includes('gateway'), 'and nowhere else')
  })

  t.test('the last 30 days of a certificate are warned about, in the log and in status', async (t) => {
    const dir = tempDir(t)
    const soon = await makePair({ days: 20 })
    writeFileSync(join(dir, 'cert.pem'), soon.cert)
    writeFileSync(join(dir, 'key.pem'), soon.key)
    const run = await startProcess(t, { config: config({ enabled: true, ...placesIn(dir) }) })
    const until = new X509Certificate(soon.cert).validToDate
    const problem = `the TLS certificate expires on ${until.toISOString().slice(0, 10)}`
    t.match(run.output(), `"problem":"${problem}","message":"tls certificate needs attention"`)
    const owner = await RawClient.open(`ws+unix:${run.stateDir}/gateway.sock:/`)
    await owner.connect()
    const { payload } = await owner.call('status')
    t.same((payload as { gateway: { tls: unknown } }).gateway.tls, {
      enabled: true,
      fingerprint: fingerprintOf(soon.cert),
      notAfter: until.toISOString(),
      problem
    })
    await owner.close()
  })

  t.test('without TLS, status says so and nothing is made', async (t) => {
    const run = await startProcess(t, { config: config({}) })
    t.notMatch(run.output(), /TLS|https:/)
    const owner = await RawClient.open(`ws+unix:${run.stateDir}/gateway.sock:/`)
    await owner.connect()
    t.has(await owner.call('status'), { payload: { gateway: { tls: { enabled: false } } } })
    await owner.close()
    t.notOk(readdirSync(run.stateDir).includes('gateway'))
  })
})

t.test('the package makes a certificate by itself: what that needs is bundled', async (t) => {
  const dir = tempDir(t)
  const root = new URL('../..', import.meta.url).pathname
  const { build } = await import('vite')
  await build({ root, build: { outDir: dir, emptyOutDir: true }, logLevel: 'silent' })
  const [chunk] = readdirSync(join(dir, 'chunks')).filter((file) => file.startsWith('generate-'))
  // Imported from a folder that no package can be found from.
  const { generatePair } = await import(join(dir, 'chunks', chunk!))
  const { cert, key } = await generatePair(['localhost'], new Date())
  t.ok(new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
})

t.test('the names of a generated certificate', async (t) => {
  const always = ['localhost', '127.0.0.1', '::1']
  const rows: { name: string; host: string; addresses?: string[]; want: string[] }[] = [
    { name: 'a short host name', host: 'box', want: ['box', 'box.local'] },
    { name: 'a whole host name, in lower case', host: 'Box.Example.COM', want: ['box.example.com', 'box.local'] },
    { name: 'a host name that no certificate can hold', host: 'my box’s', want: [] },
    { name: 'no host name', host: '', want: [] },
    { name: 'localhost once', host: 'localhost', want: ['localhost.local'] },
    {
      name: 'addresses, canonical and once; none that needs an interface',
      host: 'b',
      addresses: ['10.0.0.5', '10.0.0.5', 'fd00::0:1', '2001:DB8::1', 'fe80::1', '::ffff:10.0.0.6'],
      want: ['b', 'b.local', '10.0.0.5', 'fd00::1', '2001:db8::1', '10.0.0.6']
    }
  ]
  for (const { name, host, addresses = [], want } of rows)
    t.same(certificateNames(host, addresses).sort(), [...always, ...want].sort(), name)
  const many = Array.from({ length: 300 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
  t.equal(certificateNames('b', many).length, 100, 'and not without end')
})

function listens(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  }).finally(() => socket.destroy())
}
