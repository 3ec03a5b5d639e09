import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { nodeHost, RawClient, TestDevice } from '../support/client.ts'
import { startApp, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { approve, freshKey, operator, requestOf, TestNode } from '../support/nodes.ts'

type Json = Record<string, unknown>

const probe = {
  client: { ...nodeHost, displayName: 'Probe Node', version: '1.2.3' },
  caps: ['system', 'canvas'],
  commands: ['system.run', 'system.which', 'canvas.present', 'camera.snap', 'my.custom'],
  permissions: { 'camera.capture': true, 'screen.record': false },
  pathEnv: '/bin'
}
const facts = {
  clientId: 'node-host',
  clientMode: 'node',
  displayName: 'Probe Node',
  platform: 'linux',
  version: '1.2.3',
  deviceFamily: 'Linux'
}

/** What a payload says, without the times, and with a word for the ids. */
function told(payload: unknown, ids: Record<string, string> = {}): unknown {
  return JSON.parse(JSON.stringify(payload), (key, value: unknown) => {
    if (typeof value === 'number' && /(Ms|^ts)$/.test(key)) return 'TIME'
    return typeof value === 'string' ? (ids[value] ?? value) : value
  })
}

const last = (client: RawClient, event: string) => client.events.filter((each) => each.event === event).at(-1)

t.test('a node offers, a person approves, and the live socket may (§4)', async (t) => {
  const app = await startApp(t)
  const admin = await operator(t, app.ws)
  const pairer = await operator(t, app.ws, 'operator.pairing')
  const reader = await operator(t, app.ws, 'operator.read')
  const node = await TestNode.connect(t, app.ws, probe)
  const nodeId = node.id
  const requestId = await requestOf(admin, nodeId)
  const ids = { [nodeId]: 'NODE', [requestId]: 'REQUEST' }
  const request = {
    requestId: 'REQUEST',
    nodeId: 'NODE',
    ...facts,
    caps: ['system', 'canvas'],
    commands: ['system.run', 'system.which'],
    requiredApproveScopes: ['operator.pairing', 'operator.admin'],
    permissions: { 'camera.capture': true, 'screen.record': false },
    silent: true,
    ts: 'TIME'
  }
  const { payload, seq } = await pairer.event('node.pair.requested')
  t.strictSame(told(payload, ids), request, 'the request lists what the policy lets it ask for')
  t.type(seq, 'number', 'a broadcast, with a number')
  t.strictSame(told((await pairer.call('node.pair.list', {})).payload, ids), { pending: [request], paired: [] })

  const entry = {
    nodeId: 'NODE',
    ...facts,
    sessionHost: false,
    nodePluginTools: [],
    pathEnv: '/bin',
    connectedAtMs: 'TIME',
    lastConnectedAtMs: 'TIME',
    lastSeenAtMs: 'TIME',
    lastSeenReason: 'connect',
    approvedAtMs: 'TIME',
    paired: true,
    connected: true
  }
  const seen = {
    ...entry,
    caps: [],
    commands: [],
    permissions: { 'screen.record': false },
    approvalState: 'pending-approval'
  }
  const pending = {
    ...seen,
    pendingRequestId: 'REQUEST',
    pendingDeclaredCaps: ['canvas', 'system'],
    pendingDeclaredCommands: ['system.run', 'system.which'],
    pendingDeclaredPermissions: { 'camera.capture': true, 'screen.record': false }
  }
  for (const [who, want] of [
    [admin, pending],
    [reader, seen]
  ] as const) {
    t.strictSame(told((await who.call('node.list', {})).payload, ids), { ts: 'TIME', nodes: [want] })
    t.strictSame(told((await who.call('node.describe', { nodeId })).payload, ids), { ts: 'TIME', ...want })
  }
  const invoke = () => admin.call('node.invoke', { nodeId, command: 'system.which', idempotencyKey: freshKey() })
  const changed = {
    code: 'UNAVAILABLE',
    message: 'node pairing changed while invocation was active',
    details: { code: 'PAIRING_CHANGED' },
    retryable: true
  }
  t.strictSame((await invoke()).error, changed)

  for (const scopes of [['operator.pairing'], ['operator.pairing', 'operator.write']]) {
    const client = await operator(t, app.ws, ...scopes)
    t.strictSame((await client.call('node.pair.approve', { requestId })).error, {
      code: 'FORBIDDEN',
      message: 'missing scope: operator.admin',
      details: {
        code: 'MISSING_SCOPE',
        missingScope: 'operator.admin',
        requiredScopes: ['operator.pairing', 'operator.admin']
      }
    })
  }
  const approved = {
    nodeId: 'NODE',
    ...facts,
    caps: ['system', 'canvas'],
    commands: ['system.run', 'system.which'],
    permissions: { 'camera.capture': true, 'screen.record': false },
    createdAtMs: 'TIME',
    approvedAtMs: 'TIME',
    lastSeenAtMs: 'TIME',
    lastSeenReason: 'connect'
  }
  t.strictSame(told((await admin.call('node.pair.approve', { requestId })).payload, ids), {
    requestId: 'REQUEST',
    node: approved
  })
  const resolved = { requestId: 'REQUEST', nodeId: 'NODE', decision: 'approved', ts: 'TIME' }
  t.strictSame(told((await pairer.event('node.pair.resolved')).payload, ids), resolved)
  const own = await node.client.event('node.pair.resolved')
  t.strictSame(told(own.payload, ids), resolved, 'the node hears of its own')
  t.notOk('seq' in own, 'without a number')
  t.equal(last(reader, 'node.pair.resolved'), undefined, 'a reader does not')
  t.strictSame(told((await pairer.call('node.pair.list', {})).payload, ids), { pending: [], paired: [approved] })
  t.strictSame(told((await reader.call('node.describe', { nodeId })).payload, ids), {
    ts: 'TIME',
    ...entry,
    caps: ['canvas', 'system'],
    commands: ['system.run', 'system.which'],
    permissions: { 'camera.capture': true, 'screen.record': false },
    approvalState: 'approved'
  })
  const running = invoke()
  const { id } = await node.request()
  await node.result(id, { ok: true })
  t.ok((await running).ok, 'no reconnect was needed')
})

t.test('what is unknown is refused in the protocol’s words', async (t) => {
  const app = await startApp(t)
  const admin = await operator(t, app.ws)
  const rows: [method: string, params: Json, message: string][] = [
    ['node.describe', { nodeId: 'nope' }, 'unknown nodeId'],
    ['node.rename', { nodeId: 'nope', displayName: 'x' }, 'unknown nodeId'],
    ['node.rename', { nodeId: 'nope', displayName: '  ' }, 'displayName required'],
    ['node.pair.remove', { nodeId: 'nope' }, 'unknown nodeId'],
    ['node.pair.approve', { requestId: 'nope' }, 'unknown requestId'],
    ['node.pair.reject', { requestId: 'nope' }, 'unknown requestId'],
    ['node.describe', { nodeId: 5 }, 'invalid node.describe params: at /nodeId: must be string'],
    ['node.list', { bogus: 1 }, "invalid node.list params: at root: unexpected property 'bogus'"]
  ]
  for (const [method, params, message] of rows) {
    t.strictSame(
      (await admin.call(method, params)).error,
      { code: 'INVALID_REQUEST', message },
      `${method}: ${message}`
    )
  }
  const nobody = await operator(t, app.ws, 'operator.approvals')
  for (const [method, scope] of [
    ['node.list', 'operator.read'],
    ['node.describe', 'operator.read'],
    ['node.rename', 'operator.pairing'],
    ['node.pair.list', 'operator.pairing'],
    ['node.pair.remove', 'operator.pairing'],
    ['node.invoke', 'operator.write']
  ] as const) {
    t.equal((await nobody.call(method, {})).error?.message, `missing scope: ${scope}`, method)
  }
})

t.test('a request is replaced by what the node offers next, and rejected by a person', async (t) => {
  const app = await startApp(t)
  const admin = await operator(t, app.ws)
  const device = new TestDevice()
  const nodeId = device.id
  const described = async () => (await admin.call('node.describe', { nodeId })).payload as Json
  const state = async () => {
    const { approvalState, caps, commands, pendingDeclaredCommands } = await described()
    return { approvalState, caps, commands, pendingDeclaredCommands }
  }
  const requests = () => admin.events.filter(({ event }) => event === 'node.pair.requested').length
  const decisions = () =>
    admin.events.filter(({ event }) => event === 'node.pair.resolved').map(({ payload }) => payload?.decision)
  /** Connects the node, waits until it is taken in, and hangs up. */
  const visit = async (more: Json, look: () => Promise<void>) => {
    const node = await TestNode.connect(t, app.ws, { device, ...more })
    // Its own question comes after its arrival.
    await node.client.call('health')
    await admin.call('node.pair.list', {})
    await look()
    await node.client.close()
  }

  const two = { caps: ['system'], commands: ['system.run', 'system.which'] }
  await visit(two, async () => {
    const requestId = await requestOf(admin, nodeId)
    t.strictSame((await admin.call('node.pair.reject', { requestId })).payload, { requestId, nodeId })
    t.equal((await described()).approvalState, 'unapproved')
    t.strictSame(decisions(), ['rejected'])
    t.equal((await admin.call('node.pair.approve', { requestId })).error?.message, 'unknown requestId')
  })
  let first = ''
  await visit(two, async () => {
    first = await requestOf(admin, nodeId)
    t.equal(requests(), 2, 'it asks again')
  })
  t.equal((await described()).approvalState, 'pending-approval', 'a request outlives the socket')
  await visit({ ...two, commands: ['system.which', 'system.run'] }, async () => {
    t.equal(await requestOf(admin, nodeId), first, 'the same in another order is the same request')
    t.equal(requests(), 2)
  })
  await visit({ caps: ['system'], commands: ['system.which'] }, async () => {
    t.not(await requestOf(admin, nodeId), first, 'what is not the same is another request')
    t.strictSame(decisions(), ['rejected', 'rejected'], 'and the earlier one is over')
    t.equal((await admin.call('node.pair.approve', { requestId: first })).error?.message, 'unknown requestId')
  })
  await visit(two, async () => void (await approve(admin, nodeId)))
  t.strictSame(await state(), {
    approvalState: 'approved',
    caps: ['system'],
    commands: ['system.run', 'system.which'],
    pendingDeclaredCommands: undefined
  })

  await visit({ caps: ['system'], commands: ['system.run', 'system.which', 'system.notify'] }, async () => {
    await requestOf(admin, nodeId)
    t.strictSame(await state(), {
      approvalState: 'pending-reapproval',
      caps: ['system'],
      commands: ['system.run', 'system.which'],
      pendingDeclaredCommands: ['system.notify', 'system.run', 'system.which']
    })
    t.notOk('silent' in last(admin, 'node.pair.requested')!.payload!, 'more than was approved is nothing silent')
    const { error } = await admin.call('node.invoke', { nodeId, command: 'system.notify', idempotencyKey: freshKey() })
    t.strictSame(error?.details, { reason: 'command not declared by node', command: 'system.notify' })
  })
  await visit({ caps: [], commands: ['system.which'] }, async () => {
    t.strictSame(
      await state(),
      { approvalState: 'approved', caps: [], commands: ['system.which'], pendingDeclaredCommands: undefined },
      'less needs nobody, and withdraws what was asked'
    )
  })
  for (const more of [
    { ...two, caps: ['system', 'talk'] },
    { ...two, permissions: { camera: true } }
  ]) {
    await visit(more, async () => {
      await requestOf(admin, nodeId)
      t.equal((await described()).approvalState, 'pending-reapproval', JSON.stringify(more))
    })
  }
  await visit({ ...two, permissions: { camera: false } }, async () => {
    t.equal((await described()).approvalState, 'approved', 'a permission that is not granted is nothing to approve')
  })
})

t.test('a node that offers nothing asks to be approved, and pairing alone may', async (t) => {
  const app = await startApp(t)
  const admin = await operator(t, app.ws)
  const pairer = await operator(t, app.ws, 'operator.pairing')
  for (const [commands, scopes, allowed] of [
    [[], ['operator.pairing'], true],
    [['system.notify'], ['operator.pairing', 'operator.write'], false],
    [['system.which'], ['operator.pairing', 'operator.admin'], false]
  ] as const) {
    const node = await TestNode.connect(t, app.ws, { caps: [], commands: [...commands] })
    const requestId = await requestOf(admin, node.id)
    t.strictSame(last(admin, 'node.pair.requested')?.payload?.requiredApproveScopes, scopes)
    t.equal((await pairer.call('node.pair.approve', { requestId })).ok, allowed)
  }
})

t.test('a node is renamed, and removed with its live sockets; again it is unknown (S14)', async (t) => {
  const app = await startApp(t)
  const admin = await operator(t, app.ws)
  const pairer = await operator(t, app.ws, 'operator.pairing')
  const device = new TestDevice()
  const nodeId = device.id
  const node = await TestNode.connect(t, app.ws, { device })
  const second = await TestNode.connect(t, app.ws, { device })
  await approve(admin, nodeId)
  t.strictSame((await pairer.call('node.rename', { nodeId, displayName: '  Attic  ' })).payload, {
    nodeId,
    displayName: 'Attic'
  })
  t.equal(((await admin.call('node.describe', { nodeId })).payload as Json).displayName, 'Attic')

  const running = admin.call('node.invoke', { nodeId, command: 'system.which', idempotencyKey: freshKey() })
  await second.request()
  t.strictSame((await pairer.call('node.pair.remove', { nodeId })).payload, { nodeId })
  t.strictSame(await node.client.closed, { code: 4001, reason: 'device removed' })
  t.strictSame(await second.client.closed, { code: 4001, reason: 'device removed' })
  t.equal((await running).error?.message, 'node pairing changed while invocation was active')
  const removed = last(admin, 'node.pair.resolved')!.payload!
  t.strictSame(told(removed, { [nodeId]: 'NODE' }), { requestId: '', nodeId: 'NODE', decision: 'removed', ts: 'TIME' })
  t.equal((await pairer.call('node.pair.remove', { nodeId })).error?.message, 'unknown nodeId')
  t.strictSame(((await admin.call('node.list', {})).payload as Json).nodes, [])
  t.strictSame(((await admin.call('device.pair.list', {})).payload as Json).paired, [], 'its device is gone too')

  const back = await TestNode.connect(t, app.ws, { device })
  await requestOf(admin, nodeId)
  t.equal(((await admin.call('node.describe', { nodeId })).payload as Json).approvalState, 'pending-approval')
  t.equal(app.app.nodes.registry.size, 1)
  await back.client.close()
})

t.test('of a device that is an operator’s too, only an admin takes the node away, and only the node', async (t) => {
  const app = await startApp(t)
  const admin = await operator(t, app.ws)
  const device = new TestDevice()
  const cliClient = await RawClient.open(app.ws)
  t.teardown(() => cliClient.close())
  const client = { id: 'cli', version: '1', platform: 'linux', mode: 'cli' } as const
  t.ok((await cliClient.connect({ auth: { token: TOKEN }, client, scopes: ['operator.pairing'] }, device)).ok)
  const node = await TestNode.connect(t, app.ws, { device })
  await requestOf(admin, device.id)
  for (const who of [cliClient, await operator(t, app.ws, 'operator.pairing')]) {
    t.equal((await who.call('node.pair.remove', { nodeId: device.id })).error?.message, 'node pairing removal denied')
    t.equal(
      (await who.call('node.rename', { nodeId: device.id, displayName: 'x' })).error?.message,
      'node rename denied'
    )
  }
  t.ok((await admin.call('node.pair.remove', { nodeId: device.id })).ok)
  t.equal((await node.client.closed).code, 4001)
  t.ok((await cliClient.call('node.pair.list', {})).ok, 'the operator’s socket stays')
})

t.test('a device that is removed or revoked is no node any more', async (t) => {
  const app = await startApp(t)
  const admin = await operator(t, app.ws)
  for (const [method, more] of [
    ['device.pair.remove', {}],
    ['device.token.revoke', { role: 'node' }]
  ] as const) {
    const node = await TestNode.connect(t, app.ws)
    await approve(admin, node.id)
    t.ok((await admin.call(method, { deviceId: node.id, ...more })).ok)
    t.equal((await node.client.closed).code, 4001)
    const { error } = await admin.call('node.invoke', {
      nodeId: node.id,
      command: 'system.which',
      idempotencyKey: freshKey()
    })
    t.equal(error?.code, 'UNAVAILABLE', method)
    t.equal(app.app.nodes.registry.serving(node.id), undefined)
  }
})

t.test('a changed configuration holds at once for nodes that are connected', async (t) => {
  const app = await startApp(t, { gateway: { nodes: { commands: { deny: ['system.which'] } } } })
  const admin = await operator(t, app.ws)
  const node = await TestNode.connect(t, app.ws, { commands: ['system.run', 'system.which', 'camera.snap'] })
  const { nodeId } = { nodeId: node.id }
  await requestOf(admin, nodeId)
  t.strictSame(last(admin, 'node.pair.requested')?.payload?.commands, ['system.run'], 'what is denied is not asked for')
  await approve(admin, nodeId)
  const { live } = app.app
  const { config } = live
  const commands = { allow: ['camera.snap'], deny: ['system.run'] }
  live.apply({ ...config, gateway: { ...config.gateway, nodes: { ...config.gateway.nodes, commands } } })
  t.strictSame(((await admin.call('node.describe', { nodeId })).payload as Json).commands, [])
  const why = async (command: string) =>
    (await admin.call('node.invoke', { nodeId, command, idempotencyKey: freshKey() })).error?.message
  t.match(await why('system.run'), /"system.run" is not in the allowlist for platform "linux"/)
  t.match(await why('camera.snap'), /does not support "camera.snap"/, 'allowed now, but nobody approved it')
})

t.test('without auth a node is one for as long as it is here, and what was approved stays', async (t) => {
  const app = await startApp(t, { gateway: { auth: { mode: 'none' } } })
  const admin = await RawClient.open(app.ws)
  t.teardown(() => admin.close())
  t.ok((await admin.connect()).ok)
  const node = await TestNode.connect(t, app.ws, { auth: {} })
  await approve(admin, node.id)
  const entry = (await admin.call('node.describe', { nodeId: node.id })).payload as Json
  t.match(entry, { paired: true, connected: true, approvalState: 'approved' })
  t.ok((await admin.call('node.pair.remove', { nodeId: node.id })).ok)
  t.equal((await node.client.closed).code, 4001)
})

t.test('what was approved survives a restart, and so does what waits', async (t) => {
  const stateDir = tempDir(t)
  const gateway = { mode: 'local', auth: { mode: 'token', token: TOKEN } }
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway }), { mode: 0o600 })
  const [approvedNode, waitingNode] = [new TestDevice(), new TestDevice()]
  const before = await startProcess(t, { stateDir })
  const admin = await operator(t, before.ws)
  await TestNode.connect(t, before.ws, { device: approvedNode })
  await TestNode.connect(t, before.ws, { device: waitingNode })
  await approve(admin, approvedNode.id)
  await admin.call('node.rename', { nodeId: approvedNode.id, displayName: 'Attic' })
  const requestId = await requestOf(admin, waitingNode.id)
  // As a crash leaves it.
  before.child.kill('SIGKILL')
  await before.exited

  const after = await startProcess(t, { stateDir })
  const again = await operator(t, after.ws)
  const { nodes } = (await again.call('node.list', {})).payload as { nodes: Json[] }
  const states = nodes.map(({ nodeId, displayName, approvalState, connected, commands }) => {
    return { nodeId, displayName, approvalState, connected, commands }
  })
  t.strictSame(
    new Set(states.map((each) => JSON.stringify(each))),
    new Set(
      [
        {
          nodeId: approvedNode.id,
          displayName: 'Attic',
          approvalState: 'approved',
          connected: false,
          commands: ['system.run', 'system.which']
        },
        {
          nodeId: waitingNode.id,
          displayName: undefined,
          approvalState: 'pending-approval',
          connected: false,
          commands: []
        }
      ].map((each) => JSON.stringify(each))
    )
  )
  const offline = await again.call('node.invoke', {
    nodeId: approvedNode.id,
    command: 'system.which',
    idempotencyKey: freshKey()
  })
  t.equal(offline.error?.message, 'node not connected')
  const node = await TestNode.connect(t, after.ws, { device: approvedNode })
  await node.client.call('health')
  const running = again.call('node.invoke', {
    nodeId: node.id,
    command: 'system.which',
    idempotencyKey: freshKey()
  })
  await node.result((await node.request()).id, { ok: true, payload: 1 })
  t.equal(((await running).payload as Json).payload, 1, 'it is asked without being approved again')
  t.ok((await again.call('node.pair.approve', { requestId })).ok, 'a request can be approved while its node is away')
})
