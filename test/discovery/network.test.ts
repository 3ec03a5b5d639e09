import { hostname } from 'node:os'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { decodePacket, encodePacket, type Packet } from '../../src/discovery/packets.ts'
import { type DnsRecord, hostLabel, SERVICE } from '../../src/discovery/records.ts'
import { discover, LAN, makeLan, startOnLan } from '../support/lan.ts'
import { cannotMakeMachines, ip, onMachine } from '../support/netns.ts'

t.setTimeout(110_000)

const label = hostLabel(hostname())
const service = `${SERVICE}.local`
const first = `${label} (OpenClaw)`
const reason = cannotMakeMachines()
if (reason === undefined) tests()
else t.plan(0, reason)

interface Heard extends Packet {
  from: string
  alone: boolean
}

/** A machine on the network that hears everything, and says what it is told to. */
interface Neighbour {
  heard(): Heard[]
  /** Resolves with the first packet from now on that is as wanted. */
  next(wanted: (packet: Heard) => boolean): Promise<Heard>
  say(packet: Partial<Packet>, how?: { alone?: boolean }): void
  sayBytes(bytes: Uint8Array): void
}

function tests(): void {
  t.jobs = 3
  t.test('a gateway announces itself, is found within two seconds, and says goodbye', { buffered: true }, async (t) => {
    const [one, two, three] = makeLan(t, 3)
    const ear = await neighbour(t, three)
    const gateway = await startOnLan(t, one)
    const said = await ear.next(({ response, answers }) => response && answers.length > 0)
    const probes = ear.heard().filter(({ response }) => !response)
    t.equal(probes.length, 3, 'it asks three times for its name before it takes it')
    t.match(probes[0], { questions: [{ name: `${first}.${service}`, type: 'ANY' }], claims: [{ type: 'SRV' }] })
    t.equal(said.from, '10.79.0.1')
    t.same(said.answers.map(brief).toSorted(), [
      `A ${label}.local 10.79.0.1`,
      `PTR ${service} ${first}.${service}`,
      `PTR _services._dns-sd._udp.local ${service}`,
      `SRV ${first}.${service} ${label}.local:18789`,
      `TXT ${first}.${service} role=gateway transport=gateway gatewayPort=18789`
    ])

    const { beacons, ...rest } = await discover(t, two)
    t.match(rest, { timeoutMs: 2_000, domains: ['local.'], count: 1, problems: [] })
    t.match(beacons[0], { instanceName: first, domain: 'local.', host: `${label}.local`, port: 18_789 })
    t.match(beacons[0], { wsUrl: 'ws://10.79.0.1:18789', gatewayTls: false, role: 'gateway', transport: 'gateway' })
    t.match(await gateway.cli('gateway', 'discover'), /^Use it +openclaw setup --remote ws:\/\/10\.79\.0\.1:18789$/m)

    const goodbye = ear.next(({ answers }) => answers.some(({ ttl }) => ttl === 0))
    gateway.child.kill('SIGTERM')
    t.same((await goodbye).answers.map(brief).toSorted(), [
      `PTR ${service} ${first}.${service}`,
      `SRV ${first}.${service} ${label}.local:18789`,
      `TXT ${first}.${service} role=gateway transport=gateway gatewayPort=18789`
    ])
    await gateway.exited
    t.match(await discover(t, two), { count: 0, beacons: [] })
  })

  t.test('two gateways of one name are told apart, on two hosts and on one', { buffered: true }, async (t) => {
    const [one, two, three] = makeLan(t, 3)
    await (await startOnLan(t, one)).said('announced on the local network')
    const other = await startOnLan(t, two)
    await other.said(`${first} (2)`)
    const second = await startOnLan(t, one, { port: 18_790 })
    await second.said(`${first} (3)`)
    const { beacons } = await discover(t, three)
    t.match(
      beacons.map(({ instanceName, host, wsUrl }) => [instanceName, host, wsUrl]),
      [
        [first, `${label}.local`, 'ws://10.79.0.1:18789'],
        [`${first} (2)`, `${label}-2.local`, 'ws://10.79.0.2:18789'],
        [`${first} (3)`, `${label}.local`, 'ws://10.79.0.1:18790']
      ]
    )
    // A browser that was led to a name sends it along.
    const statusAs = async (host: string) => {
      const ask = `require('http').get('http://10.79.0.2:18789/healthz', { headers: { host: '${host}:18789' } }, (r) => console.log(r.statusCode))`
      const { exited, output } = onMachine(t, three, [process.execPath, '-e', ask], process.env)
      await exited
      return output().trim()
    }
    t.equal(await statusAs(`${label}-2.local`), '200')
    t.equal(await statusAs(`${label}-3.local`), '421')
  })

  t.test('two gateways that ask for one name in the same moment agree on who has it', { buffered: true }, async (t) => {
    const [one, two, three] = makeLan(t, 3)
    const gateways = await Promise.all([startOnLan(t, one), startOnLan(t, two)])
    await Promise.all(gateways.map(({ said }) => said('announced on the local network')))
    const { beacons } = await discover(t, three, '--timeout', '6000')
    t.same(
      beacons.map(({ instanceName }) => instanceName),
      [first, `${first} (2)`]
    )
    t.equal(new Set(beacons.map(({ host }) => host)).size, 2)
  })

  t.test(
    'nothing is sent unless the configuration asks for it, whatever is asked on the network',
    { buffered: true },
    async (t) => {
      const [silent, loud, three] = makeLan(t, 3)
      const ear = await neighbour(t, three)
      const off = await startOnLan(t, silent, { discovery: {} })
      const disabled = await startOnLan(t, silent, { port: 18_790, env: { OPENCLAW_DISABLE_BONJOUR: '1' } })
      const loopback = await startOnLan(t, silent, { port: 18_791, bind: 'loopback' })
      t.match(loopback.output(), /listens on 127\.0\.0\.1 only.*announced on no network/)
      ear.say({ questions: [{ name: service, type: 'PTR' }] })
      ear.say({ questions: [{ name: service, type: 'PTR' }], id: 7 }, { alone: true })
      // What is loud is asked the same, and later: when it has answered, and the others have stopped, nothing is to come.
      await startOnLan(t, loud)
      ear.say({ questions: [{ name: service, type: 'PTR' }] })
      await ear.next(({ response }) => response)
      for (const { child, exited } of [off, disabled, loopback]) {
        child.kill('SIGTERM')
        await exited
      }
      ear.say({ questions: [{ name: service, type: 'PTR' }] })
      await ear.next(({ response }) => response)
      t.same(
        ear.heard().filter(({ from }) => from === '10.79.0.1'),
        []
      )
    }
  )

  t.test(
    'S15: what is announced names role, transport, port and TLS, whatever is configured',
    { buffered: true },
    async (t) => {
      const [one, two, three] = makeLan(t, 3)
      const ear = await neighbour(t, three)
      const gateway = await startOnLan(t, one, { discovery: { mdns: { mode: 'full' } }, tls: { enabled: true } })
      t.match(gateway.output(), /discovery\.mdns\.mode: \\?"full\\?" announces no more than/)
      const { answers } = await ear.next(({ response, answers }) => response && answers.length > 0)
      const texts = answers.flatMap((record) => (record.type === 'TXT' ? record.entries : []))
      t.same(texts, ['role=gateway', 'transport=gateway', 'gatewayPort=18789', 'gatewayTls=1'])
      const { beacons } = await discover(t, two)
      t.match(beacons, [{ gatewayTls: true, wsUrl: 'wss://10.79.0.1:18789' }])
    }
  )

  t.test('an edit of discovery.mdns.mode takes effect at once, both ways', { buffered: true }, async (t) => {
    const [one, two] = makeLan(t, 2)
    const ear = await neighbour(t, two)
    const gateway = await startOnLan(t, one, { discovery: {} })
    const announced = ear.next(({ response, answers }) => response && answers.some(({ ttl }) => ttl > 0))
    gateway.configure({ mdns: { mode: 'minimal' } })
    await announced
    const goodbye = ear.next(({ answers }) => answers.some(({ ttl }) => ttl === 0))
    gateway.configure({ mdns: { mode: 'off' } })
    await goodbye
    const { length } = ear.heard()
    ear.say({ questions: [{ name: service, type: 'PTR' }] })
    const { count } = await discover(t, two)
    t.equal(count, 0)
    t.same(
      ear
        .heard()
        .slice(length)
        .filter(({ response }) => response),
      []
    )
  })

  t.test('a new address is announced, and one that is gone no longer', { buffered: true }, async (t) => {
    const [one, two] = makeLan(t, 2)
    const ear = await neighbour(t, two)
    await startOnLan(t, one)
    const has = (address: string) => (packet: Heard) =>
      packet.answers.some((each) => brief(each).endsWith(` ${address}`))
    await ear.next(has('10.79.0.1'))
    const moved = ear.next(has('10.79.0.77'))
    ip('-n', one, 'addr', 'del', '10.79.0.1/24', 'dev', LAN)
    ip('-n', one, 'addr', 'add', '10.79.0.77/24', 'dev', LAN)
    t.notOk(has('10.79.0.1')(await moved))
    const { beacons } = await discover(t, two)
    t.match(beacons, [{ wsUrl: 'ws://10.79.0.77:18789' }])
    const more = ear.next(has('10.79.0.78'))
    ip('-n', one, 'addr', 'add', '10.79.0.78/24', 'dev', LAN)
    t.ok(has('10.79.0.77')(await more), 'beside the other one')
    const less = ear.next(({ answers }) => answers.some(({ ttl }) => ttl === 0))
    ip('-n', one, 'addr', 'del', '10.79.0.78/24', 'dev', LAN)
    t.same((await less).answers.map(brief), [`A ${label}.local 10.79.0.78`])
    const goodbyes = ear
      .heard()
      .flatMap(({ answers }) => answers.filter(({ type, ttl }) => type === 'PTR' && ttl === 0))
    t.same(goodbyes, [], 'and all the while it is announced')
  })

  t.test('over IPv6 as well, where the gateway listens on it', { buffered: true }, async (t) => {
    const [one, two] = makeLan(t, 2)
    for (const [n, name] of [one, two].entries()) {
      ip('-n', name, 'addr', 'add', `fd79::${n + 1}/64`, 'dev', LAN, 'nodad')
      ip('-n', name, 'addr', 'flush', 'dev', LAN, 'scope', 'global', 'to', '10.79.0.0/16')
    }
    const gateway = await startOnLan(t, one, { bind: 'custom', customBindHost: '::' })
    await gateway.said('announced on the local network')
    const { beacons } = await discover(t, two, '--timeout', '4000')
    t.match(beacons, [{ host: `${label}.local`, wsUrl: 'ws://[fd79::1]:18789' }])
  })

  t.test('whoever asks once, from a port of its own, gets an answer of its own', { buffered: true }, async (t) => {
    const [one, two] = makeLan(t, 2)
    const ear = await neighbour(t, two)
    const gateway = await startOnLan(t, one)
    await gateway.said('announced on the local network')
    const answered = ear.next(({ alone, response }) => alone && response)
    ear.say({ id: 4_711, questions: [{ name: service, type: 'PTR' }] }, { alone: true })
    const answer = await answered
    t.match(answer, { id: 4_711, questions: [{ name: service, type: 'PTR' }] })
    t.ok(answer.answers.every(({ ttl }) => ttl <= 10))
    for (let n = 0; n < 100; n++) ear.say({ id: n, questions: [{ name: service, type: 'PTR' }] }, { alone: true })
    await discover(t, two)
    const all = ear.heard().filter(({ alone }) => alone).length
    t.ok(all <= 31, `of a hundred in a moment few are answered: ${all}`)
  })

  t.test('packets that make no sense, or too many of them, change nothing', { buffered: true }, async (t) => {
    const [one, two] = makeLan(t, 2)
    const ear = await neighbour(t, two)
    const gateway = await startOnLan(t, one)
    await gateway.said('announced on the local network')
    for (const bytes of fc.sample(fc.uint8Array({ maxLength: 600 }), 200)) ear.sayBytes(bytes)
    const honest = encodePacket({ id: 0, response: true, questions: [], claims: [], answers: foreign() })
    for (const at of fc.sample(fc.nat(honest.length - 1), 200)) {
      const broken = Buffer.from(honest)
      broken[at] = broken[at]! ^ 0xff
      ear.sayBytes(broken)
    }
    // One name, pointed to again and again.
    ear.sayBytes(Buffer.from('000084000000ffff00000000c00c'.padEnd(17_000, 'c00c'), 'hex'))
    const { beacons } = await discover(t, two, '--timeout', '4000')
    t.ok(
      beacons.some(({ instanceName, host }) => instanceName === first && host === `${label}.local`),
      JSON.stringify(beacons)
    )
    t.equal(gateway.child.exitCode, null)
    t.notMatch(gateway.output(), /"level":"error"/)
  })

  t.test(
    'where the port of multicast DNS is taken, that is said, and everything else works',
    { buffered: true },
    async (t) => {
      const [one] = makeLan(t, 2)
      const take = `require('dgram').createSocket('udp4').bind(5353, () => console.log('taken'))`
      await onMachine(t, one, [process.execPath, '-e', take], process.env).said('taken')
      const gateway = await startOnLan(t, one)
      await gateway.said('not announced on a network')
      t.match(await gateway.cli('status'), /^Announced +nowhere: .*EADDRINUSE/m)
      t.notMatch(gateway.output(), /"announced on the local network"/)
      t.match(await discover(t, one), { count: 0, problems: [{ place: LAN, reason: /EADDRINUSE/ }] })
    }
  )

  t.test(
    'somebody who claims every name keeps the gateway from being announced, and from nothing else',
    { buffered: true },
    async (t) => {
      const [one, two] = makeLan(t, 2)
      const ear = await neighbour(t, two)
      const claimed = (packet: Heard) => !packet.response && packet.questions[0]?.type === 'ANY'
      const gateway = await startOnLan(t, one)
      let given = false
      void gateway.said('claims every name').then(() => {
        given = true
      })
      while (!given) {
        const { questions } = await Promise.race([
          ear.next(claimed),
          gateway.said('claims every name').then((): Pick<Packet, 'questions'> => ({ questions: [] }))
        ])
        const [name] = questions.map((each) => each.name)
        if (name === undefined) break
        ear.say({ response: true, answers: [{ name, type: 'SRV', ttl: 120, port: 1, target: 'evil.local' }] })
      }
      t.equal(gateway.child.exitCode, null)
      const { discovery } = JSON.parse(await gateway.cli('gateway', 'call', 'status', '--json')).gateway
      t.match(discovery, {
        announced: [],
        problems: [{ network: LAN, reason: /claims every name/ }]
      })
    }
  )
}

