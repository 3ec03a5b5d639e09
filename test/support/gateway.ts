import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { resolvePaths } from '../../src/config/paths.ts'
import type { ConfigFlags } from '../../src/config/types.ts'
import { openPrivate } from '../../src/listeners.ts'
import { openDatabase } from '../../src/store/database.ts'

/** The shared secret of gateways under test. */
export const TOKEN = 'test-shared-token-0123456789abcdef'

/** A folder that is gone after the test. Short, because it holds a Unix socket. */
export function tempDir(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'oc-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** A gateway in this process: real sockets, real SQLite, a real configuration file. */
export interface TestApp {
  app: FastifyInstance
  port: number
  /** `ws://127.0.0.1:PORT` and `http://127.0.0.1:PORT`. */
  ws: string
  http: string
  stateDir: string
  localSocket: string
}

/** Builds and starts a gateway in this process; `gateway` is the file's `gateway` section beside mode and auth. */
export async function startApp(
  t: Test,
  options: {
    gateway?: Record<string, unknown>
    /** Other sections of the file. */
    sections?: Record<string, unknown>
    flags?: ConfigFlags
    env?: Record<string, string>
    local?: boolean
  } = {}
): Promise<TestApp> {
  const stateDir = tempDir(t)
  const port = await freePort()
  const section = { mode: 'local', port, auth: { mode: 'token', token: TOKEN }, ...options.gateway }
  writeFileSync(join(stateDir, 'openclaw.json'), JSON.stringify({ gateway: section, ...options.sections }), {
    mode: 0o600
  })
  const env = { HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, ...options.env }
  const paths = resolvePaths(env)
  const config = await loadConfig({ env, paths, ...(options.flags === undefined ? {} : { flags: options.flags }) })
  const db = openDatabase(join(stateDir, 'gateway.sqlite'))
  const logFile = join(stateDir, 'logs', 'gateway.log')
  mkdirSync(join(stateDir, 'logs'))
  const app = await buildApp(config, { db, logFile, env })
  const opened: Server[] = []
  await app.listen({ host: '127.0.0.1', port })
  if (options.local === true) await openPrivate(app, 'local', paths.localSocket, opened)
  t.teardown(async () => {
    await app.close()
    for (const server of opened) server.close()
    db.close()
  })
  return {
    app,
    port,
    ws: `ws://127.0.0.1:${port}`,
    http: `http://127.0.0.1:${port}`,
    stateDir,
    localSocket: paths.localSocket
  }
}

/** A gateway process, started by the real command. */
export interface TestProcess {
  child: ChildProcess
  port: number
  ws: string
  http: string
  stateDir: string
  /** Everything it has printed so far. */
  output(): string
  /** Resolves once it has printed something, the n-th time (from 1). */
  said(text: string, n?: number): Promise<void>
  /** Resolves with the exit code. */
  exited: Promise<number | null>
}

/** Runs `openclaw gateway run` and waits until it is ready (or has exited, when a refusal is expected). */
export async function startProcess(
  t: Test,
  options: {
    args?: string[]
    env?: Record<string, string>
    config?: string
    stateDir?: string
    port?: number
    expectExit?: boolean
  } = {}
): Promise<TestProcess> {
  const stateDir = options.stateDir ?? tempDir(t)
  const port = options.port ?? (await freePort())
  if (options.config !== undefined) writeFileSync(join(stateDir, 'openclaw.json'), options.config, { mode: 0o600 })
  const cli = new URL('../../src/cli/main.ts', import.meta.url).pathname
  const args = [cli, 'gateway', 'run', '--port', String(port), ...(options.args ?? [])]
  const env = { PATH: process.env.PATH, HOME: stateDir, OPENCLAW_STATE_DIR: stateDir, ...options.env }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  // 'close' comes after the last of its output; 'exit' may come before it.
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve))
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await exited
  })
  const listeners = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      for (const listener of listeners) listener()
    })
  }
  const said = (words: string, n = 1) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (text.split(words).length <= n) return
        listeners.delete(look)
        resolve()
      }
      listeners.add(look)
      look()
    })
  const ready = said('is ready on')
  const code = await Promise.race([ready, exited.then((exit) => ({ exit }))])
  if (code !== undefined && options.expectExit !== true)
    throw new Error(`the gateway exited with ${code.exit}:\n${text}`)
  return {
    child,
    port,
    ws: `ws://127.0.0.1:${port}`,
    http: `http://127.0.0.1:${port}`,
    stateDir,
    output: () => text,
    said,
    exited
  }
}

/** Waits until a process has printed a text. */
export async function printed({ child, output }: TestProcess, text: string): Promise<void> {
  while (!output().includes(text)) await once(child.stdout!, 'data')
}
