import type { EventFrame } from '../../protocol/frames.ts'
import type { Scope } from '../../protocol/scopes.ts'
import { parseDuration } from '../duration.ts'
import { findNode, nodeName } from '../find-node.ts'
import { withGateway } from '../gateway-call.ts'
import { CliError, type Io } from '../io.ts'
import { formatDuration, printJson } from '../output.ts'
import { exitCodeOf, Interrupt, Interrupted } from './interrupt.ts'
import { type Ask, allNodes, type Node, type NodeOptions, quoted, TIMEOUT_MS, workingNode } from './inventory.ts'
import { explainNode } from './refusal.ts'
import { askFor, REFUSED, UNANSWERED, wantsApproval } from './run-approval.ts'
import { type RunEnds, type RunResult, type RunSpec, runOnce } from './run-once.ts'
import { RunOutput } from './run-output.ts'

/** Where and how a command runs. `--timeout` is the command's. */
export interface RunOptions extends NodeOptions {
  cwd?: string
  env?: string[]
  stdin?: boolean
}

/** Exit codes of our own, beside the command's. */
const TOOK_TOO_LONG = 124
const NOT_FOUND = 127
const NOT_OURS = 255

const LONGEST_MS = 86_400_000 - 60_000

/** `nodes run` */
export async function run(io: Io, argv: readonly string[], options: RunOptions): Promise<void> {
  const spec = specOf(argv, options)
  const interrupt = new Interrupt()
  try {
    const { node, result } = await runSomewhere(io, options, spec, interrupt)
    report(io, node, spec, result, options.json === true)
  } catch (error) {
    // Whoever read the output went away; there is nobody to tell.
    if (error instanceof Interrupted && error.signal === 'SIGPIPE') return io.exit(error.exitCode)
    throw withOwnCode(error)
  } finally {
    interrupt.close()
  }
}

interface Ran {
  node: Node
  result: RunResult
}

async function runSomewhere(io: Io, options: RunOptions, spec: RunSpec, interrupt: Interrupt): Promise<Ran> {
  const output = options.json === true ? undefined : new RunOutput((stream, text) => process[stream].write(text))
  const first = await onNode(io, options, ['operator.read', 'operator.write'], async (ends, nodes) => {
    const node = workingNode(nodes, options.node, 'system.run')
    try {
      return { node, result: await runOnce({ ...ends, output, interrupt }, node, spec) }
    } catch (error) {
      if (!wantsApproval(error)) throw explainNode(error, node)
      return { node, result: undefined }
    }
  })
  const { node, result } = first.result === undefined ? await whenAllowed(first.node) : (first as Ran)
  if (output?.end(result) === false) io.stderr('note: some of the output was lost on the way: it came too fast')
  return { node, result }

  // An approval belongs to the connection that asked for it; only now does it take the scope to ask.
  function whenAllowed({ nodeId }: Node): Promise<Ran> {
    const scopes: Scope[] = ['operator.read', 'operator.write', 'operator.approvals']
    return onNode(io, options, scopes, async (ends, nodes) => {
      const node = findNode(nodes, nodeId)
      try {
        const allowed = await askFor(io, ends.client, { node, spec, interrupt })
        const result = await runOnce({ ...ends, output, interrupt }, node, allowed.spec, allowed.approved)
        return { node, result }
      } catch (error) {
        throw cannotAsk(error, node) ?? explainNode(error, node)
      }
    })
  }
}

function onNode<T>(
  io: Io,
  options: RunOptions,
  scopes: readonly Scope[],
  work: (ends: Pick<RunEnds, 'client' | 'hear'>, nodes: Node[]) => Promise<T>
): Promise<T> {
  let listener = (_frame: EventFrame): void => {}
  const wants = { scopes, timeoutMs: TIMEOUT_MS, silent: true, onEvent: (frame: EventFrame) => listener(frame) }
  return withGateway(io, options, wants, async ({ client }) => {
    const ask: Ask = (method, params = {}) => client.request(method, params, { timeoutMs: TIMEOUT_MS })
    const hear: RunEnds['hear'] = (next) => {
      listener = next
    }
    return work({ client, hear }, await allNodes(ask))
  })
}

