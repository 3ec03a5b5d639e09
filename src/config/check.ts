import { locate } from './document.ts'
import { formatKeyPath, type KeyPath } from './key-path.ts'
import { REFUSED, SECTIONS, UNSUPPORTED } from './schema.ts'
import type { ConfigSource } from './source.ts'
import type { ConfigIssue } from './types.ts'
import { validate } from './validate.ts'

/** One thing wrong, and the key whose line to look up. */
export interface Problem {
  path: string
  message: string
  at: KeyPath
  kind: 'invalid' | 'unknown' | 'missing-variable'
}

/** Everything wrong with the parts of a configuration that this gateway owns, and what to warn about. */
export function checkSource(source: ConfigSource): { problems: Problem[]; warnings: string[] } {
  const problems: Problem[] = []
  const warnings: string[] = []
  for (const { path, name } of source.missing) {
    const message = `missing environment variable "${name}"`
    // What the gateway itself lives by must be whole; a section we don't own is for its owner to judge.
    if (owned.has(path[0]) || path[0] === 'secrets') {
      problems.push({ path: formatKeyPath(path), message, at: path, kind: 'missing-variable' })
    } else warnings.push(`${formatKeyPath(path)}: ${message}`)
  }
  const findings = Object.entries(SECTIONS).flatMap(([section, schema]) => {
    const value = source.value[section]
    return value === undefined ? [] : validate(schema, value, [section])
  })
  for (const { path, at, message, kind } of findings) {
    const key = formatKeyPath(at)
    if (kind === 'unknown' && UNSUPPORTED.has(key)) warnings.push(`${key}: this gateway does not use it`)
    else if (kind === 'unknown' && REFUSED.has(key)) {
      const refusal = 'not supported here, and ignoring it would widen access; remove it to start'
      problems.push({ path: key, message: refusal, at, kind: 'invalid' })
    } else problems.push({ path: formatKeyPath(path), message, at, kind })
  }
  return { problems, warnings }
}

const owned: ReadonlySet<unknown> = new Set(Object.keys(SECTIONS))

/** The problems as issues with their lines; reads the text a second time, now that there is something to say. */
export function toIssues(source: ConfigSource, problems: readonly Problem[]): ConfigIssue[] {
  return problems.map(({ path, message, at }) => {
    const issue: ConfigIssue = { path, message }
    // The innermost included file that holds the whole path; else as deep as the file itself goes.
    const files = source.included
      .filter((file) => file.at.every((part, index) => part === at[index]))
      .toSorted((a, b) => b.at.length - a.at.length)
    for (const file of files) {
      const place = locate(file.raw, at.slice(file.at.length))
      if (place?.exact === true) return { ...issue, line: place.line, column: place.column, file: file.path }
    }
    const place = locate(source.raw, at)
    return place === undefined ? issue : { ...issue, line: place.line, column: place.column }
  })
}
