import { invalidRequest, RpcError } from '../protocol/errors.ts'
import type { CommandPolicy } from './policy.ts'
import type { Effective, Offer } from './surface.ts'

/** What a node says went wrong. */
export interface NodeError {
  code?: string
  message?: string
}

/** The node is not one, or nothing of it is approved: the same to a caller, who has no business to tell them apart. */
export function pairingChanged(message = 'node pairing changed while invocation was active'): RpcError {
  return new RpcError('UNAVAILABLE', message, { retryable: true, details: { code: 'PAIRING_CHANGED' } })
}

/** The node is not here; nothing was sent. */
export function notConnected(): RpcError {
  const nodeError = { code: 'NOT_CONNECTED', message: 'node not connected' }
  return new RpcError('UNAVAILABLE', nodeError.message, {
    details: { code: nodeError.code, nodeError, nodeCommandDispatched: false }
  })
}

/** What came of a command that a node was sent and did not do. */
export function failed(error: NodeError | undefined): RpcError {
  const { code, message = 'node invoke failed' } = error ?? {}
  // Some name it themselves.
  const named = code === undefined || message.startsWith(`${code}:`)
  return new RpcError('UNAVAILABLE', named ? message : `${code}: ${message}`, {
    details: { nodeError: error ?? null, nodeCommandDispatched: true }
  })
}

/** There is more under way than the gateway carries for one caller, or one node. */
export function tooMany(whose: 'this caller' | 'this node', limit: number): RpcError {
  return new RpcError('UNAVAILABLE', `too many invocations of ${whose} are under way`, {
    retryable: true,
    details: { code: 'TOO_MANY_INVOCATIONS', limit, nodeCommandDispatched: false }
  })
}

/** Why a node may not run a command; undefined when it may. */
export function forbidden(
  command: string,
  { platform, commands }: Effective,
  { subject }: Offer,
  approved: boolean,
  policy: CommandPolicy
): RpcError | undefined {
  if (commands.has(command)) return undefined
  const word = JSON.stringify(command)
  if (policy.mayRun(command, subject, approved)) {
    return invalidRequest(`node command not allowed: the node (platform: ${platform}) does not support ${word}`, {
      reason: 'command not declared by node',
      command
    })
  }
  const why = policy.wantsOptIn(command)
    ? `${word} requires explicit gateway.nodes.commands.allow opt-in`
    : `${word} is not in the allowlist for platform "${platform}"`
  return invalidRequest(`node command not allowed: ${why}`, { reason: 'command not allowlisted', command })
}
