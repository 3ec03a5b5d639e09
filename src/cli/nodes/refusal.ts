import { GatewayError } from '../../client/gateway-error.ts'
import type { NodeEntry } from '../../client/node-entry.ts'
import { nodeName } from '../find-node.ts'
import { CliError } from '../io.ts'
import { quoted } from './inventory.ts'

/** The command that a node was asked by. */
export type Verb = 'invoke' | 'notify' | 'run'

/** What a node, or the gateway for it, says went wrong. */
interface NodeFailure {
  code: string | undefined
  message: string
}

/** What a node says went wrong; undefined for an error that no node is behind. */
function nodeFailure(error: unknown): NodeFailure | undefined {
  if (!(error instanceof GatewayError)) return undefined
  const { nodeError } = (error.details ?? {}) as { nodeError?: { code?: string; message?: string } | null }
  if (nodeError == null) return undefined
  return { code: nodeError.code, message: nodeError.message ?? error.message }
}

const DENIED = /^(?:[A-Z_]+: )*(SYSTEM_RUN_DENIED|SYSTEM_RUN_DISABLED): (.*)$/s

/** Turns what a node, or the gateway for it, refused into what a person can act on; other errors pass through. */
export function explainNode(error: unknown, node: NodeEntry, verb: Verb): unknown {
  if (!(error instanceof GatewayError)) return error
  const name = nodeName(node)
  const { code, reason } = (error.details ?? {}) as { code?: string; reason?: string }
  const more = { cause: error, type: 'gateway_request_error' }
  const failure = nodeFailure(error)
  if (failure !== undefined) {
    const [, denied, why] = DENIED.exec(failure.message) ?? []
    if (denied !== undefined) return new CliError(denied, `${name}: ${why}`, { ...more, fix: fixOfDenied(why!, name) })
    // A node may say its code in its words, too.
    const message = failure.message.replace(`${failure.code}: `, '')
    return new CliError(failure.code ?? 'NODE_FAILED', `${name}: ${message}`, {
      ...more,
      fix: fixOf(failure.code, verb)
    })
  }
  if (code === 'PAIRING_CHANGED') {
    return new CliError(code, `${name} is not approved, or has just come back: ${error.message}`, {
      ...more,
      fix: 'openclaw nodes pending'
    })
  }
  if (reason === 'command not allowlisted' || reason === 'command not declared by node') {
    return new CliError('COMMAND_NOT_ALLOWED', `${name}: ${error.message}`, {
      ...more,
      fix: `openclaw nodes describe ${quoted(name)}`
    })
  }
  return error
}

function fixOf(code: string | undefined, verb: Verb): string | undefined {
  switch (code) {
    case 'NOT_CONNECTED':
    case 'DISCONNECTED':
      return 'openclaw node run (on that machine)'
    case 'TIMEOUT':
      return verb === 'run' ? 'pass a longer --timeout, such as 10m' : 'pass a longer --invoke-timeout, in milliseconds'
    case 'INVALID_REQUEST':
      return `openclaw nodes ${verb} --help`
    default:
      return undefined
  }
}

function fixOfDenied(why: string, name: string): string {
  if (why.startsWith('working directory')) return `pass a folder that is there on ${name}, with --cwd`
  if (why.startsWith('environment override')) return 'leave out that --env'
  if (why.startsWith('approval cannot bind')) {
    return `name the program without a shell around it, or allow it: openclaw approvals allowlist add PROGRAM --node ${quoted(name)}`
  }
  return `openclaw approvals get --node ${quoted(name)}`
}
