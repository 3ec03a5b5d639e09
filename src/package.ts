import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'

// Found, not guessed: this file may run from src/, or bundled at any depth of dist/.
const file = findPackageJSON('.', import.meta.url)!

/** The version of this package. */
export const VERSION = (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version

/** The folder of the built Control UI, which ships with the package. */
export const PUBLIC_DIR = join(dirname(file), 'public')
