import { JsonArrayNode, JsonObjectNode, JsonParser, type JsonValueNode } from '@croct/json5-parser'
import type { KeyPath } from './key-path.ts'

/** Where a key path stands in a text; `exact` is false when only an ancestor is there. */
export interface Place {
  line: number
  column: number
  exact: boolean
}

/** Finds the line of a key, or of the deepest ancestor that the text has. */
export function locate(raw: string, path: KeyPath): Place | undefined {
  let node: JsonValueNode
  try {
    node = JsonParser.parse(raw)
  } catch {
    return undefined
  }
  let place = { line: node.location.start.line, column: node.location.start.column }
  for (const part of path) {
    if (node instanceof JsonObjectNode) {
      const property = node.properties.findLast(({ key }) => key.toJSON() === String(part))
      if (property === undefined) return { ...place, exact: false }
      place = { line: property.location.start.line, column: property.location.start.column }
      node = property.value
    } else if (node instanceof JsonArrayNode && typeof part === 'number') {
      const element = node.elements[part]
      if (element === undefined) return { ...place, exact: false }
      node = element
      place = { line: node.location.start.line, column: node.location.start.column }
    } else return { ...place, exact: false }
  }
  return { ...place, exact: true }
}
