import { RpcError } from '../protocol/errors.ts'
import type { NodeActionStore } from '../store/node-actions.ts'
import type { Invocation } from './invocation.ts'
import type { NodeError } from './refusals.ts'

/** What becomes of a command that a node could not run; undefined where nothing more does. */
export type Defer = (invocation: Invocation, error: NodeError) => Promise<RpcError | undefined> | undefined

/** Keeps what a phone would do if someone looked at it until someone does: the phone pulls it then. */
export function untilForeground(actions: NodeActionStore): Defer {
  return ({ request, asker, session, paramsJSON }, nodeError) => {
    const { nodeId, command, idempotencyKey } = request
    if (nodeError.code !== 'NODE_BACKGROUND_UNAVAILABLE' || session.offer.subject.platform !== 'ios') return undefined
    // Who holds a button down wants to be heard in a moment too; who asks where a phone is wants to know it now.
    if (!command.startsWith('talk.ptt.')) return undefined
    const input = { key: `${asker}\n${idempotencyKey}`, command, ...(paramsJSON === null ? {} : { paramsJSON }) }
    return actions.add(nodeId, input).then((action) => action && queued(action.id, nodeId, command, nodeError))
  }
}

function queued(queuedActionId: string, nodeId: string, command: string, nodeError: NodeError): RpcError {
  // There is no push service here that could wake it.
  const wake = { path: 'no-registration', available: false, throttled: false }
  return new RpcError('UNAVAILABLE', 'node command queued until iOS returns to foreground', {
    retryable: true,
    details: { code: 'QUEUED_UNTIL_FOREGROUND', queuedActionId, nodeId, command, wake, nodeError }
  })
}
