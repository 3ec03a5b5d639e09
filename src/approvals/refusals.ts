import { invalidRequest, RpcError } from '../protocol/errors.ts'
import type { Approval, NotAdded } from '../store/approvals.ts'

const pending = { command: 'openclaw approvals pending', where: 'gateway host' } as const

/** Refuses an id that could not be part of a path, or belongs to another kind of approval. */
export function checkId(id: string): void {
  if (id.startsWith('plugin:')) throw invalidRequest('approval ids starting with plugin: are reserved')
  if (/^[A-Za-z0-9._:-]{1,128}$/.test(id) && id !== '.' && id !== '..') return
  throw invalidRequest(
    "approval id must be 1-128 characters using only letters, numbers, '.', '_', ':', or '-', and cannot be '.' or '..'",
    { code: 'EXEC_APPROVAL_ID_INVALID', reason: 'INVALID_APPROVAL_ID' }
  )
}

/** Why a request was not taken. */
export function notAdded(why: NotAdded): RpcError {
  if (why === 'pending') return invalidRequest('approval id already pending')
  if (why === 'used') return invalidRequest('approval id already used')
  return new RpcError('UNAVAILABLE', 'too many approvals are pending', { retryable: true, details: { fix: pending } })
}

/** There is no request of that id that still waits. */
export function unknownApproval(): RpcError {
  return invalidRequest('unknown or expired approval id', {
    reason: 'APPROVAL_NOT_FOUND',
    remediation: 'Ask for the action again; a request ends with its time.',
    fix: pending
  })
}

/** There is no request of that id at all. */
export function approvalNotFound(): RpcError {
  return invalidRequest('approval not found', { reason: 'APPROVAL_NOT_FOUND', fix: pending })
}

/** Somebody was first: who, when, and with what. */
export function alreadyResolved({ resolution }: Approval): RpcError {
  return invalidRequest('approval already resolved', {
    reason: 'APPROVAL_ALREADY_RESOLVED',
    decision: resolution?.decision ?? null,
    resolvedBy: resolution?.by?.name ?? null,
    resolvedAtMs: resolution?.atMs
  })
}

/** What a person is to decide, whoever asks for it does not. */
export function ownRequest(id: string): RpcError {
  return new RpcError('FORBIDDEN', 'whoever asks for an approval cannot give it', {
    details: {
      reason: 'APPROVAL_OWN_REQUEST',
      fix: { command: `openclaw approvals approve ${id}`, where: 'gateway host' }
    }
  })
}

/** The gateway stops; the request stays, and can be waited for again. */
export function stopping(): RpcError {
  return new RpcError('UNAVAILABLE', 'the gateway is stopping; the approval stays pending', { retryable: true })
}
