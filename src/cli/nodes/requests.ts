import type { NodeRequest } from '../../client/node-entry.ts'
import { ownFix } from '../errors.ts'
import { nodeName } from '../find-node.ts'
import type { Io } from '../io.ts'
import { printable, styleOf } from '../output.ts'
import { shortScope } from '../scope-words.ts'
import { tableLayout } from '../table.ts'
import { indented } from '../wrap.ts'
import { ago } from './inventory.ts'
import { approvalTakes, meaningOf, permissionsOf } from './words.ts'

/** Prints what waits, what approving it would grant, what that takes, and the command that does it. */
export function printRequests(io: Io, requests: readonly NodeRequest[]): void {
  const style = styleOf(io)
  const { head, line } = tableLayout<NodeRequest>(
    io,
    [
      { title: 'REQUEST', text: ({ requestId }) => requestId.slice(0, 8) },
      { title: 'NODE', max: 24, text: nodeName },
      { title: 'PLATFORM', max: 10, text: ({ platform = '-' }) => platform },
      { title: 'ASKED', text: ({ ts }) => ago(ts) },
      { title: 'FROM', text: ({ remoteIp = 'this host' }) => remoteIp }
    ],
    requests
  )
  io.stdout(head)
  for (const request of requests) {
    io.stdout(line(request))
    // On lines of their own, because they must never be cut.
    io.stdout(style.yellow(indented(printable(`would let operators ${meaningOf(request.commands ?? [])}`), 2, 100)))
    for (const detail of detailsOf(request)) io.stdout(style.dim(indented(printable(detail), 2, 100)))
    io.stdout(style.dim(`  ${approveCommand(io, request.requestId)}   (takes ${takes(request)})`))
  }
}

/** The scope that approving a request takes. */
export function takes({ requiredApproveScopes, commands = [] }: NodeRequest): string {
  const last = requiredApproveScopes?.at(-1)
  return last === undefined ? approvalTakes(commands) : shortScope(last)
}

/** The command that approves a request, as this process has to say it. */
export function approveCommand(io: Io, requestId: string): string {
  const fix = { command: `openclaw nodes approve ${requestId}`, where: 'gateway host' } as const
  return printable(ownFix(io, fix, false).command)
}

function detailsOf({ commands = [], caps = [], permissions }: NodeRequest): string[] {
  const permitted = permissionsOf(permissions)
  return [
    commands.length === 0 ? undefined : `commands: ${commands.join(', ')}`,
    caps.length === 0 ? undefined : `capabilities: ${caps.join(', ')}`,
    permitted === undefined ? undefined : `permissions: ${permitted}`
  ].filter((each) => each !== undefined)
}
