import { chmodSync, closeSync, openSync } from 'node:fs'

/**
 * Makes sure a file exists with mode 0600. An existing file is never opened here: closing any descriptor of a file
 * drops the POSIX locks that SQLite holds on it in this process.
 */
export function ensurePrivateFile(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    chmodSync(file, 0o600)
  }
}
