import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http'
import { digest } from '../../src/auth/secrets.ts'
import type { Scope } from '../../src/protocol/scopes.ts'
import { freshToken } from '../../src/store/tokens.ts'
import { type TestApp, TOKEN } from './gateway.ts'

type Json = Record<string, unknown>

/** An answer of the HTTP API; `json` is empty where the body is none. */
export interface ApiAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: string
  json: Json
}

/** One request to the HTTP API, with exactly these headers beside the length. */
export function askApi(
  where: { port: number } | { socketPath: string },
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string | Buffer } & Pick<
    RequestOptions,
    'agent'
  > = {}
): Promise<ApiAnswer> {
  const { method = 'POST', headers = {}, body, agent = false } = options
  const target = 'port' in where ? { host: '127.0.0.1', port: where.port } : where
  const length: Json = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
  return new Promise((resolve, reject) => {
    const asked = { ...target, path, method, headers: { ...headers, ...length } as Record<string, string>, agent }
    const req = request(asked, async (res) => {
      let text = ''
      for await (const chunk of res.setEncoding('utf8')) text += chunk
      const isJson = res.headers['content-type']?.startsWith('application/json') === true && text !== ''
      resolve({
        status: res.statusCode ?? 0,
        headers: res.headers,
        body: text,
        json: isJson ? JSON.parse(text) : {}
      })
    })
    req.on('error', reject)
    req.end(body)
  })
}

/** The headers of a JSON request with a bearer. */
export const asJson = (token: string = TOKEN) => ({
  authorization: `Bearer ${token}`,
  'content-type': 'application/json'
})

/** A named token with these scopes. */
export async function namedToken(
  { app }: TestApp,
  scopes: Scope[],
  more: { name?: string; expiresAtMs?: number } = {}
): Promise<string> {
  const text = freshToken()
  const { name = `token ${text.slice(4, 12)}`, expiresAtMs } = more
  const made = await app.tokens.create({ name, scopes, cidrs: [], createdBy: 'test', expiresAtMs }, digest(text))
  if ('refused' in made) throw new Error(made.refused)
  return text
}
