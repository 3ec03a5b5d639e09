import { readFileSync } from 'node:fs'
import { CliError } from './io.ts'

const STDIN = 0

/** Reads a secret from a file, or for `-` from standard input; `flag` is what a refusal calls it. */
export function readSecret(path: string, flag: string): string {
  let text: string
  try {
    text = readFileSync(path === '-' ? STDIN : path, 'utf8')
  } catch (cause) {
    throw new CliError('USAGE', `${flag} ${path} cannot be read: ${(cause as Error).message}`, { cause })
  }
  const secret = text.replace(/\r?\n$/, '')
  if (secret.trim() === '') throw new CliError('USAGE', `${flag} ${path} is empty.`)
  return secret
}
