import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort, waitReady } from '../scripts/gateway-process.ts'
import type { Found, Load } from './load.ts'

const here = import.meta.dirname
const root = path.dirname(here)

const bin = path.join(root, 'dist/cli/main.js')

/** The command that users run: its file, after the flags of its first line. Ask once `dist/` is built. */
export function command(): string[] {
  const [first = ''] = readFileSync(bin, 'utf8').split('\n', 1)
  return [...first.split(' ').filter((word) => word.startsWith('--')), bin]
}

/** Builds `dist/` when a source is newer than the command. */
export function buildIfStale(): void {
  const newest = Math.max(
    ...globSync('src/**/*.ts', { cwd: root }).map((file) => statSync(path.join(root, file)).mtimeMs)
  )
  const built = statSync(bin, { throwIfNoEntry: false })
  if (built !== undefined && built.mtimeMs >= newest) return
  execFileSync('npm', ['run', 'build:dist', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2] })
}

/** A bare server in a process of its own. */
export interface BareServer {
  port: number
  pid: number
  stop(): Promise<void>
}

/** Starts one of the servers in `bare/`. */
export async function startBare(name: 'ws' | 'fastify' | 'relay'): Promise<BareServer> {
  const child = fork(path.join(here, 'bare', `${name}.js`), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const [port] = (await once(child, 'message')) as [number]
  return { port, pid: child.pid!, stop: () => end(child) }
}

/** Milliseconds from the spawn of a bare Fastify to its first 200. */
export async function timeBareStart(): Promise<number> {
  const port = await freePort()
  const started = performance.now()
  const child = fork(path.join(here, 'bare/fastify.js'), [String(port)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc']
  })
  await waitReady(`http://127.0.0.1:${port}/readyz`, child, 20_000)
  const took = performance.now() - started
  await end(child)
  return took
}

/** Runs a load in a process of its own; `whileOpen` runs when an `idle` load holds its sockets. */
export async function load(what: Load, whileOpen?: () => Promise<void>): Promise<Found> {
  const child = fork(path.join(here, 'load.ts'), [JSON.stringify(what)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  let complaint = ''
  child.stderr?.on('data', (chunk) => {
    complaint += chunk
  })
  let found: Found | undefined
  child.on('message', async (message: { found?: Found; open?: number }) => {
    if (message.found !== undefined) found = message.found
    if (message.open !== undefined) {
      await whileOpen?.()
      child.send('looked')
    }
  })
  const tooLong = setTimeout(() => {
    complaint += 'no end after two minutes'
    child.kill()
  }, 120_000)
  await once(child, 'close')
  clearTimeout(tooLong)
  if (found === undefined) throw new Error(`the load ${what.kind} failed\n${complaint}`)
  if (found.errors > 0) throw new Error(`the load ${what.kind} met ${found.errors} errors`)
  return found
}

/** Milliseconds that a whole process takes. */
export async function timeProcess(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const started = performance.now()
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let complaint = ''
  child.stderr.on('data', (chunk) => {
    complaint += chunk
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}\n${complaint}`)
  return performance.now() - started
}

/** Resident memory of a process, in KB. */
export function residentKB(pid: number): number {
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }))
}

/** Processor time that a process has taken, in seconds; undefined where the system does not tell it finely. */
export function cpuSeconds(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  // After the name, which may hold anything: hundredths of a second in the 12th and 13th field.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Resident memory once it has stopped moving, in KB. */
export async function settledKB(pid: number, ms: number): Promise<number> {
  await delay(ms)
  return median([residentKB(pid), await later(pid), await later(pid)])
}

/** The middle one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

async function later(pid: number): Promise<number> {
  await delay(200)
  return residentKB(pid)
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill()
  await exited
}
