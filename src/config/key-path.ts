/** A path into a configuration: object keys and array indexes. */
export type KeyPath = readonly (string | number)[]

/** Prints a key path: dots between plain keys, brackets for indexes and for keys that hold anything else. */
export function formatKeyPath(path: KeyPath): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (!/^[A-Za-z_$][\w$-]*$/.test(part)) text += `[${JSON.stringify(part)}]`
    else text += text === '' ? part : `.${part}`
  }
  return text
}

/** Parses `a.b[0]["c.d"]`; throws a SyntaxError that says where it went wrong. */
export function parseKeyPath(text: string): (string | number)[] {
  const parts: (string | number)[] = []
  const pattern = /\[\s*(\d+)\s*\]|\[\s*("(?:[^"\\]|\\.)*")\s*\]|\[\s*'((?:[^'\\]|\\.)*)'\s*\]|([^.[\]]+)|(\.)/y
  let afterKey = false
  while (pattern.lastIndex < text.length) {
    const at = pattern.lastIndex
    const match = pattern.exec(text)
    if (match === null) throw new SyntaxError(`Invalid path "${text}" at character ${at + 1}`)
    const [, index, double, single, plain, dot] = match
    if (dot !== undefined) {
      if (!afterKey) throw new SyntaxError(`Invalid path "${text}": empty key at character ${at + 1}`)
      afterKey = false
      continue
    }
    if (plain !== undefined) {
      if (afterKey) throw new SyntaxError(`Invalid path "${text}" at character ${at + 1}`)
      parts.push(plain.trim())
    } else if (index !== undefined) parts.push(Number(index))
    else if (double !== undefined) parts.push(JSON.parse(double) as string)
    else parts.push((single ?? '').replace(/\\(.)/g, '$1'))
    afterKey = true
  }
  if (parts.length === 0 || !afterKey) throw new SyntaxError(`Invalid path "${text}": it names no key`)
  for (const part of parts) {
    if (part === '__proto__' || part === 'constructor' || part === 'prototype') {
      throw new SyntaxError(`Invalid path "${text}": "${part}" cannot be a key`)
    }
  }
  return parts
}

/** Reads the value at a path, or undefined. */
export function valueAt(root: unknown, path: KeyPath): unknown {
  let value = root
  for (const part of path) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, part)) return undefined
    value = (value as Record<string | number, unknown>)[part]
  }
  return value
}

/** Reports whether a value is a plain object (not null, not an array). */
export function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
