import { isObject, type KeyPath } from './key-path.ts'
import { type Env, envValue } from './paths.ts'

/** A variable that a configuration names and the environment lacks. */
export interface MissingVariable {
  path: KeyPath
  name: string
}

/** Replaces `${NAME}` in every string; `$${NAME}` stands for itself, and a missing variable is left and reported. */
export function substitute(value: unknown, env: Env): { value: unknown; missing: MissingVariable[] } {
  const missing: MissingVariable[] = []
  const walk = (node: unknown, path: KeyPath): unknown => {
    if (typeof node === 'string') {
      if (!node.includes('${')) return node
      return node.replace(/(\$?)\$\{([A-Z_][A-Z0-9_]*)\}/g, (whole, escaped: string, name: string) => {
        if (escaped !== '') return whole.slice(1)
        const found = envValue(env, name)
        if (found === undefined) missing.push({ path, name })
        return found ?? whole
      })
    }
    if (Array.isArray(node)) return node.map((item, index) => walk(item, [...path, index]))
    if (!isObject(node)) return node
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, walk(child, [...path, key])]))
  }
  return { value: walk(value, []), missing }
}
