import fc from 'fast-check'
import t from 'tap'
import { Type } from 'typebox'
import { RpcError } from '../../src/protocol/errors.ts'
import { SCOPES, type Scope } from '../../src/protocol/scopes.ts'
import { LIMITS } from '../../src/rpc/limits.ts'
import { type Caller, defineMethod } from '../../src/rpc/method.ts'
import { defineAction, type Tool, ToolError, ToolRegistry, type ToolUse } from '../../src/tools/registry.ts'
import { type ApiAnswer, asJson, askApi, namedToken } from '../support/api.ts'
import { startApp, type TestApp, TOKEN } from '../support/gateway.ts'

type Json = Record<string, unknown>

t.setTimeout(60_000)

const PATH = '/tools/invoke'
const opened = { tools: { allow: ['gateway', 'nodes'] } }
const guarded =
  'exec spawn shell fs_write fs_delete fs_move apply_patch sessions_spawn sessions_send cron gateway nodes'

/** One use of a tool. */
const use = (where: Pick<TestApp, 'port'>, body: Json, headers: Record<string, string> = asJson()) =>
  askApi(where, PATH, { headers, body: JSON.stringify(body) })

const refusal = (type: string, message: string | RegExp, details?: Json) => ({
  ok: false,
  error: { type, message, ...(details === undefined ? {} : { details }) }
})
const missing = (scope: string) =>
  refusal('forbidden', `missing scope: ${scope}`, {
    code: 'MISSING_SCOPE',
    missingScope: scope,
    requiredScopes: [scope]
  })

const admin = { scopes: new Set<Scope>(['operator.admin']) }
const closed = { additionalProperties: false }

/** A tool with an action for each scope, and some that go wrong. */
function probe(): Tool<Caller> {
  const fails = (error: () => Error) =>
    defineAction({
      description: 'Fails',
      scope: 'operator.write',
      params: Type.Object({}, closed),
      run: (_params, _caller: Caller) => {
        throw error()
      }
    })
  const scoped = SCOPES.map((scope) => [
    scope.replaceAll('.', '_'),
    defineAction({
      description: `Needs ${scope}`,
      scope,
      params: Type.Object({ text: Type.Optional(Type.String()) }, closed),
      run: ({ text }, { scopes, surface, client }: Caller, use: ToolUse) => ({
        text,
        use,
        surface,
        client: client.id,
        scopes: [...scopes]
      })
    })
  ])
  return {
    name: 'probe',
    description: 'For tests',
    actions: {
      ...Object.fromEntries(scoped),
      invalid: fails(() => new RpcError('INVALID_REQUEST', 'text required', { details: { at: 'text' } })),
      gone: fails(() => new RpcError('NOT_FOUND', 'no such thing')),
      unpaired: fails(() => new RpcError('NOT_PAIRED', 'not paired')),
      later: fails(() => new RpcError('UNAVAILABLE', 'not now', { retryable: true, retryAfterMs: 2_500 })),
      said: fails(() => new ToolError('tool_error', 'sessionKey required')),
      broken: fails(() => new Error('a secret of the inside'))
    }
  }
}

