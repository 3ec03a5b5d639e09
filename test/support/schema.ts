import { readFileSync } from 'node:fs'
import { Ajv, type ValidateFunction } from 'ajv'

const file = new URL('../../node_modules/@openclaw/gateway-protocol/protocol.schema.json', import.meta.url)
const published = JSON.parse(readFileSync(file, 'utf8')) as {
  definitions: Record<string, Record<string, unknown>>
  methods: Record<string, { scope: string }>
}
// Known keys that the published schema lacks, though every gateway of its version sends them.
const unlisted: Record<string, (definition: never) => void> = {
  HelloOk: ({ properties }: { properties: Hello }) => {
    properties.auth.properties.method = { type: 'string' }
    properties.snapshot.properties.presence.items.properties.clientId = { type: 'string' }
  },
  PresenceEntry: ({ properties }: { properties: Record<string, unknown> }) => {
    properties.clientId = { type: 'string' }
  }
}
interface Hello {
  auth: { properties: Record<string, unknown> }
  snapshot: { properties: { presence: { items: { properties: Record<string, unknown> } } } }
}

const ajv = new Ajv({ strict: false, allErrors: true })
const compiled = new Map<string, ValidateFunction>()

/** What is wrong with a value as the published protocol defines it; an empty list when nothing is. */
export function schemaErrors(definition: string, value: unknown): string[] {
  let validate = compiled.get(definition)
  if (validate === undefined) {
    const schema = structuredClone(published.definitions[definition])
    if (schema === undefined) throw new Error(`the protocol has no definition ${definition}`)
    unlisted[definition]?.(schema as never)
    validate = ajv.compile({ ...schema, definitions: published.definitions })
    compiled.set(definition, validate)
  }
  if (validate(value)) return []
  return (validate.errors ?? []).map((each) => `${each.instancePath} ${each.message} ${JSON.stringify(each.params)}`)
}

/** The scope that the published protocol gives a method; undefined for one that it does not list. */
export function publishedScope(method: string): string | undefined {
  return published.methods[method]?.scope
}
