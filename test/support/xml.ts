/** An element of an XML text; a text between two is trimmed, and left out when it is empty. */
export interface Element {
  name: string
  children: (Element | string)[]
}

/** Reads an XML text that has no attributes but the root's; throws for one that is not well formed. */
export function parseXml(text: string): Element {
  const top: Element = { name: '', children: [] }
  const open = [top]
  const tokens = /<\?[^>]*\?>|<![^-][^>]*>|<!--[\s\S]*?-->|<(\/?)([A-Za-z][\w.-]*)(\s[^<>]*?)?(\/?)>|([^<]+)/gy
  let at = 0
  for (const [whole, closing, name, , empty, words] of text.matchAll(tokens)) {
    at += whole.length
    const current = open.at(-1)!
    if (words !== undefined) {
      if (/&(?!(?:amp|lt|gt|quot|apos);)/.test(words)) throw new Error(`a bare & in ${words}`)
      if (words.trim() !== '') current.children.push(words.trim())
    } else if (closing === '/') {
      if (open.length === 1 || current.name !== name) throw new Error(`</${name}> closes ${current.name}`)
      open.pop()
    } else if (name !== undefined) {
      const element = { name, children: [] }
      current.children.push(element)
      if (empty !== '/') open.push(element)
    }
  }
  const [root] = top.children
  if (at !== text.length || open.length !== 1 || top.children.length !== 1 || typeof root !== 'object') {
    throw new Error(`not well formed at ${at}`)
  }
  return root
}
