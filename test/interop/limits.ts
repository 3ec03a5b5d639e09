import type { Test } from 'tap'
import { controlUi } from '../support/client.ts'
import {
  type RequestCase,
  requestTests,
  type SocketCase,
  settle,
  socketTests,
  straightTo,
  type Way,
  type Ways
} from './caller.ts'
import { api, bearer, withApi, withToken } from './clients.ts'
import { refusedWith } from './differences.ts'
import { type Pair, startPair } from './pair.ts'

type Json = Record<string, unknown>

const LOCK_MS = 10_000

/** Both gateways with a token, behind a proxy that is no authority on users, and soon tired of guesses. */
export function guarded(): Promise<Pair> {
  const gateway = (token: string): Json => ({
    ...withApi,
    trustedProxies: ['127.0.0.1'],
    auth: { mode: 'token', token, rateLimit: { maxAttempts: 3, windowMs: 60_000, lockoutMs: LOCK_MS } }
  })
  return startPair({ ours: { gateway }, reference: { gateway } })
}

const client = (n: number) => ({ 'x-forwarded-for': `203.0.113.${n}` })
const guess = { authorization: 'Bearer wrong' }
const wrong = { auth: { token: 'wrong' } }
const times = <T>(n: number, item: (nth: string) => T): T[] =>
  ['first', 'second', 'third', 'fourth'].slice(0, n).map(item)

const locked: readonly SocketCase[] = [
  ...times(3, (nth) => ({ name: `a ${nth} guess`, headers: client(1), params: wrong, want: 'token_mismatch' })),
  { name: 'one more', headers: client(1), params: wrong, want: 'rate_limited' },
  { name: 'the right token', headers: client(1), params: withToken(), want: 'rate_limited' },
  { name: 'a guess as a password', headers: client(1), params: { auth: { password: 'x' } }, want: 'rate_limited' },
  { name: 'no token', headers: client(1), want: 'DEVICE_IDENTITY_REQUIRED' },
  { name: 'no token, with a device', headers: client(1), device: 'new', want: 'token_missing' },
  {
    name: 'a device token',
    headers: client(1),
    params: { auth: { deviceToken: 'x' } },
    device: 'new',
    want: 'device_token_mismatch'
  },
  {
    name: 'a guess with a device token beside it',
    headers: client(1),
    params: { auth: { token: 'x', deviceToken: 'x' } },
    device: 'new',
    want: 'device_token_mismatch',
    differs: 'S19: a token beside it does not lead past the limit',
    ours: {
      ...refusedWith('unauthorized: too many failed authentication attempts (retry later)', {
        code: 'AUTH_RATE_LIMITED',
        authReason: 'rate_limited',
        recommendedNextStep: 'wait_then_retry'
      }),
      error: {
        message: 'unauthorized: too many failed authentication attempts (retry later)',
        retryable: true,
        retryAfterMs: 'TIME',
        details: { code: 'AUTH_RATE_LIMITED', authReason: 'rate_limited', recommendedNextStep: 'wait_then_retry' }
      }
    }
  },
  {
    name: 'S19: the same client, written as IPv6',
    headers: { 'x-forwarded-for': '::ffff:203.0.113.1' },
    params: withToken(),
    want: 'rate_limited'
  },
  { name: 'another client', headers: client(2), params: withToken(), want: 'ok' },
  { name: 'this machine', params: withToken(), want: 'ok' }
]

const lockedRequests: readonly RequestCase[] = [
  { name: 'the right token at the API', path: api, headers: bearer(client(1)), want: 429 },
  { name: 'a guess at the API', path: api, headers: { ...client(1), ...guess }, want: 429 },
  { name: 'no token at the API', path: api, headers: client(1), want: 429 },
  { name: 'the right token at the Control UI', path: '/control-ui-config.json', headers: bearer(client(1)), want: 429 },
  {
    name: 'no token at the Control UI',
    path: '/control-ui-config.json',
    headers: client(1),
    want: 401,
    differs: '§8: who is locked out is told to wait, whatever it shows',
    ours: {
      status: 429,
      retry: 'SECONDS',
      content: {
        error: { message: 'Too many failed authentication attempts. Please try again later.', type: 'rate_limited' }
      }
    }
  },
  { name: 'the page', path: '/', headers: client(1), body: 'none', want: 200 },
  { name: 'liveness', path: '/healthz', headers: client(1), want: 200 },
  { name: 'readiness', path: '/readyz', headers: client(1), want: 200 },
  { name: 'readiness with the right token', path: '/readyz', headers: bearer(client(1)), want: 200 },
  { name: 'a path that is not there', path: '/v1/nothing', headers: client(1), want: 404 },
  { name: 'another client', path: api, headers: bearer(client(2)), body: 'none', want: 200 },
  { name: 'another client without a token', path: api, headers: client(2), want: 401 },
  ...times(3, (nth) => ({
    name: `a ${nth} guess over HTTP`,
    path: api,
    headers: { ...client(3), ...guess },
    want: 401
  })),
  { name: 'the right token after guesses over HTTP', path: api, headers: bearer(client(3)), want: 429 }
]

