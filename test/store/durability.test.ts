import { once } from 'node:events'
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { digest } from '../../src/auth/secrets.ts'
import { NewerSchemaError, openDatabase, transaction } from '../../src/store/database.ts'
import { DeviceStore } from '../../src/store/devices.ts'
import { gatewayIdentity } from '../../src/store/identity.ts'
import { lockState } from '../../src/store/lock.ts'
import { cli, RawClient, TestDevice } from '../support/client.ts'
import { startProcess, TOKEN, tempDir } from '../support/gateway.ts'

t.jobs = 2
t.setTimeout(110_000)

/** What a client was told of a device; nothing is known of a change whose answer never came. */
interface Known {
  device: TestDevice
  /** Asked for and refused: a person must approve it. */
  requested: boolean
  /** The answer said approved, and with which token. */
  approved: boolean
  token: string | undefined
  /** A change was sent whose answer is not here yet. */
  approving: boolean
  ending: boolean
  ended: boolean
  removing: boolean
  removed: boolean
}

const ROUNDS = 25
const from = { 'x-forwarded-for': '203.0.113.5' }
const config = JSON.stringify({
  gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN }, trustedProxies: ['127.0.0.1'] }
})

// Two lanes of one state folder each, so that every crash follows an earlier one.
for (const lane of ['a', 'b']) {
  t.test(
    `kill -9 during pairing and token writes loses nothing answered and approves nothing else (${lane})`,
    { timeout: 110_000 },
    async (t) => {
      const stateDir = tempDir(t)
      writeFileSync(join(stateDir, 'openclaw.json'), config, { mode: 0o600 })
      const known: Known[] = []
      let answered = 0
      let cut = 0
      let identity: string | undefined
      for (let round = 0; round < ROUNDS; round++) {
        const gateway = await startProcess(t, { stateDir })
        const admin = await RawClient.open(gateway.ws)
        await admin.connect({ auth: { token: TOKEN }, scopes: ['operator.admin'] })
        // Counted in answers, not in time: a slow machine gets as far as a fast one.
        let left = 1 + Math.floor(Math.random() * 12)
        const enough = Promise.withResolvers<void>()
        const onAnswer = () => {
          answered++
          if (--left === 0) enough.resolve()
        }
        const workers = Array.from({ length: 6 }, () => work(gateway.ws, admin, known, onAnswer))
        await Promise.race([enough.promise, ...workers])
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 6))
        gateway.child.kill('SIGKILL')
        await gateway.exited
        await Promise.all(workers)
        cut += known.filter((each) => each.approving || each.ending || each.removing).length
        identity = await check(t, stateDir, known, identity)
        if (!t.passing()) return
      }
      t.ok(answered >= ROUNDS && cut > 0, `${answered} changes were answered, ${cut} were cut off`)
      t.ok(known.some((each) => each.approved && !each.ended && !each.removed))
      t.ok(known.some((each) => each.requested && !each.approved))
    }
  )
}

/** Pairs, asks, approves, rotates and removes until the gateway is gone. */
async function work(ws: string, admin: RawClient, known: Known[], onAnswer: () => void): Promise<void> {
  try {
    for (;;) {
      const entry: Known = {
        device: new TestDevice(),
        requested: false,
        approved: false,
        token: undefined,
        approving: false,
        ending: false,
        ended: false,
        removing: false,
        removed: false
      }
      const { device } = entry
      const remote = Math.random() < 0.5
      const client = await RawClient.open(ws, remote ? { headers: from } : {})
      known.push(entry)
      entry.approving = !remote
      const answer = await client.connect({ client: cli, scopes: ['operator.read'], auth: { token: TOKEN } }, device)
      entry.approving = false
      onAnswer()
      if (answer.ok) {
        entry.approved = true
        entry.token = answer.payload?.auth.deviceToken
      } else if (answer.error?.details?.code === 'PAIRING_REQUIRED') entry.requested = true
      else throw new Error(JSON.stringify(answer))
      await client.close()
      const dice = Math.random()
      if (entry.requested && dice < 0.3) {
        entry.approving = true
        const { ok } = await admin.call('device.pair.approve', { requestId: answer.error?.details?.requestId })
        entry.approving = false
        entry.approved = ok
        onAnswer()
      } else if (entry.approved && dice < 0.25) {
        entry.ending = true
        const { ok } = await admin.call('device.token.rotate', { deviceId: device.id, role: 'operator' })
        entry.ending = false
        entry.ended = ok
        onAnswer()
      } else if (entry.approved && dice < 0.5) {
        entry.removing = true
        const { ok } = await admin.call('device.pair.remove', { deviceId: device.id })
        entry.removing = false
        entry.removed = ok
        onAnswer()
      }
    }
  } catch (error) {
    // The end of the gateway ends the work; anything else is a failure of the test.
    if (!/^closed 1006|ECONNREFUSED|closed/.test(String((error as Error).message))) throw error
  }
}

