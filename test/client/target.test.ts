import fc from 'fast-check'
import t from 'tap'
import { type CredentialInput, credentialChain, resolveCredentials } from '../../src/client/credentials.ts'
import { ClientError } from '../../src/client/errors.ts'
import { scopesFor } from '../../src/client/method-scopes.ts'
import { describeEndpoint, resolveTargets, type TargetInput } from '../../src/client/target.ts'
import { checkGatewayUrl, mayBePlaintext } from '../../src/client/url-policy.ts'

function refusal(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof ClientError) return error.code
    throw error
  }
}

t.test('credentials', async (t) => {
  /** Each secret that is present has its own name for a value, so that the expectation reads as the rule does. */
  interface Row {
    name: string
    input: Partial<Pick<CredentialInput, 'destination' | 'purpose' | 'explicit' | 'authMode'>>
    has: string[]
    broken?: string[]
    want: { token?: string; password?: string } | { error: string }
  }
  const T = 'OPENCLAW_GATEWAY_TOKEN'
  const P = 'OPENCLAW_GATEWAY_PASSWORD'
  const all = [T, P, 'gateway.auth.token', 'gateway.auth.password', 'gateway.remote.token', 'gateway.remote.password']
  const without = (...names: string[]) => all.filter((name) => !names.includes(name))
  const rows: Row[] = [
    {
      name: 'R22: --url never borrows credentials',
      input: { destination: 'explicit' },
      has: all,
      want: { error: 'CREDENTIALS_MISSING' }
    },
    {
      name: 'R22: --url with --token sends that token alone',
      input: { destination: 'explicit', explicit: { token: 'mine' } },
      has: all,
      want: { token: 'explicit' }
    },
    {
      name: 'R22: an empty --token is none',
      input: { destination: 'explicit', explicit: { token: ' ' } },
      has: all,
      want: { error: 'CREDENTIALS_MISSING' }
    },
    {
      name: 'R23: OPENCLAW_GATEWAY_URL uses environment credentials',
      input: { destination: 'environment' },
      has: all,
      want: { token: T, password: P }
    },
    {
      name: 'R23: OPENCLAW_GATEWAY_URL uses nothing of the file',
      input: { destination: 'environment' },
      has: without(T, P),
      want: {}
    },
    {
      name: 'R24: explicit credentials win in local mode',
      input: { explicit: { password: 'mine' } },
      has: all,
      want: { password: 'explicit' }
    },
    {
      name: 'R24: explicit credentials win in remote mode',
      input: { destination: 'remote', explicit: { token: 'mine', password: 'mine' } },
      has: all,
      want: { token: 'explicit', password: 'explicit' }
    },
    { name: 'R25: local mode takes the environment first', input: {}, has: all, want: { token: T, password: P } },
    {
      name: 'R25: local mode takes gateway.auth second',
      input: {},
      has: without(T, P),
      want: { token: 'gateway.auth.token', password: 'gateway.auth.password' }
    },
    {
      name: 'R25: local mode takes gateway.remote only when no local auth is set',
      input: {},
      has: ['gateway.remote.token', 'gateway.remote.password'],
      want: { token: 'gateway.remote.token', password: 'gateway.remote.password' }
    },
    {
      name: 'R25: local mode sends no password when gateway.auth.mode is token',
      input: { authMode: 'token' },
      has: without(T, P),
      broken: ['gateway.auth.password'],
      want: { token: 'gateway.auth.token' }
    },
    {
      name: 'R25: local mode sends no token when gateway.auth.mode is password',
      input: { authMode: 'password' },
      has: all,
      want: { password: P }
    },
    {
      name: 'R26: remote mode takes gateway.remote.token first, and the environment password',
      input: { destination: 'remote' },
      has: all,
      want: { token: 'gateway.remote.token', password: P }
    },
    {
      name: 'R26: remote mode takes the environment token and the remote password second',
      input: { destination: 'remote' },
      has: without('gateway.remote.token', P),
      want: { token: T, password: 'gateway.remote.password' }
    },
    {
      name: 'R26: remote mode takes gateway.auth last',
      input: { destination: 'remote' },
      has: ['gateway.auth.token', 'gateway.auth.password'],
      want: { token: 'gateway.auth.token', password: 'gateway.auth.password' }
    },
    {
      name: 'R26: remote mode does not heed the local auth mode',
      input: { destination: 'remote', authMode: 'password' },
      has: all,
      want: { token: 'gateway.remote.token', password: P }
    },
    {
      name: 'R27: a node host in local mode ignores gateway.remote',
      input: { purpose: 'node-host' },
      has: ['gateway.remote.token', 'gateway.remote.password'],
      want: {}
    },
    {
      name: 'R27: a node host in local mode takes gateway.auth',
      input: { purpose: 'node-host' },
      has: without(T, P),
      want: { token: 'gateway.auth.token', password: 'gateway.auth.password' }
    },
    {
      name: 'R27: a node host in remote mode is like any other client',
      input: { destination: 'remote', purpose: 'node-host' },
      has: all,
      want: { token: 'gateway.remote.token', password: P }
    },
    {
      name: 'R28: a remote probe takes gateway.remote.token',
      input: { destination: 'remote', purpose: 'probe' },
      has: all,
      want: { token: 'gateway.remote.token', password: P }
    },
    {
      name: 'R28: a remote probe falls back to nothing local',
      input: { destination: 'remote', purpose: 'probe' },
      has: [T, 'gateway.auth.token', 'gateway.auth.password'],
      want: {}
    },
    {
      name: 'R6: an unresolved secret ends the search',
      input: {},
      has: ['gateway.remote.token'],
      broken: ['gateway.auth.token'],
      want: { error: 'UNRESOLVED' }
    },
    {
      name: 'R6: an unresolved remote token is not replaced by a local one',
      input: { destination: 'remote' },
      has: [T, P, 'gateway.auth.token'],
      broken: ['gateway.remote.token'],
      want: { error: 'UNRESOLVED' }
    },
    {
      name: 'R6: a secret that the environment overrides is never resolved',
      input: {},
      has: [T, P],
      broken: ['gateway.auth.token', 'gateway.auth.password'],
      want: { token: T, password: P }
    },
    {
      name: 'R6: a broken local password does not stand before a remote token',
      input: { destination: 'remote' },
      has: ['gateway.remote.token'],
      broken: ['gateway.auth.password'],
      want: { token: 'gateway.remote.token' }
    }
  ]
  for (const { name, input, has, broken = [], want } of rows) {
    await t.test(name, async (t) => {
      const asked: string[] = []
      const outcome = await resolveCredentials({
        destination: 'local',
        purpose: 'call',
        explicit: {},
        ...input,
        env: Object.fromEntries([T, P].filter((key) => has.includes(key)).map((key) => [key, `value of ${key}`])),
        fileSecret: async (key) => {
          asked.push(key)
          if (broken.includes(key)) throw Object.assign(new Error(`${key} does not resolve`), { code: 'UNRESOLVED' })
          return has.includes(key) ? `value of ${key}` : undefined
        }
      }).catch((error: { code: string }) => ({ error: error.code }))
      if ('error' in outcome) return t.same(outcome, want)
      const found = Object.fromEntries(
        Object.entries({ token: outcome.token?.source, password: outcome.password?.source }).filter(([, v]) => v)
      )
      t.same(found, want)
      for (const credential of [outcome.token, outcome.password]) {
        if (credential === undefined) continue
        t.equal(credential.value, credential.source === 'explicit' ? 'mine' : `value of ${credential.source}`)
      }
      const walked = outcome.chain.map((step) => step.source).filter((source) => source.startsWith('gateway.'))
      t.same(walked, asked, 'the chain names every secret that was read, in order')
      t.notMatch(JSON.stringify(outcome.chain), 'value of', 'the chain holds no secret')
    })
  }

  t.test('R29: of the environment only OPENCLAW_GATEWAY_TOKEN and _PASSWORD are read', async (t) => {
    for (const destination of ['explicit', 'environment', 'local', 'remote'] as const) {
      for (const purpose of ['call', 'probe', 'node-host'] as const) {
        const { token, password } = credentialChain(destination, purpose)
        const names = [...token, ...password].filter((source) => !source.startsWith('gateway.'))
        t.same(
          names.filter((name) => name !== T && name !== P),
          []
        )
      }
    }
  })
})

