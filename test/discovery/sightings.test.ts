import fc from 'fast-check'
import t from 'tap'
import { type Beacon, beaconOf } from '../../src/cli/discovery/beacons.ts'
import { networksOf } from '../../src/discovery/networks.ts'
import { decodePacket, encodePacket } from '../../src/discovery/packets.ts'
import { compareClaims, type DnsRecord, hostLabel, recordsOf, SERVICE } from '../../src/discovery/records.ts'
import { Sightings } from '../../src/discovery/sightings.ts'

const service = `${SERVICE}.local`

/** What one gateway of the network says, or somebody who is none. */
function said(given: {
  host?: string
  port?: number
  addresses?: readonly string[]
  txt?: readonly string[]
  instance?: string
}): DnsRecord[] {
  const { host = 'box.local', port = 18_789, addresses = ['10.0.0.5'], txt = [], instance = 'box (OpenClaw)' } = given
  const name = `${instance}.${service}`
  return [
    { name: service, type: 'PTR', ttl: 4_500, target: name },
    { name, type: 'SRV', ttl: 120, target: host, port },
    { name, type: 'TXT', ttl: 4_500, entries: txt },
    ...addresses.map((address): DnsRecord => {
      return { name: host, type: address.includes(':') ? 'AAAA' : 'A', ttl: 120, address }
    })
  ]
}

function beacons(...packets: readonly (readonly DnsRecord[])[]): Beacon[] {
  const sightings = new Sightings('local')
  for (const records of packets) sightings.take(records)
  return sightings.list().map(beaconOf)
}

t.test(
  'S15: what is announced steers to where SRV and A records lead, under the URL policy, and nowhere else',
  async (t) => {
    const rows: { name: string; given: Parameters<typeof said>[0]; want: Partial<Beacon> | undefined }[] = [
      { name: 'a private address', given: {}, want: { wsUrl: 'ws://10.0.0.5:18789' } },
      {
        name: 'a private address before a public one',
        given: { addresses: ['203.0.113.7', '10.0.0.5'] },
        want: { wsUrl: 'ws://10.0.0.5:18789' }
      },
      { name: 'R33: plaintext at a public address', given: { addresses: ['203.0.113.7'] }, want: { wsUrl: null } },
      {
        name: 'TLS at a public address',
        given: { addresses: ['203.0.113.7'], txt: ['gatewayTls=1'] },
        want: { wsUrl: 'wss://203.0.113.7:18789', gatewayTls: true }
      },
      { name: 'IPv6', given: { addresses: ['fd00::5'] }, want: { wsUrl: 'ws://[fd00::5]:18789' } },
      {
        name: 'a link-local address, which a URL cannot hold',
        given: { addresses: ['fe80::5'] },
        want: { wsUrl: null }
      },
      { name: 'our own loopback', given: { addresses: ['127.0.0.1'] }, want: { wsUrl: null, addresses: [] } },
      { name: 'our own loopback in IPv6', given: { addresses: ['::ffff:127.0.0.1'] }, want: { wsUrl: null } },
      { name: 'everywhere', given: { addresses: ['0.0.0.0'] }, want: { wsUrl: null, addresses: [] } },
      { name: 'everybody', given: { addresses: ['224.0.0.251'] }, want: { wsUrl: null, addresses: [] } },
      {
        name: 'a port of TXT',
        given: { txt: ['gatewayPort=1'] },
        want: { wsUrl: 'ws://10.0.0.5:18789', port: 18_789, gatewayPort: 1 }
      },
      {
        name: 'hosts, a pin and a path of TXT',
        given: {
          txt: ['lanHost=evil.local', 'tailnetDns=evil.ts.net', 'gatewayTlsSha256=00', 'cliPath=/evil', 'sshPort=1']
        },
        want: { wsUrl: 'ws://10.0.0.5:18789', host: 'box.local' }
      },
      { name: 'a host of the world', given: { host: 'example.com' }, want: undefined },
      { name: 'a host that ssh would read as an option', given: { host: '-oProxyCommand=x.local' }, want: undefined },
      { name: 'a host with a user name', given: { host: 'me@box.local' }, want: undefined },
      { name: 'no address', given: { addresses: [] }, want: undefined },
      { name: 'port 0', given: { port: 0 }, want: undefined }
    ]
    for (const { name, given, want } of rows) {
      const [beacon] = beacons(said(given))
      if (want === undefined) t.equal(beacon, undefined, name)
      else t.match(beacon, want, name)
      t.notMatch(JSON.stringify(beacon ?? {}), /evil|sha256|Path/i, name)
    }
  }
)

