import { isDeepStrictEqual } from 'node:util'
import { invalidRequest } from '../protocol/errors.ts'
import type { Approval, Party } from '../store/approvals.ts'
import { type Approvals, sameParty } from './approvals.ts'
import { planDigest } from './plan.ts'
import { envHash } from './request.ts'

type Params = Readonly<Record<string, unknown>>

/**
 * Makes the params of a `system.run` what a node may be sent. Without an approval they cannot claim one; with one, they
 * must be the very command that was approved, for that node and by whoever asked, and an approval for once is spent.
 */
export async function approvedRun(
  approvals: Approvals,
  { nodeId, params, by }: { nodeId: string; params: Params; by: Party }
): Promise<Params> {
  const { approved, approvalDecision, systemRunPlan: _plan, ...plain } = params
  if (approved !== true && (approvalDecision ?? undefined) === undefined) return plain
  const { runId } = plain
  if (typeof runId !== 'string' || runId === '') {
    throw invalidRequest('approval override requires params.runId', { code: 'MISSING_RUN_ID' })
  }
  const refuse = (code: string, message: string, more: object = {}) => invalidRequest(message, { code, runId, ...more })
  const approval = await approvals.get(runId)
  const plan = approval?.request.systemRunPlan
  if (approval === undefined || plan == null) throw refuse('UNKNOWN_APPROVAL_ID', 'unknown or expired approval id')
  if (approval.request.nodeId !== nodeId) throw refuse('APPROVAL_NODE_MISMATCH', 'approval id not valid for this node')
  if (!sameParty(approval.askedBy, by))
    throw refuse('APPROVAL_DEVICE_MISMATCH', 'approval id not valid for this device')
  const mismatch = differs(approval, plain)
  if (mismatch === 'env') throw refuse('APPROVAL_ENV_MISMATCH', 'approval id env binding mismatch')
  if (mismatch !== undefined) {
    throw refuse('APPROVAL_REQUEST_MISMATCH', 'approval id does not match request', { differs: mismatch })
  }
  const decision = approval.resolution?.decision
  const said = (approvalDecision ?? decision) === decision
  if (!said || !(await approvals.use(approval))) throw refuse('APPROVAL_REQUIRED', 'approval required')
  return {
    ...plain,
    command: plan.argv,
    rawCommand: plan.commandText,
    ...(plan.cwd === null ? {} : { cwd: plan.cwd }),
    ...(plan.agentId === null ? {} : { agentId: plan.agentId }),
    ...(plan.sessionKey === null ? {} : { sessionKey: plan.sessionKey }),
    systemRunPlan: plan,
    approved: true,
    approvalDecision: decision
  }
}

// Which part of a command is not the one that was approved.
function differs({ request, digest }: Approval, params: Params): string | undefined {
  const plan = request.systemRunPlan!
  const { command, rawCommand, env } = params
  const cwd = params.cwd ?? null
  if (!isDeepStrictEqual(command, plan.argv)) return 'command'
  if (rawCommand !== undefined && rawCommand !== null && rawCommand !== plan.commandText) return 'rawCommand'
  if (cwd !== plan.cwd) return 'cwd'
  if ((params.agentId ?? null) !== plan.agentId) return 'agentId'
  if ((params.sessionKey ?? null) !== plan.sessionKey) return 'sessionKey'
  if (env !== undefined && env !== null && !isTexts(env)) return 'env'
  const added = isTexts(env) ? env : {}
  if (envHash(added) !== (request.systemRunBinding?.envHash ?? null)) return 'env'
  return planDigest({ argv: plan.argv, cwd: plan.cwd ?? undefined, env: added }) === digest ? undefined : 'command'
}

function isTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === 'string')
  )
}
