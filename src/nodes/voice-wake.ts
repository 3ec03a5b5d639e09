const DEFAULT: readonly string[] = ['openclaw', 'claude', 'computer']
const MAX_TRIGGERS = 32
const MAX_LENGTH = 64

/** The words that wake an assistant, as they are kept: trimmed, few and short; without any, the usual ones. */
export function wakeWords(words: readonly unknown[] = []): string[] {
  const kept = words
    .flatMap((word) => (typeof word === 'string' && word.trim() !== '' ? [cut(word.trim())] : []))
    .slice(0, MAX_TRIGGERS)
  return kept.length === 0 ? [...DEFAULT] : kept
}

/** Where a woken assistant listens. There is one, so there is nothing to choose. */
export const wakeRouting = { version: 1, defaultTarget: { mode: 'current' }, routes: [], updatedAtMs: 0 }

// Never half a character.
function cut(word: string): string {
  const short = word.slice(0, MAX_LENGTH)
  return short.isWellFormed() ? short : short.slice(0, -1)
}
