import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { cleanEnv, type GatewayProcess, type Setup, startGateway } from '../../scripts/gateway-process.ts'
import { ensureReference } from '../../scripts/reference.ts'

type Json = Record<string, unknown>

/** Our command. */
export const oursMain = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** What one run of the reference CLI came to. */
export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** Our gateway and the reference gateway, side by side, and the reference CLI to talk to both. */
export interface Pair {
  ours: GatewayProcess
  reference: GatewayProcess
  /** The build that the reference's page is of. */
  buildId: string
  /** Runs the reference CLI with the same words against both gateways. */
  both(args: (gateway: GatewayProcess) => readonly string[], home?: 'empty' | 'config'): Promise<[Outcome, Outcome]>
  stop(): Promise<void>
}

/** Starts both gateways: unconfigured with a token, or each with its setup. */
export async function startPair(setup: { ours?: Setup; reference?: Setup } = {}): Promise<Pair> {
  const cli = ensureReference()
  const [mine, reference] = await Promise.all([
    startGateway([oursMain], 20_000, setup.ours),
    startGateway([cli], 120_000, setup.reference)
  ])
  return {
    ours: mine,
    reference,
    buildId: await buildIdOf(reference),
    both: (args, home = 'empty') =>
      Promise.all([run(cli, args(mine), home, mine), run(cli, args(reference), home, reference)]),
    stop: async () => {
      await Promise.all([mine.stop(), reference.stop()])
    }
  }
}

/** Changes the `gateway` section of both configuration files; both gateways watch theirs. */
export function edit({ ours, reference }: Pair, change: (gateway: Json) => Json): void {
  for (const { stateDir } of [ours, reference]) {
    const file = path.join(stateDir, 'openclaw.json')
    const config = JSON.parse(readFileSync(file, 'utf8')) as { gateway: Json }
    writeFileSync(file, JSON.stringify({ ...config, gateway: change(config.gateway) }))
  }
}

async function buildIdOf({ port }: GatewayProcess): Promise<string> {
  const page = await (await fetch(`http://127.0.0.1:${port}/`)).text()
  return /data-openclaw-control-ui-build-id="(.+?)(-[0-9a-f]{64})?"/.exec(page)?.[1] ?? 'unknown'
}

async function run(cli: string, args: readonly string[], home: string, gateway: GatewayProcess): Promise<Outcome> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'interop-'))
  if (home === 'config') {
    const config = { gateway: { mode: 'local', port: gateway.port, auth: { mode: 'token', token: gateway.token } } }
    mkdirSync(path.join(folder, '.openclaw'), { mode: 0o700 })
    writeFileSync(path.join(folder, '.openclaw/openclaw.json'), JSON.stringify(config), { mode: 0o600 })
  }
  const outcome = await runIn(folder, cli, args, cleanEnv(folder))
  rmSync(folder, { recursive: true, force: true })
  return outcome
}

/** Runs a command of Node in a folder. */
export async function runIn(
  cwd: string,
  main: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv
): Promise<Outcome> {
  const child = spawn(process.execPath, [main, ...args], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000
  })
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const [code, stdout, stderr] = await Promise.all([exit, text(child.stdout), text(child.stderr)])
  return { code, stdout, stderr }
}

/** JSON without our additions to refusals: the command that repairs them. */
export function withoutFix(json: unknown): unknown {
  return JSON.parse(JSON.stringify(json), (key, value: unknown) => (key === 'fix' ? undefined : value))
}

/** Output with everything replaced that differs from run to run: numbers, ids, paths, versions. */
export function shape(output: string): string {
  return (
    output
      // The reference CLI says so when a gateway's version is not its own. Ours never is.
      .replaceAll(/^Warning: this OpenClaw command is version .*\n.*\n/gm, '')
      .replaceAll(/ws:\/\/127\.0\.0\.1:\d+/g, 'ws://HOST')
      .replaceAll(/\/tmp\/[\w./-]+/g, 'PATH')
      .replaceAll(/\d[\d.]*/g, 'N')
      // Tables pad after numbers of different lengths.
      .replaceAll(/ {2,}/g, '  ')
      .trim()
  )
}

/** The value at a dot path of parsed JSON, or its kind when the path ends in `?`. */
export function at(json: unknown, dotPath: string): unknown {
  const kindOnly = dotPath.endsWith('?')
  let value = json
  for (const key of (kindOnly ? dotPath.slice(0, -1) : dotPath).split('.')) {
    value = (value as Record<string, unknown> | null | undefined)?.[key]
  }
  if (!kindOnly) return typeof value === 'string' ? shape(value) : value
  return Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value
}
