import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as tlsConnect } from 'node:tls'
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator
} from '@peculiar/x509'
import t, { type Test } from 'tap'
import { RawClient } from '../support/client.ts'
import { printed, startProcess, type TestProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { fingerprintOf, makePair, placesIn, putPair } from '../support/tls.ts'

t.jobs = 3
t.setTimeout(110_000)

const cli = new URL('../../src/cli/main.ts', import.meta.url).pathname
const [first, second, third] = await Promise.all([makePair(), makePair(), makePair()])
const config = (tls: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN }, tls, ...more } })

/** The fingerprint that a new connection is shown. */
async function shown(port: number): Promise<string> {
  const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { fingerprint256 } = socket.getPeerX509Certificate()!
  socket.destroy()
  return `sha256:${fingerprint256.replaceAll(':', '').toLowerCase()}`
}

/** Waits until a new connection is shown a certificate. */
async function served(port: number, cert: string): Promise<void> {
  while ((await shown(port)) !== fingerprintOf(cert)) await delay(50)
}

async function owner(t: Test, { stateDir }: TestProcess): Promise<RawClient> {
  const client = await RawClient.open(`ws+unix:${stateDir}/gateway.sock:/`)
  await client.connect()
  t.teardown(() => client.close())
  return client
}

interface TlsStatus {
  fingerprint: string
  problem?: string
}

async function tlsStatus(client: RawClient): Promise<TlsStatus> {
  return ((await client.call('status')).payload as { gateway: { tls: TlsStatus } }).gateway.tls
}

/** Waits until status has, or no longer has, a problem. */
async function problem(client: RawClient, wanted: boolean): Promise<string | undefined> {
  for (;;) {
    const { problem } = await tlsStatus(client)
    if ((problem !== undefined) === wanted) return problem
    await delay(50)
  }
}

function count(run: TestProcess, text: string): number {
  return run.output().split(text).length - 1
}

t.test('new files are served to new connections, while those that are open live on', async (t) => {
  const dir = tempDir(t)
  putPair(dir, first)
  const run = await startProcess(t, { config: config({ enabled: true, ...placesIn(dir) }) })
  const { port } = run
  const client = await RawClient.open(`wss://127.0.0.1:${port}`, { ca: first.cert })
  await client.connect({ auth: { token: TOKEN } })
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: first.cert })
  t.teardown(() => agent.destroy())
  const ask = () =>
    new Promise<number | undefined>((resolve, reject) => {
      const req = request({ host: '127.0.0.1', port, path: '/healthz', agent }, (res) => {
        const { localPort } = res.socket
        res.resume().on('end', () => resolve(localPort))
      })
      req.on('error', reject).end()
    })
  const from = await ask()
  const keptAlive = async () => {
    if ((await ask()) !== from) throw new Error('the connection was not kept')
  }

  const renewed = async (cert: string) => {
    while ((await shown(port)) !== fingerprintOf(cert)) {
      await keptAlive()
      await delay(50)
    }
  }
  const status = await owner(t, run)
  t.equal((await tlsStatus(status)).fingerprint, fingerprintOf(first.cert))
  putPair(dir, second)
  await renewed(second.cert)
  t.equal((await tlsStatus(status)).fingerprint, fingerprintOf(second.cert))
  t.equal(count(run, '"message":"tls certificate renewed"'), 1)
  await t.test('refused', async (t) => {
    const rows: { name: string; break: () => void; want: RegExp }[] = [
      {
        name: 'a certificate without its key',
        break: () => writeFileSync(join(dir, 'cert.pem'), third.cert),
        want: /^gateway\.tls\.keyPath: .* is not the key of the certificate/
      },
      {
        name: 'garbage',
        break: () => writeFileSync(join(dir, 'cert.pem'), 'x'),
        want: /^gateway\.tls\.certPath: .* holds no certificate/
      },
      {
        name: 'a key that is gone: nothing is generated in its place',
        break: () => {
          writeFileSync(join(dir, 'cert.pem'), second.cert)
          rmSync(join(dir, 'key.pem'))
        },
        want: /^gateway\.tls\.keyPath: .* cannot be read: ENOENT/
      }
    ]
    for (const { name, break: breakIt, want } of rows) {
      await keptAlive()
      breakIt()
      const said = await problem(status, true)
      t.match(said, want, name)
      t.equal(await shown(port), fingerprintOf(second.cert), 'the old one keeps serving')
      t.equal(count(run, JSON.stringify(said).slice(1, -1)), 1, 'it is logged once')
      putPair(dir, second)
      await problem(status, false)
    }
  })
  t.equal(count(run, '"message":"tls files not taken"'), 3)
  t.equal(count(run, '"message":"tls certificate renewed"'), 1, 'what is served was never another')
  putPair(dir, third)
  await served(port, third.cert)
  t.pass('and the next renewal is taken')
  t.ok((await client.call('health')).ok, 'the WebSocket lives on')
  t.equal(client.socket.readyState, 1)
  await client.close()
})

