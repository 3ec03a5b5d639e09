import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import t, { type Test } from 'tap'
import { tempDir } from '../support/gateway.ts'
import { connectedNode, type NodeLink } from '../support/node-gateway.ts'
import { schemaErrors } from '../support/schema.ts'

type Json = Record<string, unknown>

const stdio = {
  command: process.execPath,
  args: [new URL('../support/mcp-server.ts', import.meta.url).pathname]
}

function nodeWith(t: Test, servers: Json, env: Record<string, string> = {}) {
  const stateDir = join(tempDir(t), 'state')
  mkdirSync(stateDir, { mode: 0o700 })
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ nodeHost: { mcp: { servers } } }), { mode: 0o600 })
  return connectedNode(t, { stateDir, env })
}

interface Tool {
  name: string
  mcp: { server: string; tool: string }
}

/** Waits until the gateway is told of tools that fit, and gives them all. */
async function offered(link: NodeLink, fits: (tools: Tool[]) => boolean): Promise<Tool[]> {
  const { params } = await link.request('node.pluginTools.update', ({ tools }) => fits(tools as Tool[]))
  const wrong = schemaErrors('NodePluginToolsUpdateParams', params)
  if (wrong.length > 0) throw new Error(JSON.stringify(wrong))
  return params.tools as Tool[]
}

const has = (server: string) => (tools: Tool[]) => tools.some(({ mcp }) => mcp.server === server)

const call = (link: NodeLink, server: string, tool: string, args: Json = {}, more: Json = {}) =>
  link.invoke('mcp.tools.call.v1', { server, tool, arguments: args }, more)

