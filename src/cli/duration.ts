import { CliError } from './io.ts'

const UNITS: Record<string, number> = { '': 1, ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Reads a duration that an option gives: `30s`, `5m`, `24h`, `7d`, or a number of milliseconds. At most `max`. */
export function parseDuration(text: string, option: string, max = Number.MAX_SAFE_INTEGER): number {
  const [, count, unit = ''] = /^(\d{1,12})(ms|[smhd])?$/.exec(text.trim()) ?? []
  const ms = Number(count) * UNITS[unit]!
  if (ms >= 1 && ms <= max) return ms
  throw new CliError('USAGE', `Invalid ${option}. Use 30s, 5m, 24h, 7d, or a number of milliseconds.`)
}
