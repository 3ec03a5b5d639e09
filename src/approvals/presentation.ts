import type { Approval } from '../store/approvals.ts'

type Json = Record<string, unknown>

/** A request that waits, as lists and events show it. */
export function listed({ id, request, createdAtMs, expiresAtMs }: Approval): Json {
  return { id, request, createdAtMs, expiresAtMs, approvalKind: 'exec' }
}

/** What everybody who may answer is told when a request ended. */
export function resolvedEvent({ id, request, resolution }: Approval): Json {
  // Nobody's answer is a no.
  const { decision = 'deny', by, atMs } = resolution!
  return { id, decision, resolvedBy: by?.name ?? null, ts: atMs, request }
}

/** What whoever asked is told of the answer. */
export function decisionOf({ id, resolution, createdAtMs, expiresAtMs }: Approval): Json {
  const decision = resolution?.reason === 'no-route' ? null : (resolution?.decision ?? null)
  return { id, decision, createdAtMs, expiresAtMs }
}

/** A request that waits, in short. */
export function summary({ id, request, expiresAtMs }: Approval): Json {
  const { command: commandText, allowedDecisions, host, nodeId, agentId } = request
  return { id, commandText, commandPreview: null, allowedDecisions, host, nodeId, agentId, expiresAtMs }
}

/** A request and its end, as every kind of approval is shown: without the folder, the environment or the plan. */
export function snapshot({ id, request, createdAtMs, expiresAtMs, resolution }: Approval): Json {
  const { command: commandText, warningText, scope, host, nodeId, agentId, sessionKey, allowedDecisions } = request
  const shown = {
    id,
    status: resolution?.status ?? 'pending',
    presentation: {
      kind: 'exec',
      commandText,
      commandPreview: null,
      warningText,
      ...(scope === null ? {} : { scope }),
      host,
      nodeId,
      agentId,
      allowedDecisions
    },
    urlPath: `/approve/${encodeURIComponent(id)}`,
    createdAtMs,
    expiresAtMs
  }
  if (resolution === undefined) return shown
  const { atMs, reason, decision, by } = resolution
  return {
    ...shown,
    resolvedAtMs: atMs,
    reason,
    ...(decision === undefined ? {} : { decision }),
    source: { ...(agentId === null ? {} : { agentId }), ...(sessionKey === null ? {} : { sessionKey }) },
    resolver: by === undefined ? { kind: 'system' } : { kind: by.kind, ...(by.id === undefined ? {} : { id: by.id }) }
  }
}
