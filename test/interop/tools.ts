import type { Test } from 'tap'
import type { GatewayProcess } from '../../scripts/gateway-process.ts'
import { type RequestCase, requestTests, straightTo } from './caller.ts'
import { bearer } from './clients.ts'
import { startPair } from './pair.ts'

type Json = Record<string, unknown>

const tools = '/tools/invoke'
const rpc = '/api/v1/admin/rpc'
const json = bearer({ 'content-type': 'application/json' })
const basic = ({ token }: GatewayProcess) => ({ authorization: `Basic ${Buffer.from(`:${token}`).toString('base64')}` })

/** One use of a tool, or one call: all of the answer is compared, unless it is each gateway's own. */
const use = (name: string, send: string, want: number, more: Partial<RequestCase> = {}): RequestCase => ({
  name,
  path: tools,
  method: 'POST',
  headers: json,
  send,
  want,
  ...more
})
const call = (name: string, send: string, want: number, more: Partial<RequestCase> = {}): RequestCase =>
  use(`admin rpc: ${name}`, send, want, { path: rpc, ...more })
const told = (message: string, more: Json = {}) => ({ content: { error: { message, ...more } } })
const wordsOfJson: Pick<RequestCase, 'differs' | 'ours'> = {
  differs: 'where JSON breaks is told in our own words, and none of it is repeated',
  ours: told('Unexpected token in JSON at position 1 (line 1 column 2)')
}
/** What the reference takes for a broken tool. */
const ourMistake = (message: string): Pick<RequestCase, 'differs' | 'ours'> => ({
  differs: 'whoever asks for something wrong is told what',
  ours: { status: 400, ...told(message) }
})
const nodes = (more: Json) => JSON.stringify({ tool: 'nodes', ...more })

const cases: readonly RequestCase[] = [
  use('no bearer', nodes({ action: 'status' }), 401, { headers: {} }),
  use('a wrong bearer', nodes({ action: 'status' }), 401, { headers: { authorization: 'Bearer wrong' } }),
  use('Basic', nodes({ action: 'status' }), 401, { headers: basic }),
  use('a token in the query', nodes({ action: 'status' }), 401, { headers: {}, path: `${tools}?token=x` }),
  ...['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'].map((method) =>
    use(method, '', 405, { method, headers: method === 'GET' ? {} : json })
  ),
  use('a tool', nodes({ action: 'status' }), 200, { body: 'keys' }),
  use('without a content type', nodes({ action: 'status' }), 200, { headers: bearer(), body: 'keys' }),
  use('another content type', nodes({ action: 'status' }), 200, {
    headers: bearer({ 'content-type': 'text/plain' }),
    body: 'keys',
    differs: 'S23: a form of another page could send it',
    ours: { status: 415, content: { error: { message: 'Unsupported Media Type', type: 'invalid_request_error' } } }
  }),
  use('a cap on the shared token', nodes({ action: 'status' }), 200, {
    headers: bearer({ 'x-openclaw-scopes': 'operator.read' }),
    body: 'keys'
  }),
  use('the action among the arguments', nodes({ args: { action: 'status' } }), 200, { body: 'keys' }),
  use('both actions', nodes({ action: 'bogus', args: { action: 'status' } }), 200, { body: 'keys' }),
  use('both names', '{"name":"nodes","tool":"nope","action":"status"}', 200, { body: 'keys' }),
  use('dryRun', nodes({ action: 'status', dryRun: true }), 200, { body: 'keys' }),
  use('an unknown session', nodes({ action: 'status', sessionKey: 'agent:main:nowhere' }), 200, { body: 'keys' }),
  use('arguments that are text', nodes({ action: 'status', args: 'text' }), 200, { body: 'keys' }),
  use('an empty object', '{}', 400),
  use('an empty body', '', 400),
  use('a list', '[]', 400),
  use('null', 'null', 400),
  use('a name that is a number', '{"tool":5}', 400),
  use('broken JSON', '{a', 400, wordsOfJson),
  use('a tool that nobody knows', '{"tool":"nope"}', 404),
  use('a guarded tool', '{"tool":"exec"}', 404),
  use('a denied tool', '{"tool":"gateway","action":"status"}', 404),
  use('no action', nodes({}), 400),
  use('an action that nobody knows', nodes({ action: 'bogus' }), 500, {
    ...ourMistake('unknown action of nodes: bogus; there is list, status, describe, pending, invoke')
  }),
  use('a missing argument', nodes({ action: 'describe' }), 500, {
    ...ourMistake("invalid nodes describe args: must have required property 'node'")
  }),
  use('a node that is not there', nodes({ action: 'describe', args: { node: 'nobody' } }), 500, {
    ...ourMistake('unknown nodeId')
  }),
  use('another agent', nodes({ action: 'status', agentId: 'other' }), 400),
  use('2,097,153 bytes', `{"tool":"nope"}${' '.repeat(2_097_153 - 15)}`, 413),
  use('2,097,152 bytes', `{"tool":"nope"}${' '.repeat(2_097_152 - 15)}`, 404),

  call('no bearer', '{"method":"health"}', 401, { headers: {} }),
  call('GET', '', 405, {
    method: 'GET',
    differs: 'a method that a path does not have is the same 405 everywhere',
    ours: { type: 'text/plain; charset=utf-8', cache: null, content: 'Method Not Allowed' }
  }),
  call('a method', '{"id":"a","method":"device.pair.list","params":{}}', 200),
  call('without an id', '{"method":"device.pair.list","params":{}}', 200),
  call('an id that is a number', '{"id":5,"method":"device.pair.list"}', 200),
  call('without params', '{"id":"a","method":"node.pair.list"}', 200),
  call('params of the wrong kind', '{"id":"a","method":"device.pair.list","params":5}', 400),
  call('a param too many', '{"id":"a","method":"device.pair.list","params":{"x":1}}', 400),
  call('a node that is not there', '{"id":"a","method":"node.describe","params":{"nodeId":"x"}}', 400),
  call('an unknown method', '{"id":"a","method":"no.such"}', 400, {
    differs: 'the words of the socket',
    ours: told('unknown method: no.such')
  }),
  call('the handshake', '{"id":"a","method":"connect","params":{}}', 400, {
    differs: 'what needs a socket says so',
    ours: told('connect needs a WebSocket: it is about the connection itself', {
      details: { code: 'WEBSOCKET_REQUIRED', method: 'connect' }
    })
  }),
  call('an empty object', '{}', 400),
  call('an empty body', '', 400),
  call('a list', '[]', 400),
  call('broken JSON', '{a', 400, wordsOfJson),
  call('1,048,577 bytes', `{"method":"health"}${' '.repeat(1_048_577 - 19)}`, 413)
]

/** Tools and methods over HTTP (§6.2). */
export async function toolsTests(t: Test): Promise<void> {
  const gateway = (token: string) => ({
    auth: { mode: 'token', token },
    tools: { allow: ['nodes', 'gateway'], deny: ['gateway'] }
  })
  const setup = { gateway, sections: { plugins: { entries: { 'admin-http-rpc': { enabled: true } } } } }
  const pair = await startPair({ ours: setup, reference: setup })
  t.teardown(() => pair.stop())
  await requestTests(t, pair, straightTo(pair), cases)
}
