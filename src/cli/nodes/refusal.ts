import { GatewayError } from '../../client/gateway-error.ts'
import { nodeName } from '../find-node.ts'
import { CliError } from '../io.ts'
import { type Node, quoted } from './inventory.ts'

/** What a node, or the gateway for it, says went wrong. */
export interface NodeFailure {
  code: string | undefined
  message: string
}

/** What a node says went wrong; undefined for an error that no node is behind. */
export function nodeFailure(error: unknown): NodeFailure | undefined {
  if (!(error instanceof GatewayError)) return undefined
  const { nodeError } = (error.details ?? {}) as { nodeError?: { code?: string; message?: string } | null }
  if (nodeError == null) return undefined
  return { code: nodeError.code, message: nodeError.message ?? error.message }
}

/** Turns what a node, or the gateway for it, refused into what a person can act on; other errors pass through. */
export function explainNode(error: unknown, node: Node): unknown {
  if (!(error instanceof GatewayError)) return error
  const name = nodeName(node)
  const { code, reason } = (error.details ?? {}) as { code?: string; reason?: string }
  const more = { cause: error, type: 'gateway_request_error' }
  const failure = nodeFailure(error)
  if (failure !== undefined) {
    // A node may say its code in its words, too.
    const message = failure.message.replace(`${failure.code}: `, '')
    return new CliError(failure.code ?? 'NODE_FAILED', `${name}: ${message}`, {
      ...more,
      fix: fixOf(failure.code, node)
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

function fixOf(code: string | undefined, node: Node): string | undefined {
  const name = quoted(nodeName(node))
  switch (code) {
    case 'NOT_CONNECTED':
    case 'DISCONNECTED':
      return 'openclaw node run (on that machine)'
    case 'TIMEOUT':
      return 'pass a longer --invoke-timeout, in milliseconds'
    case 'SYSTEM_RUN_DENIED':
    case 'SYSTEM_RUN_DISABLED':
      return `openclaw approvals get --node ${name}`
    case 'INVALID_REQUEST':
      return 'openclaw nodes invoke --help'
    default:
      return undefined
  }
}
