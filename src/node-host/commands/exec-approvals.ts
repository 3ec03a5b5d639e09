import { Type } from 'typebox'
import { ApprovalsError } from '../../approvals/errors.ts'
import { readSnapshot, replaceApprovals } from '../../approvals/file.ts'
import { CommandError, defineCommand } from '../command.ts'

/** `system.execApprovals.get`: what this node allows to be run on it, and the hash that a change is based on. */
export function execApprovalsGet(path: string) {
  return defineCommand({
    name: 'system.execApprovals.get',
    cap: 'system',
    params: Type.Object({}),
    run: () => readSnapshot(path).catch(refused)
  })
}

/** `system.execApprovals.set`: replaces what this node allows, unless it has changed since it was read. */
export function execApprovalsSet(path: string) {
  return defineCommand({
    name: 'system.execApprovals.set',
    cap: 'system',
    params: Type.Object({ file: Type.Object({}), baseHash: Type.Optional(Type.String()) }),
    run: ({ file, baseHash }) => replaceApprovals(path, file, { baseHash }).catch(refused)
  })
}

function refused(error: unknown): never {
  if (error instanceof ApprovalsError) throw new CommandError('INVALID_REQUEST', error.message, error)
  throw error
}
