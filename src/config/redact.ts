import { isDeepStrictEqual } from 'node:util'
import JSON5 from 'json5'
import { type Document, type DocumentNode, memberAt, parseDocument, visit } from './document.ts'
import { formatKeyPath, isObject, type KeyPath, valueAt } from './key-path.ts'
import { isSecretRef } from './secrets.ts'

/** What stands in the place of a secret in everything that is shown. */
export const REDACTED = '__OPENCLAW_REDACTED__'

const SECRET_KEY =
  /token|password|passwd|passphrase|passcode|secret|api.?key|private.?key|signing.?key|access.?key|encryption.?key|credential|authorization|cookie|bearer|webhook.?url|connection.?string/i
// Names, places and limits of secrets rather than secrets.
const NOT_SECRET = /(file|path|dir|env|mode|provider|count|limit|budget|ms|seconds|bytes)$/i
const SECRET_HOLDERS = new Set(['headers', 'edgeAuth', 'vars', 'env'])
const REFERENCE = /^\$(\{[A-Z_][A-Z0-9_]*\}|[A-Z][A-Z0-9_]*)$/

/** Reports whether the text at a path must not be shown, by the names on the way to it. */
export function isSecretPath(path: KeyPath): boolean {
  return path.some((part, index) => {
    if (typeof part === 'number') return false
    const last = index === path.length - 1 || path.slice(index + 1).every((rest) => typeof rest === 'number')
    if (last) return SECRET_KEY.test(part) && !NOT_SECRET.test(part)
    // Below such a name everything is secret; the `secrets` section itself says where secrets are, not what they are.
    if (index === 0) return false
    return (
      SECRET_HOLDERS.has(part) ||
      (SECRET_KEY.test(part) && /^(tokens?|passwords?|secrets?|credentials?|api_?keys?)$/i.test(part))
    )
  })
}

function isSecretText(text: unknown, path: KeyPath): boolean {
  if (typeof text === 'number') return /password|passcode|\bpin$/i.test(String(path.at(-1)))
  if (typeof text !== 'string' || text === '' || REFERENCE.test(text)) return false
  return isSecretPath(path) || /:\/\/[^/@\s]*:[^/@\s]+@/.test(text)
}

/** A copy of a parsed configuration without its secrets. References to secrets stay. */
export function redactValue(value: unknown, path: KeyPath = []): unknown {
  if (isSecretRef(value)) return value
  if (Array.isArray(value)) return value.map((item, index) => redactValue(item, [...path, index]))
  if (isObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, redactValue(child, [...path, key])]))
  }
  return isSecretText(value, path) ? REDACTED : value
}

/** A configuration's text without its secrets, comments included. Throws for a text that is not JSON5. */
export function redactText(raw: string): string {
  const document = parseDocument(raw)
  const secrets = secretNodes(document)
  const known = secrets.map(({ text }) => text).filter((text) => text.length >= 6)
  const cuts = secrets.map(({ node }) => ({ start: node.start, end: node.end, text: `"${REDACTED}"` }))
  for (const { start, end } of document.comments) {
    cuts.push({ start, end, text: redactComment(raw.slice(start, end), known) })
  }
  return cutAll(raw, cuts)
}

/**
 * Puts the stored secrets back where a text has the placeholder, as they are written in the stored text. Throws a
 * RangeError that names the path when there is none to put back: the placeholder itself is never written.
 */
export function restoreText(text: string, stored: string): string {
  if (!text.includes(REDACTED)) return text
  const document = parseDocument(text)
  const from = parseDocument(stored === '' ? '{}' : stored)
  const before: unknown = JSON5.parse(from.raw)
  const after: unknown = JSON5.parse(text)
  const cuts: { start: number; end: number; text: string }[] = []
  visit(document.root, (node, path) => {
    if (node.kind !== 'scalar' || JSON5.parse(text.slice(node.start, node.end)) !== REDACTED) return true
    const source = memberAt(from.root, counterpart(path, before, after))?.value
    if (source === undefined) throw noneStored(path)
    cuts.push({ start: node.start, end: node.end, text: from.raw.slice(source.start, source.end) })
    return false
  })
  cuts.push(...restoredComments(document, from))
  const restored = cutAll(text, cuts)
  if (restored.includes(REDACTED)) throw noneStored([])
  return restored
}

