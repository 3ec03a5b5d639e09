import { isDeepStrictEqual } from 'node:util'
import JSON5 from 'json5'
import { type Document, type DocumentNode, type Member, memberAt, parseDocument } from './document.ts'
import { formatKeyPath, isObject, type KeyPath, valueAt } from './key-path.ts'

/** Replacing a stretch of text. */
interface Splice {
  start: number
  end: number
  text: string
}

/** Sets a key in a JSON5 text. Comments, formatting and every other byte stay; a value that is there already changes nothing. */
export function setKey(raw: string, path: KeyPath, value: unknown): string {
  const document = parseDocument(raw)
  const before: unknown = JSON5.parse(raw)
  if (Object.is(valueAt(before, path), value) || isDeepStrictEqual(valueAt(before, path), value)) return raw
  const member = memberAt(document.root, path)
  if (member === undefined) return check(add(document, path, value), path, value)
  const edited = reconcile(raw, path, valueAt(before, path), value)
  if (edited !== undefined) return check(edited, path, value)
  const { start, end } = member.value
  const style = styleOf(document)
  // What shares its line with others stays on it.
  if (ownIndent(raw, member.start) === undefined) style.multiline = false
  const text = render(value, lineIndent(raw, member.start), style, raw.slice(start, end))
  return check(splice(raw, [{ start, end, text }]), path, value)
}

/** Removes a key (or an element) from a JSON5 text, and nothing else; a key that is not there changes nothing. */
export function unsetKey(raw: string, path: KeyPath): string {
  let text = raw
  // A key that is written twice must be gone, not fall back to the first.
  for (;;) {
    const { root } = parseDocument(text)
    const parent = path.length === 1 ? root : memberAt(root, path.slice(0, -1))?.value
    const member = memberAt(root, path)
    if (parent === undefined || member === undefined) return text
    text = splice(text, removal(text, parent, member))
    JSON5.parse(text)
    if (parent.kind === 'array') return text
  }
}

/** Applies a JSON merge patch (null deletes, objects merge, the rest replaces) as the smallest edits. */
export function patchText(raw: string, patch: unknown, path: KeyPath = []): string {
  if (!isObject(patch)) return setKey(raw, path, patch)
  let text = raw
  for (const [key, value] of Object.entries(patch)) {
    if (key === '__proto__') continue
    const at = [...path, key]
    if (value === null) text = unsetKey(text, at)
    else if (isObject(value) && isObject(valueAt(JSON5.parse(text), at))) text = patchText(text, value, at)
    else text = setKey(text, at, isObject(value) ? withoutNulls(value) : value)
  }
  return text
}

function withoutNulls(value: Record<string, unknown>): Record<string, unknown> {
  const kept = Object.entries(value).filter(([key, child]) => child !== null && key !== '__proto__')
  return Object.fromEntries(kept.map(([key, child]) => [key, isObject(child) ? withoutNulls(child) : child]))
}

// The last word is JSON5's: what was set must read back, or nothing is handed out.
function check(text: string, path: KeyPath, value: unknown): string {
  const read = valueAt(JSON5.parse(text), path)
  if (isDeepStrictEqual(read, JSON5.parse(JSON5.stringify(value)))) return text
  throw new Error(`the edit of ${formatKeyPath(path)} does not read back`)
}

// Object by object, so that the comments between keys that stay are kept. Undefined when there is nothing to keep.
function reconcile(raw: string, path: KeyPath, before: unknown, after: unknown): string | undefined {
  if (!isObject(before) || !isObject(after) || Object.keys(before).length === 0) return undefined
  let text = raw
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) text = unsetKey(text, [...path, key])
  for (const [key, value] of Object.entries(after)) text = setKey(text, [...path, key], value)
  return text
}

function add(document: Document, path: KeyPath, value: unknown): string {
  let depth = path.length - 1
  while (depth > 0 && memberAt(document.root, path.slice(0, depth)) === undefined) depth--
  const holder = depth === 0 ? undefined : memberAt(document.root, path.slice(0, depth))
  const node = holder?.value ?? document.root
  const key = path[depth] as string | number
  const inside = path.slice(depth + 1)
  const wrapped = inside.reduceRight<unknown>((inner, part) => {
    if (typeof part === 'number' && part !== 0)
      throw new RangeError(`${formatKeyPath(path)}: the list has no such place`)
    return typeof part === 'number' ? [inner] : { [part]: inner }
  }, value)
  if (node.kind === 'array') {
    if (String(key) !== String(node.members.length)) {
      throw new RangeError(`${formatKeyPath(path)}: the list has ${node.members.length} elements`)
    }
  } else if (node.kind === 'scalar') {
    const where = formatKeyPath(path.slice(0, depth))
    if (document.raw.slice(node.start, node.end) !== 'null') throw new TypeError(`${where} is not an object`)
    return setKey(document.raw, path.slice(0, depth), { [key]: wrapped })
  }
  return splice(document.raw, insertion(document, node, key, wrapped))
}