/** The text of a result. */
async function said(link: NodeLink, server: string, tool: string, args: Json = {}): Promise<string> {
  const { ok, payload, error } = await call(link, server, tool, args)
  if (!ok) throw new Error(`${error?.code}: ${error?.message}`)
  return (payload as { content: [{ text: string }] }).content[0].text
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

t.test('a node without MCP servers never loads their client', async (t) => {
  const main = new URL('../../src/cli/node-process.ts', import.meta.url).href
  const script = `import { createRequire } from 'node:module'
    await import(${JSON.stringify(main)})
    console.log(Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes('cross-spawn')).length)`
  const run = (more: string) =>
    execFileSync(process.execPath, ['--input-type=module', '-e', more + script], {
      cwd: new URL('../..', import.meta.url),
      encoding: 'utf8'
    }).trim()
  t.equal(run(''), '0')
  t.not(run(`import '@modelcontextprotocol/sdk/client/stdio.js';`), '0', 'and it would be seen if it did')
})

t.test('tools of a server are offered, called and kept up', async (t) => {
  const secret = 'canary-77ab'
  const env = { OPENCLAW_GATEWAY_TOKEN: secret }
  const servers = {
    files: { ...stdio, env: { MY_KEY: 'mine' }, toolFilter: { exclude: ['env*'] }, requestTimeoutMs: 5_000 },
    open: stdio,
    off: { ...stdio, enabled: false },
    oauth: { url: 'https://example.com/mcp', auth: 'oauth' },
    broken: { command: '/nowhere/mcp' }
  }
  const { link, node } = await nodeWith(t, servers, env)
  const tools = await offered(link, (tools) => has('files')(tools) && has('open')(tools))
  const echo = tools.find(({ name }) => name === 'files_echo')
  t.match(echo, {
    pluginId: 'node-mcp',
    description: 'Says it again',
    parameters: { type: 'object', properties: { words: { type: 'string' } } },
    command: 'mcp.tools.call.v1',
    mcp: { server: 'files', tool: 'echo' }
  })
  t.same([...new Set(tools.map(({ mcp }) => mcp.server))], ['files', 'open'], 'neither what is off nor what is broken')
  t.notOk(
    tools.some(({ mcp }) => mcp.server === 'files' && mcp.tool === 'env'),
    'what is filtered is not offered'
  )
  t.ok(
    node.said.some((line) => /oauth.*not supported/.test(line)),
    'what cannot work is said'
  )

  t.equal(await said(link, 'files', 'echo', { words: 'hi there' }), 'hi there')
  const seen = JSON.parse(await said(link, 'open', 'env')) as Json
  t.notOk(JSON.stringify(seen).includes(secret), "the node's own secrets stay with it")
  const rows: [name: string, params: [server: string, tool: string, args?: Json, more?: Json], want: Json][] = [
    ['a tool that is filtered', ['files', 'env'], { code: 'MCP_TOOL_UNAVAILABLE' }],
    ['a tool that is not there', ['files', 'nope'], { code: 'MCP_TOOL_UNAVAILABLE' }],
    ['a server that is not there', ['nope', 'echo'], { code: 'MCP_SERVER_UNAVAILABLE' }],
    ['a server that does not start', ['broken', 'echo'], { code: 'MCP_SERVER_UNAVAILABLE' }],
    ['a tool that takes too long', ['files', 'slow', {}, { timeoutMs: 300 }], { code: 'MCP_TOOL_TIMEOUT' }]
  ]
  for (const [name, params, want] of rows) t.match(await call(link, ...params), { ok: false, error: want }, name)
  t.match(
    await call(link, 'files', 'fail'),
    { ok: true, payload: { isError: true } },
    'a failure of the tool is its result'
  )

  t.test('a call that is given up ends', async (t) => {
    const id = link.start('mcp.tools.call.v1', { server: 'files', tool: 'slow' })
    link.event('node.invoke.cancel', { invokeId: id, nodeId: link.nodeId })
    t.match(await link.result(id), { ok: false, error: { code: 'CANCELLED' } })
  })
  t.test('tools that come later are offered too', async (t) => {
    await said(link, 'open', 'grow')
    await offered(link, (tools) => tools.some(({ mcp }) => mcp.tool === 'grown'))
    t.equal(await said(link, 'open', 'grown'), 'new')
  })
  t.test('a server that dies takes its tools along, and comes back with them', async (t) => {
    const before = Number(await said(link, 'open', 'pid'))
    const updates = () => link.requests.filter(({ method }) => method === 'node.pluginTools.update')
    const count = updates().length
    t.match(await call(link, 'open', 'crash'), { ok: false, error: { code: 'MCP_TOOL_ERROR' } })
    await link.request(
      'node.pluginTools.update',
      (params) => updates().findIndex((each) => each.params === params) >= count && !has('open')(params.tools as Tool[])
    )
    await link.request(
      'node.pluginTools.update',
      (params) => updates().findIndex((each) => each.params === params) > count && has('open')(params.tools as Tool[])
    )
    t.not(Number(await said(link, 'open', 'pid')), before)
  })
  t.test('and all of them end with the node', async (t) => {
    const pids = await Promise.all(['files', 'open'].map(async (server) => Number(await said(link, server, 'pid'))))
    t.ok(pids.every(isAlive))
    await node.stop()
    while (pids.some(isAlive)) await delay(10)
  })
})

t.test('a server at a URL', async (t) => {
  const seen: (string | undefined)[] = []
  const http = createServer(async (request, response) => {
    seen.push(request.headers.authorization)
    const server = new McpServer({ name: 'web', version: '1.0.0' })
    server.registerTool('time', {}, () => ({ content: [{ type: 'text', text: 'now' }] }))
    const transport = new StreamableHTTPServerTransport({})
    await server.connect(transport as never)
    await transport.handleRequest(request, response)
  })
  http.listen(0, '127.0.0.1')
  await new Promise((resolve) => http.once('listening', resolve))
  t.teardown(() => {
    http.closeAllConnections()
    http.close()
  })
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`
  const { link, node } = await nodeWith(t, {
    'My web!': { url, transport: 'streamable-http', headers: { authorization: 'Bearer its-own' } }
  })
  const [tool] = await offered(link, has('My web!'))
  t.match(tool!.name, /^[A-Za-z][A-Za-z0-9_-]{0,63}$/)
  t.equal(await said(link, 'My web!', 'time'), 'now')
  t.equal(seen[0], 'Bearer its-own')
  await node.stop()
})

t.test('a section that makes no sense is refused with its key', async (t) => {
  await t.rejects(nodeWith(t, { files: { command: 5 } }), {
    code: 'CONFIG_INVALID',
    message: /nodeHost\.mcp\.servers\.files\.command/
  })
})
