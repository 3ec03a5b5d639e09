import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { Type } from 'typebox'
import { askApi, namedToken } from '../support/api.ts'
import { startApp, startProcess, TOKEN, tempDir } from '../support/gateway.ts'
import { everyRoute, inventory } from '../support/routes.ts'

type Json = Record<string, unknown>

const gateway = await startApp(t, { sections: everyRoute })
const ask = (headers: Record<string, string>) => askApi(gateway, '/openapi.json', { method: 'GET', headers })
const { status, body, json } = await ask({ authorization: `Bearer ${TOKEN}` })
const paths = json.paths as Record<string, Record<string, Json>>

t.test('the document is OpenAPI 3.1', async (t) => {
  t.equal(status, 200)
  const validator = new Validator()
  const { valid, errors } = await validator.validate(structuredClone(json))
  t.ok(valid, JSON.stringify(errors))
  t.equal(validator.version, '3.1')
})

t.test('it lists what is there, and nothing else', (t) => {
  const served = Object.keys(inventory)
    .filter((url) => !url.includes('*') && inventory[url] !== 'websocket' && inventory[url] !== 'static')
    .map((url) => url.replace(/:(\w+)/g, '{$1}'))
  for (const url of served) t.ok(paths[url], url)
  for (const url of Object.keys(paths)) {
    t.ok(inventory[url.replace(/\{(\w+)\}/g, ':$1')] ?? inventory[url.replace('{*}', '*')], `${url} is there`)
  }
  t.end()
})

t.test('an operation that wants a credential says so, and which scope', (t) => {
  for (const [url, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const surface = (operation.tags as string[])[0]
      const guarded = surface === 'http-api' || surface === 'control-ui'
      t.same(operation.security, guarded ? [{ bearer: [] }] : [], `${method} ${url}`)
      if (surface === 'http-api') t.match(operation['x-openclaw-scope'], /^(operator\.|any$)/, `${method} ${url}`)
      t.ok(operation.summary, `${method} ${url} says what it is for`)
      const refused = (operation.responses as Json)['401']
      t.equal(refused !== undefined, guarded, `${method} ${url} and 401`)
    }
  }
  t.end()
})

t.test('it follows what is there: routes that open and close, tools that come later', async (t) => {
  const plain = await startApp(t)
  const look = async () => {
    const { json } = await askApi(plain, '/openapi.json', {
      method: 'GET',
      headers: { authorization: `Bearer ${TOKEN}` }
    })
    const { '/tools/invoke': tools, '/api/v1/admin/rpc': rpc } = json.paths as Record<string, { post: Json }>
    return {
      rpc: rpc !== undefined,
      tools: (tools!.post['x-openclaw-tools'] as { name: string }[]).map(({ name }) => name)
    }
  }
  const before = await look()
  t.same(before, { rpc: false, tools: ['nodes', 'gateway'] })
  const { live, tools } = plain.app
  live.apply({ ...live.config, adminHttpRpc: true })
  t.same(await look(), { ...before, rpc: true })
  const action = {
    description: 'Says it again',
    scope: 'operator.read',
    params: Type.Object({}),
    run: () => 'again'
  } as const
  tools.add({ name: 'echo', description: 'For tests', actions: { say: action } })
  t.same(await look(), { rpc: true, tools: ['nodes', 'gateway', 'echo'] })
})

t.test('nothing that it takes is loaded until somebody asks for it', async (t) => {
  const dir = tempDir(t)
  const list = join(dir, 'loaded')
  const watch = `import { appendFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
registerHooks({
  load(url, context, next) {
    appendFileSync(${JSON.stringify(list)}, url + '\\n')
    return next(url, context)
  }
})`
  writeFileSync(join(dir, 'watch.mjs'), watch)
  const config = JSON.stringify({ gateway: { mode: 'local', auth: { mode: 'token', token: TOKEN } }, ...everyRoute })
  const running = await startProcess(t, { config, env: { NODE_OPTIONS: `--import=${join(dir, 'watch.mjs')}` } })
  const loaded = () => {
    const packages = readFileSync(list, 'utf8').matchAll(/node_modules\/((?:@[\w.-]+\/)?[\w.-]+)\//g)
    return [...new Set([...packages].map(([, name]) => name!))].filter((name) =>
      /swagger|ajv|openapi|yaml|json-schema-res/.test(name)
    )
  }
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  t.equal((await askApi(running, '/api/v1/admin/rpc', { headers, body: '{"method":"health"}' })).status, 200)
  t.equal((await askApi(running, '/tools/invoke', { headers, body: '{"tool":"none"}' })).status, 404)
  t.same(loaded(), [], 'not by a start, nor by the other routes')
  t.equal((await askApi(running, '/openapi.json', { method: 'GET', headers })).status, 200)
  t.ok(loaded().includes('@fastify/swagger'))
  running.child.kill('SIGTERM')
  t.equal(await running.exited, 0)
})

t.test('it holds no secret, and is for those who have one', async (t) => {
  t.notOk(body.includes(TOKEN))
  t.equal((await ask({ authorization: `Bearer ${await namedToken(gateway, ['operator.read'])}` })).status, 200)
  t.equal((await ask({ authorization: `Bearer ${await namedToken(gateway, ['operator.pairing'])}` })).status, 403)
  t.equal((await ask({})).status, 401)
  t.equal((await ask({ authorization: 'Bearer wrong' })).status, 401)
})