t.test('S25: text of the network is bounded, and nothing in it acts upon a terminal', async (t) => {
  const instance = '\u001b[31mred\u202e\u0007\n'
  const [beacon] = beacons(said({ instance, txt: [`displayName=${'x'.repeat(200)}\u009b`, 'role=\u0000\u2028'] }))
  t.equal(beacon?.instanceName, '\ufffd[31mred\ufffd\ufffd\ufffd')
  t.equal(beacon?.displayName.length, 100)
  t.equal(beacon?.role, '\ufffd\ufffd')
})

t.test('a gateway is put together from records in any order, and asked for what is missing', async (t) => {
  const records = said({ txt: ['role=gateway'] })
  fc.assert(
    fc.property(fc.shuffledSubarray(records, { minLength: records.length }), (shuffled) => {
      const together = new Sightings('local')
      together.take(shuffled)
      return together.list().length === 1 && together.missing().length === 0
    })
  )
  const sightings = new Sightings('local')
  const [pointer, where, ...others] = records as [DnsRecord, DnsRecord, ...DnsRecord[]]
  sightings.take([pointer])
  t.same(
    sightings.missing().map(({ type }) => type),
    ['SRV', 'TXT']
  )
  sightings.take([where])
  t.same(
    sightings.missing().map(({ type, name }) => `${type} ${name}`),
    [`TXT box (OpenClaw).${service}`, 'A box.local', 'AAAA box.local']
  )
  sightings.take(others)
  t.equal(sightings.list().length, 1)
  sightings.take([{ ...pointer, ttl: 0 }])
  t.same(sightings.list(), [], 'a goodbye counts')
})

t.test('thousands of announcements are kept to a few', async (t) => {
  const sightings = new Sightings('local')
  for (let n = 0; n < 2_000; n++) sightings.take(said({ instance: `g${n}`, host: `h${n}.local` }))
  t.equal(sightings.list().length, 64)
  for (let n = 0; n < 2_000; n++) {
    sightings.take([{ name: 'h1.local', type: 'A', ttl: 120, address: `10.1.${n >> 8}.${n & 255}` }])
  }
  t.ok(sightings.list().every(({ addresses }) => addresses.length <= 16))
})

t.test('packets', async (t) => {
  const about = { label: 'box', number: 2, hostNumber: 1, domain: 'local', port: 18_789, tls: true }
  const packet = {
    id: 0,
    response: true,
    questions: [],
    answers: recordsOf(about, ['10.0.0.5', 'fd00::5']),
    claims: []
  }
  t.same(decodePacket(encodePacket(packet)), packet, 'are read as they were written')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 10_000 }), (bytes) => {
      const read = decodePacket(Buffer.from(bytes))
      if (read !== undefined) new Sightings('local').take(read.answers)
      return true
    }),
    { numRuns: 500 }
  )
  const honest = encodePacket(packet)
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(honest.length - 1), fc.nat(255)), { maxLength: 8 }), (changes) => {
      const bytes = Buffer.from(honest)
      for (const [at, byte] of changes) bytes[at] = byte
      const read = decodePacket(bytes)
      const sightings = new Sightings('local')
      sightings.take(read?.answers ?? [])
      const questions = sightings.missing()
      // Whatever is asked next can be written and read again.
      if (questions.length > 0) decodePacket(encodePacket({ ...packet, response: false, answers: [], questions }))
      for (const sighting of sightings.list()) beaconOf(sighting)
      return true
    }),
    { numRuns: 2_000 }
  )
  const many = Buffer.alloc(8_000, 0)
  many.writeUInt16BE(1_500, 4)
  t.equal(decodePacket(many), undefined, 'with more records than anybody has are not read')
  t.equal(decodePacket(Buffer.alloc(9_001)), undefined, 'nor those that are too large')
})