interface Style {
  strict: boolean
  quote: '"' | "'" | ''
  newline: string
  unit: string
  /** No white space anywhere: `{"a":1}`. */
  compact: boolean
  multiline: boolean
}

function styleOf({ raw, root }: Document): Style {
  const first = root.members[0]
  const quote =
    first === undefined ? '' : first.keyText.startsWith('"') ? '"' : first.keyText.startsWith("'") ? "'" : ''
  const indent = first === undefined ? '' : ownIndent(raw, first.start)
  const strict = isStrictJson(raw)
  return {
    strict,
    quote: strict ? '"' : quote,
    newline: raw.includes('\r\n') ? '\r\n' : '\n',
    unit: indent === undefined || indent === '' ? '  ' : indent.slice(lineIndent(raw, root.start).length) || '  ',
    compact: first !== undefined && !/\s/.test(raw.trim()),
    multiline: /[\n\r]/.test(raw.trim()) || first === undefined
  }
}

function isStrictJson(raw: string): boolean {
  try {
    JSON.parse(raw)
    return true
  } catch {
    return false
  }
}

function insertion(document: Document, node: DocumentNode, key: string | number, value: unknown): Splice[] {
  const { raw } = document
  const style = styleOf(document)
  const last = node.members.at(-1)
  const base = lineIndent(raw, node.start)
  const colon = style.compact ? ':' : ': '
  const siblings = node.members.find(({ keyText }) => keyText !== '')?.keyText
  const name = node.kind === 'array' ? '' : renderKey(String(key), style, siblings) + colon
  if (last === undefined) return intoEmpty(document, node, style, base, (indent) => name + render(value, indent, style))
  const commaAt = last.comma ?? last.value.end
  const spread = spreads(raw, node)
  if (!spread) {
    const text = `${last.comma === undefined ? ',' : ''}${style.compact ? '' : ' '}${name}${render(value, base, { ...style, multiline: false })}`
    const at = last.comma === undefined ? last.value.end : last.comma + 1
    return [{ start: at, end: at, text: last.comma === undefined ? text : `${text},` }]
  }
  const indent = node.members.map(({ start }) => ownIndent(raw, start)).findLast((own) => own !== undefined)
  const own = indent ?? base + style.unit
  const at = endOfRemarks(document, last.comma === undefined ? commaAt : commaAt + 1)
  const text = `${style.newline}${own}${name}${render(value, own, style)}${last.comma === undefined ? '' : ','}`
  if (last.comma !== undefined) return [{ start: at, end: at, text }]
  const comma = { start: last.value.end, end: last.value.end, text: ',' }
  return at === last.value.end ? [{ ...comma, text: `,${text}` }] : [comma, { start: at, end: at, text }]
}

function intoEmpty(
  document: Document,
  node: DocumentNode,
  style: Style,
  base: string,
  member: (indent: string) => string
): Splice[] {
  const { raw } = document
  const content = raw.slice(node.start + 1, node.end - 1)
  if (!style.multiline && content.trim() === '') {
    const pad = style.compact ? '' : ' '
    return [{ start: node.start + 1, end: node.end - 1, text: `${pad}${member(base)}${pad}` }]
  }
  const own = base + style.unit
  // What is inside can only be white space and comments: the comments stay, the member goes under them.
  const kept = content.trimEnd()
  const comma = style.strict || !trailingCommas(raw) ? '' : ','
  const text = `${kept}${style.newline}${own}${member(own)}${comma}${style.newline}${base}`
  return [{ start: node.start + 1, end: node.end - 1, text }]
}

function trailingCommas(raw: string): boolean {
  const { members } = parseDocument(raw).root
  return members.at(-1)?.comma !== undefined
}

