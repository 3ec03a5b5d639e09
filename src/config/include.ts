import { readFileSync, realpathSync, statSync } from 'node:fs'
import { delimiter, dirname, isAbsolute, relative, resolve } from 'node:path'
import { locate } from './document.ts'
import { invalidConfig } from './errors.ts'
import { formatKeyPath, isObject, type KeyPath } from './key-path.ts'
import { type Env, envValue } from './paths.ts'
import type { ConfigIssue } from './types.ts'

const MAX_DEPTH = 10
const MAX_BYTES = 2 * 1024 * 1024
const MAX_PATH = 4096

/** One file that an `$include` brought in, and where. */
export interface Included {
  /** The key path of the object that names it. */
  at: KeyPath
  path: string
  raw: string
  /** The text of the `$include`'s own file, for its line. */
  from: string
}

interface Context {
  configPath: string
  raw: string
  roots: readonly string[]
  parse: (raw: string, path: string) => unknown
  included: Included[]
}

/** Replaces every `$include` of a parsed configuration by what it names, and lists the files read. */
export function expandIncludes(
  value: unknown,
  options: { configPath: string; raw: string; env: Env; parse: (raw: string, path: string) => unknown }
): { value: unknown; included: Included[] } {
  const extra = (envValue(options.env, 'OPENCLAW_INCLUDE_ROOTS') ?? '').split(delimiter)
  const roots = [dirname(options.configPath), ...extra.filter((root) => isAbsolute(root))].map(real)
  const context: Context = {
    configPath: options.configPath,
    raw: options.raw,
    roots,
    parse: options.parse,
    included: []
  }
  return { value: expandIn(value, [], [options.configPath], context), included: context.included }
}

function expandIn(value: unknown, at: KeyPath, chain: readonly string[], context: Context): unknown {
  if (Array.isArray(value)) return value.map((item, index) => expandIn(item, [...at, index], chain, context))
  if (!isObject(value)) return value
  const rest: Record<string, unknown> = {}
  for (const [key, child] of Object.entries(value)) {
    if (key === '__proto__' || key === '$include') continue
    rest[key] = expandIn(child, [...at, key], chain, context)
  }
  if (!Object.hasOwn(value, '$include')) return rest
  const named = value.$include
  const names = typeof named === 'string' ? [named] : named
  if (!Array.isArray(names) || names.length === 0 || !names.every((name) => typeof name === 'string')) {
    throw refusal(context, at, chain, '$include must be a path or a list of paths')
  }
  let merged: unknown
  names.forEach((name, index) => {
    const loaded = load(name, at, chain, context)
    merged = index === 0 ? loaded : deepMerge(merged, loaded)
  })
  if (Object.keys(rest).length === 0) return merged
  if (!isObject(merged)) {
    throw refusal(context, at, chain, '$include names a file that is no object, but the object has other keys')
  }
  return deepMerge(merged, rest)
}

function load(name: string, at: KeyPath, chain: readonly string[], context: Context): unknown {
  const from = chain[chain.length - 1] as string
  const fail = (message: string) => refusal(context, at, chain, message)
  if (name.includes('\0')) throw fail('$include path must not contain null bytes')
  const path = resolve(dirname(from), name)
  if (name.length >= MAX_PATH || path.length >= MAX_PATH)
    throw fail(`$include path must be shorter than ${MAX_PATH} characters`)
  if (chain.length > MAX_DEPTH) throw fail(`$include is nested more than ${MAX_DEPTH} levels deep at ${name}`)
  if (!confined(path, context.roots)) {
    throw fail(
      `$include ${JSON.stringify(name)} is outside the configuration folder (allow it with OPENCLAW_INCLUDE_ROOTS)`
    )
  }
  if (chain.includes(path)) throw fail(`circular $include: ${[...chain, path].join(' -> ')}`)
  let raw: string
  try {
    const stat = statSync(path)
    if (!stat.isFile()) throw fail(`$include ${JSON.stringify(name)} is not a regular file`)
    if (stat.size > MAX_BYTES) throw fail(`$include ${JSON.stringify(name)} is larger than 2 MB`)
    raw = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw fail(`$include file not found: ${path}`)
    }
    throw error
  }
  context.included.push({ at, path, raw, from })
  return expandIn(context.parse(raw, path), at, [...chain, path], context)
}

// Both the path as written and what it is after symbolic links must lie below one of the roots.
function confined(path: string, roots: readonly string[]): boolean {
  const target = real(path)
  return roots.some((root) => {
    const below = relative(root, target)
    return below !== '' && !below.startsWith('..') && !isAbsolute(below)
  })
}

function real(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const parent = dirname(path)
    return parent === path ? path : resolve(real(parent), path.slice(parent.length).replace(/^[\\/]+/, ''))
  }
}

function refusal(context: Context, at: KeyPath, chain: readonly string[], message: string) {
  const file = chain[chain.length - 1] as string
  const issue: ConfigIssue = { path: formatKeyPath(at), message }
  const holder = context.included.findLast(({ path }) => path === file)
  if (holder !== undefined) issue.file = file
  const place = locate(holder?.raw ?? context.raw, at.slice(holder?.at.length ?? 0))
  if (place !== undefined) issue.line = place.line
  return invalidConfig(context.configPath, [issue])
}

/** Merges objects key by key; arrays are joined, and any other value of `over` replaces that of `under`. */
function deepMerge(under: unknown, over: unknown): unknown {
  if (Array.isArray(under) && Array.isArray(over)) return [...under, ...over]
  if (!isObject(under) || !isObject(over)) return over
  const merged: Record<string, unknown> = { ...under }
  for (const [key, value] of Object.entries(over)) {
    if (key === '__proto__') continue
    merged[key] = Object.hasOwn(merged, key) ? deepMerge(merged[key], value) : value
  }
  return merged
}
