import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openDatabase } from '../../src/store/database.ts'
import { type AuthEvent, Trail, type TrailQuery } from '../../src/store/trail.ts'
import { tempDir } from '../support/gateway.ts'

const denied = (more: Partial<AuthEvent> = {}): AuthEvent => ({
  kind: 'connect',
  outcome: 'denied',
  reason: 'token_mismatch',
  method: 'token',
  address: '203.0.113.5',
  listener: 'main',
  client: 'cli',
  surface: 'websocket',
  ...more
})
const changed = (detail: string): AuthEvent => ({ kind: 'token.created', outcome: 'changed', detail, address: 'local' })

/** A trail over a database in memory, with a clock that a test moves and a log that it reads. */
function open(t: Test, file = ':memory:') {
  const db = openDatabase(file)
  t.teardown(() => db.isOpen && db.close())
  const clock = { now: 1_000 }
  const errors: string[] = []
  const trail = new Trail(db, { error: (_fields, message) => errors.push(message) }, () => clock.now)
  const rows = (where = '1') => db.prepare(`SELECT count(*) AS n FROM auth_event WHERE ${where}`).get()?.n as number
  const list = async (query: Partial<TrailQuery> = {}) => (await trail.list({ limit: 1_000, ...query })).events
  return { db, trail, clock, errors, rows, list }
}

t.test('events are read newest first, and an event that was just recorded is among them', async (t) => {
  const { trail, clock, list, rows } = open(t)
  trail.record(denied())
  clock.now = 2_000
  trail.record(changed('second'))
  t.equal(rows(), 0, 'nothing is written on the path of the caller')
  t.strictSame(await list(), [
    { id: 2, ts: 2_000, kind: 'token.created', outcome: 'changed', address: 'local', detail: 'second', count: 1 },
    { id: 1, ts: 1_000, ...denied(), count: 1 }
  ])
})

t.test('equal events of a moment are one row with a count, other ones are not', async (t) => {
  const { trail, list } = open(t)
  for (let i = 0; i < 1_000; i++) trail.record(denied())
  trail.record(denied({ address: '203.0.113.6' }))
  trail.record(denied({ reason: undefined }))
  t.same(
    (await list()).map(({ address, reason, count }) => [address, reason, count]),
    [
      ['203.0.113.5', undefined, 1],
      ['203.0.113.6', 'token_mismatch', 1],
      ['203.0.113.5', 'token_mismatch', 1_000]
    ]
  )
  trail.record(denied())
  t.equal((await list()).length, 4, 'what is written stands')
})

t.test('what waits is written after a moment, at 500 at once, and on close', async (t) => {
  const { trail, rows } = open(t)
  // Its own timer keeps no process alive; this one is the test's.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  trail.record(changed('one'))
  while (rows() === 0) await delay(10)
  for (let i = 0; i < 499; i++) trail.record(changed(`${i}`))
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  t.equal(rows(), 1, '499 wait')
  trail.record(changed('the 500th'))
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  t.equal(rows(), 501)
  trail.record(changed('last'))
  trail.close()
  t.equal(rows(), 502)
})

t.test('the waiting room is bounded: a flood of refusals is counted, and what changed keeps its place', async (t) => {
  const { trail, list } = open(t)
  for (let i = 0; i < 20_000; i++) trail.record(denied({ address: `2001:db8::${i.toString(16)}` }))
  for (let i = 0; i < 99; i++) trail.record(changed(`${i}`))
  const events = await list()
  t.equal(events.length, 1_000)
  t.equal(events.filter(({ outcome }) => outcome === 'changed').length, 99)
  t.match(
    events.filter(({ reason }) => reason === 'too_many'),
    [{ outcome: 'denied', kind: 'connect', address: 'many', count: 19_100 }]
  )
  t.equal(
    events.reduce((sum, { outcome, count }) => sum + (outcome === 'denied' ? count : 0), 0),
    20_000,
    'none is lost from the count'
  )
})

t.test('the trail is bounded, and refusals push out nothing but refusals', async (t) => {
  const { db, trail, rows, list, errors } = open(t)
  const fill = (count: number, event: (i: number) => AuthEvent) => {
    for (let i = 0; i < count; i++) {
      trail.record(event(i))
      if (i % 400 === 399) trail.flush()
    }
    trail.flush()
  }
  fill(20_300, (i) => changed(`c${i}`))
  fill(10_700, (i) => denied({ detail: `d${i}` }))
  t.equal(rows(`outcome = 'denied'`), 10_000)
  t.equal(rows(`outcome <> 'denied'`), 20_000)
  t.equal(rows(`detail IN ('c299', 'd699')`), 0, 'the oldest went')
  t.equal(rows(`detail IN ('c300', 'd700')`), 2, 'and none before its time')

  // A second life of the same trail counts what it finds.
  const again = new Trail(db, { error: (_fields, message) => errors.push(message) })
  for (let i = 0; i < 10; i++) again.record(denied({ detail: `again${i}` }))
  again.flush()
  t.equal(rows(`outcome = 'denied'`), 10_000)
  t.equal(rows(`detail = 'd709'`), 0)
  t.equal((await list({ limit: 1 }))[0]?.id, 20_300 + 10_700 + 10, 'ids are never given twice')
  t.same(errors, [])
})

