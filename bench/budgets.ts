import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { cleanEnv, startGateway } from '../scripts/gateway-process.ts'
import { findReference } from '../scripts/reference.ts'
import { installedSize } from './installed.ts'
import type { Load } from './load.ts'
import {
  command,
  cpuSeconds,
  load,
  median,
  residentKB,
  settledKB,
  startBare,
  timeBareStart,
  timeProcess
} from './processes.ts'

/** How long and how often: the real thing, or just enough to see that it runs. */
export interface Effort {
  rounds: number
  seconds: number
  /** Connections of the idle row. */
  idle: number
  /** Clients of the fan-out row. */
  fan: number
  settleMs: number
  smoke: boolean
}

/** One line of the table. `pass` is undefined when there is nothing to compare with here. */
export interface Row {
  what: string
  ours: string
  baseline: string
  ratio: string
  bar: string
  pass: boolean | undefined
}

/** One budget: measures ours and a baseline in the same run, in turns. */
export interface Budget {
  name: string
  run(effort: Effort): Promise<Row[]>
}

export const budgets: readonly Budget[] = [
  { name: 'start', run: start },
  { name: 'memory', run: memory },
  { name: 'health', run: health },
  { name: 'rpc', run: (effort) => rpc('RPC, 1 socket', 1, 8, effort) },
  { name: 'rpc50', run: (effort) => rpc('RPC, 50 sockets', 50, 1, effort) },
  { name: 'http', run: http },
  { name: 'auth', run: auth },
  { name: 'connect', run: connects },
  { name: 'idle', run: idle },
  { name: 'fan', run: fan },
  { name: 'nodes', run: nodes },
  { name: 'nodes-idle', run: nodesIdle },
  { name: 'installed', run: async () => installed() }
]

async function start({ rounds, smoke }: Effort): Promise<Row[]> {
  const ours: number[] = []
  const bare: number[] = []
  for (let round = 0; round < rounds; round++) {
    const gateway = await startGateway(command())
    ours.push(gateway.readyMs)
    await gateway.stop()
    bare.push(await timeBareStart())
  }
  const took = median(ours)
  const bar = 'at most 500 ms'
  const rows = [
    row('start to /readyz', ms(took), `${ms(median(bare))} Fastify`, times(took, median(bare)), bar, took <= 500)
  ]
  const reference = findReference()
  const again = 'start against the reference'
  if (reference === undefined || smoke) {
    rows.push(row(again, ms(took), 'not measured', '', 'at least 15 times faster', undefined))
  } else {
    const theirs: number[] = []
    for (let round = 0; round < Math.min(rounds, 3); round++) {
      const gateway = await startGateway([reference], 120_000)
      theirs.push(gateway.readyMs)
      await gateway.stop()
    }
    const ratio = median(theirs) / took
    rows.push(row(again, ms(took), ms(median(theirs)), `${ratio.toFixed(1)}x`, 'at least 15 times faster', ratio >= 15))
  }
  return rows
}

async function memory({ settleMs }: Effort): Promise<Row[]> {
  const [gateway, bare] = await Promise.all([startGateway(command()), startBare('fastify')])
  const [ours, theirs] = [await settledKB(gateway.pid, settleMs), await settledKB(bare.pid, 0)]
  await Promise.all([gateway.stop(), bare.stop()])
  const mb = (kb: number): string => `${(kb / 1024).toFixed(0)} MB`
  const baseline = `${mb(theirs)} Fastify`
  return [row('memory, idle', mb(ours), baseline, times(ours, theirs), 'at most 100 MB', ours <= 100 * 1024)]
}

