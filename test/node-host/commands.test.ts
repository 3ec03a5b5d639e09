import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { tempDir } from '../support/gateway.ts'
import { connectedNode } from '../support/node-gateway.ts'
import { schemaErrors } from '../support/schema.ts'

t.test('connect declares what this node can do, and nothing else', async (t) => {
  const { link } = await connectedNode(t, { env: { PATH: '/nowhere' }, displayName: 'Build box' })
  const { client, role, scopes, caps, commands, pathEnv, device } = link.params!
  t.match(client, { id: 'node-host', mode: 'node', platform: process.platform, displayName: 'Build box' })
  t.same({ role, scopes, caps, pathEnv }, { role: 'node', scopes: [], caps: ['mcp', 'system'], pathEnv: '/nowhere' })
  t.same(commands, [
    'fs.listDir',
    'mcp.tools.call.v1',
    'system.execApprovals.get',
    'system.execApprovals.set',
    'system.run',
    'system.run.prepare',
    'system.which'
  ])
  t.match(device?.id, /^[0-9a-f]{64}$/)
  t.same(schemaErrors('ConnectParams', link.params), [])
})

t.test('a fresh connection is told of the machine, its skills and tools', async (t) => {
  const stateDir = join(tempDir(t), 'state')
  const skill = (name: string, text: string) => {
    mkdirSync(join(stateDir, 'skills', name), { recursive: true })
    writeFileSync(join(stateDir, 'skills', name, 'SKILL.md'), text)
  }
  const good = '---\nname: deploy\ndescription: "Puts it there: carefully"\n---\n\nRun it.\n'
  skill('deploy', good)
  skill('other-name', '---\nname: else\ndescription: no\n---\n')
  skill('headless', 'no head at all')
  skill('Not_A_Name', good)
  const { link } = await connectedNode(t, { stateDir })
  const stats = await link.told('node.host.stats')
  t.match(stats, { cpuCount: Number, memoryTotalBytes: Number, memoryFreeBytes: Number, diskTotalBytes: Number })
  const skills = await link.request('node.skills.update')
  t.same(skills.params, { skills: [{ name: 'deploy', description: 'Puts it there: carefully', content: good }] })
  t.same(schemaErrors('NodeSkillsUpdateParams', skills.params), [])
  const tools = await link.request('node.pluginTools.update')
  t.same(tools.params, { tools: [] })
  t.same(schemaErrors('NodePluginToolsUpdateParams', tools.params), [])
  t.same(
    link.requests.map(({ method }) => method),
    ['node.event', 'node.skills.update', 'node.pluginTools.update'],
    'in this order'
  )
  link.event('node.pair.resolved', { requestId: 'r', nodeId: 'f'.repeat(64), decision: 'approved', ts: 1 })
  link.event('node.pair.resolved', { requestId: 'r', nodeId: link.nodeId, decision: 'approved', ts: 1 })
  await link.request('node.pluginTools.update', (params) => params !== tools.params)
  t.equal(link.requests.length, 6, 'and told again once, when it is approved')
})

t.test('a gateway that knows none of it keeps its node', async (t) => {
  const { gateway, link } = await connectedNode(t)
  await link.request('node.pluginTools.update')
  for (const method of ['node.event', 'node.skills.update', 'node.pluginTools.update']) {
    gateway.refuse.set(method, { code: 'INVALID_REQUEST', message: `unknown method: ${method}` })
  }
  link.socket.terminate()
  const again = await gateway.link(1)
  await again.request('node.pluginTools.update')
  t.ok((await again.invoke('system.which', { bins: ['sh'] })).ok)
})

t.test('a command that it does not have is answered as the reference answers it', async (t) => {
  const { link } = await connectedNode(t)
  t.same(await link.invoke('camera.snap', {}), {
    ok: false,
    error: { code: 'UNAVAILABLE', message: 'command not supported' }
  })
  t.same((await link.invoke('system.which', '{bad')).error?.code, 'INVALID_REQUEST')
  t.match((await link.invoke('system.which')).error?.message, /bins/)
})

t.test('a request for another node is not answered, and one with a running id is one request', async (t) => {
  const { link } = await connectedNode(t)
  link.event('node.invoke.request', { id: 'other', nodeId: 'f'.repeat(64), command: 'system.which', paramsJSON: '{}' })
  const request = {
    id: 'twice',
    nodeId: link.nodeId,
    command: 'system.run',
    paramsJSON: '{"command":["sh","-c","sleep 0.2"]}'
  }
  link.event('node.invoke.request', request)
  link.event('node.invoke.request', request)
  await link.result('twice')
  await link.invoke('system.which', { bins: ['sh'] })
  const results = link.requests.filter(({ method }) => method === 'node.invoke.result').map(({ params }) => params.id)
  t.equal(results.filter((id) => id === 'twice').length, 1)
  t.notOk(results.includes('other'))
})