t.test('queries: pages, what is new, and filters', async (t) => {
  const { trail } = open(t)
  for (let i = 1; i <= 10; i++) {
    trail.record(
      i % 2 === 0 ? denied({ detail: `${i}` }) : { ...changed(`${i}`), who: i < 5 ? 'Ada@example.com' : 'owner' }
    )
  }
  const rows: { query: TrailQuery; ids: number[]; nextBefore?: number }[] = [
    { query: { limit: 3 }, ids: [10, 9, 8], nextBefore: 8 },
    { query: { limit: 3, before: 8 }, ids: [7, 6, 5], nextBefore: 5 },
    { query: { limit: 3, before: 4 }, ids: [3, 2, 1] },
    { query: { limit: 10 }, ids: [10, 9, 8, 7, 6, 5, 4, 3, 2, 1] },
    { query: { limit: 3, after: 8 }, ids: [10, 9] },
    { query: { limit: 2, after: 6, before: 10 }, ids: [9, 8], nextBefore: 8 },
    { query: { limit: 9, after: 10 }, ids: [] },
    { query: { limit: 9, outcome: 'denied' }, ids: [10, 8, 6, 4, 2] },
    { query: { limit: 9, kind: 'token.created', outcome: 'denied' }, ids: [] },
    { query: { limit: 9, who: 'ADA' }, ids: [3, 1] },
    { query: { limit: 9, who: '%' }, ids: [] },
    { query: { limit: 9, address: 'local', after: 4 }, ids: [9, 7, 5] },
    { query: { limit: 9, address: "' OR 1 --" }, ids: [] }
  ]
  for (const { query, ids, nextBefore } of rows) {
    const page = await trail.list(query)
    t.same(
      page.events.map(({ id }) => id),
      ids,
      JSON.stringify(query)
    )
    t.equal(page.nextBefore, nextBefore)
  }
})

t.test('S25: text is bounded, and nothing in it moves a cursor or turns a line around', async (t) => {
  const { trail, list } = open(t)
  trail.record(
    denied({
      who: 'a\r\nb\u001b[2J\u0000\u202e\u2028c\ud800',
      reason: 'x'.repeat(100_000),
      detail: '\u0007'.repeat(300),
      client: 'plain: ä 漢 🦞'
    })
  )
  const [event] = await list()
  t.equal(event?.who, 'a\\u{d}\\u{a}b\\u{1b}[2J\\u{0}\\u{202e}\\u{2028}c\ufffd')
  t.equal(event?.reason, 'x'.repeat(256))
  t.equal(event?.detail?.length, 256)
  t.equal(event?.client, 'plain: ä 漢 🦞')
})

t.test('the trail is append-only', async (t) => {
  const { db, trail } = open(t)
  trail.record(denied())
  trail.flush()
  t.throws(() => db.exec(`UPDATE auth_event SET outcome = 'allowed'`), { message: /append-only/ })
})

t.test('a disk that refuses is logged once, throws at nobody, and loses nothing that fits', async (t) => {
  const { db, trail, errors, list } = open(t)
  db.exec('PRAGMA query_only = ON')
  for (let i = 0; i < 3; i++) {
    trail.record(changed(`${i}`))
    trail.flush()
  }
  t.same(errors, ['audit trail not written'])
  db.exec('PRAGMA query_only = OFF')
  t.equal((await list()).length, 3)
  db.close()
  trail.record(denied())
  trail.close()
  t.equal(errors.length, 2)
})

t.test('recording costs microseconds', async (t) => {
  const { trail } = open(t)
  const events = Array.from({ length: 400 }, (_, i) => denied({ address: `10.0.0.${i}` }))
  const started = performance.now()
  for (let i = 0; i < 40_000; i++) trail.record(events[i % events.length]!)
  const each = ((performance.now() - started) / 40_000) * 1_000
  t.ok(each < 50, `${each.toFixed(2)} µs`)
})

t.test('kill -9 loses no more than what waits, and leaves a whole record', async (t) => {
  const dir = tempDir(t)
  const file = join(dir, 'gateway.sqlite')
  const url = (path: string) => JSON.stringify(new URL(`../../src/store/${path}`, import.meta.url).href)
  const script = `const { openDatabase } = await import(${url('database.ts')})
    const { Trail } = await import(${url('trail.ts')})
    const trail = new Trail(openDatabase(${JSON.stringify(file)}), console)
    let n = 0
    setInterval(() => {
      const last = n + 50
      while (n < last) trail.record({ kind: 'connect', outcome: 'allowed', detail: process.pid + ' ' + ++n, address: '127.0.0.1' })
      if (n % 500 === 0) { trail.flush(); console.log(n) }
    }, 1)`
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const exited = once(child, 'exit')
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    while (said.split('\n').length < 4) await once(child.stdout, 'data')
    await delay(Math.random() * 20)
    child.kill('SIGKILL')
    await exited
    const flushed = Number(said.trim().split('\n').at(-1))
    const { db, list } = open(t, file)
    t.same(db.prepare('PRAGMA integrity_check').get(), { integrity_check: 'ok' })
    const numbers = (await list({ limit: 100_000 }))
      .map(({ detail }) => detail!.split(' ').map(Number))
      .filter(([pid]) => pid === child.pid)
      .map(([, n]) => n!)
    const upTo = numbers[0] ?? 0
    t.ok(upTo >= flushed, `${flushed} were written, ${upTo} are there`)
    t.same(
      numbers,
      Array.from({ length: upTo }, (_, i) => upTo - i),
      'in order, and none between is missing'
    )
    db.close()
  }
})