t.test('targets', (t) => {
  const base: TargetInput = {
    hasCredential: false,
    mode: undefined,
    remoteUrl: undefined,
    localPort: 18789,
    localTls: false,
    localSocket: '/s/gateway.sock'
  }
  const socket = 'unix:/s/gateway.sock'
  const rows: { name: string; input: Partial<TargetInput>; want: string[] | string }[] = [
    { name: 'the owner’s socket comes first, then loopback', input: {}, want: [socket, 'ws://127.0.0.1:18789'] },
    {
      name: 'a credential given by hand is used, so the socket is not',
      input: { hasCredential: true },
      want: ['ws://127.0.0.1:18789']
    },
    {
      name: 'mode local ignores gateway.remote.url',
      input: { mode: 'local', remoteUrl: 'wss://r.example' },
      want: [socket, 'ws://127.0.0.1:18789']
    },
    {
      name: 'R31: mode remote uses gateway.remote.url',
      input: { mode: 'remote', remoteUrl: 'wss://r.example' },
      want: ['wss://r.example']
    },
    { name: 'R31: mode remote without a URL is refused', input: { mode: 'remote' }, want: 'TARGET_INVALID' },
    {
      name: 'R23: OPENCLAW_GATEWAY_URL wins over the file',
      input: { mode: 'remote', remoteUrl: 'wss://r.example', envUrl: 'wss://e.example' },
      want: ['wss://e.example']
    },
    {
      name: 'R21: --url wins over all',
      input: { url: 'wss://u.example', envUrl: 'wss://e.example' },
      want: ['wss://u.example']
    },
    {
      name: '--port names a gateway on this host',
      input: { port: 19100, envUrl: 'wss://e.example', mode: 'remote', remoteUrl: 'wss://r.example' },
      want: ['ws://127.0.0.1:19100']
    },
    {
      name: 'a gateway on this host that speaks TLS is reached by TLS',
      input: { localTls: true },
      want: [socket, 'wss://127.0.0.1:18789']
    },
    {
      name: '--port too',
      input: { localTls: true, port: 19100 },
      want: ['wss://127.0.0.1:19100']
    },
    {
      name: 'which says nothing about any other',
      input: { localTls: true, url: 'ws://10.0.0.5' },
      want: ['ws://10.0.0.5']
    },
    { name: '--url and --port exclude each other', input: { url: 'wss://u.example', port: 1 }, want: 'TARGET_INVALID' },
    { name: 'R33: the policy holds for the environment too', input: { envUrl: 'ws://8.8.8.8' }, want: 'URL_INSECURE' },
    {
      name: 'R33: the policy holds for the file too',
      input: { mode: 'remote', remoteUrl: 'ws://example.com' },
      want: 'URL_INSECURE'
    }
  ]
  for (const { name, input, want } of rows) {
    t.test(name, (t) => {
      if (typeof want === 'string')
        t.equal(
          refusal(() => resolveTargets({ ...base, ...input })),
          want
        )
      else t.same(resolveTargets({ ...base, ...input }).map(describeEndpoint), want)
      t.end()
    })
  }
  t.end()
})

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

t.test('a method is called with the least scope that it needs', (t) => {
  t.same(scopesFor('health'), ['operator.read'])
  t.same(scopesFor('device.pair.approve'), ['operator.pairing'])
  t.ok(scopesFor('no.such.method').includes('operator.admin'))
  t.end()
})
