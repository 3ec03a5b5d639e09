import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import type { Test } from 'tap'
import { MAIN } from './cli.ts'

/** Runs our command in one of the namespaces until the end of the test; gives a way to wait for what it says. */
export async function within(t: Test, machine: string, args: string[], env: NodeJS.ProcessEnv, ready: string) {
  const words = ['netns', 'exec', machine, process.execPath, MAIN, ...args]
  const child = spawn('ip', words, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  let text = ''
  const look = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
      for (const each of look) each()
    })
  }
  const said = (word: string) =>
    new Promise<void>((resolve, reject) => {
      const check = () => text.includes(word) && resolve()
      look.add(check)
      void exited.then(() => reject(new Error(text)))
      check()
    })
  await said(ready)
  return { said, child }
}

/** Lets a namespace pass on what is for others, or not. */
export function forward(router: string, on: boolean): void {
  ip('netns', 'exec', router, 'sh', '-c', `echo ${on ? 1 : 0} > /proc/sys/net/ipv4/ip_forward`)
}

/** Why there can be no networks of a test's own here; undefined where there can. */
export function noNetworks(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are Linux’s'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const trial = `oct${process.pid}`
  if (!existsSync('/usr/sbin/ip') && !existsSync('/sbin/ip')) return 'iproute2 is not installed'
  try {
    ip('netns', 'add', trial)
    forward(trial, true)
    return undefined
  } catch {
    return 'this machine makes no network namespaces, or none that forward'
  } finally {
    // There may be none.
    try {
      ip('netns', 'del', trial)
    } catch {}
  }
}

/** Runs `ip`. */
export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
