import { Type } from 'typebox'
import type { Approvals, Resolver } from '../../approvals/approvals.ts'
import { allowAlways } from '../../approvals/file.ts'
import { decisionOf, listed, snapshot, summary } from '../../approvals/presentation.ts'
import { alreadyResolved, approvalNotFound, unknownApproval } from '../../approvals/refusals.ts'
import { DECISIONS, ExecApprovalRequestParams } from '../../protocol/approvals.ts'
import { invalidRequest } from '../../protocol/errors.ts'
import { satisfies } from '../../protocol/scopes.ts'
import type { Approval, Party } from '../../store/approvals.ts'
import type { Trail } from '../../store/trail.ts'
import { causedBy } from '../caused-by.ts'
import type { Hub } from '../hub.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'

/** What the methods of approvals work on. */
export interface ApprovalMethodDeps {
  approvals: Approvals
  hub: Hub
  trail: Trail
  /** The policy of this host, which "allow always" adds to. */
  path: string
  log: { warn(fields: object, message: string): void }
}

const closed = { additionalProperties: false } as const
const id = Type.String({ minLength: 1, maxLength: 256 })
const kind = Type.Enum(['exec', 'plugin', 'system-agent'])
const reviewer = Type.Optional(Type.Object({ channel: id, accountId: id, senderId: id }, closed))
const grantExpiresInDays = Type.Optional(Type.Integer({ minimum: 1, maximum: 3_650 }))
const PAGE = 50

/** Who a caller is where it counts that two are not the same: by its device, its token, its user, or its socket alone. */
export function partyOf(caller: Caller): Party {
  const { deviceId, token, user, connId, client } = caller
  const marks = { device: deviceId, token: token?.id, user: user?.id }
  const known = Object.entries(marks).flatMap(([kind, id]) => (id === undefined ? [] : [`${kind}:${id}`]))
  const [first = `socket:${connId}`, ...others] = known
  return { keys: [first, ...others], name: client.displayName ?? client.id }
}

