import { Type } from 'typebox'
import { type ApprovalsSnapshot, checkApprovals } from '../../approvals/document.ts'
import { ApprovalsError } from '../../approvals/errors.ts'
import { readSnapshot, replaceApprovals } from '../../approvals/file.ts'
import { invalidRequest, RpcError } from '../../protocol/errors.ts'
import type { Trail } from '../../store/trail.ts'
import { causedBy } from '../caused-by.ts'
import { type Caller, defineMethod, type Method } from '../method.ts'

/** Runs a command of a node and gives what it answered; throws what a caller is to be told. */
export type NodeInvoke = (nodeId: string, command: string, params: unknown, timeoutMs: number) => Promise<unknown>

/** What the methods of the policy work on. */
export interface PolicyMethodDeps {
  /** Where this host keeps its own. */
  path: string
  trail: Trail
  invoke: NodeInvoke
}

const closed = { additionalProperties: false } as const
const id = Type.String({ minLength: 1, maxLength: 256 })
const baseHash = Type.String({ minLength: 1, maxLength: 256 })
const action = Type.Enum(['allow', 'deny', 'prompt'])
/** Checked by the document's own schema, whose words name the key. */
const file = Type.Object({})
/** The policy of a node that has one of its own kind. */
const native = Type.Object(
  {
    defaultAction: Type.Optional(action),
    rules: Type.Array(
      Type.Object(
        {
          pattern: id,
          action,
          shells: Type.Optional(Type.Array(id)),
          description: Type.Optional(Type.String()),
          enabled: Type.Optional(Type.Boolean())
        },
        closed
      )
    )
  },
  closed
)
const NODE_MS = 30_000

/** What hosts allow their agents to run: this one, and each node. */
export function policyMethods({ path, trail, invoke }: PolicyMethodDeps): Method[] {
  return [
    defineMethod({
      name: 'exec.approvals.get',
      scope: 'operator.admin',
      params: Type.Object({}, closed),
      handler: () => told(readSnapshot(path))
    }),
    defineMethod({
      name: 'exec.approvals.set',
      scope: 'operator.admin',
      write: true,
      params: Type.Object({ file, baseHash: Type.Optional(baseHash) }, closed),
      async handler({ file, baseHash }, caller) {
        const checked = check('exec.approvals.set', file)
        const snapshot = await told(replaceApprovals(path, checked, { baseHash }))
        note('this gateway', caller)
        return snapshot
      }
    }),
    defineMethod({
      name: 'exec.approvals.node.get',
      scope: 'operator.admin',
      params: Type.Object({ nodeId: id }, closed),
      handler: async ({ nodeId }) => withoutToken(await ask(nodeId, 'system.execApprovals.get', {}))
    }),
    defineMethod({
      name: 'exec.approvals.node.set',
      scope: 'operator.admin',
      write: true,
      params: Type.Union([
        Type.Object({ nodeId: id, file, baseHash: Type.Optional(baseHash) }, closed),
        Type.Object({ nodeId: id, native, baseHash }, closed)
      ]),
      async handler({ nodeId, baseHash, ...policy }, caller) {
        const document = 'file' in policy ? { file: check('exec.approvals.node.set', policy.file) } : policy.native
        const params = { ...document, ...(baseHash === undefined ? {} : { baseHash }) }
        const snapshot = await ask(nodeId, 'system.execApprovals.set', params)
        note(`node ${nodeId.slice(0, 12)}`, caller)
        return withoutToken(snapshot)
      }
    })
  ]

  // Told as whatever else a node says: by its code, and in words.
  async function ask(nodeId: string, command: string, params: object): Promise<unknown> {
    try {
      return await invoke(nodeId, command, params, NODE_MS)
    } catch (error) {
      const { code, ...details } = (error instanceof RpcError ? (error.details ?? {}) : {}) as { code?: unknown }
      if (code !== 'NOT_CONNECTED') throw error
      throw new RpcError('UNAVAILABLE', `${code}: node not connected`, { details, cause: error })
    }
  }

  function note(detail: string, caller: Caller): void {
    trail.record({ kind: 'policy.changed', outcome: 'changed', detail, ...causedBy(caller) })
  }
}

// What is wrong with what was sent is the sender's to mend; what is wrong with the file is the host's.
function check(method: string, file: object): object {
  try {
    return checkApprovals(file, 'file')
  } catch (error) {
    if (!(error instanceof ApprovalsError)) throw error
    throw invalidRequest(`invalid ${method} params: ${error.message.replace(/^[^\n]*\n/, '')}`, {
      code: error.code,
      fix: error.fix
    })
  }
}

async function told(outcome: Promise<ApprovalsSnapshot>): Promise<ApprovalsSnapshot> {
  try {
    return await outcome
  } catch (error) {
    if (!(error instanceof ApprovalsError)) throw error
    const { code, message, fix } = error
    const details = { code, fix: { ...fix, where: 'gateway host' } }
    if (code === 'APPROVALS_CONFLICT') throw invalidRequest(message, details)
    throw new RpcError('UNAVAILABLE', message, { details, retryable: false, cause: error })
  }
}

// A node of another make may show what opens its socket; it is nobody's to read.
function withoutToken(snapshot: unknown): unknown {
  const { file } = (snapshot ?? {}) as { file?: { socket?: { path?: string } } }
  if (file?.socket === undefined) return snapshot
  const { path } = file.socket
  const socket = path === undefined ? {} : { socket: { path } }
  const { socket: _socket, ...rest } = file
  return { ...(snapshot as object), file: { ...rest, ...socket } }
}
