import { isSecretPath } from './redact.ts'
import { needsRestart } from './reload.ts'
import { SECTIONS } from './schema.ts'
import type { ConfigSchema } from './validate.ts'

type JsonSchema = Record<string, unknown>

/** Help for one key of a form. */
export interface UiHint {
  label: string
  advanced?: boolean
  sensitive?: boolean
}

const COMMON = /^gateway(\.(mode|port|bind|auth\.(mode|token|password)|tailscale\.mode|remote\.(url|token)))?$/

/** The schema of the whole file as JSON Schema: our sections in full, every other one open. */
export function fileSchema(): JsonSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'OpenClawConfig',
    type: 'object',
    properties: { $schema: { type: 'string' }, ...(plain({ properties: SECTIONS }).properties as object) },
    additionalProperties: true
  }
}

/** Hints for the keys that the schema describes, by dot path. */
export function uiHints(): Record<string, UiHint> {
  const hints: Record<string, UiHint> = {}
  const walk = (schema: ConfigSchema, path: string) => {
    hints[path] = hintOf(path, schema)
    for (const [key, child] of Object.entries(schema.properties ?? {})) walk(child, `${path}.${key}`)
    if (schema.additionalProperties) walk(schema.additionalProperties, `${path}.*`)
  }
  for (const [section, schema] of Object.entries(SECTIONS)) walk(schema, section)
  return hints
}

/** One key of the schema and its children's summaries; undefined for a path that the schema does not know. */
export function lookUp(path: string): Record<string, unknown> | undefined {
  const parts = path === '.' ? [] : path.replaceAll('[]', '.*').replace(/^\./, '').split(/[./]/)
  let schema: ConfigSchema = { type: 'object', properties: SECTIONS }
  for (const part of parts) {
    const next: ConfigSchema | false | undefined = Object.hasOwn(schema.properties ?? {}, part)
      ? schema.properties?.[part]
      : (schema.additionalProperties ?? schema.items)
    if (!next) return undefined
    schema = next
  }
  const at = parts.join('.')
  const children = Object.entries(schema.properties ?? {}).map(([key, child]) => childOf(key, child, at, schema))
  if (schema.additionalProperties) children.push(childOf('*', schema.additionalProperties, at, schema))
  const { properties, additionalProperties, items, required, ...shallow } = plain(schema)
  return {
    path: at === '' ? '.' : at,
    schema: shallow,
    ...(at === '' ? {} : { reloadKind: reloadKind(at), hint: hintOf(at, schema), hintPath: at }),
    children
  }
}

function childOf(key: string, schema: ConfigSchema, parent: string, holder: ConfigSchema): Record<string, unknown> {
  const path = parent === '' ? key : `${parent}.${key}`
  return {
    key,
    path,
    ...(schema.type === undefined ? {} : { type: schema.type }),
    required: holder.required?.includes(key) ?? false,
    hasChildren: schema.properties !== undefined || Boolean(schema.additionalProperties),
    reloadKind: reloadKind(path),
    hint: hintOf(path, schema),
    hintPath: path
  }
}

// How to reach another gateway is for clients, which read it each time.
function reloadKind(path: string): 'restart' | 'hot' | 'none' {
  if (path.startsWith('gateway.remote') || path.startsWith('discovery.wideArea')) return 'none'
  return needsRestart(path) ? 'restart' : 'hot'
}

function hintOf(path: string, schema: ConfigSchema): UiHint {
  const last = path.split('.').at(-1) ?? path
  const words = last.replace(/([a-z])([A-Z])/g, '$1 $2')
  const hint: UiHint = { label: words.charAt(0).toUpperCase() + words.slice(1), advanced: !COMMON.test(path) }
  if (schema.secret === true || (schema.type === 'string' && isSecretPath(path.split('.')))) hint.sensitive = true
  return hint
}

// Without the two words that only our own check knows.
function plain(schema: ConfigSchema): JsonSchema {
  const entries = Object.entries(schema).filter(
    ([key, value]) => key !== 'secret' && !(key === 'format' && value === 'origin')
  )
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (key === 'properties') {
        const children = Object.entries(value as Record<string, ConfigSchema>)
        return [key, Object.fromEntries(children.map(([name, child]) => [name, plain(child)]))]
      }
      if (key === 'anyOf') return [key, (value as ConfigSchema[]).map(plain)]
      if (key === 'items' || (key === 'additionalProperties' && value !== false))
        return [key, plain(value as ConfigSchema)]
      return [key, value]
    })
  )
}
