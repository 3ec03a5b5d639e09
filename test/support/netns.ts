import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import type { Test } from 'tap'
import { MAIN } from './cli.ts'

/** A program that runs on another machine, as far as it can tell. */
export interface Distant {
  child: ReturnType<typeof spawn>
  /** Resolves once it has printed a text; rejects when it ends first. */
  said(word: string): Promise<void>
  /** Everything it has printed, on standard output or on both. */
  output(only?: 'stdout'): string
  exited: Promise<unknown>
}

/** Why no machines can be made here. */
export function cannotMakeMachines(): string | undefined {
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

/** Makes machines, by the names of their namespaces; they are gone after the test. */
export function makeMachines(t: Test, names: readonly string[]): void {
  t.teardown(() => {
    for (const name of names) ip('netns', 'del', name)
  })
  for (const name of names) {
    ip('netns', 'add', name)
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }
}

/** Lets a machine pass packets on, or not. */
export function forward(machine: string, on: boolean): void {
  ip('netns', 'exec', machine, 'sh', '-c', `echo ${on ? 1 : 0} > /proc/sys/net/ipv4/ip_forward`)
}

/** Runs our command on a machine until the end of the test; resolves once it says that it is ready. */
export async function within(
  t: Test,
  machine: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  ready: string
): Promise<Distant> {
  const distant = onMachine(t, machine, [process.execPath, MAIN, ...args], env)
  await distant.said(ready)
  return distant
}

/** Runs a program on a machine until the end of the test. */
export function onMachine(t: Test, machine: string, words: readonly string[], env: NodeJS.ProcessEnv): Distant {
  const child = spawn('ip', ['netns', 'exec', machine, ...words], { env, stdio: ['pipe', 'pipe', 'pipe'] })
  // 'close' comes after the last of its output.
  const exited = once(child, 'close')
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await exited
  })
  let text = ''
  let out = ''
  const look = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
      if (stream === child.stdout) out += chunk
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
  return { said, child, output: (only) => (only === 'stdout' ? out : text), exited }
}

/** Runs the system's `ip`. */
export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
