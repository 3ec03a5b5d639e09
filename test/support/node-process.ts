import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { cleanEnv } from '../../scripts/gateway-process.ts'
import { MAIN } from './cli.ts'

/** A HOME for a node, gone after the test. */
export function newHome(t: Test): string {
  const home = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'node-')))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  return home
}

/** Starts `openclaw node run` in a HOME of its own: without any credential but what it is told. */
export function startNodeProcess(t: Test, args: readonly string[], home = newHome(t), env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [MAIN, 'node', 'run', ...args], {
    cwd: home,
    env: { ...cleanEnv(home), ...env },
    stdio: 'pipe'
  })
  const seen = { stdout: '', stderr: '' }
  const looks = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text) => {
      seen[name] += text
      for (const look of [...looks]) look()
    })
  }
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...seen }))
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  const find = <T>(found: () => T | undefined) =>
    new Promise<T>((resolve, reject) => {
      const look = () => {
        const value = found()
        if (value === undefined) return
        looks.delete(look)
        resolve(value)
      }
      looks.add(look)
      void ended.then(() => reject(new Error(seen.stderr)))
      look()
    })
  /** Waits for words on standard error. */
  const says = (word: RegExp) => find(() => (word.test(seen.stderr) ? true : undefined))
  /** Waits for the n-th event (from 1) that it tells with `--json`. */
  const tells = (event: string, n = 1) =>
    find(() => {
      const lines = seen.stdout.split('\n').slice(0, -1)
      const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
      return events.filter((each) => each.event === event)[n - 1]
    })
  return { child, home, says, tells, ended, seen }
}

/** Reports whether a process still runs; one that nobody has waited for yet does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !existsSync('/proc/self/stat') || !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    // It may also have ended between the two questions.
    return false
  }
}

/** Waits until a file of process ids is complete, and reads it. */
export async function pidsIn(file: string, count: number): Promise<number[]> {
  for (;;) {
    const pids = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number) : []
    if (pids.length === count) return pids
    await delay(10)
  }
}

/** Waits until none of them runs: a signal that has been sent takes its time to end a process. */
export async function ended(pids: readonly number[]): Promise<true> {
  while (pids.some(isAlive)) await delay(10)
  return true
}

/** A shell with a child and a grandchild that ignore SIGTERM; all three write down who they are. */
export function stubborn(file: string): string[] {
  const script = `echo $$ >> '${file}'; sh -c "trap '' TERM; echo \\$\\$ >> '${file}'; sh -c 'trap \\"\\" TERM; echo \\$\\$ >> ${file}; while :; do sleep 0.05; done' & while :; do sleep 0.05; done" & wait`
  return ['sh', '-c', script]
}
