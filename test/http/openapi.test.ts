import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { askApi } from '../support/api.ts'
import { startApp, TOKEN } from '../support/gateway.ts'
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

t.test('it holds no secret, and is for those who have one', async (t) => {
  t.notOk(body.includes(TOKEN))
  t.equal((await ask({})).status, 401)
  t.equal((await ask({ authorization: 'Bearer wrong' })).status, 401)
})
