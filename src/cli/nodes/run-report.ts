import { GatewayError } from '../../client/gateway-error.ts'
import type { NodeEntry } from '../../client/node-entry.ts'
import type { NodeRunResult } from '../../client/node-run.ts'
import { nodeName } from '../find-node.ts'
import { CliError, type Io } from '../io.ts'
import { formatDuration, printJson } from '../output.ts'
import { exitCodeOf } from './interrupt.ts'
import { quoted } from './inventory.ts'
import { explainNode } from './refusal.ts'
import type { RunSpec } from './run.ts'

/** Exit codes of our own, beside the program's. */
const TOOK_TOO_LONG = 124
const UNANSWERED = 125
const REFUSED = 126
const NOT_FOUND = 127
const NOT_OURS = 255

/** A program that ran. */
interface Ran {
  spec: RunSpec
  result: NodeRunResult
  json: boolean
  /** All that it wrote was streamed. */
  exact: boolean
}

/** Says how a program ended, and ends with its exit code. */
export function report(io: Io, node: NodeEntry, { spec, result, json, exact }: Ran): void {
  const { argv, timeoutMs } = spec
  const { exitCode, signal, timedOut, truncated, error } = result
  const name = nodeName(node)
  const code = codeOf(result)
  io.exit(code)
  if (json) {
    const { nodeId, displayName } = node
    printJson(io, { ok: code === 0, nodeId, displayName, command: argv, ...result, exitCode: exitCode ?? code })
    return
  }
  if (truncated === true && !exact) io.stderr('note: the node keeps no more output than this; write it to a file there')
  if (timedOut) {
    const limit = timeoutMs === undefined ? '' : `: it took longer than ${formatDuration(timeoutMs)}`
    throw new CliError('RUN_TIMEOUT', `ended on ${name}${limit}`, {
      fix: 'pass a longer --timeout, such as 10m',
      exitCode: code
    })
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

function codeOf({ exitCode, signal, timedOut, error }: NodeRunResult): number {
  if (timedOut) return TOOK_TOO_LONG
  if (typeof exitCode === 'number') return exitCode
  if (error) return error.includes('ENOENT') ? NOT_FOUND : REFUSED
  return signal === undefined ? NOT_OURS : exitCodeOf(signal as NodeJS.Signals)
}

/** Turns why a program did not run into what a person can act on. */
export function explainRun(error: unknown, node: NodeEntry): unknown {
  if (!(error instanceof GatewayError)) return error
  const name = nodeName(node)
  const more = { cause: error, type: 'gateway_request_error' }
  const { code, missingScope, reason, command } = (error.details ?? {}) as Record<string, unknown>
  if (code === 'APPROVAL_DENIED') {
    return new CliError(code, `somebody refused this; nothing ran on ${name}`, { ...more, exitCode: REFUSED })
  }
  if (code === 'APPROVAL_EXPIRED') {
    return new CliError(code, `nobody answered in time; nothing ran on ${name}`, {
      ...more,
      exitCode: UNANSWERED,
      fix: 'run it again, and answer with "openclaw approvals resolve ID allow-once"'
    })
  }
  // Somebody has to be asked, and this credential or that node cannot.
  if (missingScope === 'operator.approvals') {
    return new CliError('APPROVAL_REQUIRED', `${name} wants a person to allow this, and this credential may not ask`, {
      ...more,
      exitCode: UNANSWERED,
      fix: 'use a credential with the scope approvals, or run it on the gateway host'
    })
  }
  if (command === 'system.run.prepare' && reason !== undefined) {
    return new CliError('APPROVAL_REQUIRED', `${name} wants a person to allow this, and cannot prepare it for that`, {
      ...more,
      exitCode: UNANSWERED,
      fix: `openclaw approvals get --node ${quoted(name)}`
    })
  }
  return explainNode(error, node, 'run')
}

/** A script has to tell what the program said from what was said about it. */
export function withOwnCode(error: unknown): unknown {
  if (!(error instanceof CliError) || error.code === 'USAGE' || error.exitCode !== 1) return error
  const { code, message, fix, type, extra } = error
  const refused = code === 'SYSTEM_RUN_DENIED' || code === 'SYSTEM_RUN_DISABLED'
  const exitCode = refused ? REFUSED : code === 'TIMEOUT' ? TOOK_TOO_LONG : NOT_OURS
  return new CliError(code, message, { fix, type, extra: { ...extra }, exitCode, cause: error })
}