const page = (port: number) => ({ origin: `http://127.0.0.1:${port}` })
const counted: readonly SocketCase[] = [
  { name: 'HTTP guesses count on a socket', headers: client(3), params: withToken(), want: 'rate_limited' },
  ...times(2, (nth) => ({ name: `a ${nth} guess`, headers: client(4), params: wrong, want: 'token_mismatch' })),
  { name: 'and a success', headers: client(4), params: withToken(), want: 'ok' },
  ...times(2, (nth) => ({ name: `a ${nth} guess again`, headers: client(4), params: wrong, want: 'token_mismatch' })),
  { name: 'a success forgets guesses', headers: client(4), params: withToken(), want: 'ok' },
  ...times(4, (nth) => ({ name: `a ${nth} time nothing`, headers: client(5), device: 'new', want: 'token_missing' })),
  { name: 'nothing is no guess', headers: client(5), params: withToken(), want: 'ok' },
  ...times(3, (nth) => ({
    name: `a ${nth} device token`,
    headers: client(6),
    params: { auth: { deviceToken: 'x' } },
    device: 'guesser',
    want: 'device_token_mismatch'
  })),
  {
    name: 'device tokens have a count',
    headers: client(6),
    params: { auth: { deviceToken: 'x' } },
    device: 'guesser',
    want: 'rate_limited'
  },
  { name: 'of their own', headers: client(6), params: withToken(), want: 'ok' },
  ...times(3, (nth) => ({
    name: `a ${nth} guess of a page of this machine`,
    headers: page(1111),
    params: { ...wrong, client: controlUi },
    device: 'page',
    want: 'token_mismatch'
  })),
  {
    name: 'S2: a page is locked out, loopback or not',
    headers: page(1111),
    params: withToken({ client: controlUi }),
    device: 'page',
    want: 'rate_limited'
  },
  {
    name: 'another page is not',
    headers: page(2222),
    params: withToken({ client: controlUi }),
    device: 'page',
    want: 'ok'
  },
  { name: 'nor is what is no page', params: withToken(), want: 'ok' }
]

/** Guesses against both (§8): who is locked out, of what, and for how long. */
export async function limitTests(t: Test, pair: Pair): Promise<void> {
  const ways = straightTo(pair)
  await socketTests(t, pair, ways, locked)
  await t.test('who waits is told for how long', async (t) => {
    for (const way of ways) {
      const { headers } = await way.request('/control-ui-config.json', { headers: { ...client(1), ...guess } })
      const seconds = Number(headers['retry-after'])
      t.ok(seconds >= 1 && seconds <= LOCK_MS / 1000, `${seconds} s`)
    }
  })
  await requestTests(t, pair, ways, lockedRequests)
  await socketTests(t, pair, ways, counted)
  await t.test('guesses of this machine are answered late, and never locked out', (t) => delays(t, pair, ways))
  await t.test('the lock ends', async () => {
    await settle(pair, ways, { name: 'the right token', path: api, headers: bearer(client(1)), want: 200 })
  })
}

async function delays(t: Test, pair: Pair, ways: Ways): Promise<void> {
  const path = '/control-ui-config.json'
  const time = async (way: Way): Promise<number[]> => {
    const took: number[] = []
    for (let guesses = 0; guesses < 3; guesses++) {
      const start = performance.now()
      const { status } = await way.request(path, { headers: guess })
      took.push(performance.now() - start)
      t.equal(status, 401)
    }
    return took
  }
  const [ours, reference] = await Promise.all([time(ways[0]), time(ways[1])])
  for (const [name, took] of Object.entries({ ours, reference })) {
    t.ok(took[0]! > 200, `${name} delays the first guess`, { took })
    t.ok(took[2]! > 700, `${name} delays the third one longer`, { took })
  }
  for (const [way, gateway] of [[ways[0], pair.ours] as const, [ways[1], pair.reference] as const])
    t.equal((await way.request(path, { headers: bearer()(gateway) })).status, 200)
}