t.test('a link that moves to another folder is a renewal', async (t) => {
  const dir = tempDir(t)
  for (const [name, pair] of Object.entries({ one: first, two: second })) putPair(join(dir, name), pair)
  // As container mounts of secrets do it: the files are links through one link that is replaced.
  symlinkSync('one', join(dir, 'data'))
  mkdirSync(join(dir, 'mount'))
  for (const file of ['cert.pem', 'key.pem']) symlinkSync(`../data/${file}`, join(dir, 'mount', file))
  const run = await startProcess(t, { config: config({ enabled: true, ...placesIn(join(dir, 'mount')) }) })
  t.equal(await shown(run.port), fingerprintOf(first.cert))
  symlinkSync('two', join(dir, 'data.new'))
  renameSync(join(dir, 'data.new'), join(dir, 'data'))
  await served(run.port, second.cert)
  t.equal(count(run, '"message":"tls certificate renewed"'), 1)
})

t.test('gateway.reload.mode "off": new files wait for the next start', async (t) => {
  const dir = tempDir(t)
  putPair(dir, first)
  const tls = { enabled: true, ...placesIn(dir) }
  const paused = await startProcess(t, { config: config(tls, { reload: { mode: 'off' } }) })
  const watching = await startProcess(t, { config: config(tls) })
  putPair(dir, second)
  await served(watching.port, second.cert)
  t.equal(await shown(paused.port), fingerprintOf(first.cert))

  await t.test('a client of this host does not take the one for the other', async (t) => {
    const health = await run(['health', '--token', TOKEN], paused)
    t.equal(health.code, 1)
    t.match(health.stderr, new RegExp(`the certificate of 127.0.0.1:${paused.port} is not the pinned one`))
    t.match(health.stderr, /fix: compare "openclaw status" with .*cert\.pem, or restart the gateway/)
    t.equal((await run(['health'], paused)).code, 0, 'the owner’s socket needs no pin')
  })

  paused.child.kill('SIGTERM')
  await paused.exited
  const again = await startProcess(t, { stateDir: paused.stateDir })
  t.equal(await shown(again.port), fingerprintOf(second.cert))
})

t.test('the chain of a private CA is sent', async (t) => {
  const dir = tempDir(t)
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = () => crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const [root, middle, leaf] = await Promise.all([keys(), keys(), keys()])
  const ca = [new BasicConstraintsExtension(true, undefined, true)]
  const rootCert = await X509CertificateGenerator.createSelfSigned({ name: 'CN=root', keys: root, extensions: ca })
  const make = (subject: string, issuer: string, key: CryptoKeyPair, by: CryptoKeyPair, extensions: object[]) =>
    X509CertificateGenerator.create({
      subject,
      issuer,
      publicKey: key.publicKey,
      signingKey: by.privateKey,
      extensions: extensions as typeof ca
    })
  const middleCert = await make('CN=middle', 'CN=root', middle, root, ca)
  const names = [new SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])]
  const leafCert = await make('CN=leaf', 'CN=middle', leaf, middle, names)
  const pem = (each: X509Certificate) => `${each.toString('pem')}\n`
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', leaf.privateKey)).toString('base64')
  const pair = { cert: pem(leafCert), key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n` }
  const rows = [
    { name: 'from caPath', cert: pair.cert, ca: pem(middleCert) + pem(rootCert) },
    { name: 'from certPath', cert: pair.cert + pem(middleCert), ca: undefined }
  ]
  for (const { name, cert, ca } of rows) {
    putPair(dir, { ...pair, cert })
    if (ca !== undefined) writeFileSync(join(dir, 'ca.pem'), ca)
    const caPath = ca === undefined ? {} : { caPath: join(dir, 'ca.pem') }
    const run = await startProcess(t, { config: config({ enabled: true, ...placesIn(dir), ...caPath }) })
    const client = await RawClient.open(`wss://127.0.0.1:${run.port}`, { ca: pem(rootCert) })
    t.ok((await client.connect({ auth: { token: TOKEN } })).ok, `${name}: who trusts the root alone gets in`)
    await client.close()
  }
})

interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a command of the CLI in the place of a gateway, on its port. */
async function run(args: readonly string[], gateway: TestProcess): Promise<Outcome> {
  const env = {
    PATH: process.env.PATH,
    HOME: gateway.stateDir,
    OPENCLAW_STATE_DIR: gateway.stateDir,
    OPENCLAW_GATEWAY_PORT: `${gateway.port}`,
    NO_COLOR: '1'
  }
  const child = spawn(process.execPath, [cli, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const outcome: Outcome = { code: null, stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text) => {
      outcome[name] += text
    })
  outcome.code = (await once(child, 'close'))[0]
  return outcome
}

t.test('clients of this host', async (t) => {
  const gateway = await startProcess(t, { config: config({ enabled: true }) })
  const { port, stateDir } = gateway
  const cert = join(stateDir, 'gateway/tls/gateway-cert.pem')
  const fingerprint = fingerprintOf(readFileSync(cert, 'utf8'))
  await printed(gateway, `TLS certificate: ${fingerprint}\n`)

  await t.test('a credential goes over wss, pinned to the certificate on disk', async (t) => {
    for (const args of [
      ['health', '--token', TOKEN],
      ['health', '--port', `${port}`]
    ]) {
      const { code, stdout, stderr } = await run(args, gateway)
      t.equal(code, 0, stderr)
      t.match(stdout, new RegExp(`Reached at +wss://127\\.0\\.0\\.1:${port}\n`))
    }
    // The owner's key is not needed for it.
    renameSync(join(stateDir, 'gateway/tls/gateway-key.pem'), join(stateDir, 'gateway/tls/key'))
    t.equal((await run(['health', '--token', TOKEN], gateway)).code, 0)
    renameSync(join(stateDir, 'gateway/tls/key'), join(stateDir, 'gateway/tls/gateway-key.pem'))
  })

  await t.test('status shows the fingerprint', async (t) => {
    t.match((await run(['status'], gateway)).stdout, new RegExp(`TLS +${fingerprint}, until 20\\d\\d-\\d\\d-\\d\\d\n`))
    const status = JSON.parse((await run(['status', '--json'], gateway)).stdout)
    t.equal(status.gateway.tls.fingerprint, fingerprint)
    const probe = JSON.parse((await run(['gateway', 'probe', '--json', '--token', TOKEN], gateway)).stdout)
    t.match(probe.targets, [{ id: 'localLoopback', url: `wss://127.0.0.1:${port}`, connect: { ok: true } }])
  })

  await t.test('the link to the Control UI is https', async (t) => {
    const link = JSON.parse((await run(['dashboard', '--json'], gateway)).stdout)
    t.match(link, { httpUrl: `https://127.0.0.1:${port}/`, wsUrl: `wss://127.0.0.1:${port}`, port })
    t.match(link.browserUrl, new RegExp(`^https://127\\.0\\.0\\.1:${port}/#bootstrapToken=`))
  })

  await t.test('without the certificate there is no pin, and then the system’s trust decides', async (t) => {
    renameSync(cert, `${cert}.away`)
    const { code, stderr } = await run(['health', '--token', TOKEN], gateway)
    t.equal(code, 1)
    t.match(stderr, /the certificate of 127\.0\.0\.1:\d+ is not trusted by this system \(it is self-signed\)/)
    renameSync(`${cert}.away`, cert)
  })

  await t.test('S16: another process on the port gets nothing', async (t) => {
    let received = ''
    const squatter = createServer((socket) => {
      socket
        .on('error', () => {})
        .on('data', (chunk) => {
          received += chunk.toString('latin1')
          socket.end('HTTP/1.1 200 OK\r\n\r\n')
        })
    }).listen(0, '127.0.0.1')
    await once(squatter, 'listening')
    t.teardown(() => squatter.close())
    const { port } = squatter.address() as { port: number }
    const { code } = await run(['health', '--token', TOKEN], { ...gateway, port })
    t.equal(code, 1)
    t.ok(received.length > 0)
    t.notMatch(received, /HTTP|GET/)
    t.notMatch(received, TOKEN)
  })
})