/** Commands that wait for a person: asking, deciding and waiting. */
export function approvalMethods({ approvals, hub, trail, path, log }: ApprovalMethodDeps): Method[] {
  const connected = (caller: Caller) => () => hub.get(caller.connId) !== undefined
  return [
    defineMethod({
      name: 'exec.approval.request',
      scope: 'operator.approvals',
      params: ExecApprovalRequestParams,
      async handler(params, caller, interim) {
        const approval = await approvals.request(params, partyOf(caller), somebodyElse(caller))
        if (approval.resolution !== undefined) return decisionOf(approval)
        if (params.twoPhase === true) {
          const { id, createdAtMs, expiresAtMs } = approval
          const route = somebodyElse(caller) ? { deliveryRoute: 'approval-client' } : {}
          const accepted = { status: 'accepted', id, ...route, createdAtMs, expiresAtMs }
          if (interim === undefined) return accepted
          interim(accepted)
        }
        return decisionOf(await approvals.wait(approval.id, connected(caller)))
      }
    }),
    defineMethod({
      name: 'exec.approval.waitDecision',
      scope: 'operator.approvals',
      params: Type.Object({ id }, closed),
      async handler({ id }, caller) {
        const approval = await approvals.wait(id, connected(caller))
        return { ...decisionOf(approval), terminalReason: approval.resolution?.reason }
      }
    }),
    defineMethod({
      name: 'exec.approval.get',
      scope: 'operator.approvals',
      params: Type.Object({ id }, closed),
      async handler({ id }) {
        const approval = await approvals.find(id)
        if (approval === undefined || approval.resolution !== undefined) throw unknownApproval()
        return summary(approval)
      }
    }),
    defineMethod({
      name: 'exec.approval.list',
      scope: 'operator.approvals',
      params: Type.Object({}),
      handler: async () => (await approvals.pending()).map(listed)
    }),
    defineMethod({
      name: 'exec.approval.resolve',
      scope: 'operator.approvals',
      params: Type.Object({ id, decision: id, reviewer, grantExpiresInDays }, closed),
      async handler({ id, decision: said }, caller) {
        const decision = DECISIONS.find((each) => each === said)
        if (decision === undefined) throw invalidRequest('invalid decision')
        const found = await approvals.find(id)
        if (found === undefined) throw unknownApproval()
        const { applied, approval } = await approvals.resolve(found.id, decision, resolver(caller))
        // Whoever says the same again has what they wanted.
        if (!applied && approval.resolution?.decision !== decision) throw alreadyResolved(approval)
        if (applied) await decided(approval, caller)
        return { ok: true }
      }
    }),
    defineMethod({
      name: 'approval.get',
      scope: 'operator.approvals',
      params: Type.Object({ id }, closed),
      async handler({ id }) {
        const approval = await approvals.get(id)
        if (approval === undefined) throw approvalNotFound()
        return { approval: snapshot(approval) }
      }
    }),
    defineMethod({
      name: 'approval.resolve',
      scope: 'operator.approvals',
      params: Type.Object({ id, kind, decision: Type.Enum([...DECISIONS]), reviewer, grantExpiresInDays }, closed),
      async handler({ id, kind, decision }, caller) {
        if (kind !== 'exec' || (await approvals.get(id)) === undefined) throw approvalNotFound()
        const { applied, approval } = await approvals.resolve(id, decision, resolver(caller))
        if (applied) await decided(approval, caller)
        return { applied, approval: snapshot(approval) }
      }
    }),
    defineMethod({
      name: 'approval.history',
      scope: 'operator.approvals',
      params: Type.Object(
        {
          cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
          kind: Type.Optional(kind)
        },
        closed
      ),
      async handler({ cursor, limit = PAGE, kind = 'exec' }) {
        const before = cursor === undefined ? undefined : readCursor(cursor)
        if (kind !== 'exec') return { items: [] }
        const found = await approvals.history(limit + 1, before)
        const items = found.slice(0, limit)
        const nextCursor = found.length > limit ? { nextCursor: cursorAfter(items.at(-1)!) } : {}
        return { items: items.map(snapshot), ...nextCursor }
      }
    }),
    // What only plugins, the system's own agent and automations ask for, and this gateway has none of.
    ...(['plugin.approval.list', 'openclaw.approval.list'] as const).map((name) =>
      defineMethod({ name, scope: 'operator.approvals', params: Type.Object({}), handler: () => [] })
    ),
    defineMethod({
      name: 'exec.approval.grants.list',
      scope: 'operator.approvals',
      params: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500 })) }, closed),
      handler: () => ({ grants: [] })
    }),
    defineMethod({
      name: 'exec.approval.grants.revoke',
      scope: 'operator.approvals',
      params: Type.Object({ grantId: id }, closed),
      handler: () => ({ outcome: 'not-found' })
    })
  ]

  // Whoever asks is not who answers.
  function somebodyElse({ connId }: Caller): boolean {
    return [...hub].some(
      ({ id, caller }) => id !== connId && caller?.role === 'operator' && satisfies(caller.scopes, 'operator.approvals')
    )
  }

  async function decided(approval: Approval, caller: Caller): Promise<void> {
    const { id, resolution, request, askedBy } = approval
    const allowed = resolution?.status === 'allowed'
    const where = request.nodeId === null ? (request.host ?? 'host') : `node ${request.nodeId.slice(0, 12)}`
    trail.record({
      kind: allowed ? 'approval.allowed' : 'approval.denied',
      outcome: 'changed',
      // Not the command: it may hold a secret. It is found by the id.
      detail: `${resolution?.decision} ${id} (${where}, asked by ${askedBy.name})`,
      ...causedBy(caller)
    })
    if (resolution?.decision === 'allow-always') await remember(approval)
  }

  // On a node, the node adds the rule when it is told to run the command.
  async function remember({ id, request, digest }: Approval): Promise<void> {
    const { host, resolvedPath, agentId } = request
    if (host !== 'gateway' || digest === undefined || resolvedPath === null || !isAgent(agentId)) return
    try {
      await allowAlways(path, { digest, resolvedPath, ...(agentId === null ? {} : { agentId }) })
    } catch (err) {
      // The answer stands; the next time, somebody is asked again.
      log.warn({ err, approval: id }, 'an approval was not added to the exec approvals')
    }
  }
}

// A rule for `*` would be a rule for everybody else too.
function isAgent(id: string | null): boolean {
  return id === null || /^\w[\w.-]{0,63}$/.test(id)
}

function resolver(caller: Caller): Resolver {
  const { deviceId, token, user, client } = caller
  return {
    ...partyOf(caller),
    kind: deviceId === undefined ? 'runtime' : 'device',
    id: deviceId ?? token?.name ?? user?.id ?? client.id
  }
}

function cursorAfter({ id, resolution }: Approval): string {
  return Buffer.from(JSON.stringify({ v: 1, resolvedAtMs: resolution!.atMs, id })).toString('base64url')
}

function readCursor(cursor: string): { atMs: number; id: string } {
  try {
    const { v, resolvedAtMs, id } = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as Record<string, unknown>
    if (v === 1 && Number.isSafeInteger(resolvedAtMs) && typeof id === 'string') {
      return { atMs: resolvedAtMs as number, id }
    }
  } catch {
    // Said below.
  }
  throw invalidRequest('invalid approval.history cursor')
}