t.test('§6.2: statuses and bodies, as the reference has them', async (t) => {
  const gateway = await startApp(t, { gateway: opened })
  const rows: [name: string, body: string | undefined, status: number, json: Json][] = [
    ['an empty object', '{}', 400, refusal('invalid_request', 'tools.invoke requires name')],
    ['no body', undefined, 400, refusal('invalid_request', 'tools.invoke requires name')],
    ['an empty body', '', 400, refusal('invalid_request', 'tools.invoke requires name')],
    ...['[]', 'null', '5', '"x"', '{"tool":5}', '{"tool":""}', '{"tool":" "}', '{"action":"status"}'].map(
      (body) =>
        [body, body, 400, refusal('invalid_request', 'tools.invoke requires name')] as [string, string, number, Json]
    ),
    ['an unknown tool', '{"tool":"nope"}', 404, refusal('not_found', 'Tool not available: nope')],
    ['another spelling', '{"tool":"GATEWAY"}', 404, refusal('not_found', 'Tool not available: GATEWAY')],
    ['what objects have', '{"tool":"constructor"}', 404, refusal('not_found', 'Tool not available: constructor')],
    ['a guarded tool', '{"tool":"exec"}', 404, refusal('not_found', 'Tool not available: exec')],
    [
      'a name of any length',
      `{"tool":"${'x'.repeat(3_000)}"}`,
      404,
      refusal('not_found', `Tool not available: ${'x'.repeat(128)}`)
    ],
    ['no action', '{"tool":"gateway"}', 400, refusal('tool_error', 'action required')],
    ['an action of another kind', '{"tool":"gateway","action":5}', 400, refusal('tool_error', 'action required')],
    [
      'an unknown action',
      '{"tool":"gateway","action":"bogus"}',
      400,
      refusal('tool_error', /^unknown action of gateway: bogus; there is status, health, presence$/)
    ],
    ['an inherited action', '{"tool":"gateway","action":"toString"}', 400, refusal('tool_error', /^unknown action/)],
    [
      'an argument too many',
      '{"tool":"gateway","action":"status","args":{"x":1}}',
      400,
      refusal('tool_error', "invalid gateway status args: at root: unexpected property 'x'")
    ],
    [
      'a missing argument',
      '{"tool":"nodes","action":"describe"}',
      400,
      refusal('tool_error', "invalid nodes describe args: must have required property 'node'")
    ],
    [
      'another agent',
      '{"tool":"gateway","action":"health","agentId":"other"}',
      400,
      refusal('invalid_request', 'Unknown agent id "other"')
    ],
    [
      "another agent's session",
      '{"tool":"gateway","action":"health","agentId":"main","sessionKey":"agent:other:main"}',
      400,
      refusal('invalid_request', 'agent "main" does not match session key agent "other"')
    ],
    [
      'broken JSON',
      '{"a":',
      400,
      {
        error: {
          message: 'Unexpected end of JSON input at position 5 (line 1 column 6)',
          type: 'invalid_request_error'
        }
      }
    ],
    [
      'no JSON',
      'secret words',
      400,
      {
        error: { message: 'Unexpected token in JSON at position 0 (line 1 column 1)', type: 'invalid_request_error' }
      }
    ],
    [
      'broken further on',
      '{\n  "tool": "gateway",\n  "args": [1,]\n}',
      400,
      {
        error: {
          message: 'Unexpected token in JSON at position 36 (line 3 column 14)',
          type: 'invalid_request_error'
        }
      }
    ],
    [
      'a poisoned body',
      '{"tool":"gateway","__proto__":{"action":"health"}}',
      400,
      { error: { type: 'invalid_request_error', message: /__proto__/ } }
    ]
  ]
  for (const [name, body, status, json] of rows) {
    const answer = await askApi(gateway, PATH, { headers: asJson(), ...(body === undefined ? {} : { body }) })
    t.equal(answer.status, status, name)
    t.match(answer.json, json, name)
    t.notMatch(answer.body, /secret/, 'nothing of a body that is no JSON is repeated')
  }
})

t.test('what is right', async (t) => {
  const gateway = await startApp(t, { gateway: opened })
  const good: [string, Json][] = [
    ['the action beside the tool', { tool: 'gateway', action: 'health' }],
    ['the action among the arguments', { tool: 'gateway', args: { action: 'health' } }],
    ['both: the arguments win', { tool: 'gateway', action: 'bogus', args: { action: 'health' } }],
    ['name instead of tool', { name: 'gateway', action: 'health' }],
    ['both: name wins', { name: 'gateway', tool: 'nope', action: 'health' }],
    ['spaces around', { tool: ' gateway ', action: ' health ' }],
    ['arguments of another kind', { tool: 'gateway', action: 'health', args: 'text' }],
    ['arguments as a list', { tool: 'gateway', action: 'health', args: [] }],
    ['dryRun', { tool: 'gateway', action: 'health', dryRun: true }],
    ['an unknown session', { tool: 'gateway', action: 'health', sessionKey: 'agent:main:nowhere' }],
    ['fields of another kind', { tool: 'gateway', action: 'health', sessionKey: 5, agentId: [], idempotencyKey: {} }],
    ['fields that nobody knows', { tool: 'gateway', action: 'health', bogus: 1 }]
  ]
  for (const [name, body] of good) {
    const { status, json } = await use(gateway, body)
    t.equal(status, 200, name)
    t.match(
      json,
      { ok: true, result: { content: [{ type: 'text', text: String }], details: { ok: true, uptimeMs: undefined } } },
      name
    )
    const { content, details } = json.result as { content: { text: string }[]; details: Json }
    t.same(JSON.parse(content[0]!.text), details, 'the text is the details')
  }
  for (const [action, expected] of [
    ['status', { runtimeVersion: String, connections: {} }],
    ['health', { ok: true, eventLoop: {} }],
    ['presence', [{ mode: 'gateway' }]]
  ] as const) {
    const { json } = await use(gateway, { tool: 'gateway', action })
    t.match((json.result as Json).details, expected, `gateway ${action}`)
  }
})

