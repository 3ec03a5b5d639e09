import { randomUUID } from 'node:crypto'
import type { NodeEntry } from '../../client/node-entry.ts'
import { invokeScope } from '../../nodes/policy.ts'
import type { Scope } from '../../protocol/scopes.ts'
import { nodeName } from '../find-node.ts'
import { withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { printJson } from '../output.ts'
import { type Ask, allNodes, type NodeOptions, quoted, workingNode } from './inventory.ts'
import { explainNode } from './refusal.ts'

/** What a node is asked to do. */
export interface InvokeOptions extends NodeOptions {
  command?: string
  params?: string
  invokeTimeout?: string
  idempotencyKey?: string
}

/** What a notification says, and how. */
export interface NotifyOptions extends NodeOptions {
  title?: string
  body?: string
  sound?: string
  priority?: string
  delivery?: string
  invokeTimeout?: string
}

/** How long a node has, and how long the gateway. */
const INVOKE_MS = 15_000
export const TRANSPORT_MS = 30_000
const GRACE_MS = 10_000

/** `nodes invoke` */
export async function invoke(io: Io, options: InvokeOptions): Promise<void> {
  const command = options.command?.trim() ?? ''
  if (command === '') {
    throw new CliError('USAGE', 'which command? Give it with --command', {
      fix: `openclaw nodes invoke --node NODE --command system.which --params '{"bins":["uname"]}'`
    })
  }
  elsewhere(command, options.node)
  if (options.idempotencyKey === '') {
    throw new CliError('USAGE', '--idempotency-key is empty', { fix: 'leave it out, and one is made' })
  }
  const params = await paramsOf(options.params ?? '{}')
  const { node, payload } = await ask(io, options, { command, params, key: options.idempotencyKey })
  if (options.json === true) printJson(io, { ok: true, nodeId: node.nodeId, command, payload })
  else printJson(io, payload ?? null)
}

/** `nodes notify` */
export async function notify(io: Io, options: NotifyOptions): Promise<void> {
  const { title, body, sound, priority, delivery } = options
  if (!title?.trim() && !body?.trim()) {
    throw new CliError('USAGE', 'a notification has a --title, a --body, or both', {
      fix: 'openclaw nodes notify --node NODE --title Build --body Done'
    })
  }
  const given = Object.entries({ title, body, sound, priority, delivery }).filter(([, text]) => text !== undefined)
  const command = 'system.notify'
  const { node, payload } = await ask(io, options, { command, params: Object.fromEntries(given), key: undefined })
  if (options.json === true) printJson(io, { ok: true, nodeId: node.nodeId, command, payload })
  else io.stdout(`Shown on ${nodeName(node)}.`)
}

async function ask(
  io: Io,
  options: NodeOptions & { invokeTimeout?: string },
  { command, params, key }: { command: string; params: object; key: string | undefined }
): Promise<{ node: NodeEntry; payload: unknown }> {
  const invokeMs = milliseconds(options.invokeTimeout, '--invoke-timeout', INVOKE_MS)
  const timeoutMs = Math.max(milliseconds(options.timeout, '--timeout', TRANSPORT_MS), invokeMs + GRACE_MS)
  const scopes: Scope[] = ['operator.read', 'operator.pairing', invokeScope(command)]
  return withGateway(io, options, { scopes, timeoutMs }, async ({ client }) => {
    const call: Ask = (method, params = {}) => client.request(method, params, { timeoutMs })
    const node = workingNode(await allNodes(call), options.node, command)
    const request = { nodeId: node.nodeId, command, params, timeoutMs: invokeMs, idempotencyKey: key ?? randomUUID() }
    try {
      return { node, payload: (await call<{ payload: unknown }>('node.invoke', request)).payload }
    } catch (error) {
      throw explainNode(error, node, command === 'system.notify' ? 'notify' : 'invoke')
    }
  })
}

// What runs programs has a command of its own, which asks people where a node's policy says so.
function elsewhere(command: string, node: string | undefined): void {
  const named = quoted(node ?? 'NODE')
  if (command === 'system.run' || command === 'system.run.prepare') {
    throw new CliError('COMMAND_RESERVED', `${command} is for running programs, which "nodes run" does`, {
      fix: `openclaw nodes run --node ${named} -- uname -a`
    })
  }
  if (command.startsWith('system.execApprovals.')) {
    throw new CliError('COMMAND_RESERVED', `${command} is for exec approvals, which "approvals" reads and changes`, {
      fix: `openclaw approvals get --node ${named}`
    })
  }
}

function milliseconds(text: string | undefined, option: string, fallback: number): number {
  if (text === undefined) return fallback
  const ms = Number(text)
  if (/^\d+$/.test(text) && ms >= 1 && ms <= 86_400_000) return ms
  throw new CliError('USAGE', `Invalid ${option}. Use a number of milliseconds, for example ${fallback}.`)
}

async function paramsOf(text: string): Promise<object> {
  const { default: JSON5 } = await import('json5')
  let value: unknown
  let why = 'it is not an object'
  try {
    value = JSON5.parse(text)
  } catch (cause) {
    why = (cause as Error).message.replace(/^JSON5: /, '')
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new CliError('USAGE', `Invalid --params: ${why}`, { fix: `use a JSON object, such as '{"bins":["uname"]}'` })
}
