import { CliError } from './io.ts'

/** Parses a count or an id that an option was given. */
export function wholeNumber(option: string, text: string, max = Number.MAX_SAFE_INTEGER, min = 1): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`
  throw new CliError('USAGE', `Invalid ${option}. Use a whole number ${range}.`)
}