/** Puts the stored secrets back into a value that is about to be merged at the same paths. */
export function restoreValue(value: unknown, stored: unknown, path: KeyPath = []): unknown {
  if (value === REDACTED) {
    const found = valueAt(stored, path)
    if (found === undefined) throw noneStored(path)
    return found
  }
  if (Array.isArray(value)) {
    const list = valueAt(stored, path)
    return value.map((item, index) => {
      const at = JSON.stringify(item)?.includes(REDACTED) === true ? matching(value, list, index) : index
      return restoreValue(item, stored, [...path, at])
    })
  }
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [key, restoreValue(child, stored, [...path, key])])
  )
}

function secretNodes(document: Document): { node: DocumentNode; text: string }[] {
  const { raw, root } = document
  const found: { node: DocumentNode; text: string }[] = []
  visit(root, (node, path) => {
    if (node.kind !== 'scalar') return !isSecretRef(JSON5.parse(raw.slice(node.start, node.end)))
    const value: unknown = JSON5.parse(raw.slice(node.start, node.end))
    if (isSecretText(value, path)) found.push({ node, text: String(value) })
    return true
  })
  return found
}

// A setting that was commented out still holds its secret; and so may a remark that repeats one.
function redactComment(comment: string, known: readonly string[]): string {
  let text = comment
  for (const secret of known) text = text.replaceAll(secret, REDACTED)
  return text.replace(
    /(["']?)([\w.-]+)\1(\s*[:=]\s*)("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[^\s,"'{}[\]]+)/g,
    (whole, quote: string, key: string, colon: string, value: string) => {
      const plain = value.replace(/^["']|["']$/g, '')
      const hide = SECRET_KEY.test(key) && !NOT_SECRET.test(key) && plain !== '' && !REFERENCE.test(plain)
      return hide ? `${quote}${key}${quote}${colon}"${REDACTED}"` : whole
    }
  )
}

function restoredComments(document: Document, from: Document): { start: number; end: number; text: string }[] {
  const holding = document.comments.filter(({ start, end }) => document.raw.slice(start, end).includes(REDACTED))
  if (holding.length === 0) return []
  const known = secretNodes(from)
    .map(({ text }) => text)
    .filter((text) => text.length >= 6)
  const originals = new Map<string, string>()
  for (const { start, end } of from.comments) {
    const comment = from.raw.slice(start, end)
    originals.set(redactComment(comment, known), comment)
  }
  return holding.flatMap(({ start, end }) => {
    const original = originals.get(document.raw.slice(start, end))
    return original === undefined ? [] : [{ start, end, text: original }]
  })
}

// The path in the stored configuration that a path in the new one stands for: in a list, the element with the same id.
function counterpart(path: KeyPath, before: unknown, after: unknown): KeyPath {
  const found: (string | number)[] = []
  path.forEach((part, depth) => {
    const list = valueAt(after, path.slice(0, depth))
    found.push(Array.isArray(list) ? matching(list, valueAt(before, found), Number(part)) : part)
  })
  return found
}

// A secret must not move to another element: one without an id is matched by place only while the lists are as long.
function matching(list: readonly unknown[], stored: unknown, index: number): number {
  if (!Array.isArray(stored)) return -1
  const id = identity(list[index])
  if (id !== undefined) return stored.findIndex((item) => isDeepStrictEqual(identity(item), id))
  return stored.length === list.length && identity(stored[index]) === undefined ? index : -1
}

function identity(item: unknown): unknown {
  return isObject(item) ? (item.id ?? item.name) : undefined
}

function noneStored(path: KeyPath): RangeError {
  const where = path.length === 0 ? 'a comment' : formatKeyPath(path)
  return new RangeError(`${where} holds the placeholder ${REDACTED}, and no stored secret belongs there`)
}

function cutAll(raw: string, cuts: readonly { start: number; end: number; text: string }[]): string {
  let text = raw
  for (const cut of cuts.toSorted((a, b) => b.start - a.start)) {
    text = text.slice(0, cut.start) + cut.text + text.slice(cut.end)
  }
  return text
}
