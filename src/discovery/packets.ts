import { type Answer, decode, encode } from 'dns-packet'
import type { DnsRecord, Question } from './records.ts'

/** One packet of DNS, as far as service discovery reads it. */
export interface Packet {
  /** 0 in multicast; a question with another one goes to a server, which is to find the answer. */
  id: number
  response: boolean
  questions: readonly Question[]
  /** The answers; those that came along unasked count as well. */
  answers: readonly DnsRecord[]
  /** What the sender claims for itself and has not got yet. */
  claims: readonly DnsRecord[]
}

/** The largest packet that multicast DNS allows; nothing larger is read. */
const MAX_BYTES = 9_000
const MAX_RECORDS = 256
const HEADER_BYTES = 12
const AUTHORITATIVE = 0x0400
const RECURSION_DESIRED = 0x0100
/** The class `IN` with the bit by which a record replaces what is known of its name. */
const UNIQUE: ReadonlySet<string> = new Set(['SRV', 'TXT'])

/** Reads a packet that anybody may have sent; undefined for one that makes no sense. */
export function decodePacket(bytes: Buffer): Packet | undefined {
  if (bytes.length > MAX_BYTES || bytes.length < HEADER_BYTES) return undefined
  // Each record may point to one long name: so few bytes are a lot of work, which nobody honest asks for.
  const counts = [4, 6, 8, 10].map((at) => bytes.readUInt16BE(at))
  if (counts.reduce((sum, count) => sum + count) > MAX_RECORDS) return undefined
  try {
    const { id = 0, type, questions = [], answers = [], additionals = [], authorities = [] } = decode(bytes)
    return {
      id,
      response: type === 'response',
      questions: questions.map(({ name, type }) => ({ name, type })),
      answers: [...answers, ...additionals].flatMap(recordOf),
      claims: authorities.flatMap(recordOf)
    }
  } catch {
    return undefined
  }
}

/** Writes a packet. `shared` leaves out the bit by which a record replaces others, as answers to old resolvers must. */
export function encodePacket(packet: Packet, shared = false): Buffer {
  const write = (record: DnsRecord) => answerOf(record, !shared && packet.response && UNIQUE.has(record.type))
  return encode({
    id: packet.id,
    type: packet.response ? 'response' : 'query',
    flags: packet.response ? AUTHORITATIVE : packet.id === 0 ? 0 : RECURSION_DESIRED,
    questions: packet.questions.map(({ name, type }) => ({ name, type: type as 'PTR' })),
    answers: packet.answers.map(write),
    authorities: packet.claims.map(write)
  })
}

function recordOf(answer: Answer): DnsRecord[] {
  if (answer.type === 'OPT') return []
  const { name } = answer
  const ttl = 'ttl' in answer ? (answer.ttl ?? 0) : 0
  switch (answer.type) {
    case 'PTR':
      return [{ name, ttl, type: 'PTR', target: answer.data }]
    case 'SRV':
      return [{ name, ttl, type: 'SRV', target: answer.data.target, port: answer.data.port }]
    case 'TXT':
      return [{ name, ttl, type: 'TXT', entries: [answer.data].flat().map(String) }]
    case 'A':
    case 'AAAA':
      return [{ name, ttl, type: answer.type, address: answer.data }]
    default:
      return []
  }
}

function answerOf(record: DnsRecord, flush: boolean): Answer {
  const { name, ttl } = record
  const common = { name, ttl, flush, class: 'IN' } as const
  switch (record.type) {
    case 'PTR':
      return { ...common, type: 'PTR', data: record.target }
    case 'SRV':
      return { ...common, type: 'SRV', data: { port: record.port, target: record.target } }
    case 'TXT':
      return { ...common, type: 'TXT', data: [...record.entries] }
    case 'A':
    case 'AAAA':
      return { ...common, type: record.type, data: record.address }
  }
}