t.test('system.which finds programs by their bare names', async (t) => {
  const bin = tempDir(t)
  writeFileSync(join(bin, 'tool'), '#!/bin/sh\n', { mode: 0o755 })
  writeFileSync(join(bin, 'data'), '', { mode: 0o644 })
  mkdirSync(join(bin, 'folder'))
  const { link } = await connectedNode(t, { env: { PATH: `relative:${bin}` } })
  const bins = ['tool', 'data', 'folder', 'absent', `${bin}/tool`, '../tool', '', '..']
  t.same((await link.invoke('system.which', { bins })).payload, { bins: { tool: join(bin, 'tool') } })
})

t.test('fs.listDir', async (t) => {
  const root = tempDir(t)
  mkdirSync(join(root, 'b'))
  mkdirSync(join(root, 'B'))
  mkdirSync(join(root, '.hidden'))
  mkdirSync(join(root, ' space '))
  writeFileSync(join(root, 'a.txt'), '12345')
  symlinkSync(join(root, 'b'), join(root, 'link'))
  symlinkSync('/nowhere', join(root, 'dangling'))
  const { link } = await connectedNode(t)
  const list = async (params: unknown) => (await link.invoke('fs.listDir', params)).payload as Record<string, unknown>

  t.test('shows folders as the reference does', async (t) => {
    const shown = await list({ path: root })
    t.same(schemaErrors('FsListDirResult', shown), [])
    const names = (shown.entries as { name: string; hidden?: boolean }[]).map(({ name, hidden }) => [
      name,
      hidden ?? false
    ])
    t.same(names, [
      [' space ', false],
      ['B', false],
      ['b', false],
      ['link', false],
      ['.hidden', true]
    ])
    t.match(shown, { path: root, home: homedir() })
  })
  t.test('with includeFiles shows everything, without following anything', async (t) => {
    const { entries } = await list({ path: `${root}/`, includeFiles: true })
    const shown = (entries as { name: string; type: string; size?: number }[]).map(({ name, type, size }) => [
      name,
      type,
      size
    ])
    t.same(shown, [
      [' space ', 'directory', undefined],
      ['B', 'directory', undefined],
      ['a.txt', 'file', 5],
      ['b', 'directory', undefined],
      ['dangling', 'link', undefined],
      ['link', 'link', undefined],
      ['.hidden', 'directory', undefined]
    ])
  })
  t.test('is bounded, and says so', async (t) => {
    const many = join(tempDir(t), 'many')
    mkdirSync(many)
    for (let n = 0; n < 2_100; n++) mkdirSync(join(many, `d${n}`))
    t.equal(((await list({ path: many })).entries as unknown[]).length, 2_000)
    t.match(await list({ path: many, includeFiles: true }), { truncated: true })
  })
  t.test('refuses what is no folder, by what it is', async (t) => {
    const refused = async (path: unknown) => (await link.invoke('fs.listDir', { path })).error
    t.match(await refused('relative'), { code: 'INVALID_REQUEST', message: /absolute/ })
    t.match(await refused(join(root, 'absent')), { code: 'INVALID_REQUEST', message: /no such folder \(ENOENT\)/ })
    t.match(await refused(join(root, 'a.txt')), { code: 'INVALID_REQUEST', message: /not a folder \(ENOTDIR\)/ })
    t.match(await refused('/\0'), { code: 'INVALID_REQUEST', message: /absolute/ })
  })
  t.equal((await list({ path: '/' })).parent, undefined, 'the root has no parent')
  t.equal((await list({})).path, homedir(), 'the default is the home folder')
})

