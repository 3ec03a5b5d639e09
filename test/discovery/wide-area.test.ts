import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import path from 'node:path'
import t, { type Test } from 'tap'
import { beaconOf } from '../../src/cli/discovery/beacons.ts'
import { decodePacket, encodePacket } from '../../src/discovery/packets.ts'
import { type DnsRecord, hostLabel, recordsOf, SERVICE, sameName } from '../../src/discovery/records.ts'
import { browseDomain } from '../../src/discovery/wide-area.ts'
import { runCli } from '../support/cli.ts'
import { tempDir } from '../support/gateway.ts'

const domain = 'gateways.example.com'
const about = { label: 'box', number: 1, hostNumber: 1, domain, port: 18_789, tls: true }

/** A DNS server that knows these records, as `getServers` would list it; without any it says nothing at all. */
async function startDns(t: Test, records: readonly DnsRecord[] | undefined): Promise<string> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.teardown(() => socket.close())
  socket.on('message', (bytes, { address, port }) => {
    const asked = decodePacket(bytes)
    if (asked === undefined || records === undefined) return
    const [question] = asked.questions
    const answers = records.filter(({ name, type }) => type === question?.type && sameName(name, question.name))
    const answer = { ...asked, response: true, answers }
    // What others say in between does not count.
    socket.send(encodePacket({ ...answer, id: (asked.id % 65_535) + 1, answers: [] }), port, address)
    socket.send(encodePacket({ ...answer, questions: [{ name: 'other', type: 'PTR' }] }), port, address)
    socket.send(encodePacket(answer), port, address)
  })
  return `127.0.0.1:${socket.address().port}`
}

t.test('gateways of a DNS domain are found by PTR, SRV, TXT and addresses', async (t) => {
  const server = await startDns(t, recordsOf(about, ['100.64.0.7']))
  const { sightings, problems } = await browseDomain(domain, { servers: [server], timeoutMs: 2_000 })
  t.same(problems, [])
  t.match(sightings.map(beaconOf), [
    {
      instanceName: 'box (OpenClaw)',
      domain: `${domain}.`,
      host: `box.${domain}`,
      addresses: ['100.64.0.7'],
      gatewayTls: true,
      // A certificate is for a name.
      wsUrl: `wss://box.${domain}:18789`
    }
  ])
  const plain = await startDns(t, recordsOf({ ...about, tls: false }, ['100.64.0.7']))
  const found = await browseDomain(domain, { servers: [plain], timeoutMs: 2_000 })
  t.match(found.sightings.map(beaconOf), [{ wsUrl: 'ws://100.64.0.7:18789' }])
})

t.test('a server that says nothing is passed over, and silence is told from emptiness', async (t) => {
  const [silent, server, empty] = [
    await startDns(t, undefined),
    await startDns(t, recordsOf(about, ['10.0.0.7'])),
    await startDns(t, [])
  ]
  const { sightings } = await browseDomain(domain, { servers: [silent, server], timeoutMs: 5_000 })
  t.equal(sightings.length, 1)
  t.same(await browseDomain(domain, { servers: [empty], timeoutMs: 500 }), { sightings: [], problems: [] })
  t.match(await browseDomain(domain, { servers: [silent], timeoutMs: 300 }), { problems: [{ place: domain }] })
  t.match(await browseDomain(domain, { servers: [], timeoutMs: 300 }), { problems: [{ place: domain }] })
  // The system refuses to send to a broadcast address, as it does where no network leads.
  const unreachable = await browseDomain(domain, { servers: ['255.255.255.255', server], timeoutMs: 5_000 })
  t.equal(unreachable.sightings.length, 1)
})

t.test('gateway discover', async (t) => {
  const home = tempDir(t)
  const configure = (config: unknown) =>
    writeFileSync(path.join(home, 'openclaw.json'), JSON.stringify(config), { mode: 0o600 })
  const run = (...words: string[]) =>
    runCli({ HOME: home, OPENCLAW_STATE_DIR: home }, ['gateway', 'discover', ...words])
  await t.test('refuses a domain that is none', async (t) => {
    configure({ discovery: { wideArea: { domain: 'no domain' } } })
    const { out, code } = await run('--json')
    t.equal(code, 1)
    t.match(JSON.parse(out).error, { message: /discovery\.wideArea\.domain/, fix: /config set/ })
  })

  await t.test('--zone prints what to put into the zone', async (t) => {
    const [own] = Object.values(networkInterfaces())
      .flatMap((each) => each ?? [])
      .filter(({ internal, family }) => !internal && family === 'IPv4')
    configure({ gateway: { mode: 'local', bind: 'loopback' } })
    t.match((await run('--zone')).err, /discovery\.wideArea\.domain is not set/)
    configure({ gateway: { mode: 'local', bind: 'loopback' }, discovery: { wideArea: { domain: `${domain}.` } } })
    t.match((await run('--zone')).err, /bind=loopback no other machine/)
    if (own === undefined) return
    configure({
      gateway: { mode: 'local', bind: 'custom', customBindHost: own.address, port: 19_000 },
      discovery: { wideArea: { domain } }
    })
    const label = hostLabel(hostname())
    const name = `${label}\\032\\040OpenClaw\\041.${SERVICE}.${domain}.`
    const { out } = await run('--zone')
    t.same(out.trim().split('\n'), [
      `${SERVICE}.${domain}. 4500 IN PTR ${name}`,
      `${name} 120 IN SRV 0 0 19000 ${label}.${domain}.`,
      `${name} 4500 IN TXT "role=gateway" "transport=gateway" "gatewayPort=19000"`,
      `_services._dns-sd._udp.${domain}. 4500 IN PTR ${SERVICE}.${domain}.`,
      `${label}.${domain}. 120 IN A ${own.address}`
    ])
    t.match(JSON.parse((await run('--zone', '--json')).out), { records: [{ type: 'PTR' }] })
  })
})
