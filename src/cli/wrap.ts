/** Breaks a text into lines of at most a width, between words; a longer word keeps its line. Line breaks stay. */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = []
    let line = ''
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width) {
        lines.push(line)
        line = word
      } else line = line === '' ? word : `${line} ${word}`
    }
    return [...lines, line]
  })
}

/** The same, with every line indented. */
export function indented(text: string, indent: number, width = 80): string {
  const space = ' '.repeat(indent)
  return wrap(text, width - indent)
    .map((line) => space + line)
    .join('\n')
}
