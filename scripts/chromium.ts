import { findProgram, installPackages, isExecutable } from './debian.ts'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const mac = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium'
]

/** The path of a Chromium or Chrome on this machine: `CHROME_PATH`, then the usual names. */
export function findChromium(env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (env.CHROME_PATH && isExecutable(env.CHROME_PATH)) return env.CHROME_PATH
  return findProgram(names, env) ?? mac.find(isExecutable)
}

/** Like `findChromium`, but installs Debian's package where `installPackages` may. */
export function ensureChromium(env: NodeJS.ProcessEnv = process.env): string | undefined {
  return findChromium(env) ?? (installPackages(['chromium'], env) ? findChromium(env) : undefined)
}