async function neighbour(t: Test, machine: string): Promise<Neighbour> {
  const program = new URL('../support/mdns-neighbour.ts', import.meta.url).pathname
  const own = `10.79.0.${Number(machine.at(3)) + 1}`
  const { child, said } = onMachine(t, machine, [process.execPath, program, own], process.env)
  const heard: Heard[] = []
  const waiting = new Set<(packet: Heard) => void>()
  let rest = ''
  child.stdout!.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines.filter((each) => each.startsWith('{'))) {
      const { hex, from, alone } = JSON.parse(line) as { hex: string; from: string; alone: boolean }
      const packet = decodePacket(Buffer.from(hex, 'hex'))
      if (packet === undefined || from === own) continue
      heard.push({ ...packet, from, alone })
      for (const each of waiting) each({ ...packet, from, alone })
    }
  })
  await said('listening')
  const sayBytes = (bytes: Uint8Array, how = {}) =>
    void child.stdin!.write(`${JSON.stringify({ hex: Buffer.from(bytes).toString('hex'), ...how })}\n`)
  return {
    heard: () => heard,
    next: (wanted) =>
      new Promise((resolve) => {
        const look = (packet: Heard) => {
          if (!wanted(packet)) return
          waiting.delete(look)
          resolve(packet)
        }
        waiting.add(look)
      }),
    sayBytes,
    say: (packet, how) =>
      sayBytes(encodePacket({ id: 0, response: false, questions: [], answers: [], claims: [], ...packet }), how)
  }
}

function brief(record: DnsRecord): string {
  const { type, name } = record
  switch (type) {
    case 'PTR':
      return `PTR ${name} ${record.target}`
    case 'SRV':
      return `SRV ${name} ${record.target}:${record.port}`
    case 'TXT':
      return `TXT ${name} ${record.entries.join(' ')}`
    default:
      return `${type} ${name} ${record.address}`
  }
}

/** What another gateway might say. */
function foreign(): DnsRecord[] {
  const name = `foreign (OpenClaw).${service}`
  return [
    { name: service, type: 'PTR', ttl: 4_500, target: name },
    { name, type: 'SRV', ttl: 120, target: 'foreign.local', port: 18_789 },
    { name, type: 'TXT', ttl: 4_500, entries: ['role=gateway', 'gatewayPort=18789'] },
    { name: 'foreign.local', type: 'A', ttl: 120, address: '10.79.0.9' }
  ]
}
