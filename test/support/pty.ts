import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import type { Test } from 'tap'
import { MAIN } from './cli.ts'

/** Why nothing can be run in a terminal here; false when it can. */
export const noTerminal: string | false =
  spawnSync('script', ['--version']).error === undefined ? false : 'needs script (util-linux)'

/** Keys that are no characters. */
export const KEY = { enter: '\r', down: '\u001b[B', interrupt: '\u0003', erase: '\u0015' } as const

/** The real command in a terminal, with somebody at it. */
export interface TypedCli {
  /** Everything on the terminal so far, without what moves its cursor. */
  screen(): string
  /** Resolves once a text has appeared after all that was waited for before; rejects when the command ends without it. */
  shows(text: string): Promise<void>
  type(keys: string): void
  /** Waits for a text, then types. */
  answer(text: string, keys: string): Promise<void>
  exited: Promise<number | null>
}

/** Runs the real command in a pseudo-terminal of its own. */
export function typedCli(t: Test, args: readonly string[], env: NodeJS.ProcessEnv): TypedCli {
  const quoted = [process.execPath, MAIN, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`)
  // A terminal that was asked for by no terminal has no size.
  const command = `stty cols 200 rows 50 && exec ${quoted.join(' ')}`
  const words =
    process.platform === 'darwin' ? ['-q', '/dev/null', 'sh', '-c', command] : ['-qec', command, '/dev/null']
  const child = spawn('script', words, { env: { TERM: 'xterm', ...env }, stdio: ['pipe', 'pipe', 'inherit'] })
  let screen = ''
  let seen = 0
  const news = new Set<() => void>()
  const tell = () => {
    for (const look of news) look()
  }
  let ended = false
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += stripVTControlCharacters(text)
    tell()
  })
  const exited = once(child, 'close').then(([code]) => {
    ended = true
    tell()
    return code as number | null
  })
  t.teardown(async () => {
    child.kill()
    await exited
  })
  const shows = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        const at = screen.indexOf(text, seen)
        if (at === -1 && !ended) return
        news.delete(look)
        if (at === -1) return reject(new Error(`the command ended without "${text}":\n${screen}`))
        seen = at + text.length
        resolve()
      }
      news.add(look)
      look()
    })
  const type = (keys: string) => void child.stdin.write(keys)
  return {
    screen: () => screen,
    shows,
    type,
    async answer(text, keys) {
      await shows(text)
      type(keys)
    },
    exited
  }
}