async function health({ rounds }: Effort): Promise<Row[]> {
  const gateway = await startGateway(command())
  const env = { ...cleanEnv(path.dirname(gateway.stateDir)), OPENCLAW_STATE_DIR: gateway.stateDir }
  const ours: number[] = []
  const bare: number[] = []
  for (let round = 0; round < rounds * 2; round++) {
    ours.push(await timeProcess([...command(), 'health'], env))
    bare.push(await timeProcess(['-e', '0'], env))
  }
  await gateway.stop()
  const took = median(ours)
  const baseline = `${ms(median(bare))} node -e 0`
  return [row('openclaw health', ms(took), baseline, times(took, median(bare)), 'at most 300 ms', took <= 300)]
}

function rpc(what: string, sockets: number, inflight: number, effort: Effort): Promise<Row[]> {
  const work = { kind: 'rpc', sockets, inflight, seconds: effort.seconds } as const
  return rates({ what, bare: 'ws', work, share: 0.75, effort })
}

function http(effort: Effort): Promise<Row[]> {
  const work = { kind: 'http', connections: 50, pipeline: 4, seconds: effort.seconds } as const
  return rates({ what: 'GET /healthz', bare: 'fastify', work, share: 0.85, effort })
}

/** What a request pays for all that stands before an authenticated route, one at a time. */
async function auth({ rounds, seconds }: Effort): Promise<Row[]> {
  const [gateway, bare] = await Promise.all([startGateway(command()), startBare('fastify')])
  const work = { kind: 'latency', count: Math.ceil(seconds * 3000) } as const
  const page = { ...work, path: '/control-ui-config.json', port: gateway.port, token: gateway.token }
  const pairs: Pair[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      pairs.push(
        await inTurns(
          round,
          async () => (await load(page)).medianMs!,
          async () => (await load({ ...work, path: '/healthz', port: bare.port })).medianMs!
        )
      )
    }
  } finally {
    await Promise.all([gateway.stop(), bare.stop()])
  }
  const added = median(pairs.map(({ ours, theirs }) => ours - theirs))
  const us = (value: number): string => `${(value * 1000).toFixed(0)} µs`
  const [ours, theirs] = [median(pairs.map((pair) => pair.ours)), median(pairs.map((pair) => pair.theirs))]
  const bar = 'adds at most 100 µs'
  return [row('a request with a bearer', us(ours), `${us(theirs)} fastify`, `adds ${us(added)}`, bar, added <= 0.1)]
}

function connects(effort: Effort): Promise<Row[]> {
  const work = { kind: 'connect', count: Math.ceil(effort.seconds * 500), concurrency: 8 } as const
  return rates({ what: 'connect with a token', bare: 'ws', work, share: 0.5, effort })
}

/** Compares two rates, ours and a bare server's, in turns. */
async function rates(plan: {
  what: string
  bare: 'ws' | 'fastify'
  work: WithoutTarget<Load>
  share: number
  effort: Effort
}): Promise<Row[]> {
  const [gateway, bare] = await Promise.all([startGateway(command()), startBare(plan.bare)])
  const pairs: Pair[] = []
  try {
    for (let round = 0; round < plan.effort.rounds; round++) {
      pairs.push(
        await inTurns(
          round,
          async () => (await load({ ...plan.work, port: gateway.port, token: gateway.token })).rate,
          async () => (await load({ ...plan.work, port: bare.port })).rate
        )
      )
    }
  } finally {
    await Promise.all([gateway.stop(), bare.stop()])
  }
  return [rateRow(plan.what, plan.bare, pairs, plan.share)]
}

interface Pair {
  ours: number
  theirs: number
}

/** Measures both, the one first in even rounds and the other in odd ones. */
async function inTurns(round: number, ours: () => Promise<number>, theirs: () => Promise<number>): Promise<Pair> {
  if (round % 2 === 0) return { ours: await ours(), theirs: await theirs() }
  const first = await theirs()
  return { theirs: first, ours: await ours() }
}

