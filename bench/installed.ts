import { execFileSync } from 'node:child_process'
import { cpSync, globSync, lstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const root = path.dirname(import.meta.dirname)

/** What a production install brings along. */
export interface Installed {
  megabytes: number
  packages: number
  /** Packages that would run code while being installed. */
  scripts: string[]
}

/** Installs the production dependencies into a folder of its own and measures them. */
export function installedSize(): Installed {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'installed-'))
  try {
    for (const file of ['package.json', 'package-lock.json']) cpSync(path.join(root, file), path.join(folder, file))
    const flags = ['--omit=dev', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
    execFileSync('npm', ['ci', ...flags], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
    const lock = JSON.parse(readFileSync(path.join(folder, 'node_modules/.package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean }>
    }
    const files = globSync('node_modules/**', { cwd: folder }).map((file) => lstatSync(path.join(folder, file)))
    // On disk, as `du` counts.
    const bytes = files.reduce((sum, { blocks }) => sum + blocks * 512, 0)
    const all = Object.entries(lock.packages)
    const scripts = all.filter(([, entry]) => entry.hasInstallScript === true).map(([name]) => name)
    return { megabytes: bytes / 1024 / 1024, packages: all.length, scripts }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