t.test('system.notify shows a notification where there is something to show it', async (t) => {
  const bin = tempDir(t)
  const shown = join(bin, 'shown')
  const name = process.platform === 'darwin' ? 'osascript' : 'notify-send'
  // A fake: it writes down what it is told.
  writeFileSync(join(bin, name), `#!/bin/sh\nprintf '%s\\n' "$@" >> '${shown}'\n`, { mode: 0o755 })
  const { link } = await connectedNode(t, { env: { PATH: `${bin}:/usr/bin:/bin` } })
  t.ok(link.params?.commands?.includes('system.notify'), 'declared')
  t.same(await link.invoke('system.notify', { title: '-t', body: 'b "; x', priority: 'timeSensitive' }), {
    ok: true,
    payload: { ok: true }
  })
  const words = readFileSync(shown, 'utf8').trimEnd().split('\n')
  t.same(words.slice(-3), ['--', '-t', 'b "; x'], 'the texts are arguments after --')
  t.match((await link.invoke('system.notify', {})).error, { code: 'INVALID_REQUEST', message: 'empty notification' })
  writeFileSync(join(bin, name), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
  t.match((await link.invoke('system.notify', { title: 'x' })).error, { code: 'NOTIFICATIONS_UNAVAILABLE' })
})

t.test('system.execApprovals', async (t) => {
  const { link, node } = await connectedNode(t)
  const path = join(node.stateDir, 'exec-approvals.json')
  const first = (await link.invoke('system.execApprovals.get', {})).payload as { hash: string }
  t.match(first, { path, exists: false, file: { version: 1 } })
  t.same(schemaErrors('ExecApprovalsSnapshot', first), [])
  const file = {
    version: 1,
    defaults: { security: 'allowlist', ask: 'off' },
    agents: { '*': { allowlist: [{ pattern: 'echo' }] } }
  }
  const set = await link.invoke('system.execApprovals.set', { file, baseHash: first.hash })
  t.match(set.payload, { exists: true, file: { defaults: { security: 'allowlist', ask: 'off' } } })
  t.match(JSON.parse(readFileSync(path, 'utf8')), file)
  t.test('what was changed since it was read is not overwritten', async (t) => {
    const stale = await link.invoke('system.execApprovals.set', { file: { version: 1 }, baseHash: first.hash })
    t.match(stale.error, { code: 'INVALID_REQUEST', message: /changed/ })
    const blind = await link.invoke('system.execApprovals.set', { file: { version: 1 } })
    t.match(blind.error, { code: 'INVALID_REQUEST', message: /base hash required/ })
    t.match(JSON.parse(readFileSync(path, 'utf8')), file)
  })
  t.test('a document that is not valid is refused, and nothing is written', async (t) => {
    const { hash } = (await link.invoke('system.execApprovals.get', {})).payload as { hash: string }
    const bad = await link.invoke('system.execApprovals.set', {
      file: { version: 1, defaults: { security: 'wat' } },
      baseHash: hash
    })
    t.match(bad.error, { code: 'INVALID_REQUEST', message: /defaults\.security/ })
    t.match(JSON.parse(readFileSync(path, 'utf8')), file)
  })
})

t.test('whatever the params are, a command answers with a result or a refusal, and the node lives on', async (t) => {
  const { link } = await connectedNode(t, { env: { PATH: '/nowhere' } })
  const fields = ['command', 'rawCommand', 'cwd', 'env', 'agentId', 'sessionKey', 'runId', 'timeoutMs', 'systemRunPlan']
  const more = [
    'approved',
    'approvalDecision',
    'stdin',
    'bins',
    'path',
    'includeFiles',
    'server',
    'tool',
    'arguments',
    'file',
    'baseHash'
  ]
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom('', '\0', '/', '~', '../..', [''], [], {}, null, -1, 1e308)
  )
  const params = fc.dictionary(fc.constantFrom(...fields, ...more), value, { maxKeys: 6 })
  const json = fc.oneof(
    { weight: 6, arbitrary: params.map((each) => JSON.stringify(each)) },
    { weight: 1, arbitrary: fc.jsonValue().map((each) => JSON.stringify(each)) },
    { weight: 1, arbitrary: fc.string() }
  )
  const commands = link.params!.commands!
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...commands), json, async (command, text) => {
      const { ok, error } = await link.invoke(command, text, { timeoutMs: 5_000 })
      // `system.execApprovals.get` takes anything, and `fs.listDir` lists its default.
      return ok || (typeof error?.code === 'string' && error.code !== 'UNAVAILABLE' && error.message.length > 0)
    }),
    { numRuns: 400 }
  )
  for (const payload of [null, 5, [], {}, { id: 7 }, { id: 'x' }, { id: 'x', seq: 'a' }, { invokeId: {} }]) {
    for (const event of ['node.invoke.request', 'node.invoke.cancel', 'node.invoke.input']) link.event(event, payload)
  }
  t.ok((await link.invoke('system.which', { bins: ['sh'] })).ok)
})
