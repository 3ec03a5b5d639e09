/** Where a text stops being JSON: the first character that cannot stand there. */
export interface JsonFault {
  position: number
  line: number
  column: number
  /** Reports whether the text is only not finished. */
  end: boolean
}

// What may come next.
type Want = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'next'

const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y
const space = /[ \t\n\r]*/y
// A quote, a backslash, or what is below a space.
const special = /["\\]|[^ -\uffff]/g
const escaped = /["\\/bfnrt]|u[0-9a-fA-F]{4}/y

/**
 * Finds what is wrong with a text that is no JSON, without repeating any of it: the engine's own message quotes the
 * text, which may hold a secret. Undefined for JSON.
 */
export function jsonFault(text: string): JsonFault | undefined {
  const open: string[] = []
  let want = 'value' as Want
  let at = 0
  for (;;) {
    at = after(space, text, at)!
    const character = text[at]
    if (character === undefined) return want === 'next' && open.length === 0 ? undefined : fault(text, at)
    if (want === 'colon') {
      if (character !== ':') return fault(text, at)
      want = 'value'
      at++
    } else if (closes(character, open.at(-1), want)) {
      open.pop()
      want = 'next'
      at++
    } else if (want === 'next') {
      if (character !== ',' || open.length === 0) return fault(text, at)
      want = open.at(-1) === '{' ? 'key' : 'value'
      at++
    } else if (character === '"') {
      const { end, wrong } = string(text, at + 1)
      if (wrong) return fault(text, end)
      want = want === 'key' || want === 'first key' ? 'colon' : 'next'
      at = end
    } else if (want === 'key' || want === 'first key') {
      return fault(text, at)
    } else if (character === '{' || character === '[') {
      open.push(character)
      want = character === '{' ? 'first key' : 'first value'
      at++
    } else {
      const end = after(scalar, text, at)
      if (end === undefined) return fault(text, at)
      want = 'next'
      at = end
    }
  }
}

function closes(character: string, open: string | undefined, want: Want): boolean {
  if (want !== 'next' && want !== 'first key' && want !== 'first value') return false
  return (character === '}' && open === '{') || (character === ']' && open === '[')
}

/** The end of a string whose first quote is behind, or where it goes wrong. */
function string(text: string, from: number): { end: number; wrong: boolean } {
  special.lastIndex = from
  for (;;) {
    const found = special.exec(text)
    if (found === null) return { end: text.length, wrong: true }
    if (found[0] === '"') return { end: found.index + 1, wrong: false }
    const end = found[0] === '\\' ? after(escaped, text, found.index + 1) : undefined
    if (end === undefined) return { end: found.index + (found[0] === '\\' ? 1 : 0), wrong: true }
    special.lastIndex = end
  }
}

function after(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex : undefined
}

function fault(text: string, position: number): JsonFault {
  const before = text.slice(0, position)
  const line = before.split('\n').length
  return { position, line, column: position - before.lastIndexOf('\n'), end: position === text.length }
}