t.test('content types, encodings and sizes', async (t) => {
  const gateway = await startApp(t, { gateway: opened })
  const body = '{"tool":"nope"}'
  const authorization = `Bearer ${TOKEN}`
  for (const type of [undefined, 'application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON'])
    t.equal(
      (await askApi(gateway, PATH, { headers: { authorization, ...(type && { 'content-type': type }) }, body })).status,
      404,
      `${type}: read`
    )
  for (const type of [
    'text/plain',
    'text/plain;charset=UTF-8',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'application/jsonp',
    'nonsense'
  ]) {
    const answer = await askApi(gateway, PATH, { headers: { authorization, 'content-type': type }, body })
    t.equal(answer.status, 415, `S23: ${type}`)
    t.has(answer.json, { error: { type: 'invalid_request_error' } })
    t.equal(answer.headers.connection, 'close')
  }
  const padded = (bytes: number) => body + ' '.repeat(bytes - body.length)
  t.equal((await askApi(gateway, PATH, { headers: asJson(), body: padded(2_097_152) })).status, 404, '2 MB are read')
  const large = await askApi(gateway, PATH, { headers: asJson(), body: padded(2_097_153) }).catch(() => undefined)
  // Whoever is still sending may see the end of the connection instead of the answer.
  if (large !== undefined) {
    t.equal(large.status, 413)
    t.same(large.json, { error: { message: 'Payload too large', type: 'invalid_request_error' } })
    t.equal(large.headers.connection, 'close')
  }
  const stranger = await askApi(gateway, PATH, { headers: asJson('wrong'), body: padded(3_000_000) }).catch(
    () => undefined
  )
  if (stranger !== undefined) t.equal(stranger.status, 401, 'a stranger is refused before the body')
  t.equal((await askApi(gateway, '/metrics', { headers: asJson(), method: 'GET' })).status, 200, 'and all is well')
})

t.test('guarded tools are closed; allow opens them to admins, and deny closes whatever it names', async (t) => {
  const asked = async (gateway: TestApp, tool: string, headers?: Record<string, string>) =>
    (await use(gateway, { tool, action: tool === 'probe' ? 'operator_write' : 'health' }, headers)).status
  const asIs = await startApp(t, { gateway: { auth: { mode: 'none' } } })
  for (const name of guarded.split(' ')) {
    if (!['gateway', 'nodes'].includes(name)) asIs.app.tools.add({ ...probe(), name })
    t.equal(await asked(asIs, name), 404, `${name} is closed by itself`)
  }
  asIs.app.tools.add(probe())
  t.equal(await asked(asIs, 'probe'), 200, 'one that does no harm is open')

  const some = await startApp(t, {
    gateway: { auth: { mode: 'none' }, tools: { allow: ['gateway', 'nodes', 'exec'], deny: ['Nodes', 'probe'] } }
  })
  some.app.tools.add(probe())
  t.equal(await asked(some, 'gateway'), 200, 'allowed')
  t.same(
    (await use(some, { tool: 'nodes', action: 'list' })).json,
    refusal('not_found', 'Tool not available: nodes'),
    'deny wins, in any spelling'
  )
  t.equal(await asked(some, 'probe'), 404, 'denied')
  t.equal(await asked(some, 'exec'), 404, 'allowed, but there is none')
  for (const [cap, want] of [
    ['operator.admin', 200],
    ['operator.write', 404],
    ['operator.read,operator.write,operator.approvals,operator.pairing', 404],
    ['operator.read', 403],
    ['', 403]
  ] as const)
    t.equal(await asked(some, 'gateway', { ...asJson(), 'x-openclaw-scopes': cap }), want, `narrowed to "${cap}"`)

  const none = await startApp(t, { gateway: { tools: { allow: ['gateway'], deny: ['*'] } } })
  t.equal(await asked(none, 'gateway'), 404, 'deny of everything')
})

