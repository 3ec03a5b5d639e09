import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Multicast } from './multicast.ts'
import { networksOf } from './networks.ts'
import { LOCAL, SERVICE } from './records.ts'
import { type Sighting, Sightings } from './sightings.ts'

/** What was seen in one place, a domain or the local networks. */
export interface Browsed {
  sightings: Sighting[]
  /** Why a network or a domain could not be asked. */
  problems: { place: string; reason: string }[]
}

const TICK_MS = 250
/** When everybody is asked again, by ticks; each time twice as long, as RFC 6762 wants it. */
const ASKED_AT: ReadonlySet<number> = new Set([0, 4, 12, 28, 60, 124])

/** Looks for gateways on every local network, for as long as it is told. */
export async function browseLocal(timeoutMs: number): Promise<Browsed> {
  const until = performance.now() + timeoutMs
  const sightings = new Sightings(LOCAL)
  const problems: Browsed['problems'] = []
  const networks = networksOf(networkInterfaces(), ['::'])
  const open = networks.map((network) => {
    return new Multicast(network, {
      heard: ({ response, answers }) => response && sightings.take(answers),
      failed: ({ message }) => problems.push({ place: network.name, reason: message })
    })
  })
  await Promise.all(open.map((each) => each.open()))
  try {
    for (let tick = 0; performance.now() < until; tick++) {
      const everybody = ASKED_AT.has(tick) ? [{ name: `${SERVICE}.${LOCAL}`, type: 'PTR' }] : []
      const questions = [...everybody, ...(tick % 2 === 1 ? sightings.missing() : [])]
      const packet = { id: 0, response: false, questions, answers: [], claims: [] }
      if (questions.length > 0) await Promise.all(open.map((each) => each.send(packet)))
      await sleep(Math.min(TICK_MS, until - performance.now()))
    }
  } finally {
    for (const each of open) each.close()
  }
  return { sightings: sightings.list(), problems }
}
