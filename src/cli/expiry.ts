import { CliError } from './io.ts'

const UNITS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000, y: 365 * 86_400_000 }
const ISO = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2})?)?$/

/** Reads when something ends: `90m`, `12h`, `30d`, `1y`, or an ISO date, which is midnight UTC where it names no time. */
export function parseExpiry(text: string): { expiresInMs: number } | { expiresAtMs: number } {
  const [, count, unit] = /^([1-9]\d{0,8})([mhdy])$/.exec(text) ?? []
  if (count !== undefined) return { expiresInMs: Number(count) * UNITS[unit!]! }
  const expiresAtMs = ISO.test(text) && isDay(text.slice(0, 10)) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(expiresAtMs)) return { expiresAtMs }
  throw new CliError('USAGE', 'Invalid --expires. Use 90m, 12h, 30d, 1y, or a date such as 2030-01-31.')
}

// `Date.parse` takes the 30th of February for a day in March.
function isDay(date: string): boolean {
  const parsed = Date.parse(date)
  return !Number.isNaN(parsed) && new Date(parsed).toISOString().startsWith(date)
}
