import { isObject, type KeyPath } from './key-path.ts'

/** The subset of JSON Schema that configuration schemas use. */
export interface ConfigSchema {
  readonly type?: 'object' | 'array' | 'string' | 'boolean' | 'number' | 'integer'
  readonly const?: unknown
  readonly enum?: readonly string[]
  readonly anyOf?: readonly ConfigSchema[]
  readonly properties?: Readonly<Record<string, ConfigSchema>>
  readonly additionalProperties?: false | ConfigSchema
  readonly required?: readonly string[]
  readonly items?: ConfigSchema
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly minLength?: number
  readonly pattern?: string
  readonly format?: string
  /** A refusal must not repeat the value. */
  readonly secret?: boolean
}

/** One finding: where it is, what to say, and the key to look up for its line. */
export interface Finding {
  /** The path that the message speaks of. */
  path: KeyPath
  /** The path whose place in the file is meant. */
  at: KeyPath
  message: string
  kind: 'invalid' | 'unknown'
}

/** Checks a value against a schema; an empty list means it fits. The wording is the reference's. */
export function validate(schema: ConfigSchema, value: unknown, path: KeyPath = []): Finding[] {
  const findings: Finding[] = []
  walk(schema, value, path, findings)
  return findings
}

function walk(schema: ConfigSchema, value: unknown, path: KeyPath, out: Finding[]): void {
  const say = (message: string, at: KeyPath = path) => out.push({ path, at, message, kind: 'invalid' })
  if (schema.anyOf !== undefined) {
    walkUnion(schema, schema.anyOf, value, path, out)
    return
  }
  if ('const' in schema) {
    if (value !== schema.const) say(`Invalid input: expected ${JSON.stringify(schema.const)}`)
    return
  }
  const actual = typeOf(value)
  const expected = schema.type === 'integer' ? 'number' : schema.type
  if (schema.enum !== undefined && (typeof value !== 'string' || !schema.enum.includes(value))) {
    const options = schema.enum.map((option) => JSON.stringify(option)).join('|')
    say(`Invalid option: expected one of ${options}, got: ${show(value)}`)
    return
  }
  if (expected !== undefined && actual !== expected) {
    const name = expected === 'object' && schema.properties === undefined ? 'record' : expected
    say(`Invalid input: expected ${name}, received ${actual}`)
    return
  }
  if (typeof value === 'number') checkNumber(schema, value, say)
  else if (typeof value === 'string') checkText(schema, value, say)
  else if (Array.isArray(value)) {
    const items = schema.items
    if (items !== undefined) for (const [index, item] of value.entries()) walk(items, item, [...path, index], out)
  } else if (isObject(value)) walkObject(schema, value, path, out)
}

function walkObject(schema: ConfigSchema, value: Record<string, unknown>, path: KeyPath, out: Finding[]): void {
  const properties = schema.properties ?? {}
  for (const key of schema.required ?? []) {
    const property = properties[key]
    if (!Object.hasOwn(value, key) && property !== undefined) walk(property, undefined, [...path, key], out)
  }
  for (const [key, child] of Object.entries(value)) {
    const property = Object.hasOwn(properties, key) ? properties[key] : schema.additionalProperties
    const childPath = [...path, key]
    if (property === false) {
      const message = `Unrecognized key: ${JSON.stringify(key)}`
      out.push({ path, at: childPath, message, kind: 'unknown' })
    } else if (property !== undefined) walk(property, child, childPath, out)
  }
}

function walkUnion(
  schema: ConfigSchema,
  options: readonly ConfigSchema[],
  value: unknown,
  path: KeyPath,
  out: Finding[]
) {
  if (options.some((option) => validate(option, value, path).length === 0)) return
  const say = (message: string) => out.push({ path, at: path, message, kind: 'invalid' })
  if (options.every((option) => 'const' in option)) {
    const allowed = options.map((option) => JSON.stringify(option.const)).join(', ')
    say(`Invalid input (allowed: ${allowed})${value === undefined ? '' : `, got: ${show(value)}`}`)
    return
  }
  // A tagged union: the branch with the same `source` says what is wrong.
  const branch = isObject(value)
    ? options.find((option) => option.properties?.source?.const === value.source && value.source !== undefined)
    : undefined
  if (branch !== undefined) walk(branch, value, path, out)
  else if (schema.secret === true) say('Invalid input: expected a string or a SecretRef { source, provider, id }')
  else say(`Invalid input: received ${typeOf(value)}`)
}

function checkNumber(schema: ConfigSchema, value: number, say: (message: string) => void): void {
  const kind = schema.type === 'integer' ? 'int' : 'number'
  if (!Number.isFinite(value)) say(`Invalid input: expected number, received ${String(value)}`)
  else if (schema.type === 'integer' && !Number.isInteger(value)) say('Invalid input: expected int, received number')
  else if (schema.minimum !== undefined && value < schema.minimum) {
    say(`Too small: expected ${kind} to be >=${schema.minimum}`)
  } else if (schema.exclusiveMinimum !== undefined && value <= schema.exclusiveMinimum) {
    say(`Too small: expected ${kind} to be >${schema.exclusiveMinimum}`)
  } else if (schema.maximum !== undefined && value > schema.maximum) {
    say(`Too big: expected ${kind} to be <=${schema.maximum}`)
  }
}

function checkText(schema: ConfigSchema, value: string, say: (message: string) => void): void {
  if (schema.minLength !== undefined && value.length < schema.minLength) {
    say(`Too small: expected string to have >=${schema.minLength} characters`)
  } else if (schema.pattern !== undefined && !new RegExp(schema.pattern).test(value)) {
    say(`Invalid string: must match pattern /${schema.pattern}/`)
  } else if (schema.format === 'origin' && !isPublicOrigin(value)) {
    say('Invalid origin: expected https://host[:port] without a path (http:// for localhost, 127.0.0.1 or [::1] only)')
  }
}

function isPublicOrigin(value: string): boolean {
  const url = URL.parse(value)
  if (url === null || url.username !== '' || url.password !== '' || url.pathname !== '/') return false
  if (url.search !== '' || url.hash !== '') return false
  const local = url.hostname === 'localhost' || url.hostname === '127.0.0.1' || url.hostname === '[::1]'
  return url.protocol === 'https:' || (url.protocol === 'http:' && local)
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function show(value: unknown): string {
  const shown = JSON.stringify(value) ?? 'undefined'
  return shown.length > 80 ? `${shown.slice(0, 77)}...` : shown
}