t.test('R8 S21: the scope that each action names, for every caller', async (t) => {
  const gateway = await startApp(t, { gateway: { trustedProxies: ['127.0.0.1'] } })
  gateway.app.tools.add(probe())
  const sets: Scope[][] = [
    ['operator.admin'],
    ['operator.write'],
    ['operator.write', 'operator.pairing'],
    ['operator.write', 'operator.approvals', 'operator.talk.secrets'],
    ['operator.read', 'operator.write']
  ]
  for (const scopes of sets) {
    const token = await namedToken(gateway, scopes)
    for (const scope of SCOPES) {
      const { status, json } = await use(gateway, { tool: 'probe', action: scope.replaceAll('.', '_') }, asJson(token))
      const holds =
        scopes.includes(scope) ||
        scopes.includes('operator.admin') ||
        (scope === 'operator.read' && scopes.includes('operator.write'))
      t.equal(status, holds ? 200 : 403, `${scopes.join(', ')}: ${scope}`)
      if (!holds) t.same(json, missing(scope))
    }
  }
  for (const scopes of [['operator.read'], ['operator.pairing', 'operator.approvals']] as Scope[][]) {
    const { status, json } = await use(gateway, { tool: 'probe' }, asJson(await namedToken(gateway, scopes)))
    t.equal(status, 403, `${scopes.join(', ')} use no tool`)
    t.same(json, missing('operator.write'))
  }
  const shared = await use(
    gateway,
    { tool: 'probe', action: 'operator_talk_secrets', args: { text: 'x' } },
    {
      ...asJson(),
      'x-openclaw-scopes': 'operator.read'
    }
  )
  t.match(
    shared.json,
    { result: { details: { text: 'x', surface: 'http-api', client: 'gateway-client', scopes: [...SCOPES] } } },
    'a cap on the shared secret is ignored'
  )
  const far = await use(
    gateway,
    { tool: 'probe', action: 'operator_admin' },
    { ...asJson(), 'x-forwarded-for': '203.0.113.5' }
  )
  t.equal(far.status, 200, 'through a proxy as well')
  for (const headers of [
    { ...asJson(), 'tailscale-user-login': 'boss@example.com' },
    { ...asJson(), origin: 'https://evil.example' },
    { ...asJson(), 'sec-fetch-site': 'cross-site' }
  ])
    t.equal((await use(gateway, { tool: 'probe', action: 'operator_admin' }, headers)).status, 403, 'R8 S23')
})

t.test('what a tool fails with', async (t) => {
  const gateway = await startApp(t)
  gateway.app.tools.add(probe())
  const fails = (action: string) => use(gateway, { tool: 'probe', action })
  const rows: [action: string, status: number, json: Json][] = [
    ['invalid', 400, refusal('tool_error', 'text required', { at: 'text' })],
    ['said', 400, refusal('tool_error', 'sessionKey required')],
    ['gone', 404, refusal('not_found', 'no such thing')],
    ['unpaired', 409, refusal('tool_error', 'not paired')],
    ['later', 503, refusal('tool_error', 'not now')],
    ['broken', 500, refusal('tool_error', 'tool execution failed')]
  ]
  for (const [action, status, json] of rows) {
    const answer = await fails(action)
    t.equal(answer.status, status, action)
    t.same(answer.json, json, action)
  }
  t.equal((await fails('later')).headers['retry-after'], '3')
})

t.test('nodes: the arguments of the reference, as the methods take them', async (t) => {
  const calls: unknown[] = []
  const { nodesTool } = await import('../../src/tools/nodes.ts')
  const tools = new ToolRegistry([
    nodesTool((method, params) => {
      calls.push([method, params])
      return {}
    })
  ])
  const run = async (args: Json, idempotencyKey?: string) => {
    calls.length = 0
    await tools.invoke('nodes', args, admin, { idempotencyKey })
    return calls
  }
  t.same(await run({ action: 'list' }), [['node.list', {}]])
  t.same(await run({ action: 'status' }), [['node.list', {}]])
  t.same(await run({ action: 'pending' }), [['node.pair.list', {}]])
  t.same(await run({ action: 'describe', node: 'n' }), [['node.describe', { nodeId: 'n' }]])
  const invoke = { action: 'invoke', node: 'n', invokeCommand: 'system.which' }
  const called = (more: Json) => [['node.invoke', { nodeId: 'n', command: 'system.which', ...more }]]
  t.same(await run({ ...invoke, idempotencyKey: 'a' }), called({ idempotencyKey: 'a' }))
  t.same(await run(invoke, 'b'), called({ idempotencyKey: 'b' }), "the request's own")
  t.match(await run(invoke), called({ idempotencyKey: /^[0-9a-f-]{36}$/ }), 'or a new one')
  t.same(
    await run({ ...invoke, invokeParams: { bins: ['ls'] }, invokeTimeoutMs: 5_000 }, 'c'),
    called({ params: { bins: ['ls'] }, timeoutMs: 5_000, idempotencyKey: 'c' })
  )
  t.same(
    await run({ ...invoke, invokeParamsJson: '{"bins":["ls"]}' }, 'd'),
    called({ params: { bins: ['ls'] }, idempotencyKey: 'd' })
  )
  await t.rejects(run({ ...invoke, invokeParamsJson: '{' }), {
    type: 'tool_error',
    message: 'invokeParamsJson is not JSON'
  })
})

