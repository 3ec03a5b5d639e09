import type { Test } from 'tap'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { type RequestCase, requestTests, straightTo } from './caller.ts'
import { api, bearer } from './clients.ts'
import { foreignHost, foreignPage } from './differences.ts'
import type { Pair } from './pair.ts'

const config = '/control-ui-config.json'
const written =
  (make: (token: string) => string) =>
  ({ token }: GatewayProcess) => ({ authorization: make(token) })

const cases: readonly RequestCase[] = [
  ...(
    [
      ['no credential', {}],
      ['an empty bearer', { authorization: 'Bearer ' }],
      ['another scheme', written((token) => `Token ${token}`)],
      ['no scheme', written((token) => token)],
      ['Basic', written((token) => `Basic ${Buffer.from(`:${token}`).toString('base64')}`)],
      ['a longer token', written((token) => `Bearer ${token}x`)],
      ['a list of tokens', written((token) => `Bearer ${token}, Bearer ${token}`)],
      ['a header of another name', ({ token }: GatewayProcess) => ({ 'x-openclaw-token': token })],
      ['a cookie', ({ token }: GatewayProcess) => ({ cookie: `token=${token}` })]
    ] as const
  ).flatMap(([name, headers]): RequestCase[] => [
    { name: `${name}, at the API`, path: api, headers, want: 401 },
    { name: `${name}, at the Control UI`, path: config, headers, want: 401 }
  ]),
  { name: 'S22: a token in the query', path: { ours: '/metrics?token=x', reference: '/v1/models?token=x' }, want: 401 },
  { name: 'the token', path: api, headers: bearer(), body: 'none', want: 200 },
  { name: 'the token at the Control UI', path: config, headers: bearer(), body: 'keys', want: 200 },
  { name: 'bearer in any case', path: api, headers: written((token) => `bEARER ${token}`), body: 'none', want: 200 },
  { name: 'a space too many', path: api, headers: written((token) => `Bearer   ${token} `), body: 'none', want: 200 },
  {
    name: 'a cap on the shared token',
    path: api,
    headers: bearer({ 'x-openclaw-scopes': '' }),
    body: 'none',
    want: 200
  },
  {
    name: 'the token of a page of this machine',
    path: api,
    headers: bearer({ origin: 'http://127.0.0.1:5173' }),
    body: 'none',
    want: 200
  },
  {
    name: 'the token of a foreign page',
    path: api,
    headers: bearer({ origin: 'https://evil.example' }),
    body: 'none',
    want: 200,
    ...foreignPage
  },
  {
    name: 'the token of a foreign page at the Control UI',
    path: config,
    headers: bearer({ origin: 'https://evil.example' }),
    body: 'none',
    want: 200,
    ...foreignPage
  },
  {
    name: 'the token, to another host',
    path: api,
    headers: bearer({ host: 'evil.example' }),
    body: 'none',
    want: 200,
    ...foreignHost
  },
  {
    name: 'the page, of another host',
    path: '/',
    headers: { host: 'evil.example' },
    body: 'none',
    want: 200,
    ...foreignHost
  },
  {
    name: 'the token through the proxy',
    path: api,
    headers: bearer({ 'x-forwarded-for': '203.0.113.50' }),
    body: 'none',
    want: 200
  },
  {
    name: 'readiness with a wrong token',
    path: '/readyz',
    headers: { authorization: 'Bearer wrong' },
    body: 'keys',
    want: 200
  },
  { name: 'liveness with a wrong token', path: '/healthz', headers: { authorization: 'Bearer wrong' }, want: 200 },
  ...['POST', 'PUT', 'DELETE', 'OPTIONS'].map((method) => ({
    name: `${method} to the Control UI's document`,
    method,
    path: config,
    headers: bearer(),
    want: 404,
    differs: 'a method that a path does not have is a 405',
    ours: { status: 405, allow: 'GET, HEAD', content: 'Method Not Allowed' }
  }))
]

/** Credentials over HTTP in token mode (§6). */
export async function httpTests(t: Test, pair: Pair): Promise<void> {
  const ways = straightTo(pair)
  await requestTests(t, pair, ways, cases)
  await t.test('D6: a 401 of ours says how to authenticate', async (t) => {
    const answers = await Promise.all([ways[0].request('/metrics', {}), ways[1].request('/v1/models', {})])
    t.strictSame(
      answers.map(({ status, headers }) => [status, headers['www-authenticate']]),
      [
        [401, 'Bearer realm="openclaw"'],
        [401, undefined]
      ]
    )
  })
}
