import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

/** Opens a URL in the person's browser; false where there is no display, or no program that would. */
export async function openBrowser(url: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const command = browserCommand(env, process.platform)
  if (command === undefined) return false
  const child = spawn(command[0], [...command.slice(1), url], { stdio: 'ignore', detached: true })
  const ended = new Promise<boolean>((resolve) => {
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
  // An opener that is still running after a moment has become the browser. Until then it alone may keep this process.
  const opened = await Promise.race([ended, sleep(1_500, true, { ref: false })])
  child.unref()
  return opened
}

/** The program that opens a URL, or undefined where nobody would see it. */
function browserCommand(env: NodeJS.ProcessEnv, platform: string): [string, ...string[]] | undefined {
  // Over SSH, a browser would open on a screen where nobody sits.
  if (env.SSH_CONNECTION || env.SSH_TTY) return undefined
  if (platform === 'darwin') return ['open']
  if (platform === 'win32') return ['rundll32', 'url.dll,FileProtocolHandler']
  return env.DISPLAY || env.WAYLAND_DISPLAY ? ['xdg-open'] : undefined
}