async function check(t: Test, stateDir: string, known: Known[], identity: string | undefined): Promise<string> {
  const db = openDatabase(join(stateDir, 'gateway.sqlite'))
  try {
    const wrong: string[] = []
    const integrity = db.prepare('PRAGMA integrity_check').get()
    if (integrity?.integrity_check !== 'ok') wrong.push(JSON.stringify(integrity))
    wrong.push(
      ...db
        .prepare('PRAGMA foreign_key_check')
        .all()
        .map((row) => JSON.stringify(row))
    )
    const store = new DeviceStore(db)
    const paired = new Map((await store.list()).map((device) => [device.deviceId, device]))
    for (const each of known) {
      const found = paired.get(each.device.id)
      paired.delete(each.device.id)
      const short = each.device.id.slice(0, 8)
      if (each.approved && !each.removed && !each.removing) {
        if (found === undefined) wrong.push(`${short} was approved and is lost`)
        else if (!found.grants.some((grant) => grant.scopes.includes('operator.read')))
          wrong.push(`${short} lost its grant`)
        if (each.token !== undefined && !each.ending) {
          const holder = await store.findToken(digest(each.token))
          if (!each.ended && holder?.deviceId !== each.device.id) wrong.push(`the token of ${short} is lost`)
          if (each.ended && holder !== undefined) wrong.push(`S14: the rotated token of ${short} still works`)
        }
      }
      if (each.removed) {
        if (found !== undefined) wrong.push(`${short} was removed and is back`)
        if (each.token !== undefined && (await store.findToken(digest(each.token))))
          wrong.push(`the token of the removed ${short} works`)
      }
      if (!each.approved && !each.approving && found !== undefined) wrong.push(`${short} appeared without an approval`)
      // What a cut-off change came to is known now, whichever it is, and must stay so.
      if (each.approving) {
        each.approved = found !== undefined
        each.approving = false
      }
      if (each.removing) {
        each.removed = found === undefined
        each.removing = false
      }
      if (each.ending) {
        each.ended = each.token !== undefined && (await store.findToken(digest(each.token))) === undefined
        each.ending = false
      }
    }
    wrong.push(...[...paired.keys()].map((id) => `nobody asked for ${id}`))
    t.same(wrong, [], 'the store opens, whole')
    const { deviceId } = gatewayIdentity(db)
    if (identity !== undefined) t.equal(deviceId, identity, 'the gateway is still itself')
    return deviceId
  } finally {
    db.close()
  }
}

t.test(
  'S24: the database and what SQLite puts beside it are 0600, whatever the umask and the files before',
  async (t) => {
    const dir = tempDir(t)
    const file = join(dir, 'gateway.sqlite')
    writeFileSync(file, '')
    chmodSync(file, 0o666)
    const umask = process.umask(0)
    t.teardown(() => process.umask(umask))
    const db = openDatabase(file)
    t.teardown(() => db.close())
    for (const each of [file, `${file}-wal`, `${file}-shm`]) t.equal(statSync(each).mode & 0o777, 0o600, each)
    t.same(db.prepare('PRAGMA journal_mode').get(), { journal_mode: 'wal' })
    t.same(db.prepare('PRAGMA synchronous').get(), { synchronous: 2 })
    t.same(db.prepare('PRAGMA foreign_keys').get(), { foreign_keys: 1 })
  }
)