t.test('a tool is declared in full, and once', async (t) => {
  const { app } = await startApp(t)
  t.throws(() => app.tools.add({ ...probe(), name: 'gateway' }), /declared twice/)
  t.throws(() => app.tools.add({ ...probe(), name: 'No Name' }), /needs a name/)
  const { actions } = probe()
  const open = { ...actions.said!, scope: 'any' as never }
  t.throws(() => app.tools.add({ ...probe(), actions: { open } }), /must name its scope/)

  const tools = new ToolRegistry<typeof admin>([])
  const only = defineAction({ description: '', scope: 'operator.read', params: Type.Object({}), run: () => 'done' })
  tools.add({ name: 'single', description: '', actions: { only } })
  t.equal(
    await tools.invoke('single', {}, admin, { idempotencyKey: undefined }),
    'done',
    'a single action needs no name'
  )
})

t.test('calls of one caller under way at once are bounded', async (t) => {
  const gateway = await startApp(t, { gateway: opened })
  const { registry, tools } = gateway.app
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  registry.add(
    defineMethod({ name: 'test.held', scope: 'operator.write', params: Type.Object({}), handler: () => held })
  )
  tools.add({
    name: 'held',
    description: 'Waits',
    actions: {
      wait: defineAction({ description: '', scope: 'operator.write', params: Type.Object({}), run: () => held })
    }
  })
  const waiting: Promise<ApiAnswer>[] = Array.from({ length: LIMITS.inFlight }, () => use(gateway, { tool: 'held' }))
  while (gateway.app.calls.total < LIMITS.inFlight) await new Promise((resolve) => setImmediate(resolve))
  const next = await use(gateway, { tool: 'held' })
  t.equal(next.status, 503)
  t.match(next.json, { error: { type: 'tool_error', message: /busy/ } })
  t.equal(next.headers['retry-after'], '1')
  const other = await namedToken(gateway, ['operator.write'])
  const others = use(gateway, { tool: 'held' }, asJson(other))
  release()
  t.same([...new Set((await Promise.all([...waiting, others])).map(({ status }) => status))], [200])
  t.equal(gateway.app.calls.total, 0)
})

t.test('any body gets an answer of a known shape, and breaks nothing', async (t) => {
  const gateway = await startApp(t, { gateway: opened })
  gateway.app.tools.add(probe())
  const word = fc.constantFrom(
    'gateway',
    'nodes',
    'probe',
    'exec',
    'status',
    'list',
    'describe',
    'operator_read',
    '__proto__',
    'constructor',
    '',
    ' ',
    '\u0000',
    '\ud800'
  )
  const value = fc.oneof(word, fc.jsonValue({ maxDepth: 3 }), fc.string({ unit: 'binary', maxLength: 20 }))
  const body = fc.oneof(
    fc
      .dictionary(
        fc.constantFrom('tool', 'name', 'action', 'args', 'sessionKey', 'agentId', 'idempotencyKey', '__proto__', 'x'),
        value
      )
      .map((each) => JSON.stringify(each)),
    fc.record({ tool: word, action: word, args: fc.dictionary(word, value) }).map((each) => JSON.stringify(each)),
    fc.json(),
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.integer({ min: 1, max: 20_000 }).map((depth) => `{"tool":${'['.repeat(depth)}`),
    fc
      .integer({ min: 1, max: 20_000 })
      .map((depth) => `{"tool":"probe","args":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}`)
  )
  for (const each of fc.sample(body, { numRuns: 1_500, seed: 17 })) {
    const { status, json } = await askApi(gateway, PATH, { headers: asJson(), body: each })
    const known =
      status === 200
        ? json.ok === true
        : [400, 404].includes(status) && typeof (json.error as Json)?.message === 'string'
    if (!known) return t.fail(`${status} for ${each.slice(0, 200)}`)
  }
  t.equal((await use(gateway, { tool: 'gateway', action: 'health' })).status, 200)
})
