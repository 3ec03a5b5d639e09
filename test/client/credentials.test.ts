import t from 'tap'
import { type CredentialInput, credentialChain, PURPOSES, resolveCredentials } from '../../src/client/credentials.ts'
import { resolveTargets } from '../../src/client/target.ts'

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
      name: 'R28: a status check is as strict',
      input: { destination: 'remote', purpose: 'status' },
      has: [T, 'gateway.auth.token', 'gateway.auth.password'],
      want: {}
    },
    {
      name: 'R30: a channel’s monitor is a call like any other',
      input: { destination: 'remote', purpose: 'channel-monitor' },
      has: without('gateway.remote.token', P),
      want: { token: T, password: 'gateway.remote.password' }
    },
    {
      name: 'R6: a broken remote token does not stand before a local password',
      input: {},
      has: ['gateway.auth.password'],
      broken: ['gateway.remote.token'],
      want: { password: 'gateway.auth.password' }
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
      for (const purpose of PURPOSES) {
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

type State = 'unset' | 'set' | 'broken'

/** One combination of everything that decides what is sent. */
interface Case {
  mode: 'local' | 'remote'
  url: 'none' | '--url' | '--port' | 'env'
  given: string
  kind: (typeof PURPOSES)[number]
  authMode: 'token' | 'password' | undefined
  paired: boolean
  places: Record<string, State>
}

// The rules as they are written, in an order of their own: places by their short names, `$` for the environment.
const ORDER: Record<string, { token: string; password: string }> = {
  R23: { token: '$token', password: '$password' },
  R25: { token: '$token auth.token remote.token', password: '$password auth.password remote.password' },
  R26: { token: 'remote.token $token auth.token', password: '$password remote.password auth.password' },
  R27: { token: '$token auth.token', password: '$password auth.password' },
  R28: { token: 'remote.token', password: '$password remote.password' }
}

/** What the rules say of one combination; it shares no code with the resolver. */
function ruled({ mode, url, given, kind, authMode, paired, places }: Case): string {
  if (given !== 'nothing') return given // R24
  if (url === '--url') return 'missing credentials' // R22
  const remote = url === 'none' && mode === 'remote'
  const local = !remote && url !== 'env'
  const strict = kind === 'probe' || kind === 'status'
  const rule = url === 'env' ? 'R23' : remote ? (strict ? 'R28' : 'R26') : kind === 'node-host' ? 'R27' : 'R25'
  const look = (secret: 'token' | 'password') => {
    if (local && authMode !== undefined && authMode !== secret)
      return { state: 'unset' as const, place: '', spare: false }
    const order = ORDER[rule]![secret].split(' ')
    const place = order.find((each) => places[each] !== 'unset') ?? ''
    return { state: places[place] ?? ('unset' as const), place, spare: place === order[2] }
  }
  const token = look('token')
  const password = look('password')
  // R6, and its one exception: the last of three places, for a secret that is not needed.
  if (token.state === 'broken' && !(token.spare && password.state === 'set')) return `${token.place} fails closed`
  if (password.state === 'broken' && !(password.spare && token.state === 'set')) return `${password.place} fails closed`
  const sent = [token, password].filter(({ state }) => state === 'set').map(({ place }) => place)
  if (sent.length === 0 && remote && paired) return 'device'
  return sent.length === 0 ? 'nothing' : sent.join(' + ')
}

const KEYS: Record<string, string> = {
  $token: 'OPENCLAW_GATEWAY_TOKEN',
  $password: 'OPENCLAW_GATEWAY_PASSWORD',
  'auth.token': 'gateway.auth.token',
  'auth.password': 'gateway.auth.password',
  'remote.token': 'gateway.remote.token',
  'remote.password': 'gateway.remote.password'
}
const shortName = (key: string) => Object.keys(KEYS).find((short) => KEYS[short] === key)!

/** What the resolver makes of it, by the target that the same flags, environment and file lead to. */
async function resolved({ mode, url, given, kind, authMode, paired, places }: Case): Promise<string> {
  const explicit = {
    token: given.includes('--token') ? 'T' : ' ',
    password: given.includes('--password') ? 'P' : undefined
  }
  const targets = resolveTargets({
    url: url === '--url' ? 'wss://flag.example' : undefined,
    port: url === '--port' ? 19_000 : undefined,
    hasCredential: given !== 'nothing',
    envUrl: url === 'env' ? 'wss://env.example' : undefined,
    mode,
    remoteUrl: 'wss://remote.example',
    localPort: 18_789,
    localTls: false,
    localSocket: '/s/gateway.sock'
  })
  const target = targets.at(-1)!
  if (target.kind === 'socket') return 'a socket'
  const env = Object.fromEntries(
    ['$token', '$password'].map((name) => [KEYS[name], places[name] === 'set' ? `value of ${name}` : undefined])
  )
  try {
    const found = await resolveCredentials({
      destination: target.destination,
      purpose: kind,
      explicit,
      env,
      fileSecret: async (key) => {
        const state = places[shortName(key)]
        if (state === 'broken') throw new Error(`${shortName(key)} fails closed`)
        return state === 'set' ? `value of ${shortName(key)}` : undefined
      },
      authMode,
      deviceToken: async () => (paired ? 'value of device' : undefined)
    })
    const sent = [found.token, found.password].flatMap((each) => (each === undefined ? [] : [each]))
    if (found.deviceToken !== undefined)
      return sent.length === 0 ? 'device' : 'a device token beside another credential'
    const names = sent.map(({ source, value }) => {
      if (source === 'explicit') return value === 'T' ? '--token' : '--password'
      return value === `value of ${shortName(source)}` ? shortName(source) : `${source} with the value of another place`
    })
    return names.length === 0 ? 'nothing' : names.join(' + ')
  } catch (error) {
    return (error as Error).message.replace(/^missing credentials.*/, 'missing credentials')
  }
}

t.test(
  'R22 to R30: every combination of target, flags, environment, file and caller is as the rules say',
  async (t) => {
    const states: State[] = ['unset', 'set', 'broken']
    const wrong: unknown[] = []
    const seen = new Map<string, number>()
    let total = 0
    const check = async (one: Case) => {
      total += 1
      const want = ruled(one)
      const got = await resolved(one)
      seen.set(want, (seen.get(want) ?? 0) + 1)
      if (got !== want && wrong.length < 5) wrong.push({ one, want, got })
    }
    const files = states.flatMap((a) =>
      states.flatMap((b) =>
        states.flatMap((c) =>
          states.map((d) => ({ 'auth.token': a, 'auth.password': b, 'remote.token': c, 'remote.password': d }))
        )
      )
    )
    const environments = (['unset', 'set'] as const).flatMap(($token) =>
      (['unset', 'set'] as const).map(($password) => ({ $token, $password }))
    )
    for (const mode of ['local', 'remote'] as const)
      for (const url of ['none', '--url', '--port', 'env'] as const)
        for (const given of ['nothing', '--token', '--password', '--token + --password'])
          for (const kind of PURPOSES)
            for (const authMode of [undefined, 'token', 'password'] as const)
              for (const paired of [false, true])
                for (const environment of environments)
                  for (const file of files)
                    await check({ mode, url, given, kind, authMode, paired, places: { ...environment, ...file } })
    t.same(wrong, [])
    t.equal(total, 2 * 4 * 4 * 5 * 3 * 2 * 4 * 81)
    t.comment(`${total} combinations, ${seen.size} outcomes`)
    for (const outcome of ['nothing', 'device', 'missing credentials', '--token', 'remote.token + $password']) {
      t.ok(seen.has(outcome), `some combination comes to: ${outcome}`)
    }
  }
)