t.test('networks are those on which the gateway listens', async (t) => {
  const v4 = (address: string) => ({
    address,
    netmask: '',
    family: 'IPv4' as const,
    mac: '',
    internal: false,
    cidr: `${address}/24`
  })
  const v6 = (address: string) => ({ ...v4(address), family: 'IPv6' as const, cidr: `${address}/64`, scopeid: 3 })
  const interfaces = {
    lo: [{ ...v4('127.0.0.1'), internal: true }],
    eth0: [v4('192.168.1.5'), v6('fd00::5'), v6('fe80::5')],
    wlan0: [v4('10.0.0.5')],
    tailscale0: [v4('100.101.102.103')]
  }
  const rows: { listening: string[]; want: Record<string, string[]> }[] = [
    { listening: ['127.0.0.1'], want: {} },
    { listening: ['0.0.0.0'], want: { eth0: ['192.168.1.5'], wlan0: ['10.0.0.5'] } },
    { listening: ['::'], want: { eth0: ['192.168.1.5', 'fd00::5', 'fe80::5'], wlan0: ['10.0.0.5'] } },
    { listening: ['10.0.0.5', '127.0.0.1'], want: { wlan0: ['10.0.0.5'] } },
    { listening: ['FD00:0::5'], want: { eth0: ['fd00::5'] } },
    { listening: ['100.101.102.103'], want: {} }
  ]
  for (const { listening, want } of rows) {
    const got = networksOf(interfaces, listening).map(({ name, addresses }) => [name, addresses])
    t.same(Object.fromEntries(got), want, listening.join())
  }
  const [eth0] = networksOf(interfaces, ['::'])
  for (const [sender, want] of [
    ['192.168.1.9', true],
    ['192.168.2.9', false],
    ['203.0.113.9', false],
    ['fd00::9', true],
    ['fe80::9%eth0', true],
    ['fe80::9%3', true],
    ['fe80::9%wlan0', false]
  ] as const) {
    t.equal(eth0?.has(sender), want, sender)
  }
})

t.test('a host is called by its own name where that can be one', async (t) => {
  for (const [name, want] of [
    ['Box.lan', 'box'],
    ['my-box', 'my-box'],
    ['my box', 'openclaw'],
    ['-x', 'openclaw'],
    ['', 'openclaw']
  ] as const) {
    t.equal(hostLabel(name), want, name)
  }
})

t.test('of two claims the higher one wins, as both sides see it', async (t) => {
  const claim = (target: string, port: number) => ({ name: 'n', type: 'SRV' as const, ttl: 120, target, port })
  const claims = fc.record({
    target: fc.constantFrom('a.local', 'b.local', 'bb.local', 'a-2.local'),
    port: fc.integer({ min: 1, max: 65_535 })
  })
  fc.assert(
    fc.property(claims, claims, (a, b) => {
      const [one, other] = [claim(a.target, a.port), claim(b.target, b.port)]
      return (
        compareClaims(one, [other]) === -compareClaims(other, [one]) ||
        (compareClaims(one, [other]) === 0 && compareClaims(other, [one]) === 0)
      )
    })
  )
  t.ok(compareClaims(claim('a.local', 255), [claim('a.local', 256)]) < 0)
  t.ok(compareClaims(claim('b.local', 1), [claim('aaa.local', 1)]) < 0, 'a label begins with its length')
  t.equal(compareClaims(claim('a.local', 1), [claim('a.local', 1)]), 0)
  t.ok(compareClaims(claim('a.local', 1), [{ name: 'n', type: 'TXT', ttl: 1, entries: [] }, claim('z.local', 9)]) > 0)
})
