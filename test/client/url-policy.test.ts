import fc from 'fast-check'
import t from 'tap'
import type { ClientError } from '../../src/client/errors.ts'
import { checkGatewayUrl, mayBePlaintext } from '../../src/client/url-policy.ts'
import { refusal } from '../support/refusal.ts'

t.test('URL policy', (t) => {
  const rows: { url: string; want: string }[] = [
    { url: 'ws://127.0.0.1:18789', want: 'ws://127.0.0.1:18789/' },
    { url: ' ws://localhost:18789/ws ', want: 'ws://localhost:18789/ws' },
    { url: 'ws://LOCALHOST.:1', want: 'ws://localhost:1/' },
    { url: 'ws://[::1]:18789', want: 'ws://[::1]:18789/' },
    { url: 'ws://10.1.2.3', want: 'ws://10.1.2.3/' },
    { url: 'ws://172.31.255.255', want: 'ws://172.31.255.255/' },
    { url: 'ws://192.168.1.10:18789', want: 'ws://192.168.1.10:18789/' },
    { url: 'ws://169.254.1.1', want: 'ws://169.254.1.1/' },
    { url: 'ws://100.64.0.1', want: 'ws://100.64.0.1/' },
    { url: 'ws://[fd00::1]', want: 'ws://[fd00::1]/' },
    { url: 'ws://[fe80::1]', want: 'ws://[fe80::1]/' },
    { url: 'ws://gateway.local', want: 'ws://gateway.local/' },
    { url: 'ws://host.tail1234.ts.net.', want: 'ws://host.tail1234.ts.net/' },
    { url: 'wss://gateway.example.com', want: 'wss://gateway.example.com/' },
    // Spellings that mean 127.0.0.1 are connected to as 127.0.0.1 and nothing else.
    { url: 'ws://0x7f000001', want: 'ws://127.0.0.1/' },
    { url: 'ws://0177.0.0.1', want: 'ws://127.0.0.1/' },
    { url: 'ws://2130706433', want: 'ws://127.0.0.1/' },
    { url: 'ws://127.1', want: 'ws://127.0.0.1/' },
    { url: 'ws://127.0.0.1.', want: 'ws://127.0.0.1/' },
    { url: 'ws://[::ffff:127.0.0.1]', want: 'ws://127.0.0.1/' },
    { url: 'ws://[::ffff:7f00:1]', want: 'ws://127.0.0.1/' },
    { url: 'ws://127.evil.com', want: 'URL_INSECURE' },
    { url: 'ws://127.0.0.1.evil.com', want: 'URL_INSECURE' },
    { url: 'ws://localhost.evil.com', want: 'URL_INSECURE' },
    { url: 'ws://10.0.0.1.nip.io', want: 'URL_INSECURE' },
    { url: 'ws://evillocal', want: 'URL_INSECURE' },
    { url: 'ws://xts.net', want: 'URL_INSECURE' },
    { url: 'ws://ts.net', want: 'URL_INSECURE' },
    { url: 'ws://a.ts.net.evil.com', want: 'URL_INSECURE' },
    { url: 'ws://fd00.example', want: 'URL_INSECURE' },
    { url: 'ws://0.0.0.0', want: 'URL_INSECURE' },
    { url: 'ws://[::]', want: 'URL_INSECURE' },
    { url: 'ws://[::ffff:8.8.8.8]', want: 'URL_INSECURE' },
    { url: 'ws://[64:ff9b::7f00:1]', want: 'URL_INSECURE' },
    { url: 'ws://172.32.0.1', want: 'URL_INSECURE' },
    { url: 'ws://100.128.0.1', want: 'URL_INSECURE' },
    { url: 'ws://localhost..', want: 'URL_INVALID' },
    { url: 'ws://127.0.0.256', want: 'URL_INVALID' },
    { url: 'ws://09.1.1.1', want: 'URL_INVALID' },
    { url: 'ws://[fe80::1%25eth0]', want: 'URL_INVALID' },
    { url: 'ws://[fe80::1%eth0]', want: 'URL_INVALID' },
    // The same host by other signs: percent escapes, ideographic dots, wide digits, tabs.
    { url: 'ws://127%2e0%2e0%2e1', want: 'ws://127.0.0.1/' },
    { url: 'ws://127。0。0。1', want: 'ws://127.0.0.1/' },
    { url: 'ws://１２７.0.0.1', want: 'ws://127.0.0.1/' },
    { url: 'ws://loc\tal\nhost', want: 'ws://localhost/' },
    { url: 'ws://127.0.0.1\t.evil.com', want: 'URL_INSECURE' },
    { url: 'ws://127.0.0.1\\@evil.com', want: 'ws://127.0.0.1/@evil.com' },
    { url: 'ws://xn--lclhost-2ya5b.example', want: 'URL_INSECURE' },
    { url: 'ws://lоcalhost', want: 'URL_INSECURE' },
    { url: 'ws://gateway.lоcal', want: 'URL_INSECURE' },
    { url: 'ws://[::127.0.0.1]', want: 'URL_INSECURE' },
    { url: 'ws://[2002:7f00:1::]', want: 'URL_INSECURE' },
    { url: 'ws://127.0.0.1:80', want: 'ws://127.0.0.1/' },
    { url: 'ws://127.0.0.1:65535', want: 'ws://127.0.0.1:65535/' },
    { url: 'ws://127.0.0.1:0', want: 'URL_INVALID' },
    { url: 'wss://gateway.example.com:0', want: 'URL_INVALID' },
    { url: 'ws://127.0.0.1:65536', want: 'URL_INVALID' },
    { url: 'ws://127.0.0.1:-1', want: 'URL_INVALID' },
    { url: 'ws://127.0.0.1:1:2', want: 'URL_INVALID' },
    { url: 'ws://127.0.0.1:80.evil.com', want: 'URL_INVALID' },
    { url: 'http://127.0.0.1', want: 'URL_INVALID' },
    { url: 'ws+unix:/tmp/s', want: 'URL_INVALID' },
    { url: '127.0.0.1:18789', want: 'URL_INVALID' },
    { url: '', want: 'URL_INVALID' },
    { url: 'ws://token@127.0.0.1', want: 'URL_CREDENTIALS' },
    { url: 'ws://127.0.0.1:80@evil.com', want: 'URL_CREDENTIALS' },
    { url: 'wss://u:p@gateway.example.com', want: 'URL_CREDENTIALS' },
    { url: 'wss://gateway.example.com/?token=x', want: 'URL_INVALID' },
    { url: 'ws://127.0.0.1/#token=x', want: 'URL_INVALID' }
  ]
  for (const { url, want } of rows) {
    t.test(`R33: ${JSON.stringify(url)} is ${want.startsWith('URL') ? 'refused' : `taken as ${want}`}`, (t) => {
      let got: string | undefined
      const code = refusal(() => {
        got = checkGatewayUrl(url).href
      })
      t.equal(code ?? got, want)
      t.end()
    })
  }

  // An independent reading of the ranges of R33, on the 32-bit number.
  const inRange = (ip: number, net: number, bits: number) => ip >>> (32 - bits) === net >>> (32 - bits)
  const isPrivateNumber = (ip: number) =>
    inRange(ip, 0x7f000000, 8) ||
    inRange(ip, 0x0a000000, 8) ||
    inRange(ip, 0xac100000, 12) ||
    inRange(ip, 0xc0a80000, 16) ||
    inRange(ip, 0xa9fe0000, 16) ||
    inRange(ip, 0x64400000, 10)
  /** By the text alone: what a person would call a private host. */
  const readsAsPrivate = (host: string) => {
    const quad = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(host)?.slice(1).map(Number)
    if (quad !== undefined) return isPrivateNumber(quad.reduce((ip, byte) => ((ip << 8) | byte) >>> 0, 0))
    if (host.startsWith('[')) return host === '[::1]' || /^\[(f[cd][0-9a-f]{2}|fe[89ab][0-9a-f]):/.test(host)
    return host === 'localhost' || /^[a-z0-9.-]*[a-z0-9-]\.(local|ts\.net)$/.test(host)
  }
  const bytes = (ip: number) => [ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255]
  const hex = (value: number) => `0x${value.toString(16)}`
  const octal = (value: number) => `0${value.toString(8)}`
  const spellings: ((ip: number) => string)[] = [
    (ip) => bytes(ip).join('.'),
    (ip) => `${bytes(ip).join('.')}.`,
    (ip) => bytes(ip).map(hex).join('.'),
    (ip) => bytes(ip).map(octal).join('.'),
    (ip) => String(ip),
    hex,
    (ip) => `${ip >>> 24}.${ip & 0xffffff}`,
    (ip) => `[::ffff:${bytes(ip).join('.')}]`,
    (ip) => `[::ffff:${(ip >>> 16).toString(16)}:${(ip & 0xffff).toString(16)}]`,
    (ip) => `[0:0:0:0:0:FFFF:${bytes(ip).join('.')}]`
  ]
  // Half of the addresses near the edges of the ranges, where a prefix slips.
  const address = fc.oneof(
    fc.integer({ min: 0, max: 0xffffffff }),
    fc
      .tuple(
        fc.constantFrom(
          0x7f000000,
          0x80000000,
          0x0a000000,
          0x0b000000,
          0xac100000,
          0xac200000,
          0xc0a80000,
          0xc0a90000,
          0xa9fe0000,
          0xa9ff0000,
          0x64400000,
          0x64800000
        ),
        fc.integer({ min: -300, max: 300 })
      )
      .map(([edge, offset]) => (edge + offset) >>> 0)
  )

  t.test(
    'S17: plaintext goes to a private IPv4 address in its one spelling, and to no other, however it is written',
    (t) => {
      fc.assert(
        fc.property(address, fc.constantFrom(...spellings), (ip, spell) => {
          let got: string | undefined
          const code = refusal(() => {
            got = checkGatewayUrl(`ws://${spell(ip)}:18789`).hostname
          })
          return isPrivateNumber(ip) ? got === bytes(ip).join('.') : code === 'URL_INSECURE'
        }),
        { numRuns: 2_000 }
      )
      t.end()
    }
  )

  t.test('S17: no name passes for an address, whatever it starts with', (t) => {
    const start = fc.oneof(
      fc.constantFrom(
        '127.',
        '127.0.0.1.',
        'localhost.',
        '10.',
        '192.168.',
        '100.64.0.1.',
        'fd00',
        'fe80',
        'ts.net.',
        'x.local.',
        '0x7f.',
        '::1.'
      ),
      address.map((ip) => `${bytes(ip).join('.')}.`)
    )
    const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/)
    const tld = fc.constantFrom('com', 'net', 'io', 'test', 'localhost', 'localdomain', 'internal')
    fc.assert(
      fc.property(start, label, tld, (prefix, name, end) => {
        const host = `${prefix}${name}x.${end}`
        return refusal(() => checkGatewayUrl(`ws://${host}`)) !== undefined && !mayBePlaintext(host)
      }),
      { numRuns: 1_000 }
    )
    t.end()
  })

  t.test('S17: whatever a hostile URL looks like, plaintext goes to a host that reads as private', (t) => {
    const letters = fc.constantFrom(
      'localhost',
      'LocalHost',
      'ⓛocalhost',
      'lоcalhost',
      'xn--lcalhost-qqb',
      'x.local',
      'x.ts.net'
    )
    const numbers = fc.tuple(address, fc.constantFrom(...spellings)).map(([ip, spell]) => spell(ip))
    const six = fc
      .tuple(fc.constantFrom('fe80', 'fd12', 'fc00', 'fec0', '2001', '::', '64:ff9b', '2002'), fc.nat(0xffff))
      .map(([start, end]) => `[${start === '::' ? '' : start}::${end.toString(16)}]`)
    const disguise = fc.constantFrom<(host: string) => string>(
      (host) => host,
      (host) => `${host}.`,
      (host) => `${host}..`,
      (host) => host.replaceAll('.', '%2E'),
      (host) => host.replaceAll('.', '。'),
      (host) => host.replaceAll('1', '１'),
      (host) => host.replace(']', '%25eth0]'),
      (host) => `${host}.evil.com`,
      (host) => `evil.com.${host}`,
      (host) => `${host}\\@evil.com`,
      (host) => `${host}@evil.com`,
      (host) => `evil.com@${host}`,
      (host) => `evil.com#@${host}`,
      (host) => `evil.com?@${host}`,
      (host) => `evil.com\\@${host}`,
      (host) => `${host}\t.evil.com`
    )
    const port = fc.constantFrom('', ':', ':18789', ':0', ':080', ':65536', ':１８', ':18789@evil.com', ':80.evil.com')
    let accepted = 0
    fc.assert(
      fc.property(fc.oneof(letters, numbers, six), disguise, port, (host, hide, end) => {
        let url: URL | undefined
        refusal(() => {
          url = checkGatewayUrl(`ws://${hide(host)}${end}/`)
        })
        if (url === undefined) return true
        accepted += 1
        const one = url.href === new URL(url.href).href && url.username + url.password + url.search + url.hash === ''
        return one && readsAsPrivate(url.hostname) && Number(url.port || 80) > 0
      }),
      { numRuns: 5_000 }
    )
    t.ok(accepted > 100, `${accepted} were private after all`)
    t.end()
  })

  t.test('S17: a URL with a user part is refused, whatever its host', (t) => {
    const user = fc.stringMatching(/^[a-z0-9.:]{1,12}$/)
    fc.assert(
      fc.property(
        user,
        fc.constantFrom('ws', 'wss'),
        fc.constantFrom('127.0.0.1', 'localhost', 'evil.com'),
        (name, scheme, host) => {
          const code = refusal(() => checkGatewayUrl(`${scheme}://${name}@${host}/`))
          // `:@host` has an empty user and an empty password, which is no user part at all.
          return code === 'URL_CREDENTIALS' || (/^:*$/.test(name) && name.length === 1)
        }
      )
    )
    t.end()
  })

  t.test('a refused URL is not repeated: it may hold a secret', (t) => {
    for (const url of ['ws://hunter2@127.0.0.1', 'ws://127.0.0.1/?token=hunter2', 'ftp://hunter2', 'hunter2 hunter2']) {
      try {
        checkGatewayUrl(url)
        t.fail(`${url} was accepted`)
      } catch (error) {
        t.notMatch(`${(error as ClientError).message} ${(error as ClientError).fix}`, 'hunter2')
      }
    }
    t.end()
  })
  t.end()
})