function report(io: Io, node: Node, { argv, timeoutMs }: RunSpec, result: RunResult, json: boolean): void {
  const { exitCode, signal, timedOut = false, truncated, error } = result
  const name = nodeName(node)
  const code = codeOf(result)
  io.exit(code)
  if (json) {
    const { nodeId, displayName } = node
    printJson(io, { ok: code === 0, nodeId, displayName, command: argv, ...result, exitCode: exitCode ?? code })
    return
  }
  if (truncated === true) io.stderr('note: the node keeps no more output than this; write it to a file there')
  if (timedOut) {
    throw new CliError(
      'RUN_TIMEOUT',
      `ended on ${name}: it took longer than ${formatDuration(timeoutMs ?? LONGEST_MS)}`,
      {
        fix: 'pass a longer --timeout, such as 10m',
        exitCode: code
      }
    )
  }
  if (error) {
    const [line = ''] = argv
    throw new CliError('RUN_NOT_STARTED', `${name}: ${error}`, {
      exitCode: code,
      ...(argv.length === 1 && /\s/.test(line) ? { fix: `openclaw nodes run -- sh -c ${quoted(line)}` } : {})
    })
  }
  if (signal !== undefined) io.stderr(`${name}: ended by ${signal}`)
}

function codeOf({ exitCode, signal, timedOut, error }: RunResult): number {
  if (timedOut === true) return TOOK_TOO_LONG
  if (typeof exitCode === 'number') return exitCode
  if (error) return error.includes('ENOENT') ? NOT_FOUND : REFUSED
  return signal === undefined ? NOT_OURS : exitCodeOf(signal as NodeJS.Signals)
}

// A script has to tell what the command said from what was said about it.
function withOwnCode(error: unknown): unknown {
  if (!(error instanceof CliError) || error.code === 'USAGE' || error.exitCode !== 1) return error
  const { code, message, fix, type, extra } = error
  const denied = /^SYSTEM_RUN_DENIED|^SYSTEM_RUN_DISABLED/.test(code)
  const exitCode = denied ? REFUSED : code === 'TIMEOUT' ? TOOK_TOO_LONG : NOT_OURS
  return new CliError(code, message, { fix, type, extra: { ...extra }, exitCode, cause: error })
}

// Somebody has to be asked, and this credential or that node cannot.
function cannotAsk(error: unknown, node: Node): CliError | undefined {
  const { missingScope, reason } = ((error as { details?: object }).details ?? {}) as Record<string, unknown>
  if (missingScope !== 'operator.approvals' && reason !== 'command not declared by node') return undefined
  const why = missingScope === undefined ? 'the node cannot prepare it for that' : 'this credential may not ask anybody'
  return new CliError('APPROVAL_REQUIRED', `${nodeName(node)} wants a person to allow this, and ${why}`, {
    fix:
      missingScope === undefined
        ? `openclaw approvals get --node ${quoted(nodeName(node))}`
        : 'use a credential with the scope approvals, or run it on the gateway host',
    exitCode: UNANSWERED,
    cause: error
  })
}

function specOf(argv: readonly string[], { cwd, env = [], timeout, stdin = false }: RunOptions): RunSpec {
  if ((argv[0] ?? '').trim() === '') {
    throw new CliError('USAGE', 'which command? Put it behind --', {
      fix: 'openclaw nodes run --node NODE -- uname -a'
    })
  }
  if (cwd?.trim() === '') {
    throw new CliError('USAGE', '--cwd is empty', { fix: 'openclaw nodes run --cwd /srv -- ls' })
  }
  const variables = env.map((pair): [string, string] => {
    const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(pair) ?? []
    if (name !== undefined) return [name, value!]
    throw new CliError('USAGE', `Invalid --env ${JSON.stringify(pair)}. Use NAME=VALUE.`, {
      fix: 'openclaw nodes run --env LANG=C -- date'
    })
  })
  return {
    argv,
    cwd,
    env: Object.fromEntries(variables),
    timeoutMs: timeout === undefined ? undefined : parseDuration(timeout, '--timeout', LONGEST_MS),
    stdin
  }
}
