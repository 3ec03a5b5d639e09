import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** The version of the reference implementation that interop and bench compare with. */
const REFERENCE_VERSION = '2026.9.6'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

/** The folder that holds, or will hold, the reference implementation. */
function referenceDir(env: NodeJS.ProcessEnv = process.env): string {
  return path.resolve(env.OPENCLAW_REFERENCE_DIR ?? path.join(root, 'node_modules/.cache/openclaw-reference'))
}

/** The reference's command file, or undefined while it is not installed. */
export function findReference(dir: string = referenceDir()): string | undefined {
  const command = path.join(dir, 'node_modules/openclaw/openclaw.mjs')
  return existsSync(command) ? command : undefined
}

/** The reference's command file; installs it from the npm registry on first use (about 600 MB). */
export function ensureReference(dir: string = referenceDir()): string {
  const found = findReference(dir)
  if (found !== undefined) return found
  console.error(`installing openclaw@${REFERENCE_VERSION} into ${dir} (about 600 MB, once)`)
  mkdirSync(dir, { recursive: true })
  // A manifest of its own keeps npm from walking up into this repository.
  const manifest = path.join(dir, 'package.json')
  if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true }\n')
  // Without install scripts: the reference is compared with, not trusted.
  const flags = ['--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--loglevel=error']
  const { status } = spawnSync('npm', ['install', ...flags, `openclaw@${REFERENCE_VERSION}`], {
    cwd: dir,
    stdio: ['ignore', 2, 2]
  })
  const command = findReference(dir)
  if (status !== 0 || command === undefined) throw new Error(`cannot install openclaw@${REFERENCE_VERSION} into ${dir}`)
  return command
}

if (import.meta.main) console.log(ensureReference())
