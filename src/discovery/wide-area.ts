import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Browsed } from './browse.ts'
import { decodePacket, encodePacket } from './packets.ts'
import { type DnsRecord, type Question, SERVICE, sameName } from './records.ts'
import { Sightings } from './sightings.ts'

const DNS_PORT = 53
/** How long one server has; the next one is asked then. */
const TRY_MS = 700
const MAX_QUESTIONS = 256
const AT_ONCE = 16

/**
 * Looks for gateways in a domain of unicast DNS, at servers as `getServers` of node:dns lists them. Node's own resolver
 * asks for no name with a space in it, which services have.
 */
export async function browseDomain(
  domain: string,
  { servers, timeoutMs }: { servers: readonly string[]; timeoutMs: number }
): Promise<Browsed> {
  const until = performance.now() + timeoutMs
  const sightings = new Sightings(domain)
  const first: Question = { name: `${SERVICE}.${domain}`, type: 'PTR' }
  const answered = await askFirst(servers, first, until)
  if (answered === undefined) return { sightings: [], problems: [{ place: domain, reason: 'no DNS server answers' }] }
  sightings.take(answered.answers)
  const asked = new Set<string>()
  const next = () => sightings.missing().filter((question) => !asked.has(keyOf(question)))
  for (let now = next(); now.length > 0 && asked.size < MAX_QUESTIONS && performance.now() < until; now = next()) {
    const some = now.slice(0, AT_ONCE)
    for (const question of some) asked.add(keyOf(question))
    await Promise.all(some.map(async (each) => sightings.take((await ask(answered.server, each, until)) ?? [])))
  }
  return { sightings: sightings.list(), problems: [] }
}

function keyOf({ name, type }: Question): string {
  return `${type} ${name.toLowerCase()}`
}

// The first server that answers at all, be it with nothing.
async function askFirst(
  servers: readonly string[],
  question: Question,
  until: number
): Promise<{ server: string; answers: readonly DnsRecord[] } | undefined> {
  for (const server of servers) {
    const answers = await ask(server, question, until)
    if (answers !== undefined) return { server, answers }
  }
  return undefined
}

async function ask(server: string, question: Question, until: number): Promise<readonly DnsRecord[] | undefined> {
  const timeoutMs = Math.min(TRY_MS, until - performance.now())
  if (timeoutMs <= 0) return undefined
  const { address, port } = endOf(server)
  const id = randomInt(1, 0x1_0000)
  const socket = createSocket(isIPv6(address.split('%')[0] ?? '') ? 'udp6' : 'udp4')
  return new Promise<readonly DnsRecord[] | undefined>((resolve) => {
    const timer = setTimeout(() => resolve(undefined), timeoutMs)
    socket.on('close', () => clearTimeout(timer))
    socket.on('error', () => resolve(undefined))
    socket.on('message', (bytes) => {
      const packet = decodePacket(bytes)
      if (packet?.response !== true || packet.id !== id || !packet.questions.some(isMeant)) return
      resolve(packet.answers)
    })
    // Connected, the socket hears that server alone.
    socket.connect(port, address, (error?: Error) => {
      // Without a network, or without its family, there is no way there.
      if (error !== undefined) return resolve(undefined)
      socket.send(encodePacket({ id, response: false, questions: [question], answers: [], claims: [] }))
    })
  }).finally(() => socket.close())

  function isMeant({ name, type }: Question): boolean {
    return type === question.type && sameName(name, question.name)
  }
}

// `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`.
function endOf(server: string): { address: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(server) ?? []
  return { address: bracketed ?? plain ?? server, port: port === undefined ? DNS_PORT : Number(port) }
}