// A member's lines: with its comma, and with the line itself when nothing else is on it.
function removal(raw: string, parent: DocumentNode, member: Member): Splice[] {
  const index = parent.members.indexOf(member)
  const previous = parent.members[index - 1]
  const isLast = index === parent.members.length - 1
  let { start } = member
  let end = member.comma === undefined ? member.value.end : member.comma + 1
  const splices: Splice[] = []
  // Between the value and its comma there may be a comment: it stays.
  if (member.comma !== undefined && raw.slice(member.value.end, member.comma).trim() !== '') {
    splices.push({ start: member.comma, end: member.comma + 1, text: '' })
    end = member.value.end
  }
  if (isLast && member.comma === undefined && previous?.comma !== undefined) {
    splices.push({ start: previous.comma, end: previous.comma + 1, text: '' })
  }
  const indent = ownIndent(raw, start)
  const rest = /^[^\S\n\r]*(\r\n|\n|\r)?/.exec(raw.slice(end))
  if (parent.members.length === 1 && splices.length === 0 && onlyThis(raw, parent, start, end)) {
    return [{ start: parent.start + 1, end: parent.end - 1, text: '' }]
  }
  const from = previous === undefined ? start : (previous.comma ?? previous.value.end - 1) + 1
  if (isLast && previous !== undefined && raw.slice(from, start).trim() === '') start = from
  else if (indent !== undefined && rest?.[1] !== undefined) {
    start -= indent.length
    end += rest[0].length
  } else if (isLast && previous !== undefined) {
    while (/[^\S\n\r\u2028\u2029]/.test(raw[start - 1] ?? '')) start--
  } else if (rest?.[1] === undefined) end += rest?.[0].length ?? 0
  splices.push({ start, end, text: '' })
  return splices
}

function onlyThis(raw: string, parent: DocumentNode, start: number, end: number): boolean {
  return raw.slice(parent.start + 1, start).trim() === '' && raw.slice(end, parent.end - 1).trim() === ''
}

// Reports whether a container's members stand on lines of their own.
function spreads(raw: string, node: DocumentNode): boolean {
  let at = node.start + 1
  for (const member of node.members) {
    if (/[\n\r]/.test(raw.slice(at, member.start))) return true
    at = member.value.end
  }
  return /[\n\r]/.test(raw.slice(at, node.end))
}

// Past the comments that share the line, so that they keep belonging to what they stand behind.
function endOfRemarks({ raw, comments }: Document, offset: number): number {
  let at = offset
  for (;;) {
    const blank = /^[^\S\n\r\u2028\u2029]*/.exec(raw.slice(at))?.[0].length ?? 0
    const comment = comments.find(({ start }) => start === at + blank)
    if (comment === undefined) return at
    at = comment.end
  }
}

// The white space in front of an offset when nothing else stands before it on its line.
function ownIndent(raw: string, offset: number): string | undefined {
  const before = /(^|[\n\r])([^\S\n\r]*)$/.exec(raw.slice(0, offset))
  return before?.[2]
}

function lineIndent(raw: string, offset: number): string {
  return /(?:^|[\n\r])([^\S\n\r\ufeff]*)[^\n\r]*$/.exec(raw.slice(0, offset))?.[1] ?? ''
}

function renderKey(key: string, style: Style, sibling: string | undefined): string {
  const quote = style.strict ? '"' : sibling === undefined ? style.quote : /^["']/.test(sibling) ? sibling[0] : ''
  if (quote === '' && /^[A-Za-z_$][\w$]*$/.test(key)) return key
  return quoted(key, quote === "'" ? "'" : '"')
}

function quoted(text: string, quote: '"' | "'"): string {
  const body = JSON.stringify(text).slice(1, -1).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
  return quote === '"' ? `"${body}"` : `'${body.replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
}

function render(value: unknown, indent: string, style: Style, before = ''): string {
  if (typeof value === 'string') return quoted(value, before.startsWith("'") && !style.strict ? "'" : '"')
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  const inner = indent + style.unit
  const parts = Array.isArray(value)
    ? value.map((item) => render(item, inner, style))
    : Object.entries(value).map(([key, child]) => {
        return `${renderKey(key, style, undefined)}${style.compact ? ':' : ': '}${render(child, inner, style)}`
      })
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}']
  if (parts.length === 0) return `${open}${close}`
  const flat = Array.isArray(value) && value.every((item) => item === null || typeof item !== 'object')
  if (style.compact) return `${open}${parts.join(',')}${close}`
  if (!style.multiline || flat) {
    const pad = Array.isArray(value) ? '' : ' '
    return `${open}${pad}${parts.join(', ')}${pad}${close}`
  }
  return `${open}${style.newline}${inner}${parts.join(`,${style.newline}${inner}`)}${style.newline}${indent}${close}`
}

function splice(raw: string, splices: readonly Splice[]): string {
  let text = raw
  for (const { start, end, text: by } of splices.toSorted((a, b) => b.start - a.start || b.end - a.end)) {
    text = text.slice(0, start) + by + text.slice(end)
  }
  return text
}
