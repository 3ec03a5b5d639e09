import { CliError } from './io.ts'

/** Parses a port argument; `flag` is what a refusal calls it. */
export function parsePort(text: string, flag = '--port'): number {
  const port = Number(text)
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65535) return port
  throw new CliError('USAGE', `Invalid ${flag}. Use a port number from 1 to 65535, for example 18789.`)
}
