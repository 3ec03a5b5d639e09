/** How well a shared secret resists guessing; the secret itself stays where it was. */
export interface Strength {
  chars: number
  /** A guess at how many bits somebody has to try; an upper bound. */
  bits: number
  /** Reports whether it stands for a secret instead of being one: blank, `undefined`, `your-token`. */
  placeholder: boolean
}

/** Below this a shared secret is called short: the reference's number. */
export const MIN_CHARS = 24
/** Below this many bits a long secret is called weak. */
export const MIN_BITS = 80
/** Below this many bits a patient stranger gets through the rate limit. */
export const GUESSABLE_BITS = 30

const PLACEHOLDER =
  /^(?:|undefined|null|none|true|false|nan|\[object object\]|token|password|secret|test|todo|__openclaw_redacted__|<.*>|your[-_ ].*|insert[-_ ].*|replace[-_ ]?(?:me|with|this).*|change[-_ ]?(?:me|this|it).*|(?:example|placeholder|dummy|sample)(?:[-_ ].*)?|(.)\1*)$/

// What people build secrets from. Each counts as one choice among a few hundred.
const COMMON =
  /passw(?:or|ö)d|passw0rd|p@ssw[o0]rd|password|openclaw|gateway|secret|token|admin|root|user|login|letmein|welcome|qwerty|qwertz|asdf|zxcv|iloveyou|monkey|dragon|master|super|hello|changeme|default|access|server|local|test|demo|key|abc|19\d\d|20[0-3]\d/g
const COMMON_BITS = 8

/** Judges a secret by its length, its different characters, the words in it, and its runs (`aaaa`, `1234`). */
export function strengthOf(secret: string): Strength {
  const text = secret.trim()
  const words = text.toLowerCase().match(COMMON)?.length ?? 0
  const rest = withoutRuns(text.replace(new RegExp(COMMON, 'gi'), ''))
  const alphabet = Math.min(poolOf(rest), new Set(rest).size)
  const bits = words * COMMON_BITS + rest.length * Math.log2(Math.max(alphabet, 1))
  return { chars: text.length, bits: Math.round(bits), placeholder: PLACEHOLDER.test(text.toLowerCase()) }
}

// A character that its two neighbours foretell adds nothing.
function withoutRuns(text: string): string {
  let kept = ''
  for (let at = 0; at < text.length; at++) {
    const step = text.charCodeAt(at) - text.charCodeAt(at - 1)
    const before = text.charCodeAt(at - 1) - text.charCodeAt(at - 2)
    if (at < 2 || step !== before || Math.abs(step) > 1) kept += text[at]
  }
  return kept
}

function poolOf(text: string): number {
  const classes: [RegExp, number][] = [
    [/[a-z]/, 26],
    [/[A-Z]/, 26],
    [/[0-9]/, 10],
    [/[^a-zA-Z0-9]/, 33]
  ]
  return classes.reduce((sum, [pattern, size]) => sum + (pattern.test(text) ? size : 0), 0)
}
