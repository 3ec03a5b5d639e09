import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const mac = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium'
]

/** The path of a Chromium or Chrome on this machine: `CHROME_PATH`, then the usual names. */
export function findChromium(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const folders = (env.PATH ?? '').split(path.delimiter)
  const usual = names.flatMap((name) => folders.map((folder) => path.join(folder, name)))
  return [...(env.CHROME_PATH ? [env.CHROME_PATH] : []), ...usual, ...mac].find(isExecutable)
}

/** Like `findChromium`, but installs Debian's package where that is nobody's machine: in CI or in a container, as root. */
export function ensureChromium(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const found = findChromium(env)
  if (found !== undefined || process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return found
  if (!env.CI && !inContainer(env)) return undefined
  console.log('no Chromium here: installing the Debian package chromium')
  const options = {
    stdio: ['ignore', 'ignore', 'inherit'] as ('ignore' | 'inherit')[],
    env: { ...env, DEBIAN_FRONTEND: 'noninteractive' }
  }
  spawnSync('apt-get', ['update', '-qq'], options)
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], options)
  return findChromium(env)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function inContainer(env: NodeJS.ProcessEnv): boolean {
  if (env.container || existsSync('/.dockerenv') || existsSync('/run/.containerenv')) return true
  try {
    return !['systemd', 'init', 'launchd'].includes(readFileSync('/proc/1/comm', 'utf8').trim())
  } catch {
    return false
  }
}
