import JSON5 from 'json5'
import type { KeyPath } from './key-path.ts'

// JSON5 itself says whether a text is valid; finding where things are in a valid one takes a single expression.
// (@croct/json5-parser, tried first, refuses keys such as `default:` and escapes such as `\\x41`.)
const TOKEN =
  /\/\/[^\n\r\u2028\u2029]*|\/\*[\s\S]*?\*\/|"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'|[{}[\]:,]|\s+|[^\s{}[\]:,"'/]+/g

/** One property or element: where it is in the text, and the comma behind it. */
export interface Member {
  /** The key, decoded; an element's index. */
  key: string | number
  /** Where the key (of an element: the value) begins. */
  start: number
  /** The key as written; empty for an element. */
  keyText: string
  value: DocumentNode
  comma: number | undefined
}

/** A value in the text: a scalar, or a container with its members in order. */
export interface DocumentNode {
  kind: 'object' | 'array' | 'scalar'
  start: number
  end: number
  members: Member[]
}

/** A stretch of comment. */
export interface Comment {
  start: number
  end: number
}

/** A JSON5 text and the place of everything in it. */
export interface Document {
  raw: string
  root: DocumentNode
  comments: Comment[]
}

interface Token {
  text: string
  start: number
}

/** Finds the place of everything in a JSON5 text; throws what JSON5 throws for one that is none. */
export function parseDocument(raw: string): Document {
  JSON5.parse(raw)
  const tokens: Token[] = []
  const comments: Comment[] = []
  for (const { 0: text, index: start } of raw.matchAll(TOKEN)) {
    if (text.startsWith('/')) comments.push({ start, end: start + text.length })
    else if (text.trim() !== '') tokens.push({ text, start })
  }
  const cursor = { tokens, at: 0 }
  return { raw, root: readValue(cursor), comments }
}

interface Cursor {
  tokens: Token[]
  at: number
}

function take(cursor: Cursor): Token {
  const token = cursor.tokens[cursor.at++]
  if (token === undefined) throw new SyntaxError('the text ends too early')
  return token
}

function readValue(cursor: Cursor): DocumentNode {
  const first = take(cursor)
  const { start } = first
  if (first.text === '{') return readMembers(cursor, 'object', start)
  if (first.text === '[') return readMembers(cursor, 'array', start)
  return { kind: 'scalar', start, end: start + first.text.length, members: [] }
}

function readMembers(cursor: Cursor, kind: 'object' | 'array', start: number): DocumentNode {
  const close = kind === 'object' ? '}' : ']'
  const members: Member[] = []
  while (cursor.tokens[cursor.at]?.text !== close) {
    const first = cursor.tokens[cursor.at]
    if (first === undefined) throw new SyntaxError('the text ends too early')
    let key: string | number = members.length
    let keyText = ''
    if (kind === 'object') {
      keyText = take(cursor).text
      key = decodeKey(keyText)
      take(cursor)
    }
    const value = readValue(cursor)
    const next = cursor.tokens[cursor.at]
    const comma = next?.text === ',' ? take(cursor).start : undefined
    members.push({ key, start: first.start, keyText, value, comma })
  }
  return { kind, start, end: take(cursor).start + 1, members }
}

function decodeKey(text: string): string {
  if (/^["']/.test(text)) return JSON5.parse(text)
  return text.includes('\\') ? (Object.keys(JSON5.parse(`{${text}:0}`))[0] ?? text) : text
}

/** The member at a path; among repeated keys the last one counts. */
export function memberAt(root: DocumentNode, path: KeyPath): Member | undefined {
  let node = root
  let found: Member | undefined
  for (const part of path) {
    found = node.members.findLast(({ key }) => String(key) === String(part))
    if (found === undefined) return undefined
    node = found.value
  }
  return found
}

/** Where a key path stands in a text; `exact` is false when only an ancestor is there. */
export interface Place {
  line: number
  column: number
  exact: boolean
}

/** Finds the line of a key, or of the deepest ancestor that the text has; undefined for a text that is not JSON5. */
export function locate(raw: string, path: KeyPath): Place | undefined {
  let root: DocumentNode
  try {
    root = parseDocument(raw).root
  } catch {
    return undefined
  }
  for (let length = path.length; length >= 0; length--) {
    const start = length === 0 ? root.start : memberAt(root, path.slice(0, length))?.start
    if (start !== undefined) return { ...position(raw, start), exact: length === path.length }
  }
  return undefined
}

function position(raw: string, offset: number): { line: number; column: number } {
  const lines = raw.slice(0, offset).split(/\r\n|[\n\r]/)
  return { line: lines.length, column: (lines.at(-1) ?? '').length + 1 }
}

/** Visits every value with its path, outermost first; returning false leaves out what is inside. */
export function visit(
  node: DocumentNode,
  see: (node: DocumentNode, path: KeyPath) => boolean,
  path: KeyPath = []
): void {
  if (!see(node, path)) return
  for (const member of node.members) visit(member.value, see, [...path, member.key])
}
