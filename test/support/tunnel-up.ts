import { once } from 'node:events'
import type { Test } from 'tap'
import { startCli } from './cli.ts'

/** Runs `tunnel up` and reads the states that it prints. */
export function tunnelUp(t: Test, env: NodeJS.ProcessEnv, words: readonly string[] = []) {
  const child = startCli(['tunnel', 'up', '--json', ...words], env)
  const states: Record<string, unknown>[] = []
  let rest = ''
  const news = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    states.push(...lines.map((line) => JSON.parse(line)))
    for (const tell of news) tell()
  })
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  t.teardown(async () => {
    child.kill()
    await exited
  })
  const until = (phase: string, n = 1) =>
    new Promise<Record<string, unknown>>((resolve) => {
      const look = () => {
        const found = states.filter((state) => state.phase === phase)[n - 1]
        if (found === undefined) return
        news.delete(look)
        resolve(found)
      }
      news.add(look)
      look()
    })
  return { child, states, until, exited }
}
