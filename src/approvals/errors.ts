import type { Fix } from '../protocol/errors.ts'

/** Why the exec approvals document could not be read or changed. */
export type ApprovalsErrorCode = 'APPROVALS_INVALID' | 'APPROVALS_UNUSABLE' | 'APPROVALS_CONFLICT'

/** A refusal that concerns the exec approvals document; while it stands, the host runs nothing. */
export class ApprovalsError extends Error {
  readonly code: ApprovalsErrorCode
  readonly fix: Fix

  constructor(code: ApprovalsErrorCode, message: string, fix: Fix, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.name = 'ApprovalsError'
    this.code = code
    this.fix = fix
  }
}
