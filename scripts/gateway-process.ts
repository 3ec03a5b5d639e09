import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** A gateway process under test: its own state folder, loopback, a port of its own. */
export interface GatewayProcess {
  port: number
  token: string
  url: string
  pid: number
  stateDir: string
  /** Milliseconds from spawn to the first 200 of `/readyz`. */
  readyMs: number
  /** Everything the process has written so far. */
  output(): string
  stop(): Promise<void>
}

/** What a gateway under test is set up with. */
export interface Setup {
  /** The `gateway` section of its configuration file; without one it runs unconfigured, with its token as a flag. */
  gateway?: (token: string) => Record<string, unknown>
  /** Its other sections. */
  sections?: Record<string, unknown>
  /** Added to its environment. */
  env?: NodeJS.ProcessEnv
}

/** A free TCP port on 127.0.0.1. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** An environment without any `OPENCLAW_*` variable and with a HOME of its own, so that a run sees no real state. */
export function cleanEnv(home: string): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {}
  for (const [key, value] of Object.entries(process.env)) if (!key.startsWith('OPENCLAW_')) env[key] = value
  return { ...env, HOME: home, NO_COLOR: '1' }
}

/** Waits for a 200 from a URL; throws when the process ends first or the time is up. */
export async function waitReady(url: string, child: ChildProcess, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (child.exitCode === null && child.signalCode === null) {
    if (performance.now() > deadline) throw new Error(`${url} is not ready after ${timeoutMs} ms`)
    if (await answers200(url)) return
    await delay(2)
  }
  throw new Error(`the process ended before ${url} was ready`)
}

function answers200(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get(url, { agent: false, timeout: 1000 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
  })
}

/** Starts a gateway (ours or the reference: the words are the same) and waits until it is ready. */
export async function startGateway(
  command: readonly string[],
  timeoutMs = 20_000,
  { gateway, sections, env }: Setup = {}
): Promise<GatewayProcess> {
  const home = mkdtempSync(path.join(os.tmpdir(), 'gateway-'))
  const stateDir = path.join(home, '.openclaw')
  const configPath = path.join(stateDir, 'openclaw.json')
  const port = await freePort()
  const token = `token-${port}`
  const flags = ['--bind', 'loopback', '--port', String(port)]
  if (gateway === undefined) flags.push('--allow-unconfigured', '--auth', 'token', '--token', token)
  else {
    mkdirSync(stateDir, { mode: 0o700 })
    const config = { gateway: { mode: 'local', ...gateway(token) }, ...sections }
    writeFileSync(configPath, JSON.stringify(config), { mode: 0o600 })
  }
  const started = performance.now()
  const child = spawn(process.execPath, [...command, 'gateway', 'run', ...flags], {
    cwd: home,
    env: { ...cleanEnv(home), ...env, OPENCLAW_STATE_DIR: stateDir, OPENCLAW_CONFIG_PATH: configPath },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let text = ''
  const keep = (chunk: Buffer): void => {
    text = (text + chunk).slice(-64_000)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const exited = once(child, 'exit')
  // When this process breaks, its gateways do not stay behind.
  const orphan = (): boolean => child.kill('SIGKILL')
  process.once('exit', orphan)
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), 15_000)
    await exited
    clearTimeout(killer)
    process.off('exit', orphan)
    rmSync(home, { recursive: true, force: true })
  }
  try {
    await waitReady(`http://127.0.0.1:${port}/readyz`, child, timeoutMs)
  } catch (cause) {
    await stop()
    throw new Error(`the gateway did not start: ${(cause as Error).message}\n${text}`, { cause })
  }
  const readyMs = performance.now() - started
  return {
    port,
    token,
    url: `ws://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    stateDir,
    readyMs,
    output: () => text,
    stop
  }
}
