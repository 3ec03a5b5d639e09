import { SCOPES } from '../protocol/scopes.ts'
import { CliError } from './io.ts'

/** A scope as people write it: without what all of them begin with. */
export function shortScope(scope: string): string {
  return scope.replace(/^operator\./, '')
}

/** Reads scopes, with or without `operator.` before them. */
export async function parseScopes(given: readonly string[]): Promise<string[]> {
  const scopes = new Set<string>()
  for (const word of given) {
    const scope = SCOPES.find((each) => each === word || shortScope(each) === word)
    if (scope === undefined) {
      const { suggest } = await import('./suggest.ts')
      const meant = suggest(shortScope(word), SCOPES.map(shortScope))
      const hint = meant === undefined ? '' : `; did you mean "${meant}"?`
      throw new CliError('USAGE', `unknown scope "${word}"${hint}`, {
        fix: `use any of ${SCOPES.map(shortScope).join(', ')}`
      })
    }
    scopes.add(scope)
  }
  return [...scopes]
}

/** Adds what an option that may be repeated says, its words parted by commas or spaces. */
export function collect(text: string, before: string[] = []): string[] {
  return [...before, ...text.split(/[\s,]+/).filter((each) => each !== '')]
}