// The ratio is the median of each round's own: what disturbs a machine for seconds disturbs both halves of a round.
function rateRow(what: string, bare: string, pairs: readonly Pair[], bar: number): Row {
  const rate = (value: number): string => `${Math.round(value).toLocaleString('en')}/s`
  const ratio = median(pairs.map(({ ours, theirs }) => ours / theirs))
  const [ours, theirs] = [median(pairs.map((pair) => pair.ours)), median(pairs.map((pair) => pair.theirs))]
  return row(what, rate(ours), `${rate(theirs)} ${bare}`, share(ratio), `at least ${bar * 100} %`, ratio >= bar)
}

async function idle({ idle: count, settleMs }: Effort): Promise<Row[]> {
  const [gateway, bare] = await Promise.all([startGateway(command()), startBare('ws')])
  const each = async (pid: number, target: { port: number; token?: string }): Promise<number> => {
    // Code and heap that the first connections bring along are no cost of a connection.
    await load({ kind: 'connect', count: 300, concurrency: 8, ...target })
    const before = await settledKB(pid, settleMs)
    let after = before
    await load({ kind: 'idle', count, ...target }, async () => {
      after = await settledKB(pid, settleMs)
    })
    return (after - before) / count
  }
  try {
    const ours = await each(gateway.pid, { port: gateway.port, token: gateway.token })
    const theirs = await each(bare.pid, { port: bare.port })
    const kb = (value: number): string => `${value.toFixed(1)} KB`
    const what = `a connection, idle, at ${count.toLocaleString('en')}`
    return [row(what, kb(ours), `${kb(theirs)} ws`, times(ours, theirs), 'at most 16 KB', ours <= 16)]
  } finally {
    await Promise.all([gateway.stop(), bare.stop()])
  }
}

async function fan({ rounds, fan: clients, smoke }: Effort): Promise<Row[]> {
  const [gateway, bare] = await Promise.all([startGateway(command()), startBare('ws')])
  const work = { kind: 'fan', clients, rounds: smoke ? 3 : 50 } as const
  const pairs: Pair[] = []
  let bytes = 0
  try {
    for (let round = 0; round < rounds; round++) {
      // Ours first: it says how large an event is.
      const mine = await load({ ...work, port: gateway.port, token: gateway.token })
      bytes = mine.bytes ?? 0
      pairs.push({ ours: mine.rate, theirs: (await load({ ...work, bytes, port: bare.port })).rate })
    }
  } finally {
    await Promise.all([gateway.stop(), bare.stop()])
  }
  return [rateRow(`one event (${bytes} B) to ${clients.toLocaleString('en')}`, 'ws', pairs, 0.7)]
}

/** What nodes cost that have nothing to do: memory, and the ticks and pings of a minute. */
async function nodesIdle({ fan: count, settleMs, smoke }: Effort): Promise<Row[]> {
  const [gateway, bare] = await Promise.all([startGateway(command()), startBare('relay')])
  const each = async (pid: number, target: { port: number; token?: string }) => {
    // Code and heap that the first nodes bring along are no cost of a node.
    await load({ kind: 'nodes', nodes: Math.ceil(count / 3), ...target })
    const before = await settledKB(pid, settleMs)
    let after = before
    let busy: number | undefined
    await load({ kind: 'nodes', nodes: count, ...target }, async () => {
      after = await settledKB(pid, settleMs)
      const [start, length] = [cpuSeconds(pid), smoke ? 1 : 60]
      await delay(length * 1000)
      if (start !== undefined) busy = ((cpuSeconds(pid) ?? start) - start) / length
    })
    return { kb: (after - before) / count, busy }
  }
  try {
    const ours = await each(gateway.pid, { port: gateway.port, token: gateway.token })
    const theirs = await each(bare.pid, { port: bare.port })
    const kb = (value: number): string => `${value.toFixed(1)} KB`
    const cpu = (value: number | undefined): string =>
      value === undefined ? 'unknown' : `${(value * 100).toFixed(1)} %`
    const at = `idle, at ${count.toLocaleString('en')}`
    return [
      row(
        `a node, ${at}`,
        kb(ours.kb),
        `${kb(theirs.kb)} ws`,
        times(ours.kb, theirs.kb),
        'at most 64 KB',
        ours.kb <= 64
      ),
      row(
        `nodes, ${at}: of one core`,
        cpu(ours.busy),
        `${cpu(theirs.busy)} ws`,
        '',
        'at most 2 %',
        ours.busy === undefined ? undefined : ours.busy <= 0.02
      )
    ]
  } finally {
    await Promise.all([gateway.stop(), bare.stop()])
  }
}

