import { randomUUID } from 'node:crypto'
import type { TargetOptions } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printJson } from '../output.ts'
import { pickNode, withAsk } from './inventory.ts'

/** How a node is asked for something. */
export interface InvokeOptions extends TargetOptions {
  node?: string
  command: string
  params: string
  invokeTimeout: string
  idempotencyKey?: string
}

/** What a node is to show its user. */
export interface NotifyOptions extends TargetOptions {
  node?: string
  title?: string
  body?: string
  sound?: string
  priority?: string
  delivery: string
  invokeTimeout: string
}

/** How long a node has for an answer, in milliseconds. */
export const INVOKE_MS = 15_000
const GRACE_MS = 10_000

/** `nodes invoke`: has a node do one thing, and prints what it answers. */
export async function invoke(io: Io, options: InvokeOptions): Promise<void> {
  const { command, idempotencyKey } = options
  if (command === 'system.run' || command === 'system.run.prepare') {
    throw new CliError('USAGE', `${command} is not for "nodes invoke"`, {
      fix: 'openclaw nodes run --node NODE -- COMMAND'
    })
  }
  if (idempotencyKey === '') {
    throw new CliError('USAGE', '--idempotency-key is empty', { fix: 'leave --idempotency-key out' })
  }
  const result = await ask(io, options, command, await parseParams(options.params), idempotencyKey)
  printJson(io, options.json === true ? result : (result.payload ?? null))
}

/** `nodes notify`: shows a notification on a node. */
export async function notify(io: Io, options: NotifyOptions): Promise<void> {
  const { title, body, sound, priority, delivery } = options
  if (!title?.trim() && !body?.trim()) {
    throw new CliError('USAGE', 'there is nothing to show', { fix: 'openclaw nodes notify --title TEXT' })
  }
  const params = Object.entries({ title, body, sound, priority, delivery }).filter(([, value]) => value !== undefined)
  const result = await ask(io, options, 'system.notify', Object.fromEntries(params), undefined)
  if (options.json === true) return printJson(io, result)
  io.stdout('Shown.')
}

function ask(
  io: Io,
  options: TargetOptions & { node?: string; invokeTimeout: string },
  command: string,
  params: object,
  idempotencyKey: string = randomUUID()
): Promise<{ payload?: unknown }> {
  const timeoutMs = positive(options.invokeTimeout)
  return withAsk(io, options, ['operator.read', 'operator.write', 'operator.admin'], async (ask, { client }) => {
    const { nodeId } = await pickNode(ask, options.node, command)
    return client.request(
      'node.invoke',
      { nodeId, command, params, timeoutMs, idempotencyKey },
      { timeoutMs: timeoutMs + GRACE_MS }
    )
  })
}

function positive(text: string): number {
  const ms = Number(text)
  if (/^\d+$/.test(text) && ms > 0 && ms <= 86_400_000) return ms
  throw new CliError('USAGE', `--invoke-timeout "${text}" is no number of milliseconds`, {
    fix: '--invoke-timeout 15000'
  })
}

async function parseParams(text: string): Promise<object> {
  const fix = `openclaw nodes invoke --node NODE --command system.which --params '{ bins: ["uname"] }'`
  const { default: JSON5 } = await import('json5')
  let value: unknown
  try {
    value = JSON5.parse(text)
  } catch (cause) {
    throw new CliError('USAGE', `--params is not JSON: ${(cause as Error).message.replace(/^JSON5: /, '')}`, {
      fix,
      cause
    })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new CliError('USAGE', '--params must be an object', { fix })
}