t.test('a schema from the future is refused by name, with what to do, and not touched', async (t) => {
  const file = join(tempDir(t), 'gateway.sqlite')
  const db = new DatabaseSync(file)
  db.exec('PRAGMA user_version = 1000')
  db.close()
  let refusal: unknown
  try {
    openDatabase(file)
  } catch (error) {
    refusal = error
  }
  t.type(refusal, NewerSchemaError)
  t.match(
    (refusal as Error).message,
    /^the state was written by a newer version \(schema 1000, this build knows \d+\); update openclaw-gateway, or start with another state folder \(--profile NAME\)\.$/
  )
  const again = new DatabaseSync(file)
  t.same(again.prepare('SELECT count(*) AS tables FROM sqlite_master').get(), { tables: 0 })
  again.close()
})

t.test('a change that fails half-way leaves nothing', async (t) => {
  const db = openDatabase(':memory:')
  t.throws(() =>
    transaction(db, () => {
      db.exec("INSERT INTO setup_code VALUES (x'00', 'id', 'owner', '[]', 1, 2, NULL, NULL, NULL)")
      throw new Error('half-way')
    })
  )
  t.same(db.prepare('SELECT count(*) AS codes FROM setup_code').get(), { codes: 0 })
})

t.test('S24: no issued secret is in the state folder, in any file', async (t) => {
  const stateDir = tempDir(t)
  const gateway = await startProcess(t, { stateDir, config })
  const device = new TestDevice()
  const client = await RawClient.open(gateway.ws)
  const hello = await client.connect({ client: cli, auth: { token: TOKEN }, scopes: ['operator.admin'] }, device)
  const token = hello.payload?.auth.deviceToken
  const link = await client.call('device.pair.launchLink')
  const code = link.payload?.bootstrapToken
  t.type(token, 'string')
  t.type(code, 'string')
  await client.close()
  gateway.child.kill('SIGKILL')
  await gateway.exited
  const { readFileSync, readdirSync } = await import('node:fs')
  for (const entry of readdirSync(stateDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const bytes = readFileSync(join(entry.parentPath, entry.name))
    for (const secret of [token, code] as string[]) t.notOk(bytes.includes(secret), `${entry.name} holds none`)
  }
})

t.test('R12: one owner a state folder; the kernel frees it', async (t) => {
  const dir = tempDir(t)
  const script = `const { lockState } = await import(${JSON.stringify(new URL('../../src/store/lock.ts', import.meta.url).pathname)})
    const lock = lockState(${JSON.stringify(dir)}, process.pid)
    console.log('heldBy' in lock ? 'held by ' + lock.heldBy : 'mine')
    if (!('heldBy' in lock)) setInterval(() => {}, 1000)`
  const { spawn } = await import('node:child_process')
  const run = () =>
    spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const says = async (child: ReturnType<typeof run>) => String((await once(child.stdout, 'data'))[0]).trim()
  const first = run()
  t.equal(await says(first), 'mine')
  t.same(lockState(dir, process.pid), { heldBy: first.pid })
  for (let i = 0; i < 3; i++) t.equal(await says(run()), `held by ${first.pid}`, 'however often somebody asks')
  for (const each of ['gateway.lock', 'gateway.pid']) t.equal(statSync(join(dir, each)).mode & 0o777, 0o600)
  first.kill('SIGKILL')
  await once(first, 'exit')
  t.ok(existsSync(join(dir, 'gateway.pid')), 'a pid file is left, and means nothing')
  const lock = lockState(dir, process.pid)
  if ('heldBy' in lock) t.fail(`still held by ${lock.heldBy}`)
  else lock.release()
})
