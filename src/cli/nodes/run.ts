import { GatewayError } from '../../client/core.ts'
import { type NodeRunResult, runOnNode } from '../../client/node-run.ts'
import type { EventFrame } from '../../protocol/frames.ts'
import { type TargetOptions, withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printJson } from '../output.ts'
import { stopSignal } from '../stop-signal.ts'
import { parseDuration, pickNode, TIMEOUT_MS } from './inventory.ts'

/** How a program is run on a node. */
export interface RunOptions extends TargetOptions {
  node?: string
  cwd?: string
  env?: string[]
  runTimeout?: string
  stdin?: boolean
}

// As `timeout` and `env` have them: what is below is the program's own.
const TIMED_OUT = 124
const NOT_RUN = 125
const SIGNALLED = { SIGINT: 130, SIGTERM: 143 } as const
const INPUT_BYTES = 8_192
const PATIENCE_MS = 5_000

/** `nodes run`: a program on a node as if it ran here: its output as it comes, its exit code, and Ctrl-C. */
export async function run(io: Io, command: readonly string[], options: RunOptions): Promise<void> {
  const env = options.env && assignments(options.env)
  const timeoutMs = options.runTimeout === undefined ? undefined : parseDuration(options.runTimeout, '--run-timeout')
  let streamed = false
  let key: string | undefined
  const onEvent = ({ event, payload }: EventFrame) => {
    const { idempotencyKey, chunk } = (payload ?? {}) as { idempotencyKey?: string; chunk?: string }
    if (event !== 'node.invoke.progress' || idempotencyKey !== key || chunk === undefined) return
    streamed = true
    if (options.json !== true) process.stdout.write(chunk)
  }
  const scopes = ['operator.read', 'operator.write', 'operator.approvals', 'operator.admin'] as const
  const wants = { scopes, timeoutMs: TIMEOUT_MS, onEvent, silent: true }
  const result = await withGateway(io, options, wants, async ({ client }) => {
    const { nodeId } = await pickNode(
      (method, params = {}) => client.request(method, params),
      options.node,
      'system.run'
    )
    const wanted = { nodeId, command, cwd: options.cwd, env, timeoutMs, input: options.stdin }
    const running = runOnNode(client, wanted, {
      started(idempotencyKey) {
        key = idempotencyKey
      },
      waits: (id) => io.stderr(`waiting for an approval; allow it with: openclaw approvals approve ${id}`)
    })
    const inputEnds = new AbortController()
    if (options.stdin === true) void feed(inputEnds.signal)
    const ended = running.then(
      (result) => ({ result }),
      (error: unknown) => ({ error })
    )
    const first = await Promise.race([ended, stopSignal()])
    inputEnds.abort()
    if (typeof first === 'object') {
      if ('error' in first) throw first.error
      return first.result
    }
    const cancelled = client.request('node.invoke.cancel', { nodeId, idempotencyKey: key }).catch(() => {})
    // The node has a moment to end the program and whatever it started.
    await Promise.race([Promise.all([cancelled, ended]), after(PATIENCE_MS)])
    return first

    async function feed(signal: AbortSignal): Promise<void> {
      const send = (piece: object) => client.request('node.invoke.input', { nodeId, idempotencyKey: key, ...piece })
      try {
        for await (const data of process.stdin) {
          if (signal.aborted) return
          const bytes = data as Buffer
          for (let at = 0; at < bytes.length; at += INPUT_BYTES) {
            await send({ dataBase64: bytes.subarray(at, at + INPUT_BYTES).toString('base64') })
          }
        }
        await send({ end: true })
      } catch {
        // The program ended before its input did.
      }
    }
  }).catch(notRun)
  process.stdin.destroy()
  if (typeof result === 'string') return io.exit(SIGNALLED[result as keyof typeof SIGNALLED])
  if (options.json === true) printJson(io, result)
  else show(io, result, streamed)
  io.exit(codeOf(result))
}

function show(io: Io, { stdout, stderr, error, truncated, timedOut }: NodeRunResult, streamed: boolean): void {
  // Short ones are over before anything is streamed.
  if (!streamed) {
    process.stdout.write(stdout)
    process.stderr.write(stderr)
  }
  if (truncated === true) io.stderr('note: the node kept only a part of the output')
  if (timedOut) io.stderr('error: the program took too long, and was ended')
  else if (error) io.stderr(`error: ${error}`)
}

function codeOf({ exitCode, timedOut, error }: NodeRunResult): number {
  if (timedOut) return TIMED_OUT
  return exitCode ?? (error ? NOT_RUN : 137)
}

// What is not the program's own failure must not look like it.
function notRun(error: unknown): never {
  if (error instanceof CliError) {
    const { code, message, fix, type, extra, cause } = error
    throw new CliError(code, message, { fix: fix ?? fixFor(cause), exitCode: NOT_RUN, type, extra, cause })
  }
  throw error
}

function fixFor(cause: unknown): string | undefined {
  if (!(cause instanceof GatewayError)) return undefined
  const message = cause.message
  if (/allowlist miss|security=deny/.test(message)) return 'openclaw approvals get --node NODE'
  if (/not connected|PAIRING|pairing changed/.test(message)) return 'openclaw nodes status'
  return undefined
}

function assignments(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((each) => {
      const at = each.indexOf('=')
      if (at > 0) return [each.slice(0, at), each.slice(at + 1)]
      throw new CliError('USAGE', `--env "${each}" is not NAME=VALUE`, { fix: '--env LANG=C' })
    })
  )
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}