/** Commands to many nodes at once, against a relay that knows nothing but where each goes. */
async function nodes({ fan: count, rounds, seconds, smoke }: Effort): Promise<Row[]> {
  const [gateway, bare] = await Promise.all([startGateway(command()), startBare('relay')])
  const each = (perSecond: number, length: number) => ({
    kind: 'invokes' as const,
    nodes: count,
    rate: count * perSecond,
    seconds: length
  })
  const ours = { port: gateway.port, token: gateway.token }
  const theirs = { port: bare.port }
  try {
    // Where a small machine carries it with room to spare: a queue that only grows has no tail to compare.
    const calm = each(5, seconds * 10)
    const tails: Pair[] = []
    for (let round = 0; round < Math.ceil(rounds / 3); round++) {
      const tail = async (target: { port: number; token?: string }) => (await load({ ...calm, ...target })).p99Ms!
      tails.push(
        await inTurns(
          round,
          () => tail(ours),
          () => tail(theirs)
        )
      )
    }
    const length = smoke ? 1 : 30
    const full = each(20, length)
    let early = 0
    let late = 0
    const mine = await load({ ...full, ...ours }, async () => {
      await delay((length * 1000) / 3)
      early = residentKB(gateway.pid)
      await delay((length * 1000) / 2)
      late = residentKB(gateway.pid)
    })
    const relayed = await load({ ...full, ...theirs })
    const added = median(tails.map((pair) => pair.ours - pair.theirs))
    const [p99, bareP99] = [median(tails.map((pair) => pair.ours)), median(tails.map((pair) => pair.theirs))]
    const rate = (value: number): string => `${Math.round(value).toLocaleString('en')}/s`
    const fine = (value: number): string => `${value.toFixed(1)} ms`
    const mb = (kb: number): string => `${Math.round(kb / 1024)} MB`
    const what = `${count.toLocaleString('en')} nodes`
    const kept = mine.rate / relayed.rate
    return [
      row(
        `${what}, 5 invokes a second on each: p99`,
        fine(p99),
        `${fine(bareP99)} ws`,
        `adds ${fine(added)}`,
        'adds at most 5 ms',
        added <= 5
      ),
      row(
        `${what}, 20 invokes a second on each`,
        rate(mine.rate),
        `${rate(relayed.rate)} ws`,
        share(kept),
        'at least 95 %, no error',
        kept >= 0.95
      ),
      row(
        'memory meanwhile, early and late',
        mb(late),
        mb(early),
        times(late, early),
        'at most 1.3x',
        late <= early * 1.3
      )
    ]
  } finally {
    await Promise.all([gateway.stop(), bare.stop()])
  }
}

function installed(): Row[] {
  const { megabytes, packages, scripts } = installedSize()
  const ours = `${megabytes.toFixed(1)} MB, ${packages} packages, ${scripts.length} install scripts`
  const pass = megabytes <= 40 && scripts.length === 0
  return [row('installed for production', ours, '', '', 'at most 40 MB, no install scripts', pass)]
}

type WithoutTarget<L> = L extends unknown ? Omit<L, 'port' | 'token'> : never

function row(what: string, ours: string, baseline: string, ratio: string, bar: string, pass: boolean | undefined): Row {
  return { what, ours, baseline, ratio, bar, pass }
}

function ms(value: number): string {
  return `${Math.round(value)} ms`
}

function times(ours: number, baseline: number): string {
  return `${(ours / baseline).toFixed(1)}x`
}

function share(ratio: number): string {
  return `${(ratio * 100).toFixed(0)} %`
}
