import t from 'tap'
import { RawClient } from '../support/client.ts'
import { startApp, TOKEN } from '../support/gateway.ts'
import { approvedNode, TestNode } from '../support/nodes.ts'
import { publishedScope } from '../support/schema.ts'

const app = await startApp(t)
const { client: node } = await approvedNode(t, app.ws)
const { client: unapproved } = await TestNode.connect(t, app.ws)
const operators = await Promise.all(
  [[], ['operator.admin']].map(async (scopes) => {
    const client = await RawClient.open(app.ws)
    await client.connect({ auth: { token: TOKEN }, scopes })
    return { client, scopes }
  })
)
t.teardown(() => Promise.all([node, unapproved, ...operators.map(({ client }) => client)].map((each) => each.close())))

const names = app.app.registry.names
const forNodes = names.filter((name) => app.app.registry.get(name)?.scope === 'node')
const forAll = names.filter((name) => app.app.registry.get(name)?.scope === 'any')

t.test('the walk sees the methods', async (t) => {
  t.ok(names.length > 40)
  t.strictSame(forAll, ['health'])
  t.ok(forNodes.length >= 9)
})

t.test('methods are for whom the protocol says', async (t) => {
  for (const name of names) {
    const published = publishedScope(name)
    if (published === undefined || published === 'dynamic' || name === 'health') continue
    t.equal(app.app.registry.get(name)?.scope === 'node', published === 'node', name)
  }
})

t.test('a node may call what is for nodes, and health', async (t) => {
  for (const client of [node, unapproved]) {
    for (const name of [...names, 'no.such.method', 'constructor']) {
      // Params that no method takes: who may not call learns nothing of them, and nothing is changed by who may.
      const { error } = await client.call(name, { 'no such': 'param' })
      if (forNodes.includes(name) || forAll.includes(name)) t.not(error?.message, 'unauthorized role: node', name)
      else t.strictSame(error, { code: 'INVALID_REQUEST', message: 'unauthorized role: node' }, name)
    }
  }
})

t.test('no operator may call what is for nodes', async (t) => {
  for (const { client, scopes } of operators) {
    for (const name of forNodes) {
      const { error } = await client.call(name, { 'no such': 'param' })
      t.strictSame(error, { code: 'INVALID_REQUEST', message: 'unauthorized role: operator' }, `${scopes} ${name}`)
    }
  }
})

t.test('an operator without scopes may call nothing else', async (t) => {
  const { client } = operators[0]!
  for (const name of names) {
    if (forNodes.includes(name) || forAll.includes(name)) continue
    const { error } = await client.call(name, { 'no such': 'param' })
    t.equal(error?.code, 'FORBIDDEN', name)
    t.equal(error?.details?.code, 'MISSING_SCOPE', name)
  }
})
